package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Go's assembler lacks most vector instructions of arm64. The generator writes
// them in Arm's own syntax and encodes them here: a small assembler, for the
// instructions that the kernels use. Its words are compared to GNU as in
// testdata/neon_encodings.txt.

// form is how instructions with operands of certain shapes are encoded: registers
// are put, in their order, at bits 0, 5 and 16, and the immediate (or index, or
// address offset) where imm says.
type form struct {
	word uint32
	imm  immediate
}

// immediate is the bits of a number and whether it can be encoded.
type immediate func(v int) (bits uint32, ok bool)

// forms by mnemonic and shapes of the operands; see operand.
var forms = map[string]form{
	"mov .16b .16b":        {word: 0x4ea01c00}, // orr of the same twice
	"and .16b .16b .16b":   {word: 0x4e201c00},
	"eor .16b .16b .16b":   {word: 0x6e201c00},
	"bit .16b .16b .16b":   {word: 0x6ea01c00},
	"add .16b .16b .16b":   {word: 0x4e208400},
	"add .4s .4s .4s":      {word: 0x4ea08400},
	"ushr .16b .16b #":     {word: 0x6f000400, imm: rightShift(8)},
	"shl .16b .16b #":      {word: 0x4f005400, imm: leftShift(8)},
	"shl .8h .8h #":        {word: 0x4f005400, imm: leftShift(16)},
	"shl .2d .2d #":        {word: 0x4f005400, imm: leftShift(64)},
	"add .2d .2d .2d":      {word: 0x4ee08400},
	"sub .4s .4s .4s":      {word: 0x6ea08400},
	"smax .4s .4s .4s":     {word: 0x4ea06400},
	"smaxv s .4s":          {word: 0x4eb0a800},
	"shl .4s .4s #":        {word: 0x4f005400, imm: leftShift(32)},
	"tbl .16b {.16b} .16b": {word: 0x4e000000},

	"sdot .4s .16b .4b[]":  {word: 0x4f80e000, imm: elementS},
	"sdot .4s .16b .16b":   {word: 0x4e809400},
	"smmla .4s .16b .16b":  {word: 0x4e80a400},
	"smull .8h .8b .8b":    {word: 0x0e20c000},
	"smull2 .8h .16b .16b": {word: 0x4e20c000},
	"addp .8h .8h .8h":     {word: 0x4e60bc00},
	"sadalp .4s .8h":       {word: 0x4e606800},
	"saddlp .8h .16b":      {word: 0x4e202800},
	"saddlv h .16b":        {word: 0x4e303800},
	"smov w .h[]":          {word: 0x0e022c00, imm: field(8, 18)},
	"zip1 .4s .4s .4s":     {word: 0x4e803800},
	"zip2 .4s .4s .4s":     {word: 0x4e807800},
	"zip1 .2d .2d .2d":     {word: 0x4ec03800},
	"zip2 .2d .2d .2d":     {word: 0x4ec07800},
	"ext .16b .16b .16b #": {word: 0x6e000000, imm: field(16, 11)},
	"dup .4s w":            {word: 0x4e040c00},
	"dup .16b w":           {word: 0x4e010c00},
	"dup .4s .s[]":         {word: 0x4e040400, imm: field(4, 19)},
	"movi .16b #":          {word: 0x4f00e400, imm: byteValue},
	"movi .4s # lsl #24":   {word: 0x4f006400, imm: byteValue},
	"fmov .4s #":           {word: 0x4f00f400, imm: byteValue},
	"sxtl .8h .8b":         {word: 0x0f08a400},
	"sxtl2 .8h .16b":       {word: 0x4f08a400},
	"sxtl2 .4s .8h":        {word: 0x4f10a400},
	"movi .4s # lsl #8":    {word: 0x4f002400, imm: byteValue},
	"dup .2d x":            {word: 0x4e080c00},
	"dup .2d .d[]":         {word: 0x4e080400, imm: field(2, 20)},
	"sxtl .4s .4h":         {word: 0x0f10a400},
	"uxtl .8h .8b":         {word: 0x2f08a400},
	"uxtl .4s .4h":         {word: 0x2f10a400},
	"shll .4s .4h #":       {word: 0x2e613800, imm: sixteen},
	"shll2 .4s .8h #":      {word: 0x6e613800, imm: sixteen},
	"sqxtn .4h .4s":        {word: 0x0e614800},
	"sqxtn2 .8h .4s":       {word: 0x4e614800},
	"sqxtn .8b .8h":        {word: 0x0e214800},
	"sqxtn2 .16b .8h":      {word: 0x4e214800},

	"scvtf .4s .4s":     {word: 0x4e21d800},
	"scvtf .2s .2s #":   {word: 0x0f00e400, imm: rightShift(32)}, // fixed point
	"fcvtl .2d .2s":     {word: 0x0e617800},
	"fcvtl2 .2d .4s":    {word: 0x4e617800},
	"fadd .2d .2d .2d":  {word: 0x4e60d400},
	"fsub .2d .2d .2d":  {word: 0x4ee0d400},
	"fmul .2d .2d .2d":  {word: 0x6e60dc00},
	"fmla .2d .2d .2d":  {word: 0x4e60cc00},
	"fmls .2d .2d .2d":  {word: 0x4ee0cc00},
	"fcmge .2d .2d .2d": {word: 0x6e60e400},
	"fcmeq .4s .4s .4s": {word: 0x4e20e400},
	"faddp d .2d":       {word: 0x7e70d800},
	"fcvtns .4s .4s":    {word: 0x4e21a800},
	"fcvtl .4s .4h":     {word: 0x0e217800},
	"fcvtl2 .4s .8h":    {word: 0x4e217800},
	"fcvtn .4h .4s":     {word: 0x0e216800},
	"fcvtn2 .8h .4s":    {word: 0x4e216800},
	"fadd .4s .4s .4s":  {word: 0x4e20d400},
	"fsub .4s .4s .4s":  {word: 0x4ea0d400},
	"fmul .4s .4s .4s":  {word: 0x6e20dc00},
	"fdiv .4s .4s .4s":  {word: 0x6e20fc00},
	"fmax .4s .4s .4s":  {word: 0x4e20f400},
	"fmin .4s .4s .4s":  {word: 0x4ea0f400},
	"fmla .4s .4s .4s":  {word: 0x4e20cc00},
	"fmls .4s .4s .4s":  {word: 0x4ea0cc00},
	"fneg .4s .4s":      {word: 0x6ea0f800},
	"fmul .4s .4s .s[]": {word: 0x4f809000, imm: elementS},
	"fmla .4s .4s .s[]": {word: 0x4f801000, imm: elementS},
	"fmls .4s .4s .s[]": {word: 0x4f805000, imm: elementS},
	"fmaxv s .4s":       {word: 0x6e30f800},
	"fminv s .4s":       {word: 0x6eb0f800},

	"ldr q []":         {word: 0x3dc00000, imm: scaled(16)},
	"ldr d []":         {word: 0xfd400000, imm: scaled(8)},
	"ldr s []":         {word: 0xbd400000, imm: scaled(4)},
	"str q []":         {word: 0x3d800000, imm: scaled(16)},
	"str s []":         {word: 0xbd000000, imm: scaled(4)},
	"str h []":         {word: 0x7d000000, imm: scaled(2)},
	"ld1r {.8h} []":    {word: 0x4d40c400, imm: nothing},
	"ldur q []":        {word: 0x3cc00000, imm: unscaled},
	"ld2 {.4s,.4s} []": {word: 0x4c408800, imm: nothing},
	"st2 {.4s,.4s} []": {word: 0x4c008800, imm: nothing},
}

// field is a number below limit at a bit.
func field(limit, bit int) immediate {
	return func(v int) (uint32, bool) { return uint32(v) << bit, v >= 0 && v < limit }
}

func nothing(v int) (uint32, bool) { return 0, v == 0 }

// sixteen is the only shift that shll has for its elements.
func sixteen(v int) (uint32, bool) { return 0, v == 16 }

func rightShift(width int) immediate {
	return func(n int) (uint32, bool) { return uint32(2*width-n) << 16, n > 0 && n <= width }
}

func leftShift(width int) immediate {
	return func(n int) (uint32, bool) { return uint32(width+n) << 16, n >= 0 && n < width }
}

// elementS is the index of a 32-bit element: its low bit is bit 21, its high one
// bit 11.
func elementS(i int) (uint32, bool) { return uint32(i&1<<21 | i>>1<<11), i >= 0 && i < 4 }

// byteValue splits eight bits: three at bit 16, five at bit 5.
func byteValue(v int) (uint32, bool) {
	return uint32(v>>5<<16 | v&31<<5), v >= 0 && v < 256
}

// scaled is an unsigned offset in units of the size that is loaded, unscaled a
// signed one in bytes.
func scaled(size int) immediate {
	return func(v int) (uint32, bool) {
		return uint32(v/size) << 10, v >= 0 && v%size == 0 && v/size < 1<<12
	}
}

func unscaled(v int) (uint32, bool) { return uint32(v) & 0x1ff << 12, v >= -256 && v < 256 }

var (
	operands = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*`)
	vector   = regexp.MustCompile(`^v(\d+)(\.\d*[bhsd])(?:\[(\d+)\])?$`)
	list     = regexp.MustCompile(`^\{v(\d+)(\.\w+)((?:, v\d+\.\w+)*)\}$`)
	scalar   = regexp.MustCompile(`^([qdshwx])(\d+)$`)
	address  = regexp.MustCompile(`^\[x(\d+)(?:, #(-?\d+))?\]$`)
	listed   = regexp.MustCompile(`v\d+`)
)

// encode is the word of an instruction in Arm's syntax.
func encode(text string) (uint32, error) {
	key, regs, imm, err := parse(text)
	if err != nil {
		return 0, fmt.Errorf("encode %q: %w", text, err)
	}
	f, ok := forms[key]
	if !ok {
		return 0, fmt.Errorf("encode %q: no form %q", text, key)
	}
	if key == "mov .16b .16b" {
		regs = append(regs, regs[1])
	}
	word := f.word
	for i, r := range regs {
		if r > 31 {
			return 0, fmt.Errorf("encode %q: no register %d", text, r)
		}
		word |= uint32(r) << []int{0, 5, 16}[i]
	}
	if f.imm != nil {
		bits, ok := f.imm(imm)
		if !ok {
			return 0, fmt.Errorf("encode %q: number out of range", text)
		}
		word |= bits
	}
	return word, nil
}

// parse finds an instruction's key in forms, its registers and its number.
func parse(text string) (key string, regs []int, imm int, err error) {
	key, rest, _ := strings.Cut(text, " ")
	for _, o := range operands.FindAllString(rest, -1) {
		shape, reg, value, err := operand(o)
		if err != nil {
			return "", nil, 0, err
		}
		key += " " + shape
		if reg >= 0 {
			regs = append(regs, reg)
		}
		imm |= value
	}
	return key, regs, imm, nil
}

// operand is the shape of an operand, its register or -1, and its number: an
// immediate, index or address offset, 0 if it has none.
func operand(o string) (shape string, reg, value int, err error) {
	number := func(s string) int {
		n := 0
		if s != "" && err == nil {
			n, err = strconv.Atoi(s)
		}
		return n
	}
	if m := vector.FindStringSubmatch(o); m != nil {
		shape = m[2]
		if m[3] != "" {
			shape += "[]"
		}
		return shape, number(m[1]), number(m[3]), err
	}
	if m := list.FindStringSubmatch(o); m != nil {
		return "{" + listed.ReplaceAllString(strings.ReplaceAll(o[1:len(o)-1], " ", ""), "") + "}", number(m[1]), 0, err
	}
	if m := scalar.FindStringSubmatch(o); m != nil {
		return m[1], number(m[2]), 0, err
	}
	if m := address.FindStringSubmatch(o); m != nil {
		return "[]", number(m[1]), number(m[2]), err
	}
	if v, ok := strings.CutPrefix(o, "#"); ok {
		if n, ok := smallFloats[v]; ok {
			return "#", -1, n, nil
		}
		return "#", -1, number(v), err
	}
	if o == "lsl #8" || o == "lsl #24" {
		return o, -1, 0, nil
	}
	return "", -1, 0, fmt.Errorf("operand %q", o)
}

// smallFloats are the immediates of fmov that the kernels need.
var smallFloats = map[string]int{"16.0": 0x30, "1.0": 0x70, "0.5": 0x60}

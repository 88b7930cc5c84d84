package simd

import (
	"math"

	"github.com/inferflux/inferflux/tensor"
)

// Geometry of packed matrices.
const (
	panelRows = 16 // rows of a panel: the lanes of a 512-bit register of float32
	blockCols = 32 // columns that share a scale of the activations
	groupCols = 4  // columns that one lane of an integer dot product sums
	groups    = blockCols / groupCols
	superCols = 256 // columns of a super-block of the K types
)

// kind says which terms a block's product has. Kernels exist once per kind, not
// once per type.
type kind uint8

const (
	signed     kind = 0 // w = d·q, q in -128..127; its code is q+128
	affine     kind = 1 // w = d·q + m, q in 0..31
	halves     kind = 2 // with it: the first and last 16 columns have their own d and m
	signed16        = signed | halves
	affine16        = affine | halves
	signedZero      = 128 // the code of q = 0
)

// scaleLayout says how the scales of a panel are stored. Each item is a vector
// of 16, one for each row of the panel.
type scaleLayout uint8

const (
	scaleF16         scaleLayout = iota // per block: d binary16
	scaleBF16                           // per block: d bfloat16
	scaleMinF16                         // per block: d, m binary16
	scaleSuper                          // per super-block: d binary16, int8 scale of each group
	scaleMinSuper                       // per super-block: d, dmin binary16, uint8 scale and min of each block
	scaleMinSuperNib                    // per super-block: d, dmin binary16, scale | min<<4 of each group
)

// kernelID names a packed form for tiers that have a kernel for each: types that
// differ only in their levels share one.
type kernelID uint8

const (
	kernelQ4_0 kernelID = iota
	kernelQ4_1
	kernelQ5_0
	kernelQ5_1
	kernelQ8_0
	kernelQ2_K
	kernelQ3_K
	kernelQ4_K
	kernelQ5_K
	kernelQ6_K
	kernelIQ4_NL
	kernelIQ4_XS
	kernelMXFP4
	numKernels
)

// format is how weights of one tensor type are packed. A code has low bits and
// high bits that are stored apart: in each block's low plane, then its high one.
// Byte 4·lane+j of 64-byte vector v of a plane has the codes of column 4g+j of
// row lane, several groups g to a byte:
//
//	8 bits: vector g
//	4 bits: vector g%4, bits 4·(g/4) and up
//	2 bits: vector g/4, bits 2·(g%4) and up
//	1 bit:  vector 0, bit g
//
// For kind signed, a code becomes q+128 through levels (4-bit codes) or by adding
// offset.
type format struct {
	kernel    kernelID
	kind      kind
	low, high int // bits
	offset    uint8
	levels    *[16]uint8
	scales    scaleLayout
	unpack    func(src []byte, u *unpacked)
}

// unpacked is one block, or super-block, of a row in the form common to all
// types.
type unpacked struct {
	codes  [superCols]uint8
	d, m   uint16 // bits of the scale and minimum, binary16 or bfloat16
	scales [16]int8
	mins   [16]uint8
}

func (f *format) bits() int { return f.low + f.high }

// blockBytes is the size of the codes of one block of a panel.
func (f *format) blockBytes() int { return panelRows * blockCols / 8 * f.bits() }

// span is the number of columns that unpack fills in.
func (f *format) span() int {
	if f.scales >= scaleSuper {
		return superCols
	}
	return blockCols
}

// scaleBytes is the size of the scales of one span of a panel.
func (f *format) scaleBytes() int {
	switch f.scales {
	case scaleF16, scaleBF16:
		return 2 * panelRows
	case scaleMinF16:
		return 4 * panelRows
	case scaleSuper:
		if f.kind&halves != 0 {
			return (2 + 16) * panelRows
		}
		return (2 + 8) * panelRows
	case scaleMinSuper:
		return (4 + 2*8) * panelRows
	default: // scaleMinSuperNib
		return (4 + 16) * panelRows
	}
}

// formats has the types whose blocks are multiplied as integers.
var formats = map[tensor.Type]*format{
	tensor.Q4_0:   {kernel: kernelQ4_0, kind: signed, low: 4, offset: signedZero - 8, scales: scaleF16, unpack: unpackQ4_0},
	tensor.Q4_1:   {kernel: kernelQ4_1, kind: affine, low: 4, scales: scaleMinF16, unpack: unpackQ4_1},
	tensor.Q5_0:   {kernel: kernelQ5_0, kind: signed, low: 4, high: 1, offset: signedZero - 16, scales: scaleF16, unpack: unpackQ5_0},
	tensor.Q5_1:   {kernel: kernelQ5_1, kind: affine, low: 4, high: 1, scales: scaleMinF16, unpack: unpackQ5_1},
	tensor.Q8_0:   {kernel: kernelQ8_0, kind: signed, low: 8, scales: scaleF16, unpack: unpackQ8_0},
	tensor.Q2_K:   {kernel: kernelQ2_K, kind: affine16, low: 2, scales: scaleMinSuperNib, unpack: unpackQ2_K},
	tensor.Q3_K:   {kernel: kernelQ3_K, kind: signed16, low: 2, high: 1, offset: signedZero - 4, scales: scaleSuper, unpack: unpackQ3_K},
	tensor.Q4_K:   {kernel: kernelQ4_K, kind: affine, low: 4, scales: scaleMinSuper, unpack: unpackQ4_K},
	tensor.Q5_K:   {kernel: kernelQ5_K, kind: affine, low: 4, high: 1, scales: scaleMinSuper, unpack: unpackQ5_K},
	tensor.Q6_K:   {kernel: kernelQ6_K, kind: signed16, low: 4, high: 2, offset: signedZero - 32, scales: scaleSuper, unpack: unpackQ6_K},
	tensor.IQ4_NL: {kernel: kernelIQ4_NL, kind: signed, low: 4, levels: &iq4Levels, scales: scaleF16, unpack: unpackQ4_0},
	tensor.IQ4_XS: {kernel: kernelIQ4_XS, kind: signed, low: 4, levels: &iq4Levels, scales: scaleSuper, unpack: unpackIQ4_XS},
	tensor.MXFP4:  {kernel: kernelMXFP4, kind: signed, low: 4, levels: &fp4Levels, scales: scaleBF16, unpack: unpackMXFP4},
}

func levelCodes(levels [16]int8) [16]uint8 {
	var l [16]uint8
	for i, v := range levels {
		l[i] = uint8(signedZero + int(v))
	}
	return l
}

var (
	// iq4Levels: ggml-common.h, kvalues_iq4nl.
	iq4Levels = levelCodes([16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113})
	// fp4Levels are twice the values of E2M1 (OCP Microscaling Formats 1.0).
	fp4Levels = levelCodes([16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12})
)

// floatType is the element type of a packed floating-point matrix.
type floatType uint8

const (
	float32Weights floatType = iota
	float16Weights
	bfloat16Weights
)

func (t floatType) size() int {
	if t == float32Weights {
		return 4
	}
	return 2
}

// at is element i of packed weights.
func (t floatType) at(w []byte, i int) float32 {
	switch t {
	case float32Weights:
		return math.Float32frombits(le.Uint32(w[4*i:]))
	case float16Weights:
		return tensor.F16ToF32(le.Uint16(w[2*i:]))
	default:
		return tensor.BF16ToF32(le.Uint16(w[2*i:]))
	}
}

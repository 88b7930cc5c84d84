// Command asmgen writes the assembly kernels of package simd. For amd64 each is
// described once, for vectors of 64 bytes (AVX-512 with VNNI) and of 32 (AVX2),
// integer products also for tiles (AMX); for arm64 once, for its tiers of NEON
// (neon*.go). Run it by `go generate ./simd`.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", ".", "directory to write to")
	count := flag.Bool("count", false, "write nothing, but count the instructions in loops of the arm64 kernels")
	flag.Parse()
	if *count {
		countLoops(os.Stdout)
		return
	}
	for name, text := range generate() {
		if err := os.WriteFile(filepath.Join(*dir, name), []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// generate returns the files by name.
func generate() map[string]string {
	files := map[string]string{}
	for _, width := range []int{64, 32} {
		all := asm{width: width}
		for _, part := range []struct {
			name string
			emit func(*asm)
		}{
			{"product", emitProducts},
			{"vector", emitVectors},
			{"attention", emitAttention},
		} {
			a := &asm{width: width}
			part.emit(a)
			base := fmt.Sprintf("%s_%s_amd64", part.name, a.tier())
			files[base+".s"] = a.assembly()
			files[base+".go"] = a.declarations()
			all.entries = append(all.entries, a.entries...)
		}
		files[fmt.Sprintf("kernels_%s_amd64.go", all.tier())] = all.kernelSet()
	}
	a := &asm{width: 64, tiles: true}
	emitTiles(a)
	files["product_amx_amd64.s"], files["product_amx_amd64.go"] = a.assembly(), a.declarations()
	files["kernels_amx_amd64.go"] = a.kernelSet()
	generateNEON(files)
	return files
}

// entry is a kernel's place in type kernelSet: field, or field[index].
type entry struct{ field, index, function string }

// asm collects the text of one file of kernels.
type asm struct {
	width   int    // of a vector, bytes
	tiles   bool   // products by AMX
	name    string // of the tier, if the width doesn't say
	text    bytes.Buffer
	decl    bytes.Buffer
	entries []entry
	consts  map[string]bool
	held    map[float32]string // constants in registers
	data    bytes.Buffer
	labels  int
	records string // fields of type recordForm that are set
}

func (a *asm) wide() bool { return a.width == 64 }

func (a *asm) tier() string {
	if a.name != "" {
		return a.name
	}
	if a.tiles {
		return "amx"
	}
	if a.wide() {
		return "avx512"
	}
	return "avx2"
}

// parts is the number of vectors that 16 float32 take.
func (a *asm) parts() int { return 64 / a.width }

// v is vector register i.
func (a *asm) v(i int) string {
	if a.wide() {
		return fmt.Sprintf("Z%d", i)
	}
	return fmt.Sprintf("Y%d", i)
}

// half is the lower half of vector register i.
func (a *asm) half(i int) string {
	if a.wide() {
		return fmt.Sprintf("Y%d", i)
	}
	return fmt.Sprintf("X%d", i)
}

func mem(offset int, base string) string { return fmt.Sprintf("%d(%s)", offset, base) }

// op writes an instruction, operands in the order of Go's assembler: sources
// first, the last source of Intel's manual foremost.
func (a *asm) op(name string, args ...any) {
	s := make([]string, len(args))
	for i, v := range args {
		switch v := v.(type) {
		case int:
			s[i] = fmt.Sprintf("$%d", v)
		default:
			s[i] = fmt.Sprint(v)
		}
	}
	fmt.Fprintf(&a.text, "\t%s %s\n", name, strings.Join(s, ", "))
}

func (a *asm) comment(text string) { fmt.Fprintf(&a.text, "\t// %s\n", text) }

// label makes a label unique in the file.
func (a *asm) label(name string) string {
	a.labels++
	return fmt.Sprintf("%s%d", name, a.labels)
}

func (a *asm) at(label string) { fmt.Fprintf(&a.text, "%s:\n", label) }

// function starts a kernel that goes to a field of type kernelSet (or, as
// "field index", to an element of it), whose name it gets. Parameters are given
// as Go declares them, all of 8 bytes but for a float32 at the end.
func (a *asm) function(place, doc, params, result string) {
	field, index, _ := strings.Cut(place, " ")
	size, names := 0, 0
	for p := range strings.SplitSeq(params, ",") {
		names++
		if strings.Contains(strings.TrimSpace(p), " ") {
			size += 8 * names
			names = 0
		}
	}
	name := a.kernelName(place)
	if result != "" {
		result = " (ret " + result + ")"
		size += 4
	} else if strings.HasSuffix(params, "float32") {
		size -= 4
	}
	a.entries = append(a.entries, entry{field, index, name})
	fmt.Fprintf(&a.decl, "\n// %s %s\n//\n//go:noescape\nfunc %s(%s)%s\n", name, doc, name, params, result)
	fmt.Fprintf(&a.text, "\n// func %s(%s)%s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, params, result, name, size)
}

func (a *asm) kernelName(place string) string {
	return strings.ReplaceAll(place, " ", "") + strings.ToUpper(a.tier())
}

// alias puts one kernel in another's place too.
func (a *asm) alias(place, kernel string) {
	field, index, _ := strings.Cut(place, " ")
	a.entries = append(a.entries, entry{field, index, a.kernelName(kernel)})
}

// kernelSet is the file with the table of kernels.
func (a *asm) kernelSet() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%spackage simd\n\n// kernels%s are the kernels of a tier.\nvar kernels%[2]s = kernelSet{\n", generated, strings.ToUpper(a.tier()))
	if a.records != "" {
		fmt.Fprintf(&b, "\trecords: recordForm{%s},\n", a.records)
	}
	open := ""
	for _, e := range a.entries {
		if open != "" && open != e.field {
			b.WriteString("\t},\n")
			open = ""
		}
		switch e.index {
		case "":
			fmt.Fprintf(&b, "\t%s: %s,\n", e.field, e.function)
		default:
			if open == "" {
				fmt.Fprintf(&b, "\t%s: [...]%sKernel{\n", e.field, strings.TrimRight(e.field, "0123456789"))
				open = e.field
			}
			fmt.Fprintf(&b, "\t\tkernel%s: %s,\n", e.index, e.function)
		}
	}
	if open != "" {
		b.WriteString("\t},\n")
	}
	b.WriteString("}\n")
	text, err := format.Source([]byte(b.String()))
	if err != nil {
		log.Fatal(err)
	}
	return string(text)
}

func (a *asm) ret() { fmt.Fprintf(&a.text, "\tVZEROUPPER\n\tRET\n") }

// float is a memory operand with a float32 or int32 constant in every lane;
// bytes likewise has a byte in every place.
func (a *asm) float(f float32) string { return a.word(math.Float32bits(f)) }
func (a *asm) bytes(b byte) string    { return a.word(uint32(b) * 0x01010101) }

func (a *asm) word(w uint32) string {
	name := fmt.Sprintf("c%08x<>", w)
	if a.consts == nil {
		a.consts = map[string]bool{}
	}
	if !a.consts[name] {
		a.consts[name] = true
		for i := 0; i < 64; i += 8 {
			fmt.Fprintf(&a.data, "DATA %s+%d(SB)/8, $0x%08x%08x\n", name, i, w, w)
		}
		fmt.Fprintf(&a.data, "GLOBL %s(SB), RODATA|NOPTR, $64\n", name)
	}
	return name + "(SB)"
}

// table is a memory operand with the given words.
func (a *asm) table(name string, words []uint32) string {
	name += "<>"
	if a.consts == nil {
		a.consts = map[string]bool{}
	}
	if !a.consts[name] {
		a.consts[name] = true
		for i, w := range words {
			fmt.Fprintf(&a.data, "DATA %s+%d(SB)/4, $%d\n", name, 4*i, w)
		}
		fmt.Fprintf(&a.data, "GLOBL %s(SB), RODATA|NOPTR, $%d\n", name, 4*len(words))
	}
	return name + "(SB)"
}

// argument is a parameter on the frame.
func argument(name string, offset int) string { return fmt.Sprintf("%s+%d(FP)", name, offset) }

const generated = "// Code generated by simd/internal/asmgen. DO NOT EDIT.\n\n"

func (a *asm) assembly() string {
	return generated + "#include \"textflag.h\"\n\n" + a.data.String() + a.text.String()
}

func (a *asm) declarations() string {
	imports := ""
	if strings.Contains(a.decl.String(), "unsafe.") {
		imports = "\nimport \"unsafe\"\n"
	}
	return generated + "package simd\n" + imports + a.decl.String()
}

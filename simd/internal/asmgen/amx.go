package main

import "fmt"

// The kernels of tier amx multiply records with tiles: two-dimensional registers
// of up to 16 rows of 64 bytes. A block's codes are a tile of 8 rows, K/4, of 16
// columns times 4; the activations of a block are one of up to 16 rows of 32
// bytes. Their product is the sums of dotKernel, to which its float operations are
// then applied. Halves of blocks are left to dotKernel: each would be a product of
// its own, and tiles no faster.
//
// While tiles are in use, and some hundred cycles after, the processor computes
// half as many floats per cycle. So the work is not mixed but alternates: the
// sums of eight blocks go to memory, then all of them are scaled. More blocks
// would leave too little of the first-level cache to the operands.
type tileKernel struct{ dotKernel }

// Tile registers: the sums of successive blocks go to four in turn, their
// operands to two. Storing a tile takes as long as multiplying it; both overlap
// if the store is some products behind.
const (
	tileSum     = 0
	tileX       = 4
	tileW       = 6
	storeBehind = 2
	tileBlocks  = 8
	sumBytes    = 16 * 64
)

func emitTiles(a *asm) {
	for _, f := range formats {
		if !f.halves {
			emitDecode(a, f)
		}
	}
	for _, k := range kinds {
		if !k.halves {
			t := tileKernel{dotKernel{asm: a, affine: k.affine}}
			t.emit("tiles " + k.name)
		}
	}
}

// emit writes a kernel. Registers: R9 activations of a tile of rows, R10 their
// scales from the first wanted row on, R11 rows wanted; R13 the distance of rows
// of activations, half that of other tiles; BX records of a panel, DI where its
// results go, R8 the distance of their rows, R14 panels left; R15 sums.
func (k *tileKernel) emit(name string) {
	k.function(name, "is dotPortable for one kind, up to tilesBlocks blocks of several panels, and all rows.",
		"dst unsafe.Pointer, stride uintptr, recs unsafe.Pointer, panels, n int, x unsafe.Pointer, step, tileStep uintptr, tile, skip, rows, first int, sums, config unsafe.Pointer", "")
	k.op("MOVQ", "config+104(FP)", "AX")
	k.loadConfig("AX")
	k.op("MOVQ", "dst+0(FP)", "DI")
	k.op("MOVQ", "stride+8(FP)", "R8")
	k.op("MOVQ", "x+40(FP)", "R9")
	k.op("MOVQ", "sums+96(FP)", "R15")
	k.op("MOVQ", 32, "R13")
	tile, panel := k.label("tile"), k.label("panel")
	k.at(tile)
	k.op("MOVQ", "tile+64(FP)", "R11")
	k.op("MOVQ", "R11", "R10")
	k.op("SHLQ", 5, "R10")
	k.op("ADDQ", "R9", "R10")
	k.op("MOVQ", "skip+72(FP)", "AX")
	k.op("SUBQ", "AX", "R11")
	k.op("CMPQ", "R11", "rows+80(FP)")
	k.op("CMOVQGT", "rows+80(FP)", "R11")
	k.op("IMUL3Q", actScaleSize, "AX", "AX")
	k.op("ADDQ", "AX", "R10")
	k.op("MOVQ", "recs+16(FP)", "BX")
	k.op("MOVQ", "panels+24(FP)", "R14")
	k.at(panel)
	k.sums()
	k.scale()
	k.op("MOVQ", "n+32(FP)", "AX")
	k.op("IMULQ", recordBytes, "AX")
	k.op("ADDQ", "AX", "BX")
	k.op("ADDQ", 64, "DI")
	k.op("DECQ", "R14")
	k.op("JNZ", panel)
	k.op("MOVQ", "panels+24(FP)", "AX") // DX is behind the last panel's rows
	k.op("SHLQ", 6, "AX")
	k.op("LEAQ", "64(DX)", "DI")
	k.op("SUBQ", "AX", "DI")
	k.op("ADDQ", "tileStep+56(FP)", "R9")
	k.op("MOVQ", 0, "skip+72(FP)")
	k.op("SUBQ", "R11", "rows+80(FP)")
	k.op("JNZ", tile)
	k.release()
	k.ret()
}

// sums multiplies the blocks of a panel with a tile of rows.
func (k *tileKernel) sums() {
	some, loop, done := k.label("some"), k.label("block"), k.label("done")
	k.op("MOVQ", "R9", "SI")
	k.op("MOVQ", "n+32(FP)", "CX")
	k.op("CMPQ", "CX", tileBlocks)
	k.op("JNE", some)
	for i := range tileBlocks + storeBehind {
		if i < tileBlocks {
			k.product(i, "BX", recordBytes*i)
		}
		if i >= storeBehind {
			k.storeTile(tileSum+(i-storeBehind)%4, "R15", "R13", sumBytes*(i-storeBehind))
		}
	}
	k.op("JMP", done)
	k.at(some)
	k.op("MOVQ", "BX", "AX")
	k.at(loop)
	k.product(0, "AX", 0)
	k.storeTile(tileSum, "R15", "R13", 0)
	k.op("ADDQ", recordBytes, "AX")
	k.op("ADDQ", sumBytes, "R15")
	k.op("DECQ", "CX")
	k.op("JNZ", loop)
	k.op("MOVQ", "sums+96(FP)", "R15")
	k.at(done)
}

// product starts the sums of block i, whose record is at an offset from base, and
// moves SI to the next block.
func (k *tileKernel) product(i int, base string, record int) {
	x, w, sum := tileX+i%2, tileW+i%2, tileSum+i%4
	k.loadTile(x, "SI", "R13", 1, 0)
	k.loadTile(w, base, "R13", 2, record)
	k.zeroTile(sum)
	k.dotTile(sum, x, w, !k.affine)
	k.op("ADDQ", "step+48(FP)", "SI")
}

// Vector registers: the results of up to 16 rows, then these.
const (
	tileD = 16 + iota
	tileM
	tileRowSum
	tileAcc
	tileTmp
)

// scale adds the sums, scaled, to the results of a panel, and leaves DX behind
// their last row.
func (k *tileKernel) scale() {
	k.op("MOVQ", "skip+72(FP)", "CX")
	k.op("SHLQ", 6, "CX")
	k.op("ADDQ", "R15", "CX") // sums of the first row
	k.op("MOVQ", "R10", "SI")
	k.op("MOVQ", "R11", "R12")
	k.op("MOVQ", "DI", "DX")
	k.eachRowCount([]int{16, 8, 4, 2, 1}, func(rows int) { k.scaleRows(rows) })
}

// scaleRows does that for a number of rows, whose sums are at CX and whose scales
// at SI, and moves both to the next.
func (k *tileKernel) scaleRows(rows int) {
	loop, start := k.label("block"), k.label("start")
	for r := range rows {
		k.logic("VPXOR", k.v(r), k.v(r), k.v(r))
	}
	k.op("CMPQ", "first+88(FP)", 0)
	k.op("JNE", start)
	k.rowPointer(rows, func(r int) { k.op("VMOVUPS", "(AX)", k.v(r)) })
	k.at(start)
	k.op("MOVQ", "n+32(FP)", "AX")
	k.at(loop)
	s := blockScales{d0: k.v(tileD), m0: k.v(tileM), sum: k.v(tileRowSum)}
	k.op("VMOVUPS", mem(recordD, "BX"), s.d0)
	if k.affine {
		k.op("VMOVUPS", mem(recordM, "BX"), s.m0)
	}
	k.op("VMOVUPS", mem(recordSum, "BX"), s.sum)
	for r := range rows {
		k.op("VCVTDQ2PS", mem(64*r, "CX"), k.v(tileAcc))
		k.finish(r, "SI", k.v(tileAcc), "", k.v(r), k.v(tileTmp), s)
	}
	k.op("ADDQ", recordBytes, "BX")
	k.op("ADDQ", "step+48(FP)", "SI")
	k.op("ADDQ", sumBytes, "CX")
	k.op("DECQ", "AX")
	k.op("JNZ", loop)
	k.rowPointer(rows, func(r int) { k.op("VMOVUPS", k.v(r), "(AX)") })
	for _, p := range []struct {
		register, perBlock string
		perRow             int
	}{{"BX", fmt.Sprint("$", recordBytes), 0}, {"SI", "step+48(FP)", actScaleSize}, {"CX", fmt.Sprint("$", sumBytes), 64}} {
		k.op("MOVQ", p.perBlock, "AX")
		k.op("IMULQ", "n+32(FP)", "AX")
		k.op("SUBQ", "AX", p.register)
		k.op("ADDQ", p.perRow*rows, p.register)
	}
}

// Go's assembler doesn't know the tile instructions: their bytes follow, by
// Intel's Software Developer's Manual, volume 2. All are VEX.128.0F38.W0.

// Prefixes, as VEX encodes them.
const (
	prefixNone = iota
	prefix66
	prefixF3
	prefixF2
)

var registers = map[string]int{
	"AX": 0, "CX": 1, "DX": 2, "BX": 3, "SI": 6, "DI": 7, "R8": 8, "R9": 9,
	"R10": 10, "R11": 11, "R12": 12, "R13": 13, "R14": 14, "R15": 15,
}

// vex is the encoding of an instruction whose operands are in registers: reg and
// rm of the ModRM byte, and the third.
func vex(prefix, opcode, reg, rm, third int) []byte {
	return []byte{0xc4, 0xe2, byte(^third&15<<3 | prefix), byte(opcode), byte(0xc0 | reg<<3 | rm)}
}

// vexMemory is one with an operand at base + index·scale + offset.
func vexMemory(prefix, opcode, reg int, base, index string, scale, offset int) []byte {
	b, x := registers[base], registers[index]
	shift := map[int]int{1: 0, 2: 1, 4: 2, 8: 3}[scale]
	code := []byte{0xc4, byte(0x82 | (^x>>3&1)<<6 | (^b>>3&1)<<5), byte(0x78 | prefix), byte(opcode),
		byte(0x84 | reg<<3), byte(shift<<6 | x&7<<3 | b&7)}
	for i := range 4 {
		code = append(code, byte(offset>>(8*i)))
	}
	return code
}

// code writes an instruction as bytes.
func (a *asm) code(bytes []byte, text string, args ...any) {
	a.text.WriteString("\t")
	for i, b := range bytes {
		if i > 0 {
			a.text.WriteString("; ")
		}
		fmt.Fprintf(&a.text, "BYTE $%#02x", b)
	}
	fmt.Fprintf(&a.text, " // %s\n", fmt.Sprintf(text, args...))
}

func (a *asm) loadTile(tile int, base, index string, scale, offset int) {
	a.code(vexMemory(prefixF2, 0x4b, tile, base, index, scale, offset), "TILELOADD %d(%s)(%s*%d), T%d", offset, base, index, scale, tile)
}

// storeTile stores rows that are 2·index apart.
func (a *asm) storeTile(tile int, base, index string, offset int) {
	a.code(vexMemory(prefixF3, 0x4b, tile, base, index, 2, offset), "TILESTORED T%d, %d(%s)(%s*2)", tile, offset, base, index)
}

func (a *asm) zeroTile(tile int) { a.code(vex(prefixF2, 0x49, tile, 0, 0), "TILEZERO T%d", tile) }

// dotTile adds the products of signed x and w, signed or not, to sum.
func (a *asm) dotTile(sum, x, w int, signed bool) {
	prefix, name := prefixF3, "TDPBSUD"
	if signed {
		prefix, name = prefixF2, "TDPBSSD"
	}
	a.code(vex(prefix, 0x5e, sum, x, w), "%s T%d, T%d, T%d", name, w, x, sum)
}

func (a *asm) loadConfig(base string) {
	a.code(append([]byte{0xc4, 0xe2, 0x78, 0x49}, byte(registers[base])), "LDTILECFG (%s)", base)
}

func (a *asm) release() { a.code(vex(prefixNone, 0x49, 0, 0, 0), "TILERELEASE") }

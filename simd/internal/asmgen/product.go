package main

import (
	"fmt"
	"math/bits"
)

// packing is a packed form of weights; see type format in package simd.
type packing struct {
	name           string
	low, high      int
	affine, halves bool
	levels         bool // signed codes come from a table
	offset         int  // or by adding this
	scales         string
}

var formats = []packing{
	{name: "Q4_0", low: 4, offset: 128 - 8, scales: "f16"},
	{name: "Q4_1", low: 4, affine: true, scales: "minF16"},
	{name: "Q5_0", low: 4, high: 1, offset: 128 - 16, scales: "f16"},
	{name: "Q5_1", low: 4, high: 1, affine: true, scales: "minF16"},
	{name: "Q8_0", low: 8, scales: "f16"},
	{name: "Q2_K", low: 2, affine: true, halves: true, scales: "minSuperNib"},
	{name: "Q3_K", low: 2, high: 1, halves: true, offset: 128 - 4, scales: "super"},
	{name: "Q4_K", low: 4, affine: true, scales: "minSuper"},
	{name: "Q5_K", low: 4, high: 1, affine: true, scales: "minSuper"},
	{name: "Q6_K", low: 4, high: 2, halves: true, offset: 128 - 32, scales: "super"},
	{name: "IQ4_NL", low: 4, levels: true, scales: "f16"},
	{name: "IQ4_XS", low: 4, levels: true, scales: "super"},
	{name: "MXFP4", low: 4, levels: true, scales: "bf16"},
	{name: "NVFP4", low: 4, halves: true, levels: true, scales: "e4m3"},
	{name: "MLX2", low: 2, affine: true, scales: "minGroup"},
	{name: "MLX3", low: 2, high: 1, affine: true, scales: "minGroup"},
	{name: "MLX4", low: 4, affine: true, scales: "minGroup"},
	{name: "MLX5", low: 4, high: 1, affine: true, scales: "minGroup"},
	{name: "MLX6", low: 4, high: 2, affine: true, scales: "minGroup"},
	{name: "MLX8", low: 8, affine: true, scales: "minGroup"},
}

// kinds are what type kind in package simd tells apart.
var kinds = []struct {
	name           string
	affine, halves bool
}{{"Signed", false, false}, {"Affine", true, false}, {"Signed16", false, true}, {"Affine16", true, true}}

// Operands in a format's parameters (type kernelParams), which start with the
// levels.
const (
	paramsGroupBlocks = "16(R11)"
	paramsScaleType   = "24(R11)"
	paramsScaleBytes  = "32(R11)"
)

// Offsets in a record (type record) and in actScales.
const (
	recordD      = 512
	recordM      = recordD + 2*64
	recordSum    = recordM + 2*64
	recordBytes  = recordSum + 64
	actD         = 0
	actZ         = 4
	actSum       = 8
	actZero      = 12
	actHalf      = 16
	actScaleSize = 24
)

// zero is the stored code of q = 0, of signed codes without levels.
func (f *packing) zero() int { return 128 - f.offset }

func (f *packing) blockBytes() int { return 64 * (f.low + f.high) }

// header is the part of a super-block's scales before those of its blocks,
// perBlock each block's part; without super-blocks only perBlock counts. A group
// has only a header, the size of which its format's parameters tell.
func (f *packing) header() int {
	switch f.scales {
	case "super":
		return 32
	case "minSuper", "minSuperNib":
		return 64
	}
	return 0
}

func (f *packing) perBlock() int {
	switch f.scales {
	case "minF16":
		return 64
	case "minGroup":
		return 0
	case "super":
		if f.halves {
			return 32
		}
		return 16
	case "minSuper", "minSuperNib":
		return 32
	}
	return 32
}

func emitProducts(a *asm) {
	for _, f := range formats {
		emitDecode(a, f)
	}
	if a.wide() {
		for rows := 1; rows <= 8; rows++ {
			for _, f := range formats {
				if rows <= 5 || !f.halves { // else there are too few registers
					emitFused(a, f, rows)
				}
			}
		}
	}
	for _, k := range kinds {
		d := dotKernel{asm: a, affine: k.affine, halves: k.halves}
		d.emit("dot " + k.name)
	}
	if a.wide() {
		a.alias("dot AffineLarge", "dot Affine")
	} else {
		d := dotKernel{asm: a, affine: true, large: true}
		d.emit("dot AffineLarge")
	}
	for _, t := range []string{"F32", "F16", "BF16", "MXFP8"} {
		emitDotFloat(a, t)
	}
	emitQuantize(a)
}

func emitDecode(a *asm, f packing) {
	a.function("decode "+f.name, "decodes n blocks of a panel, whole super-blocks if the format has them.",
		"codes, scales, params unsafe.Pointer, n int, dst unsafe.Pointer", "")
	a.op("MOVQ", "codes+0(FP)", "R8")
	a.op("MOVQ", "scales+8(FP)", "R9")
	a.op("MOVQ", "params+16(FP)", "R11")
	a.op("MOVQ", "n+24(FP)", "CX")
	a.op("MOVQ", "dst+32(FP)", "DI")
	d := decoder{asm: a, packing: f}
	d.setUp()
	d.eachBlock(func() {
		for d.part = range a.parts() {
			at := d.part * a.width
			d.loadScales()
			d.decodeBlock(func(g int) { d.store(d.v(rCode), 64*g+at) })
			d.store(d.v(rD0), recordD+at)
			if f.halves {
				d.store(d.v(rD1), recordD+64+at)
			}
			if f.affine {
				d.store(d.v(rM0), recordM+at)
				if f.halves {
					d.store(d.v(rM1), recordM+64+at)
				}
			}
			d.store(d.v(rSum0), recordSum+at)
		}
		a.op("ADDQ", recordBytes, "DI")
	})
	a.ret()
}

func (a *asm) store(v string, offset int) { a.op("VMOVUPS", v, mem(offset, "DI")) }

// emitFused emits the product of whole panels and a few rows, without a record in
// between. The float operations are those of dotKernel.
func emitFused(a *asm, f packing, rows int) {
	a.function(fmt.Sprintf("fused%d %s", rows, f.name), fmt.Sprintf("multiplies n panels with %d rows of activations.", rows),
		"dst unsafe.Pointer, stride uintptr, panel unsafe.Pointer, n, panelBytes, scaleOffset int, params unsafe.Pointer, blocks int, x, xScales unsafe.Pointer, step uintptr", "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "panel+16(FP)", "DX")
	a.op("MOVQ", "panelBytes+32(FP)", "R13")
	a.op("MOVQ", "params+48(FP)", "R11")
	a.op("MOVQ", "step+80(FP)", "AX")
	halves := 1
	if f.halves {
		halves = 2
	}
	d := decoder{asm: a, packing: f}
	// Adding the offset takes an instruction for each of 8 groups, starting the
	// sums elsewhere one for each sum.
	d.stored = f.offset != 0 && rows*halves < 8
	d.setUp()
	a.op("LEAQ", mem(codesToL1, "DX"), "R15")
	a.op("MOVQ", "DX", "R14")
	a.op("ADDQ", "scaleOffset+40(FP)", "R14")
	panel := a.label("panel")
	a.at(panel)
	a.op("MOVQ", "DX", "R8")
	a.op("MOVQ", "DX", "R9")
	a.op("ADDQ", "scaleOffset+40(FP)", "R9")
	a.op("MOVQ", "blocks+56(FP)", "CX")
	a.op("MOVQ", "x+64(FP)", "SI")
	a.op("MOVQ", "xScales+72(FP)", "BX")
	acc := func(r, half int) string { return a.v(rAcc + r*halves + half) }
	out := func(r int) string { return a.v(rAcc + rows*halves + r) }
	for r := range rows {
		a.logic("VPXOR", out(r), out(r), out(r))
	}
	k := dotKernel{asm: a, affine: f.affine, halves: f.halves}
	d.eachBlock(func() {
		d.prefetch()
		d.loadScales()
		for r := range rows {
			for half := range halves {
				k.clear(acc(r, half), r, "BX", half)
				if d.stored {
					a.op("VPSRAD", 7-bits.TrailingZeros(uint(f.zero())), acc(r, half), acc(r, half))
				}
			}
		}
		d.decodeBlock(func(g int) {
			for r := range rows {
				a.op("VPDPBUSD.BCST", mem(32*r+4*g, "SI"), d.v(rCode), acc(r, g/4*(halves-1)))
			}
		})
		for r := range rows {
			a.op("VCVTDQ2PS", acc(r, 0), acc(r, 0))
			second := ""
			if f.halves {
				second = acc(r, 1)
				a.op("VMULPS", a.v(rD0), acc(r, 0), acc(r, 0))
				a.op("VCVTDQ2PS", second, second)
			}
			k.finish(r, "BX", acc(r, 0), second, out(r), a.v(rTmp), blockScales{a.v(rD0), a.v(rD1), a.v(rM0), a.v(rM1), a.v(rSum0)})
		}
		a.op("ADDQ", "AX", "SI")
		a.op("ADDQ", "AX", "BX")
	})
	a.op("MOVQ", "DI", "R8")
	for r := range rows {
		a.op("VMOVUPS", out(r), "(R8)")
		if r < rows-1 {
			a.op("ADDQ", "stride+8(FP)", "R8")
		}
	}
	a.op("ADDQ", 64, "DI")
	a.op("ADDQ", "R13", "DX")
	a.op("DECQ", "n+24(FP)")
	a.op("JNZ", panel)
	a.ret()
}

// How far ahead of their use codes are fetched, bytes: from memory to the second
// level of cache, which can wait for more lines at a time than the first, and
// from there to the first. The processor's own prefetching stops at every page.
// The second level holds much more, but memory slows down when it is asked for
// lines of more than two pages at a time.
const (
	codesToL1  = 1024
	codesToL2  = 3072
	scalesToL1 = 128
)

// prefetch fetches what comes after the block at hand: the codes at a fixed
// distance, which near the panel's end leads into the next one's, past the scales;
// the scales, of which a block has only half a line, at the same place of the next
// panel. Registers: R15 the codes that are codesToL1 ahead, R14 where the codes of
// their panel end, R13 the size of a panel.
func (d *decoder) prefetch() {
	for line := 0; line < d.blockBytes(); line += 64 {
		d.op("PREFETCHT1", mem(line+codesToL2-codesToL1, "R15"))
		d.op("PREFETCHT0", mem(line, "R15"))
	}
	same := d.label("same")
	d.op("ADDQ", d.blockBytes(), "R15")
	d.op("CMPQ", "R15", "R14")
	d.op("JLT", same)
	d.op("ADDQ", "R13", "R14")
	d.op("ADDQ", "R13", "R15")
	d.op("SUBQ", "scaleOffset+40(FP)", "R15")
	d.at(same)
	d.op("PREFETCHT1", "(R9)(R13*1)")
	if d.header() == 64 || d.scales == "minGroup" {
		d.op("PREFETCHT1", "-64(R9)(R13*1)") // R9 is past a header of a line
	}
	d.op("PREFETCHT0", mem(scalesToL1, "R9"))
}

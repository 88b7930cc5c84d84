package main

import "fmt"

func emitAttention(a *asm) {
	for _, f16 := range []bool{true, false} {
		a.emitScores(f16)
	}
	a.emitSoftmax()
	for _, f16 := range []bool{true, false} {
		a.emitAddValues(f16)
	}
	a.emitQuantizeKV()
	a.emitWidenHalves()
	a.emitWidenKeys()
	a.emitWidenValues()
}

// scoreBytes is the size of a row of scores.
const scoreBytes = 4 * (256 + 16)

// emitScores emits the products of rows queries, few of them, with the keys of a
// piece: n panels, at most 4, as dotFloatPortable computes them. Meanwhile as many
// bytes from next on are fetched. Registers: DX results, R9 queries, BX keys, R13
// next, CX chunks of 16 columns left, AX and R10 bytes of a panel and of three.
func (a *asm) emitScores(f16 bool) {
	name, size, load := "scores F32", 4, "VMOVUPS"
	if f16 {
		name, size, load = "scores F16", 2, "VCVTPH2PS"
	}
	a.function(name, "is dotFloatPortable for up to 4 panels; it prefetches what comes next.",
		"dst, panels unsafe.Pointer, n, chunks int, x unsafe.Pointer, step uintptr, rows int, next unsafe.Pointer", "")
	a.op("MOVQ", "dst+0(FP)", "DX")
	a.op("MOVQ", "x+32(FP)", "R9")
	a.op("MOVQ", "step+40(FP)", "R11")
	a.op("MOVQ", "rows+48(FP)", "R12")
	a.op("MOVQ", "next+56(FP)", "R13")
	a.op("MOVQ", scoreBytes, "R8")
	a.op("MOVQ", "chunks+24(FP)", "AX")
	a.op("IMULQ", 256*size, "AX")
	a.eachRowCount([]int{6, 4, 3, 2, 1}, func(rows int) {
		many := 4
		if !a.wide() {
			many = 12 / (2 * rows) // panels whose sums fit
			if many > 2 {
				many = 2
			}
		}
		a.op("MOVQ", "panels+8(FP)", "BX")
		a.op("MOVQ", "n+16(FP)", "R10")
		a.op("MOVQ", "DX", "DI")
		for _, panels := range []int{many, 1} {
			loop, fewer := a.label("panels"), a.label("fewer")
			a.at(loop)
			a.op("CMPQ", "R10", panels)
			a.op("JLT", fewer)
			a.scores(rows, panels, size, load)
			a.op("ADDQ", 64*panels, "DI")
			a.op("SUBQ", panels, "R10")
			a.op("JMP", loop)
			a.at(fewer)
			if many == 1 {
				break
			}
		}
		a.op("ADDQ", 64*rows, "R9")
		a.op("MOVQ", "panels+8(FP)", "R13") // fetched already
	})
	a.ret()
}

// scores emits the products of the next panels, from BX on, with rows queries.
func (a *asm) scores(rows, panels, size int, load string) {
	n := panels * a.parts()
	x := a.v(n)
	sum := func(r, i int) string { return a.v(n + 1 + r*n + i) }
	for r := range rows {
		for i := range n {
			a.op("VXORPS", sum(r, i), sum(r, i), sum(r, i))
		}
	}
	a.op("MOVQ", "R9", "SI")
	a.op("MOVQ", "chunks+24(FP)", "CX")
	places := []string{"(BX)", "(BX)(AX*1)", "(BX)(AX*2)", "(BX)(R15*1)"}
	if panels > 3 {
		a.op("LEAQ", "(AX)(AX*2)", "R15")
	}
	loop := a.label("chunk")
	a.at(loop)
	fetched := 0
	for i := range 16 {
		for p := range panels {
			for part := range a.parts() {
				a.op(load, fmt.Sprintf("%d%s", (16*i+part*a.width/4)*size, places[p]), a.v(p*a.parts()+part))
			}
		}
		for ; fetched < (i+1)*16*size*panels; fetched += 64 {
			a.op("PREFETCHT1", mem(fetched, "R13"))
		}
		for r := range rows {
			a.op("VBROADCASTSS", mem(64*r+4*i, "SI"), x)
			for j := range n {
				a.op("VFMADD231PS", x, a.v(j), sum(r, j))
			}
		}
	}
	a.op("ADDQ", fetched, "R13")
	a.op("ADDQ", 16*16*size, "BX")
	a.op("ADDQ", "R11", "SI")
	a.op("DECQ", "CX")
	a.op("JNZ", loop)
	for range panels - 1 {
		a.op("ADDQ", "AX", "BX")
	}
	a.op("MOVQ", "DI", "SI")
	for r := range rows {
		for i := range n {
			a.op("VMOVUPS", sum(r, i), mem(i*a.width, "SI"))
		}
		a.op("ADDQ", "R8", "SI")
	}
}

// emitSoftmax emits the softmax, but for the division, of rows queries and one
// chunk, of which n positions, a multiple of 16, are scored; what isn't seen has a
// score so low that its exponential is 0.
func (a *asm) emitSoftmax() {
	v := a.v
	a.function("softmax", "turns n scores of each row into exponentials; see attentionOps.",
		"s unsafe.Pointer, n, rows int, top, total unsafe.Pointer", "")
	a.op("MOVQ", "s+0(FP)", "SI")
	a.op("MOVQ", "rows+16(FP)", "R8")
	a.op("MOVQ", "top+24(FP)", "DX")
	a.op("MOVQ", "total+32(FP)", "DI")
	if a.wide() {
		defer a.holdExp(16)()
	}
	row := a.label("row")
	a.at(row)
	a.op("VMOVUPS", mem(0, "SI"), v(8))
	for p := 1; p < a.parts(); p++ {
		a.op("VMAXPS", mem(p*a.width, "SI"), v(8), v(8))
	}
	a.op("MOVQ", "n+8(FP)", "CX")
	a.each(func(m func(string) string, part int) { a.op("VMAXPS", m("SI"), v(8), v(8)) })
	if a.wide() {
		a.op("VEXTRACTF64X4", 1, "Z8", "Y9")
		a.op("VMAXPS", "Y9", "Y8", "Y8")
	}
	a.reduce("VMAXPS", "X8", "Y8")
	a.op("VMOVSS", "X8", "(DX)")
	a.op("VBROADCASTSS", "X8", v(5))
	for p := range a.parts() {
		a.op("VXORPS", v(8+p), v(8+p), v(8+p))
	}
	a.op("MOVQ", "n+8(FP)", "CX")
	a.each(func(m func(string) string, part int) {
		a.op("VMOVUPS", m("SI"), v(0))
		a.op("VSUBPS", v(5), v(0), v(0))
		a.expNegative(v(0), v(1), v(2))
		a.op("VADDPS", v(0), v(8+part), v(8+part))
		a.op("VMOVUPS", v(0), m("SI"))
	})
	if a.wide() {
		a.op("VEXTRACTF64X4", 1, "Z8", "Y9")
	}
	a.op("VADDPS", "Y9", "Y8", "Y8")
	a.reduce("VADDPS", "X8", "Y8")
	a.op("VMOVSS", "X8", "(DI)")
	a.op("ADDQ", scoreBytes, "SI")
	a.op("ADDQ", 4, "DX")
	a.op("ADDQ", 4, "DI")
	a.op("DECQ", "R8")
	a.op("JNZ", row)
	a.ret()
}

// reduce combines the 8 lanes of y, whose low half is x, in x's first; X9 is
// clobbered.
func (a *asm) reduce(combine, x, y string) {
	a.op("VEXTRACTF128", 1, y, "X9")
	a.op(combine, "X9", x, x)
	a.op("VPERMILPS", 0x4e, x, "X9")
	a.op(combine, "X9", x, x)
	a.op("VPERMILPS", 0xb1, x, "X9")
	a.op(combine, "X9", x, x)
}

// emitQuantizeKV emits the conversion to KVQ8 of n blocks of a row.
func (a *asm) emitQuantizeKV() {
	a.function("quantizeKV", "is quantizeKVPortable for n blocks of 32.",
		"codes, scales, x unsafe.Pointer, n int", "")
	a.op("MOVQ", "codes+0(FP)", "DI")
	a.op("MOVQ", "scales+8(FP)", "DX")
	a.op("MOVQ", "x+16(FP)", "SI")
	a.op("MOVQ", "n+24(FP)", "CX")
	n := 128 / a.width
	x := func(i int) string { return a.v(i) } // 0 to 3
	loop := a.label("block")
	a.at(loop)
	a.comment("The largest |x|, compared as integers so that a NaN is the largest of all.")
	for i := range n {
		a.op("VMOVUPS", mem(i*a.width, "SI"), x(i))
		a.logic("VPAND", a.word(1<<31-1), x(i), a.v(4+i))
	}
	for i := 1; i < n; i++ {
		a.op("VPMAXSD", a.v(4+i), a.v(4), a.v(4))
	}
	if a.wide() {
		a.op("VEXTRACTF64X4", 1, "Z4", "Y9")
		a.op("VPMAXSD", "Y9", "Y4", "Y4")
	}
	a.reduce("VPMAXSD", "X4", "Y4")
	a.op("VMULSS", a.float(1.0/127), "X4", "X4")
	a.op("VMOVSS", a.float(0x1p-14), "X5")
	a.op("VMAXSS", "X4", "X5", "X4") // a NaN stays
	a.op("VMOVSS", a.float(65504), "X5")
	a.op("VMINSS", "X4", "X5", "X4")
	a.op("VCVTPS2PH", 0, "X4", "X4")
	a.op("VPEXTRW", 0, "X4", "(DX)")
	a.op("VCVTPH2PS", "X4", "X4")
	a.op("VMOVSS", a.float(1), "X5")
	a.op("VDIVSS", "X4", "X5", "X5")
	a.op("VBROADCASTSS", "X5", a.v(5))
	for i := range n {
		a.op("VMULPS", a.v(5), x(i), x(i))
		a.op("VCVTPS2DQ", x(i), x(i))
	}
	if a.wide() {
		a.op("VPMOVSDB", "Z0", "(DI)")
		a.op("VPMOVSDB", "Z1", "16(DI)")
	} else {
		a.op("VPACKSSDW", "Y1", "Y0", "Y0")
		a.op("VPACKSSDW", "Y3", "Y2", "Y2")
		a.op("VPACKSSWB", "Y2", "Y0", "Y0")
		a.op("VMOVDQU", a.packOrder(), "Y1")
		a.op("VPERMD", "Y0", "Y1", "Y0")
		a.op("VMOVDQU", "Y0", "(DI)")
	}
	a.op("ADDQ", 128, "SI")
	a.op("ADDQ", 32, "DI")
	a.op("ADDQ", 2, "DX")
	a.op("DECQ", "CX")
	a.op("JNZ", loop)
	a.ret()
}

// emitWidenHalves emits the conversion of n times 32 binary16 to float32.
func (a *asm) emitWidenHalves() {
	a.function("widenHalves", "converts n times 32 binary16 to float32.",
		"dst, x unsafe.Pointer, n int, next unsafe.Pointer", "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "x+8(FP)", "SI")
	a.op("MOVQ", "n+16(FP)", "CX")
	a.op("MOVQ", "next+24(FP)", "R9")
	loop := a.label("loop")
	a.at(loop)
	a.op("PREFETCHT1", "(R9)")
	for i := range 2 * a.parts() {
		a.op("VCVTPH2PS", mem(i*a.width/2, "SI"), a.v(i))
		a.op("VMOVUPS", a.v(i), mem(i*a.width, "DI"))
	}
	a.op("ADDQ", 64, "R9")
	a.op("ADDQ", 64, "SI")
	a.op("ADDQ", 128, "DI")
	a.op("DECQ", "CX")
	a.op("JNZ", loop)
	a.ret()
}

// emitWidenKeys emits the conversion of n panels of KVQ8 keys of dims columns to
// float32. Registers: R8 dims left, DX scales of the next block.
func (a *asm) emitWidenKeys() {
	a.function("widenKeys", "converts n panels of int8 with scales, dims a multiple of 32, to float32.",
		"dst, panels unsafe.Pointer, dims, n int, next unsafe.Pointer", "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "panels+8(FP)", "SI")
	a.op("MOVQ", "n+24(FP)", "CX")
	a.op("MOVQ", "next+32(FP)", "R9")
	panel, block, column := a.label("panel"), a.label("block"), a.label("column")
	a.at(panel)
	a.op("MOVQ", "dims+16(FP)", "R8")
	a.op("MOVQ", "R8", "DX")
	a.op("SHLQ", 4, "DX")
	a.op("ADDQ", "SI", "DX")
	a.at(block)
	for p := range a.parts() {
		a.op("VCVTPH2PS", mem(p*a.width/2, "DX"), a.v(8+p))
	}
	a.op("ADDQ", 32, "DX")
	a.op("MOVQ", 8, "AX")
	a.at(column)
	for i := range 4 * a.parts() {
		a.op("VPMOVSXBD", mem(i*a.width/4, "SI"), a.v(i))
		a.op("VCVTDQ2PS", a.v(i), a.v(i))
		a.op("VMULPS", a.v(8+i%a.parts()), a.v(i), a.v(i))
		a.op("VMOVUPS", a.v(i), mem(i*a.width, "DI"))
	}
	a.op("PREFETCHT1", "(R9)")
	a.op("ADDQ", 64, "R9")
	a.op("ADDQ", 64, "SI")
	a.op("ADDQ", 256, "DI")
	a.op("DECQ", "AX")
	a.op("JNZ", column)
	a.op("SUBQ", 32, "R8")
	a.op("JNZ", block)
	a.op("MOVQ", "DX", "SI")
	a.op("DECQ", "CX")
	a.op("JNZ", panel)
	a.ret()
}

// emitWidenValues emits the conversion of KVQ8 values.
func (a *asm) emitWidenValues() {
	a.function("widenValues", "converts n blocks of 32 int8 with a scale each to float32.",
		"dst, codes, scales unsafe.Pointer, n int, next unsafe.Pointer", "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "codes+8(FP)", "SI")
	a.op("MOVQ", "scales+16(FP)", "DX")
	a.op("MOVQ", "n+24(FP)", "CX")
	a.op("MOVQ", "next+32(FP)", "R9")
	block := a.label("block")
	a.at(block)
	a.op("PREFETCHT1", "(R9)")
	a.op("ADDQ", 32, "R9")
	a.op("VPBROADCASTW", "(DX)", "X8")
	a.op("VCVTPH2PS", "X8", "X8")
	a.op("VBROADCASTSS", "X8", a.v(8))
	for i := range 2 * a.parts() {
		a.op("VPMOVSXBD", mem(i*a.width/4, "SI"), a.v(i))
		a.op("VCVTDQ2PS", a.v(i), a.v(i))
		a.op("VMULPS", a.v(8), a.v(i), a.v(i))
		a.op("VMOVUPS", a.v(i), mem(i*a.width, "DI"))
	}
	a.op("ADDQ", 2, "DX")
	a.op("ADDQ", 32, "SI")
	a.op("ADDQ", 128, "DI")
	a.op("DECQ", "CX")
	a.op("JNZ", block)
	a.ret()
}

// emitAddValues emits out[r] += Σ p[r][t]·v[t]. Registers: DX out, R8 bytes of a
// row of out, R11 of v, R9 p, R13 vectors of 16 left in a row.
func (a *asm) emitAddValues(f16 bool) {
	name, size, load := "addValues F32", 4, "VMOVUPS"
	if f16 {
		name, size, load = "addValues F16", 2, "VCVTPH2PS"
	}
	a.function(name, "adds n values, weighted, to rows results.",
		"out, p, v unsafe.Pointer, dims, n, rows int, next unsafe.Pointer", "")
	a.op("MOVQ", "out+0(FP)", "DX")
	a.op("MOVQ", "p+8(FP)", "R9")
	a.op("MOVQ", "dims+24(FP)", "R8")
	a.op("MOVQ", "R8", "R11")
	a.op("SHLQ", 2, "R8")
	a.op("IMULQ", size, "R11")
	a.op("MOVQ", "rows+40(FP)", "R12")
	a.op("MOVQ", "next+48(FP)", "R10")
	a.eachRowCount([]int{6, 4, 3, 2, 1}, func(rows int) {
		a.op("MOVQ", "dims+24(FP)", "R13")
		a.op("SHRQ", 4, "R13")
		a.op("MOVQ", "DX", "DI")
		a.op("MOVQ", "v+16(FP)", "SI")
		strips := []int{1}
		switch {
		case a.wide():
			strips = []int{4, 1}
		case rows <= 2:
			strips = []int{2, 1}
		}
		for _, strip := range strips {
			n := strip * a.parts() // vectors
			loop, next := a.label("strip"), a.label("next")
			x := a.v(n)
			acc := func(r, i int) string { return a.v(n + 1 + r*n + i) }
			a.at(loop)
			a.op("CMPQ", "R13", strip)
			a.op("JLT", next)
			a.op("MOVQ", "DI", "AX")
			for r := range rows {
				for i := range n {
					a.op("VMOVUPS", mem(i*a.width, "AX"), acc(r, i))
				}
				a.op("ADDQ", "R8", "AX")
			}
			a.op("MOVQ", "n+32(FP)", "CX")
			a.op("MOVQ", "R9", "AX")
			a.op("MOVQ", "SI", "BX")
			a.op("MOVQ", "R10", "R15")
			position := a.label("position")
			a.at(position)
			for i := range n {
				a.op(load, mem(i*a.width/4*size, "BX"), a.v(i))
			}
			for at := 0; at < 16*size*strip; at += 64 {
				a.op("PREFETCHT1", mem(at, "R15"))
			}
			for r := range rows {
				a.op("VBROADCASTSS", mem(r*scoreBytes, "AX"), x)
				for i := range n {
					a.op("VFMADD231PS", x, a.v(i), acc(r, i))
				}
			}
			a.op("ADDQ", 4, "AX")
			a.op("ADDQ", "R11", "BX")
			a.op("ADDQ", "R11", "R15")
			a.op("DECQ", "CX")
			a.op("JNZ", position)
			a.op("MOVQ", "DI", "AX")
			for r := range rows {
				for i := range n {
					a.op("VMOVUPS", acc(r, i), mem(i*a.width, "AX"))
				}
				a.op("ADDQ", "R8", "AX")
			}
			a.op("ADDQ", 64*strip, "DI")
			a.op("ADDQ", 16*size*strip, "SI")
			a.op("ADDQ", 16*size*strip, "R10")
			a.op("SUBQ", strip, "R13")
			a.op("JMP", loop)
			a.at(next)
		}
		a.op("ADDQ", scoreBytes*rows, "R9")
		a.op("MOVQ", "v+16(FP)", "R10") // next is fetched already
	})
	a.ret()
}

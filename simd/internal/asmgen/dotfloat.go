package main

import "fmt"

// emitDotFloat emits dotFloatPortable for one element type. Registers: DX and R9
// results and activations of the next rows; DI, R10 and R13 results, codes and
// number of the next panels; BX panel, SI activations, CX chunks left.
func emitDotFloat(a *asm, typ string) {
	a.function("dotFloat "+typ, "is dotFloatPortable for one type.",
		"dst unsafe.Pointer, stride uintptr, panel unsafe.Pointer, panelBytes, panels, chunks int, x unsafe.Pointer, step uintptr, rows int", "")
	a.op("MOVQ", "dst+0(FP)", "DX")
	a.op("MOVQ", "stride+8(FP)", "R8")
	a.op("MOVQ", "x+48(FP)", "R9")
	a.op("MOVQ", "step+56(FP)", "R11")
	a.op("MOVQ", "rows+64(FP)", "R12")
	k := floatKernel{asm: a, typ: typ, size: 2}
	switch typ {
	case "F32":
		k.size = 4
	case "MXFP8":
		k.size = 1
	}
	counts := []int{6, 4, 3, 2, 1}
	if a.wide() {
		counts = []int{12, 8, 4, 3, 2, 1}
	}
	a.eachRowCount(counts, func(rows int) {
		a.op("MOVQ", "DX", "DI")
		a.op("MOVQ", "panel+16(FP)", "R10")
		a.op("MOVQ", "panels+32(FP)", "R13")
		for _, panels := range []int{k.panelsAtOnce(rows), 1} {
			next, skip := a.label("panels"), a.label("fewer")
			a.at(next)
			a.op("CMPQ", "R13", panels)
			a.op("JLT", skip)
			k.product(rows, panels)
			a.op("ADDQ", 64*panels, "DI")
			a.op("SUBQ", panels, "R13")
			a.op("JMP", next)
			a.at(skip)
			if panels == 1 {
				break
			}
		}
		a.op("ADDQ", 64*rows, "R9")
	})
	a.ret()
}

type floatKernel struct {
	*asm
	typ  string
	size int // of an element
}

// panelsAtOnce is the number of panels that are multiplied together with a number
// of rows: an addition takes four cycles, so at least eight sums must be under
// way, and the more there are the fewer operands are loaded for each.
func (k *floatKernel) panelsAtOnce(rows int) int {
	switch {
	case !k.wide() && (rows > 2 || rows > 1 && k.scaled()):
		return 1
	case !k.wide():
		return 2
	case rows > 4:
		return 2
	default:
		return 4
	}
}

// scaled tells that each two chunks of a panel are preceded by their scales.
func (k *floatKernel) scaled() bool { return k.typ == "MXFP8" }

// product multiplies the next panels with the next rows and moves R10 along.
func (k *floatKernel) product(rows, panels int) {
	parts := k.parts()
	vectors := panels * parts
	w := func(i int) string { return k.v(i) }
	x := k.v(vectors)
	out := func(r, i int) string { return k.v(vectors + 1 + r*vectors + i) }
	scale := func(i int) string { return k.v(vectors + 1 + rows*vectors + i) }
	for r := range rows {
		for i := range vectors {
			k.op("VXORPS", out(r, i), out(r, i), out(r, i))
		}
	}
	k.op("MOVQ", "R10", "BX")
	k.op("MOVQ", "R9", "SI")
	k.op("MOVQ", "chunks+40(FP)", "CX")
	if panels > 1 {
		k.op("MOVQ", "panelBytes+24(FP)", "AX")
	}
	if panels > 3 {
		k.op("LEAQ", "(AX)(AX*2)", "R10") // three panels further
	}
	suffix := []string{"(BX)", "(BX)(AX*1)", "(BX)(AX*2)", "(BX)(R10*1)"}
	at := func(offset, p int) string { return fmt.Sprint(offset) + suffix[p] }
	loop := k.label("chunk")
	k.at(loop)
	chunks, codes := 1, 0
	if k.scaled() {
		chunks, codes = 2, 32
		for i := range vectors {
			k.op("VPMOVZXWD", at(i%parts*k.width/2, i/parts), scale(i))
			k.op("VPSLLD", 16, scale(i), scale(i))
		}
	}
	for i := range 16 * chunks {
		for j := range vectors {
			k.load(at(codes+(16*i+j%parts*k.width/4)*k.size, j/parts), j, scale(j))
		}
		for r := range rows {
			from := mem(64*r+4*(i%16), "SI")
			if k.wide() && panels == 1 {
				k.op("VFMADD231PS.BCST", from, w(0), out(r, 0))
				continue
			}
			k.op("VBROADCASTSS", from, x)
			for j := range vectors {
				k.op("VFMADD231PS", x, w(j), out(r, j))
			}
		}
		if i%16 == 15 {
			k.op("ADDQ", "R11", "SI")
		}
	}
	k.op("ADDQ", codes+16*16*k.size*chunks, "BX")
	k.op("SUBQ", chunks, "CX")
	k.op("JNZ", loop)
	k.op("MOVQ", "DI", "AX")
	for r := range rows {
		for i := range vectors {
			k.op("VMOVUPS", out(r, i), mem(i*k.width, "AX"))
		}
		if r < rows-1 {
			k.op("ADDQ", "R8", "AX")
		}
	}
	k.op("MOVQ", "panelBytes+24(FP)", "AX")
	k.op("IMULQ", "panels+32(FP)", "AX")
	k.op("ADDQ", "panel+16(FP)", "AX") // the end of the panels
	k.op("MOVQ", "R13", "R10")
	k.op("SUBQ", panels, "R10")
	k.op("IMULQ", "panelBytes+24(FP)", "R10")
	k.op("SUBQ", "R10", "AX")
	k.op("MOVQ", "AX", "R10")
}

// load widens weights to float32 in vector register i.
func (k *floatKernel) load(from string, i int, scale string) {
	to := k.v(i)
	switch k.typ {
	case "F32":
		k.op("VMOVUPS", from, to)
	case "F16":
		k.op("VCVTPH2PS", from, to)
	case "BF16":
		k.op("VPMOVZXWD", from, to)
		k.op("VPSLLD", 16, to, to)
	case "MXFP8":
		// Bits seeeemmm to those of binary16: the sign, by which they are extended,
		// a 0, the rest, and seven of 0.
		half := k.half(i)
		k.op("VPMOVSXBW", from, half)
		k.op("VPSLLW", 7, half, half)
		k.op("VPAND", k.word(0xbfffbfff), half, half)
		k.op("VCVTPH2PS", half, to)
		k.op("VMULPS", scale, to, to)
	}
}

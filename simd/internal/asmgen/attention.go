package main

func emitAttention(a *asm) {
	a.emitSoftmax()
	for _, f16 := range []bool{true, false} {
		a.emitLoadKeys(f16)
	}
	for _, f16 := range []bool{true, false} {
		a.emitLoadValues(f16)
	}
	a.emitAddValues()
}

// emitSoftmax emits the step of a running softmax for rows queries and one block,
// of which n positions, a multiple of 16, are scored; what isn't seen has a score
// so low that its exponential is 0.
func (a *asm) emitSoftmax() {
	v := a.v
	a.function("softmax", "turns n scores of each row into exponentials; see attentionOps.",
		"s unsafe.Pointer, n, rows int, top, shrink, sum unsafe.Pointer, scale float32", "")
	a.op("MOVQ", "s+0(FP)", "SI")
	a.op("MOVQ", "rows+16(FP)", "R8")
	a.op("MOVQ", "top+24(FP)", "DX")
	a.op("MOVQ", "shrink+32(FP)", "BX")
	a.op("MOVQ", "sum+40(FP)", "DI")
	a.op("VBROADCASTSS", "scale+48(FP)", v(15))
	row := a.label("row")
	a.at(row)
	a.op("VBROADCASTSS", "(DX)", v(4)) // maximum before
	a.op("VMOVAPS", v(4), v(5))        // and now
	a.op("MOVQ", "n+8(FP)", "CX")
	a.each(func(m func(string) string, part int) {
		a.op("VMULPS", m("SI"), v(15), v(0))
		a.op("VMAXPS", v(0), v(5), v(5))
		a.op("VMOVUPS", v(0), m("SI"))
	})
	if a.wide() {
		a.op("VEXTRACTF64X4", 1, "Z5", "Y6")
		a.op("VMAXPS", "Y6", "Y5", "Y5")
	}
	a.op("VEXTRACTF128", 1, "Y5", "X6")
	a.op("VMAXPS", "X6", "X5", "X5")
	a.op("VPERMILPS", 0x4e, "X5", "X6")
	a.op("VMAXPS", "X6", "X5", "X5")
	a.op("VPERMILPS", 0xb1, "X5", "X6")
	a.op("VMAXPS", "X6", "X5", "X5")
	a.op("VMOVSS", "X5", "(DX)")
	a.op("VBROADCASTSS", "X5", v(5))
	a.op("VSUBPS", v(5), v(4), v(4))
	a.exp(v(4), v(1), v(2))
	a.op("VMOVSS", "X4", "(BX)")
	for p := range a.parts() {
		a.op("VMULPS", mem(p*a.width, "DI"), v(4), v(8+p))
	}
	a.op("MOVQ", "n+8(FP)", "CX")
	a.each(func(m func(string) string, part int) {
		a.op("VMOVUPS", m("SI"), v(0))
		a.op("VSUBPS", v(5), v(0), v(0))
		a.exp(v(0), v(1), v(2))
		a.op("VADDPS", v(0), v(8+part), v(8+part))
		a.op("VMOVUPS", v(0), m("SI"))
	})
	for p := range a.parts() {
		a.op("VMOVUPS", v(8+p), mem(p*a.width, "DI"))
	}
	a.op("ADDQ", blockBytes, "SI")
	a.op("ADDQ", 4, "DX")
	a.op("ADDQ", 4, "BX")
	a.op("ADDQ", 64, "DI")
	a.op("DECQ", "R8")
	a.op("JNZ", row)
	a.ret()
}

// blockBytes is the size of a row of scores.
const blockBytes = 4 * 64

// emitLoadValues emits the conversion of n rows of 16·groups elements.
func (a *asm) emitLoadValues(f16 bool) {
	name, size, load := "loadValues F32", 4, "VMOVUPS"
	if f16 {
		name, size, load = "loadValues F16", 2, "VCVTPH2PS"
	}
	a.function(name, "widens n rows of 16·groups elements to float32.",
		"dst, rows unsafe.Pointer, stride, n, groups int", "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "rows+8(FP)", "SI")
	a.op("MOVQ", "stride+16(FP)", "R8")
	a.op("MOVQ", "n+24(FP)", "CX")
	row, loop := a.label("row"), a.label("group")
	a.at(row)
	a.op("MOVQ", "groups+32(FP)", "DX")
	a.op("MOVQ", "SI", "AX")
	a.at(loop)
	for p := range a.parts() {
		a.op(load, mem(p*a.width/4*size, "AX"), a.v(p))
		a.op("VMOVUPS", a.v(p), mem(p*a.width, "DI"))
	}
	a.op("ADDQ", 16*size, "AX")
	a.op("ADDQ", 64, "DI")
	a.op("DECQ", "DX")
	a.op("JNZ", loop)
	a.op("ADDQ", "R8", "SI")
	a.op("DECQ", "CX")
	a.op("JNZ", row)
	a.ret()
}

// emitLoadKeys emits the transposition of n (1 to 16) rows of 16·groups elements
// to [16·groups][16] float32. Missing rows repeat the last.
func (a *asm) emitLoadKeys(f16 bool) {
	name, size := "loadKeys F32", 4
	if f16 {
		name, size = "loadKeys F16", 2
	}
	a.function(name, "transposes n rows of 16·groups elements.",
		"dst, rows unsafe.Pointer, stride, n, groups int", "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "rows+8(FP)", "SI")
	a.op("MOVQ", "stride+16(FP)", "R8")
	a.op("MOVQ", "groups+32(FP)", "DX")
	side := a.width / 4
	loop := a.label("group")
	a.at(loop)
	for col := 0; col < 16; col += side {
		a.op("MOVQ", "SI", "AX")
		a.op("MOVQ", "n+24(FP)", "CX")
		for part := range a.parts() {
			for i := range side {
				if f16 {
					a.op("VCVTPH2PS", mem(col*size, "AX"), a.v(i))
				} else {
					a.op("VMOVUPS", mem(col*size, "AX"), a.v(i))
				}
				a.op("LEAQ", "(AX)(R8*1)", "R9")
				a.op("DECQ", "CX")
				a.op("CMOVQGT", "R9", "AX")
			}
			for i, r := range a.transpose() {
				a.op("VMOVUPS", r, mem((col+i)*64+part*a.width, "DI"))
			}
		}
	}
	a.op("ADDQ", 16*size, "SI")
	a.op("ADDQ", 16*64, "DI")
	a.op("DECQ", "DX")
	a.op("JNZ", loop)
	a.ret()
}

// transpose transposes the square in the first registers and returns where its
// rows are then.
func (a *asm) transpose() []string {
	side := a.width / 4
	v := a.v
	for i := 0; i < side; i += 2 {
		a.op("VUNPCKLPS", v(i+1), v(i), v(side+i))
		a.op("VUNPCKHPS", v(i+1), v(i), v(side+i+1))
	}
	for i := 0; i < side; i += 4 {
		t := side + i
		a.op("VUNPCKLPD", v(t+2), v(t), v(i))
		a.op("VUNPCKHPD", v(t+2), v(t), v(i+1))
		a.op("VUNPCKLPD", v(t+3), v(t+1), v(i+2))
		a.op("VUNPCKHPD", v(t+3), v(t+1), v(i+3))
	}
	a.comment("128-bit lane l of register 4q+j is column 4l+j of rows 4q to 4q+3.")
	rows := make([]string, side)
	for j := range 4 {
		if !a.wide() {
			rows[j], rows[4+j] = v(side+j), v(side+4+j)
			a.op("VPERM2F128", 0x20, v(4+j), v(j), rows[j])
			a.op("VPERM2F128", 0x31, v(4+j), v(j), rows[4+j])
			continue
		}
		even, odd, even2, odd2 := v(16), v(17), v(18), v(19)
		a.op("VSHUFF32X4", 0x88, v(4+j), v(j), even)
		a.op("VSHUFF32X4", 0xdd, v(4+j), v(j), odd)
		a.op("VSHUFF32X4", 0x88, v(12+j), v(8+j), even2)
		a.op("VSHUFF32X4", 0xdd, v(12+j), v(8+j), odd2)
		for l := range 4 {
			rows[4*l+j] = v(4*l + j)
		}
		a.op("VSHUFF32X4", 0x88, even2, even, v(j))
		a.op("VSHUFF32X4", 0x88, odd2, odd, v(4+j))
		a.op("VSHUFF32X4", 0xdd, even2, even, v(8+j))
		a.op("VSHUFF32X4", 0xdd, odd2, odd, v(12+j))
	}
	return rows
}

// emitAddValues emits out[r] = out[r]·shrink[r] + Σ p[r][t]·v[t]. Registers: DX
// out, R8 bytes of a row of out and v, R9 p, R10 shrink, R13 vectors of 16 left
// in a row.
func (a *asm) emitAddValues() {
	a.function("addValues", "adds n values, weighted, to rows results.",
		"out, p, shrink, v unsafe.Pointer, dims, n, rows int", "")
	a.op("MOVQ", "out+0(FP)", "DX")
	a.op("MOVQ", "p+8(FP)", "R9")
	a.op("MOVQ", "shrink+16(FP)", "R10")
	a.op("MOVQ", "dims+32(FP)", "R8")
	a.op("SHLQ", 2, "R8")
	a.op("MOVQ", "rows+48(FP)", "R12")
	counts := []int{4, 2, 1}
	if a.wide() {
		counts = []int{6, 3, 2, 1}
	}
	a.eachRowCount(counts, func(rows int) {
		a.op("MOVQ", "dims+32(FP)", "R13")
		a.op("SHRQ", 4, "R13")
		a.op("MOVQ", "DX", "DI")
		a.op("MOVQ", "v+24(FP)", "SI")
		strips := []int{1}
		if a.wide() {
			strips = []int{4, 1}
		}
		for _, strip := range strips {
			n := strip * a.parts() // vectors
			loop, next := a.label("strip"), a.label("next")
			acc := func(r, i int) string { return a.v(6 + r*n + i) }
			a.at(loop)
			a.op("CMPQ", "R13", strip)
			a.op("JLT", next)
			a.op("MOVQ", "DI", "AX")
			for r := range rows {
				a.op("VBROADCASTSS", mem(4*r, "R10"), a.v(5))
				for i := range n {
					a.op("VMULPS", mem(i*a.width, "AX"), a.v(5), acc(r, i))
				}
				a.op("ADDQ", "R8", "AX")
			}
			a.op("MOVQ", "n+40(FP)", "CX")
			a.op("MOVQ", "R9", "AX")
			a.op("MOVQ", "SI", "BX")
			position := a.label("position")
			a.at(position)
			for i := range n {
				a.op("VMOVUPS", mem(i*a.width, "BX"), a.v(i))
			}
			for r := range rows {
				a.op("VBROADCASTSS", mem(r*blockBytes, "AX"), a.v(5))
				for i := range n {
					a.op("VFMADD231PS", a.v(5), a.v(i), acc(r, i))
				}
			}
			a.op("ADDQ", 4, "AX")
			a.op("ADDQ", "R8", "BX")
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
			a.op("ADDQ", 64*strip, "SI")
			a.op("SUBQ", strip, "R13")
			a.op("JMP", loop)
			a.at(next)
		}
		a.op("ADDQ", blockBytes*rows, "R9")
		a.op("ADDQ", 4*rows, "R10")
	})
	a.ret()
}

package main

func (a *neon) emitAttention() {
	a.emitSoftmax()
	for _, f16 := range []bool{true, false} {
		a.emitAddValues(f16)
	}
}

// emitSoftmax emits attentionOps.softmax. Registers: R0 scores of the row, R6 a
// cursor in them, R3 and R4 top and total.
func (a *neon) emitSoftmax() {
	a.function("softmax", "turns n scores of each row into exponentials; see attentionOps.",
		"s unsafe.Pointer, n, rows int, top, total unsafe.Pointer", "")
	a.load("s", "R0", "n", "R1", "rows", "R2", "top", "R3", "total", "R4")
	a.expConstants()
	eachVector := func(body func(part int)) {
		a.op("MOVD", "R0", "R6")
		a.op("MOVD", "R1", "R7")
		a.loop("R7", 16, func() {
			for part := range parts {
				a.ins("ldr q0, [x6, #%d]", partBytes*part)
				body(part)
			}
			a.advance("R6")
		})
	}
	fold := func(op string) {
		a.ins("%s v8.4s, v8.4s, v9.4s", op)
		a.ins("%s v10.4s, v10.4s, v11.4s", op)
		a.ins("%s v8.4s, v8.4s, v10.4s", op)
	}
	a.loop("R2", 1, func() {
		for part := range parts {
			a.ins("ldr q%d, [x0, #%d]", 8+part, partBytes*part)
		}
		eachVector(func(part int) { a.ins("fmax v%d.4s, v%[1]d.4s, v0.4s", 8+part) })
		fold("fmax")
		a.ins("fmaxv s7, v8.4s")
		a.ins("str s7, [x3]")
		a.ins("dup v7.4s, v7.s[0]")
		for part := range parts {
			a.clear(8 + part)
		}
		eachVector(func(part int) {
			a.ins("fsub v0.4s, v0.4s, v7.4s")
			a.exp()
			a.ins("fadd v%d.4s, v%[1]d.4s, v0.4s", 8+part)
			a.ins("str q0, [x6, #%d]", partBytes*part)
		})
		fold("fadd")
		for _, n := range []int{8, 4} {
			a.ins("ext v9.16b, v8.16b, v8.16b, #%d", n)
			a.ins("fadd v8.4s, v8.4s, v9.4s")
		}
		a.ins("str s8, [x4]")
		a.op("ADD", scoreBytes, "R0")
		a.op("ADD", 4, "R3")
		a.op("ADD", 4, "R4")
	})
	a.ret()
}

// emitAddValues emits out[r] += Σ p[r][t]·v[t]. Registers: R0 out and R1 p of the
// next rows, R4 bytes of a row of out and R5 of v; R7 and R8 out and v, R9 vectors
// of 16 left in a row.
func (a *neon) emitAddValues(f16 bool) {
	name, size := "addValues F32", 4
	if f16 {
		name, size = "addValues F16", 2
	}
	a.function(name, "adds n values, weighted, to rows results.",
		"out, p, v unsafe.Pointer, dims, n, rows int, next unsafe.Pointer", "")
	a.load("out", "R0", "p", "R1", "v", "", "dims", "R5", "n", "", "rows", "R6")
	a.op("LSL", 2, "R5", "R4")
	a.op("LSL", size/2, "R5")
	a.eachRowCount("R6", []int{4, 2, 1}, func(rows int) {
		a.op("MOVD", "R0", "R7")
		a.op("MOVD", argument("v", 16), "R8")
		a.op("LSR", 6, "R4", "R9")
		strips := []int{4 / rows, 1}
		if rows == 4 {
			strips = []int{1}
		}
		a.eachRowCount("R9", strips, func(strip int) {
			n := strip * parts
			acc := func(r, i int) int { return 16 + r*n + i }
			eachRow := func(use func(r int)) {
				a.op("MOVD", "R7", "R10")
				for r := range rows {
					use(r)
					if r < rows-1 {
						a.op("ADD", "R4", "R10")
					}
				}
			}
			eachRow(func(r int) {
				for i := range n {
					a.ins("ldr q%d, [x10, #%d]", acc(r, i), partBytes*i)
				}
			})
			a.op("MOVD", argument("n", 32), "R11")
			a.op("MOVD", "R1", "R12")
			a.op("MOVD", "R8", "R13")
			a.loop("R11", 1, func() {
				for r := range rows {
					a.ins("ldr s%d, [x12, #%d]", 8+r, scoreBytes*r)
				}
				for i := range n {
					v := i % 8
					switch {
					case !f16:
						a.ins("ldr q%d, [x13, #%d]", v, partBytes*i)
					case i%2 == 0:
						a.ins("ldr q%d, [x13, #%d]", v+1, partBytes*i/2)
						a.ins("fcvtl v%d.4s, v%d.4h", v, v+1)
					default:
						a.ins("fcvtl2 v%d.4s, v%[1]d.8h", v)
					}
					for r := range rows {
						a.ins("fmla v%d.4s, v%d.4s, v%d.s[0]", acc(r, i), v, 8+r)
					}
				}
				a.op("ADD", 4, "R12")
				a.op("ADD", "R5", "R13")
			})
			eachRow(func(r int) {
				for i := range n {
					a.ins("str q%d, [x10, #%d]", acc(r, i), partBytes*i)
				}
			})
			a.op("ADD", 64*strip, "R7")
			a.op("ADD", 16*size*strip, "R8")
		})
		a.op("ADD", scoreBytes*rows, "R1")
		for range rows {
			a.op("ADD", "R4", "R0")
		}
	})
	a.ret()
}

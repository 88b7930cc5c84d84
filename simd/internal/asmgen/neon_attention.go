package main

import "fmt"

func (a *neon) emitAttention() {
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

// emitScores emits the products of rows queries with n panels of keys. What comes
// next isn't fetched: these processors' own prefetching follows it.
func (a *neon) emitScores(f16 bool) {
	typ, size := "F32", 4
	if f16 {
		typ, size = "F16", 2
	}
	a.function("scores "+typ, "is dotFloatPortable for rows of scores.",
		"dst, panels unsafe.Pointer, n, chunks int, x unsafe.Pointer, step uintptr, rows int, next unsafe.Pointer", "")
	a.load("dst", "R0", "panels", "", "n", "", "chunks", "R3", "x", "R2", "step", "R4", "rows", "R5")
	a.op("MOVD", fmt.Sprintf("$%d", 256*size), "R6")
	a.op("MUL", "R6", "R3")
	a.op("MOVD", fmt.Sprintf("$%d", scoreBytes), "R1")
	a.floatProducts(typ, argument("panels", 8), argument("n", 16), argument("chunks", 24))
	a.ret()
}

// emitSoftmax emits the softmax, but for the division; see asm.emitSoftmax.
// Registers: R0 scores of the row, R6 a cursor in them, R3 and R4 top and total.
func (a *neon) emitSoftmax() {
	a.function("softmax", "turns n scores of each row into exponentials; see attentionOps.",
		"s unsafe.Pointer, n, rows int, top, total unsafe.Pointer", "")
	a.load("s", "R0", "n", "R1", "rows", "R2", "top", "R3", "total", "R4")
	a.expConstants()
	a.loop("R2", 1, func() {
		for part := range parts {
			a.ins("ldr q%d, [x0, #%d]", 8+part, partBytes*part)
		}
		a.op("MOVD", "R0", "R6")
		a.op("MOVD", "R1", "R7")
		a.loop("R7", 16, func() {
			for part := range parts {
				a.ins("ldr q0, [x6, #%d]", partBytes*part)
				a.ins("fmax v%d.4s, v%[1]d.4s, v0.4s", 8+part)
			}
			a.advance("R6")
		})
		a.combine("fmax")
		a.ins("str s8, [x3]")
		a.ins("dup v7.4s, v8.s[0]")
		for part := range parts {
			a.clear(8 + part)
		}
		a.op("MOVD", "R0", "R6")
		a.op("MOVD", "R1", "R7")
		a.loop("R7", 16, func() {
			for part := range parts {
				a.ins("ldr q0, [x6, #%d]", partBytes*part)
				a.ins("fsub v0.4s, v0.4s, v7.4s")
				a.exp()
				a.ins("fadd v%d.4s, v%[1]d.4s, v0.4s", 8+part)
				a.ins("str q0, [x6, #%d]", partBytes*part)
			}
			a.advance("R6")
		})
		a.combine("fadd")
		a.ins("str s8, [x4]")
		a.op("ADD", scoreBytes, "R0")
		a.op("ADD", 4, "R3")
		a.op("ADD", 4, "R4")
	})
	a.ret()
}

// emitAddValues emits out[r] += Σ p[r][t]·v[t]. Registers: R0 out and R1 p of the
// next rows, R4 bytes of a row of out, R5 of v; R7 and R8 out and v, R9 vectors of
// 16 left in a row.
func (a *neon) emitAddValues(f16 bool) {
	typ, size := "F32", 4
	if f16 {
		typ, size = "F16", 2
	}
	a.function("addValues "+typ, "adds n values, weighted, to rows results.",
		"out, p, v unsafe.Pointer, dims, n, rows int, next unsafe.Pointer", "")
	a.load("out", "R0", "p", "R1", "v", "", "dims", "R4", "n", "", "rows", "R6")
	a.op("LSL", size/2, "R4", "R5")
	a.op("LSL", 2, "R4")
	a.eachRowCount("R6", []int{4, 2, 1}, func(rows int) {
		a.op("MOVD", "R0", "R7")
		a.op("MOVD", argument("v", 16), "R8")
		a.op("LSR", 6, "R4", "R9")
		strips := []int{1}
		if rows < 4 { // enough sums under way to hide an addition's latency
			strips = []int{2, 1}
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
				for i := range strip {
					a.loadWeights(typ, parts*i, 13, 16*size*i)
				}
				for r := range rows {
					a.ins("ldr s%d, [x12, #%d]", 8+r, scoreBytes*r)
					for i := range n {
						a.ins("fmla v%d.4s, v%d.4s, v%d.s[0]", acc(r, i), i, 8+r)
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
		a.op("MOVD", fmt.Sprintf("$%d", scoreBytes*rows), "R10")
		a.op("ADD", "R10", "R1")
		for range rows {
			a.op("ADD", "R4", "R0")
		}
	})
	a.ret()
}

// emitQuantizeKV emits the conversion to KVQ8 of n blocks of a row.
func (a *neon) emitQuantizeKV() {
	a.function("quantizeKV", "is quantizeKVPortable for n blocks of 32.",
		"codes, scales, x unsafe.Pointer, n int", "")
	a.load("codes", "R0", "scales", "R1", "x", "R2", "n", "R3")
	a.constantWord(24, 1<<31-1)
	a.constant(25, 1.0/127)
	a.constant(26, 0x1p-14)
	a.constant(27, 65504)
	a.constant(28, -127)
	a.constant(29, 1)
	a.loop("R3", 1, func() {
		a.comment("The largest |x|, compared as integers so that a NaN is the largest of all.")
		for i := range 8 {
			a.ins("ldr q%d, [x2, #%d]", i, partBytes*i)
			a.ins("and v%d.16b, v%d.16b, v24.16b", 8+i, i)
		}
		for n := 4; n > 0; n /= 2 {
			for i := range n {
				a.ins("smax v%d.4s, v%[1]d.4s, v%d.4s", 8+i, 8+i+n)
			}
		}
		a.ins("smaxv s8, v8.4s")
		a.op("FMULS", "F25", "F8", "F8")
		a.op("FMAXS", "F26", "F8", "F8") // a NaN stays
		a.op("FMINS", "F27", "F8", "F8")
		a.op("FCVTSH", "F8", "F8")
		a.ins("str h8, [x1]")
		a.op("FCVTHS", "F8", "F8")
		a.op("FDIVS", "F8", "F29", "F8")
		for i := range 8 {
			a.ins("fmul v%d.4s, v%[1]d.4s, v8.s[0]", i)
			a.ins("fmax v%d.4s, v%[1]d.4s, v28.4s", i)
			a.ins("fcvtns v%d.4s, v%[1]d.4s", i)
		}
		a.narrow()
		a.ins("str q0, [x0]")
		a.ins("str q4, [x0, #16]")
		a.op("ADD", 32, "R0")
		a.op("ADD", 2, "R1")
		a.op("ADD", 128, "R2")
	})
	a.ret()
}

// narrow makes 32 integers in v0 to v7 saturated bytes in v0 and v4.
func (a *neon) narrow() {
	for i := 0; i < 8; i += 2 {
		a.ins("sqxtn v%d.4h, v%[1]d.4s", i)
		a.ins("sqxtn2 v%d.8h, v%d.4s", i, i+1)
	}
	for i := 0; i < 8; i += 4 {
		a.ins("sqxtn v%d.8b, v%[1]d.8h", i)
		a.ins("sqxtn2 v%d.16b, v%d.8h", i, i+2)
	}
}

// emitWidenHalves emits the conversion of n times 32 binary16 to float32.
func (a *neon) emitWidenHalves() {
	a.function("widenHalves", "converts n times 32 binary16 to float32.",
		"dst, x unsafe.Pointer, n int, next unsafe.Pointer", "")
	a.load("dst", "R0", "x", "R1", "n", "R3")
	a.loop("R3", 1, func() {
		for i := range 4 {
			a.widen(0, 1, 16*i)
			a.ins("str q2, [x0, #%d]", 32*i)
			a.ins("str q3, [x0, #%d]", 32*i+16)
		}
		a.op("ADD", 64, "R1")
		a.op("ADD", 128, "R0")
	})
	a.ret()
}

// widenCodes stores 16 int8 from R1 times scales, one a part or the same for all,
// as float32 at an offset to R0.
func (a *neon) widenCodes(offset int, scale func(part int) int) {
	a.ins("ldr q0, [x1]")
	a.ins("sxtl v2.8h, v0.8b")
	a.ins("sxtl2 v4.8h, v0.16b")
	for part := range parts {
		v := 2 + part/2*2
		a.ins("sxtl%s v1.4s, v%d.%s", []string{"", "2"}[part%2], v, []string{"4h", "8h"}[part%2])
		a.ins("scvtf v1.4s, v1.4s")
		a.ins("fmul v1.4s, v1.4s, v%d.4s", scale(part))
		a.ins("str q1, [x0, #%d]", offset+partBytes*part)
	}
	a.op("ADD", 16, "R1")
}

// emitWidenKeys emits the conversion of n panels of KVQ8 keys of dims columns to
// float32. Registers: R4 dims left, R5 scales of the next block, R6 columns left.
func (a *neon) emitWidenKeys() {
	a.function("widenKeys", "converts n panels of int8 with scales, dims a multiple of 32, to float32.",
		"dst, panels unsafe.Pointer, dims, n int, next unsafe.Pointer", "")
	a.load("dst", "R0", "panels", "R1", "dims", "R2", "n", "R3")
	a.loop("R3", 1, func() {
		a.op("MOVD", "R2", "R4")
		a.op("ADD", "R2<<4", "R1", "R5")
		a.loop("R4", 32, func() {
			for part := range parts {
				a.ins("ldr d%d, [x5, #%d]", 8+part, 8*part)
				a.ins("fcvtl v%d.4s, v%[1]d.4h", 8+part)
			}
			a.op("ADD", 32, "R5")
			a.op("MOVD", "$32", "R6")
			a.loop("R6", 1, func() {
				a.widenCodes(0, func(part int) int { return 8 + part })
				a.advance("R0")
			})
		})
		a.op("MOVD", "R5", "R1")
	})
	a.ret()
}

// emitWidenValues emits the conversion of KVQ8 values.
func (a *neon) emitWidenValues() {
	a.function("widenValues", "converts n blocks of 32 int8 with a scale each to float32.",
		"dst, codes, scales unsafe.Pointer, n int, next unsafe.Pointer", "")
	a.load("dst", "R0", "codes", "R1", "scales", "R2", "n", "R3")
	a.loop("R3", 1, func() {
		a.ins("ld1r {v8.8h}, [x2]")
		a.ins("fcvtl v8.4s, v8.4h")
		for i := range 2 {
			a.widenCodes(64*i, func(int) int { return 8 })
		}
		a.op("ADD", 128, "R0")
		a.op("ADD", 2, "R2")
	})
	a.ret()
}

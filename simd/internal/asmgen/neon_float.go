package main

// emitDotFloat emits dotFloatPortable for one element type. Registers: R0 and R2
// results and activations of the next rows; R6, R7 and R8 results, weights and
// number of the next panels.
func (a *neon) emitDotFloat(typ string) {
	a.function("dotFloat "+typ, "is dotFloatPortable for one type.",
		"dst unsafe.Pointer, stride uintptr, panel unsafe.Pointer, panelBytes, panels, chunks int, x unsafe.Pointer, step uintptr, rows int", "")
	a.load("dst", "R0", "stride", "R1", "panel", "", "panelBytes", "R3", "panels", "", "chunks", "", "x", "R2", "step", "R4", "rows", "R5")
	a.floatProducts(typ, argument("panel", 16), argument("panels", 32), argument("chunks", 40))
	a.ret()
}

// floatProducts multiplies panels of R3 bytes with the R5 rows from R2 on, R4 bytes
// from chunk to chunk, and puts results at R0, R1 bytes from row to row.
func (a *neon) floatProducts(typ, panel, panels, chunks string) {
	if typ == "MXFP8" {
		a.constantWord(4, 0xbfffbfff)
	}
	a.eachRowCount("R5", []int{4, 3, 2, 1}, func(rows int) {
		a.op("MOVD", "R0", "R6")
		a.op("MOVD", panel, "R7")
		a.op("MOVD", panels, "R8")
		counts := []int{1}
		if rows <= 2 && typ != "MXFP8" { // one panel's four sums a row are too few to hide an addition's latency
			counts = []int{2, 1}
		}
		a.eachRowCount("R8", counts, func(panels int) {
			a.floatProduct(typ, rows, panels, chunks)
			a.op("ADD", 64*panels, "R6")
			for range panels {
				a.op("ADD", "R3", "R7")
			}
		})
		a.op("ADD", 64*rows, "R2")
		for range rows {
			a.op("ADD", "R1", "R0")
		}
	})
}

// floatProduct multiplies panels with rows. Registers: R9 and R10 weights, R11
// activations, R12 chunks left.
func (a *neon) floatProduct(typ string, rows, panels int, chunks string) {
	const x = 8
	out := func(r, p, part int) int { return 12 + (r*panels+p)*parts + part }
	size := 2
	each, codes := 1, 0 // chunks at a time, and what precedes their codes
	switch typ {
	case "F32":
		size = 4
	case "MXFP8":
		size, each, codes = 1, 2, 32
	}
	for r := range rows {
		for p := range panels {
			for part := range parts {
				a.clear(out(r, p, part))
			}
		}
	}
	a.op("MOVD", "R7", "R9")
	if panels > 1 {
		a.op("ADD", "R3", "R7", "R10")
	}
	a.op("MOVD", "R2", "R11")
	a.op("MOVD", chunks, "R12")
	a.loop("R12", each, func() {
		if codes > 0 {
			for part := range parts {
				a.ins("ldr d%d, [x9, #%d]", floatScale+part, 8*part)
				a.ins("shll v%d.4s, v%[1]d.4h, #16", floatScale+part)
			}
		}
		for c := range 16 * each {
			if c == 16 {
				a.op("ADD", "R4", "R11")
			}
			if c%4 == 0 {
				for r := range rows {
					a.ins("ldr q%d, [x11, #%d]", x+r, 64*r+4*(c%16))
				}
			}
			for p := range panels {
				a.loadWeights(typ, parts*p, 9+p, codes+16*c*size)
			}
			for r := range rows {
				for p := range panels {
					for part := range parts {
						a.ins("fmla v%d.4s, v%d.4s, v%d.s[%d]", out(r, p, part), parts*p+part, x+r, c%4)
					}
				}
			}
		}
		for p := range panels {
			a.op("ADD", codes+16*16*size*each, []string{"R9", "R10"}[p])
		}
		a.op("ADD", "R4", "R11")
	})
	a.op("MOVD", "R6", "R9")
	for r := range rows {
		for p := range panels {
			for part := range parts {
				a.ins("str q%d, [x9, #%d]", out(r, p, part), 64*p+partBytes*part)
			}
		}
		if r < rows-1 {
			a.op("ADD", "R1", "R9")
		}
	}
}

// floatScale is the first register with the scales of a block of MXFP8.
const floatScale = 28

// loadWeights widens 16 weights to float32.
func (a *neon) loadWeights(typ string, v, base, offset int) {
	switch typ {
	case "F32":
		for part := range parts {
			a.ins("ldr q%d, [x%d, #%d]", v+part, base, offset+partBytes*part)
		}
		return
	case "MXFP8":
		// Bits seeeemmm to those of binary16: the sign, by which they are extended,
		// a 0, the rest, and seven of 0.
		a.ins("ldr q%d, [x%d, #%d]", v+3, base, offset)
		a.ins("sxtl v%d.8h, v%d.8b", v+1, v+3)
		a.ins("sxtl2 v%d.8h, v%[1]d.16b", v+3)
		for i := 0; i < parts; i += 2 {
			half := v + i + 1
			a.ins("shl v%d.8h, v%[1]d.8h, #7", half)
			a.ins("and v%d.16b, v%[1]d.16b, v4.16b", half)
			a.ins("fcvtl v%d.4s, v%d.4h", v+i, half)
			a.ins("fcvtl2 v%d.4s, v%[1]d.8h", half)
		}
		for part := range parts {
			a.ins("fmul v%d.4s, v%[1]d.4s, v%d.4s", v+part, floatScale+part)
		}
		return
	}
	for i := 0; i < parts; i += 2 {
		raw := v + i + 1
		a.ins("ldr q%d, [x%d, #%d]", raw, base, offset+partBytes/2*i)
		if typ == "F16" {
			a.ins("fcvtl v%d.4s, v%d.4h", v+i, raw)
			a.ins("fcvtl2 v%d.4s, v%[1]d.8h", raw)
		} else {
			a.ins("shll v%d.4s, v%d.4h, #16", v+i, raw)
			a.ins("shll2 v%d.4s, v%[1]d.8h, #16", raw)
		}
	}
}

// emitQuantize emits quantizePortable. Registers: R0 values, R1 blocks left, R2
// codes, R3 scales.
func (a *neon) emitQuantize() {
	a.function("quantize", "is quantizePortable for n blocks.",
		"x unsafe.Pointer, n int, codes, scales unsafe.Pointer, step uintptr", "")
	a.load("x", "R0", "n", "R1", "codes", "R2", "scales", "R3", "step", "R4")
	a.constant(28, 1.0/254)
	a.constant(29, 1e-30)
	a.constant(30, 254)
	a.clear(31)
	a.loop("R1", 1, func() {
		for i := range 8 {
			a.ins("ldr q%d, [x0, #%d]", i, partBytes*i)
		}
		for _, m := range []struct {
			name string
			to   int
		}{{"fmax", 16}, {"fmin", 20}} {
			for i := range 4 {
				a.ins("%s v%d.4s, v%d.4s, v%d.4s", m.name, m.to+i, 2*i, 2*i+1)
			}
			a.ins("%s v%d.4s, v%[2]d.4s, v%d.4s", m.name, m.to, m.to+1)
			a.ins("%s v%d.4s, v%d.4s, v%d.4s", m.name, m.to+1, m.to+2, m.to+3)
			a.ins("%s v%d.4s, v%[2]d.4s, v%d.4s", m.name, m.to, m.to+1)
			a.ins("%sv s%d, v%[2]d.4s", m.name, m.to)
		}
		a.op("FSUBS", "F20", "F16", "F18") // range
		a.op("FADDS", "F20", "F16", "F17") //
		a.op("FMOVS", "$0.5", "F19")       //
		a.op("FMULS", "F19", "F17", "F17") // z
		a.op("FDIVS", "F18", "F30", "F19") // 1/d
		a.op("FCMPS", "F29", "F18")        // range > tiniest
		a.op("FCSELS", "GT", "F19", "F31", "F19")
		a.op("FMULS", "F28", "F18", "F18") // d
		a.ins("dup v20.4s, v17.s[0]")
		for i := range 8 {
			a.ins("fsub v%d.4s, v%[1]d.4s, v20.4s", i)
			a.ins("fmul v%d.4s, v%[1]d.4s, v19.s[0]", i)
			a.ins("fcvtns v%d.4s, v%[1]d.4s", i)
		}
		a.narrow()
		for i := range 2 {
			a.ins("str q%d, [x2, #%d]", 4*i, 16*i)
			a.ins("saddlv h%d, v%d.16b", 21+i, 4*i)
			a.ins("smov w%d, v%d.h[0]", 6+i, 21+i)
		}
		a.op("ADDW", "R6", "R7", "R5")
		a.op("SCVTFWS", "R5", "F19")
		a.op("FMULS", "F18", "F19", "F19")
		a.op("FMOVS", "F18", mem(actD, "R3"))
		a.op("FMOVS", "F17", mem(actZ, "R3"))
		a.op("FMOVS", "F19", mem(actSum, "R3"))
		for i, r := range []string{"R5", "R6", "R7"} {
			a.op("LSLW", 7, r)
			a.op("NEGW", r, r)
			a.op("MOVW", r, mem(actZero+4*i, "R3"))
		}
		a.op("ADD", 128, "R0")
		a.op("ADD", "R4", "R2")
		a.op("ADD", "R4", "R3")
	})
	a.ret()
}

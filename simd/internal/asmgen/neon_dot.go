package main

import "fmt"

// neonDot emits the products of decoded blocks with several rows, part by part:
// a part's eight groups stay in registers while the rows pass.
type neonDot struct {
	*neon
	affine, halves bool
	large          bool // codes are those of packing.large
}

// neonScales are the registers with a block's scales.
type neonScales struct{ d0, d1, m0, m1, sum int }

// neonScratch are the registers that a row's step may use: its scales (s and, for affine
// halves, h), and temporaries.
type neonScratch struct{ s, h, tmp, tmp2 int }

// product adds the products of four columns of a part's lanes to acc: element i
// of x with the codes w.
func (k *neonDot) product(acc, w, x, i int, t neonScratch) {
	if k.level >= dotProd {
		k.ins("sdot v%d.4s, v%d.16b, v%d.4b[%d]", acc, w, x, i)
		return
	}
	// Two products of bytes, at most 128·127 each, fit 16 bits together.
	k.ins("dup v%d.4s, v%d.s[%d]", t.tmp, x, i)
	k.ins("smull v%d.8h, v%d.8b, v%d.8b", t.tmp2, w, t.tmp)
	k.ins("smull2 v%d.8h, v%d.16b, v%[1]d.16b", t.tmp, w)
	k.ins("addp v%d.8h, v%[1]d.8h, v%d.8h", t.tmp2, t.tmp)
	k.ins("sadalp v%d.4s, v%d.8h", acc, t.tmp2)
}

// finish adds a block's product to out: acc0 has its integer sums, or those of its
// first half and acc1 those of the second. The row's scales are at an offset from
// a register. The operations are those of dotPortable.
func (k *neonDot) finish(acc0, acc1, out, base, offset int, v neonScales, t neonScratch) {
	const d, z, sum = actD / 4, actZ / 4, actSum / 4 // elements of s
	k.ins("ldur q%d, [x%d, #%d]", t.s, base, offset)
	if k.large { // they are 128 less
		k.ins("dup v%d.4s, v%d.s[%d]", t.tmp, t.s, actZero/4)
		k.ins("sub v%d.4s, v%[1]d.4s, v%d.4s", acc0, t.tmp)
	}
	k.ins("scvtf v%d.4s, v%[1]d.4s", acc0)
	if k.halves {
		k.ins("fmul v%d.4s, v%[1]d.4s, v%d.4s", acc0, v.d0)
		k.ins("scvtf v%d.4s, v%[1]d.4s", acc1)
		k.ins("fmla v%d.4s, v%d.4s, v%d.4s", acc0, acc1, v.d1)
		if k.affine {
			k.ins("ldr d%d, [x%d, #%d]", t.h, base, offset+actHalf)
			k.ins("scvtf v%d.2s, v%[1]d.2s, #7", t.h) // divided by 128
			k.ins("fmls v%d.4s, v%d.4s, v%d.s[0]", acc0, v.m0, t.h)
			k.ins("fmls v%d.4s, v%d.4s, v%d.s[1]", acc0, v.m1, t.h)
		}
		k.ins("fmla v%d.4s, v%d.4s, v%d.s[%d]", out, acc0, t.s, d)
	} else {
		k.ins("fmul v%d.4s, v%d.4s, v%d.s[%d]", t.tmp, v.d0, t.s, d)
		k.ins("fmla v%d.4s, v%d.4s, v%d.4s", out, acc0, t.tmp)
		if k.affine {
			k.ins("fmla v%d.4s, v%d.4s, v%d.s[%d]", out, v.m0, t.s, sum)
		}
	}
	k.ins("fmla v%d.4s, v%d.4s, v%d.s[%d]", out, v.sum, t.s, z)
}

// loadRecordScales loads a block's scales for a part from the record at a base
// register.
func (k *neonDot) loadRecordScales(base int, v neonScales) {
	k.ins("ldr q%d, [x%d, #%d]", v.d0, base, recordD)
	if k.halves {
		k.ins("ldr q%d, [x%d, #%d]", v.d1, base, recordD+64)
	}
	if k.affine {
		k.ins("ldr q%d, [x%d, #%d]", v.m0, base, recordM)
		if k.halves {
			k.ins("ldr q%d, [x%d, #%d]", v.m1, base, recordM+64)
		}
	}
	k.ins("ldr q%d, [x%d, #%d]", v.sum, base, recordSum)
}

const dotParams = "dst unsafe.Pointer, stride uintptr, recs unsafe.Pointer, n int, x, xScales unsafe.Pointer, step uintptr, rows, first int"

// loadDot loads the parameters of a dot kernel.
func (k *neonDot) loadDot() {
	k.load("dst", "R0", "stride", "R1", "recs", "", "n", "", "x", "R2", "xScales", "R3", "step", "R4", "rows", "R5")
}

// emit emits a kernel. Registers: R0 results, R2 activations and R3 their scales,
// of the next rows; R6 offset of the part.
func (k *neonDot) emit(name string) {
	k.function(name, "is dotPortable for one kind.", dotParams, "")
	k.loadDot()
	k.eachRowCount("R5", []int{8, 4, 2, 1}, func(rows int) {
		k.op("MOVD", "$0", "R6")
		label := k.label("part")
		k.at(label)
		k.rows(rows)
		k.op("ADD", partBytes, "R6")
		k.op("CMP", 64, "R6")
		k.op("BNE", label)
		k.nextRows(rows)
	})
	k.ret()
}

func (k *neonDot) nextRows(rows int) {
	k.op("ADD", 32*rows, "R2")
	k.op("ADD", actScaleSize*rows, "R3")
	for range rows {
		k.op("ADD", "R1", "R0")
	}
}

// rows emits the product of the part at R6 with a number of rows. Registers: R7
// records, R9 and R10 activations and scales, R8 blocks left.
func (k *neonDot) rows(n int) {
	const w, x, out = 0, 13, 23
	scales := neonScales{d0: 8, d1: 9, m0: 10, m1: 11, sum: 12}
	t := neonScratch{s: 15, h: 18, tmp: 20, tmp2: 21}
	k.op("MOVD", argument("recs", 16), "R7")
	k.op("ADD", "R6", "R7")
	k.op("MOVD", argument("n", 24), "R8")
	k.op("MOVD", "R2", "R9")
	k.op("MOVD", "R3", "R10")
	start := k.label("start")
	for r := range n {
		k.clear(out + r)
	}
	k.op("MOVD", argument("first", 64), "R12")
	k.op("CBNZ", "R12", start)
	k.eachResult(n, func(r int) { k.ins("ldr q%d, [x11]", out+r) })
	k.at(start)
	k.loop("R8", 1, func() {
		for g := range 8 {
			k.ins("ldr q%d, [x7, #%d]", w+g, 64*g)
		}
		k.loadRecordScales(7, scales)
		for r := range n {
			acc0, acc1 := 16, 16
			if k.halves {
				acc1 = 17
			}
			k.ins("ldr q%d, [x9, #%d]", x, 32*r)
			k.ins("ldr q%d, [x9, #%d]", x+1, 32*r+16)
			k.clear(acc0)
			if k.halves {
				k.clear(acc1)
			}
			for g := range 8 {
				acc := acc0
				if g >= 4 {
					acc = acc1
				}
				k.product(acc, w+g, x+g/4, g%4, t)
			}
			k.finish(acc0, acc1, out+r, 10, actScaleSize*r, scales, t)
		}
		k.op("ADD", recordBytes, "R7")
		k.op("ADD", "R4", "R9")
		k.op("ADD", "R4", "R10")
	})
	k.eachResult(n, func(r int) { k.ins("str q%d, [x11]", out+r) })
}

// eachResult walks R11 over a part of the n rows of results from R0 on.
func (k *neonDot) eachResult(n int, use func(r int)) {
	k.op("ADD", "R6", "R0", "R11")
	for r := range n {
		use(r)
		if r < n-1 {
			k.op("ADD", "R1", "R11")
		}
	}
}

// emitFused emits the product of whole panels and one or two rows, without a
// record in between. Registers: R0 results, R2 activations and R3 their scales,
// R5 panels left, R6 panel, R7 what is fetched ahead.
func (a *neon) emitFused(f packing, rows int) {
	a.function(fmt.Sprintf("fused%d %s", rows, f.name), fmt.Sprintf("multiplies n panels with %d rows of activations.", rows),
		"dst unsafe.Pointer, stride uintptr, panel unsafe.Pointer, n, panelBytes, scaleOffset int, params unsafe.Pointer, blocks int, x, xScales unsafe.Pointer, step uintptr", "")
	a.load("dst", "R0", "stride", "", "panel", "R6", "n", "R5", "panelBytes", "", "scaleOffset", "", "params", "R11",
		"blocks", "", "x", "", "xScales", "", "step", "R4")
	d := neonDecoder{neon: a, packing: f}
	k := neonDot{neon: a, affine: f.affine, halves: f.halves, large: f.large()}
	d.setUp()
	halves := 1
	if f.halves {
		halves = 2
	}
	acc := func(r, half int) int { return nFree + r*halves + half*(halves-1) }
	out := func(r, part int) int { return nFree + rows*halves + parts*r + part }
	x := func(r, half int) int { return out(rows, 0) + 2*r + half }
	t := neonScratch{s: 31, h: nRaw, tmp: nTmp, tmp2: 30} // 30 is free with one row
	a.loop("R5", 1, func() {
		a.op("MOVD", "R6", "R8")
		a.op("MOVD", argument("scaleOffset", 40), "R9")
		a.op("ADD", "R6", "R9")
		a.op("ADD", codesToL1, "R6", "R7")
		a.op("MOVD", argument("blocks", 56), "R14")
		a.op("MOVD", argument("x", 64), "R2")
		a.op("MOVD", argument("xScales", 72), "R3")
		for r := range rows {
			for part := range parts {
				a.clear(out(r, part))
			}
		}
		d.eachBlock(func() {
			perBlock := f.blockBytes() + f.perBlock() + f.header()/8
			if f.scales == "minGroup" {
				perBlock += 32 // of a group of two blocks
			}
			for line := 0; line < perBlock; line += 64 {
				a.op("PRFM", mem(line, "R7"), "PLDL1KEEP")
			}
			a.op("ADD", perBlock, "R7")
			for r := range rows {
				for half := range 2 {
					a.ins("ldr q%d, [x2, #%d]", x(r, half), 32*r+16*half)
				}
			}
			for part := range parts {
				d.loadScales(part)
				for r := range rows {
					for half := range halves {
						a.clear(acc(r, half))
					}
				}
				d.decodePart(part, func(g, code int) {
					for r := range rows {
						k.product(acc(r, g/4), code, x(r, g/4), g%4, t)
					}
				})
				for r := range rows {
					k.finish(acc(r, 0), acc(r, 1), out(r, part), 3, actScaleSize*r, neonScales{nD0, nD1, nM0, nM1, nSum0}, t)
				}
			}
			a.op("ADD", "R4", "R2")
			a.op("ADD", "R4", "R3")
		})
		a.op("MOVD", "R0", "R8")
		for r := range rows {
			for part := range parts {
				a.ins("str q%d, [x8, #%d]", out(r, part), partBytes*part)
			}
			if r < rows-1 {
				a.op("MOVD", argument("stride", 8), "R9")
				a.op("ADD", "R9", "R8")
			}
		}
		a.op("ADD", 64, "R0")
		a.op("MOVD", argument("panelBytes", 32), "R9")
		a.op("ADD", "R9", "R6")
	})
	a.ret()
}

package main

// neonDecoder emits what turns one part, four lanes, of a block of a panel into
// registers. Codes of signed kinds become signed bytes: level-128 or code+offset-128.
// Registers: R8 codes of the block, R9 its scales, R10 the super-block's or
// group's header, R11 the format's parameters.
type neonDecoder struct {
	*neon
	packing
	zipped bool // codes of group g go to register nFree+g, all of them else to nCode
}

// code is the register that the codes of group g are decoded to.
func (d *neonDecoder) code(g int) int {
	if d.zipped {
		return nFree + g
	}
	return nCode
}

// Vector registers of a decoder.
const (
	nCode = iota
	nTmp
	nRaw
	nD0
	nD1
	nM0
	nM1
	nSum0 // integer sums, then nSum0 the float sum
	nSum1
	nHigh0
	nHigh1
	nLevels // table or offset
	nMask
	nHighMask
	nOnes
	nFree // from here on for products
)

// setUp loads what stays in registers.
func (d *neonDecoder) setUp() {
	if d.levels {
		d.op("MOVD", "$0x80", "R25")
		d.ins("dup v%d.16b, w25", nTmp)
		d.ins("ldr q%d, [x11]", nLevels)
		d.ins("eor v%d.16b, v%[1]d.16b, v%d.16b", nLevels, nTmp)
	} else if o := d.signedOffset(); o != 0 {
		d.ins("movi v%d.16b, #%d", nLevels, o)
	}
	if d.low < 8 {
		d.ins("movi v%d.16b, #%d", nMask, 1<<d.low-1)
	}
	if d.high > 0 {
		d.ins("movi v%d.16b, #%d", nHighMask, (1<<d.high-1)<<d.low)
	}
	d.ins("movi v%d.16b, #1", nOnes)
}

// large tells that codes go up to more than 31: as signed bytes they are 128 less.
func (f *packing) large() bool { return f.affine && f.low+f.high > 5 }

// signedOffset is what makes a code the signed byte that is multiplied.
func (d *neonDecoder) signedOffset() byte {
	if d.affine && !d.large() {
		return 0
	}
	return byte(d.offset - 128)
}

// loadScales sets nD0, nD1, nM0, nM1 to those of a part.
func (d *neonDecoder) loadScales(part int) {
	half := func(dst, base, offset int) {
		d.ins("ldr d%d, [x%d, #%d]", dst, base, offset+8*part)
		d.ins("fcvtl v%d.4s, v%[1]d.4h", dst)
	}
	bytes := func(dst, offset int, signed string) {
		d.ins("ldr s%d, [x9, #%d]", dst, offset+4*part)
		d.ins("%sxtl v%d.8h, v%[2]d.8b", signed, dst)
		d.ins("%sxtl v%d.4s, v%[2]d.4h", signed, dst)
	}
	// times makes an integer vector float and multiplies it.
	times := func(v, by int) {
		d.ins("scvtf v%d.4s, v%[1]d.4s", v)
		d.ins("fmul v%d.4s, v%[1]d.4s, v%d.4s", v, by)
	}
	switch d.scales {
	case "f16":
		half(nD0, 9, 0)
	case "bf16":
		d.ins("ldr d%d, [x9, #%d]", nD0, 8*part)
		d.ins("shll v%d.4s, v%[1]d.4h, #16", nD0)
	case "minF16":
		half(nD0, 9, 0)
		half(nM0, 9, 32)
	case "super":
		half(nTmp, 10, 0)
		bytes(nD0, 0, "s")
		times(nD0, nTmp)
		if d.halves {
			bytes(nD1, 16, "s")
			times(nD1, nTmp)
		}
	case "minSuper":
		half(nTmp, 10, 0)
		bytes(nD0, 0, "u")
		times(nD0, nTmp)
		half(nTmp, 10, 32)
		bytes(nM0, 16, "u")
		times(nM0, nTmp)
		d.ins("fneg v%d.4s, v%[1]d.4s", nM0)
	case "minSuperNib":
		half(nTmp, 10, 0)
		half(nRaw, 10, 32)
		for i, r := range []struct{ d, m int }{{nD0, nM0}, {nD1, nM1}} {
			d.ins("ldr s%d, [x9, #%d]", r.d, 16*i+4*part)
			d.ins("ushr v%d.16b, v%d.16b, #4", r.m, r.d)
			d.ins("movi v%d.16b, #15", nCode)
			d.ins("and v%d.16b, v%[1]d.16b, v%d.16b", r.d, nCode)
			for _, v := range []int{r.d, r.m} {
				d.ins("uxtl v%d.8h, v%[1]d.8b", v)
				d.ins("uxtl v%d.4s, v%[1]d.4h", v)
			}
			times(r.d, nTmp)
			times(r.m, nRaw)
			d.ins("fneg v%d.4s, v%[1]d.4s", r.m)
		}
	case "e4m3":
		// Bits eeeemmm to those of a binary16 number, which is 256 times smaller;
		// levels are doubled.
		d.ins("movi v%d.4s, #67, lsl #24", nTmp) // 128.0, 0x43000000
		for i, v := range []int{nD0, nD1} {
			d.ins("ldr s%d, [x9, #%d]", v, 16*i+4*part)
			d.ins("sxtl v%d.8h, v%[1]d.8b", v)
			d.ins("shl v%d.8h, v%[1]d.8h, #7", v)
			d.ins("fcvtl v%d.4s, v%[1]d.4h", v)
			d.ins("fmul v%d.4s, v%[1]d.4s, v%d.4s", v, nTmp)
		}
	case "minGroup":
		f16, f32, done := d.label("f16"), d.label("f32"), d.label("scales")
		d.op("MOVD", paramsScaleType, "R25")
		d.op("CMP", 1, "R25")
		d.op("BLT", f32)
		d.op("BEQ", f16)
		for i, v := range []int{nD0, nM0} {
			d.ins("ldr d%d, [x10, #%d]", v, 32*i+8*part)
			d.ins("shll v%d.4s, v%[1]d.4h, #16", v)
		}
		d.op("B", done)
		d.at(f16)
		half(nD0, 10, 0)
		half(nM0, 10, 32)
		d.op("B", done)
		d.at(f32)
		d.ins("ldr q%d, [x10, #%d]", nD0, 16*part)
		d.ins("ldr q%d, [x10, #%d]", nM0, 64+16*part)
		d.at(done)
	default:
		panic("scales " + d.scales)
	}
}

// decodePart decodes all groups of a part, calling use for each with its codes in
// a register, and leaves in nSum0 the sum of the block's weights.
func (d *neonDecoder) decodePart(part int, use func(g, code int)) {
	if d.large() {
		d.ins("movi v%d.4s, #16, lsl #8", nSum0) // 32·128
	} else {
		d.clear(nSum0)
	}
	if d.halves {
		d.clear(nSum1)
	}
	for i := range d.high {
		d.ins("ldr q%d, [x8, #%d]", nHigh0+i, 64*(d.low+i)+16*part)
	}
	for vector := range d.low {
		raw := nRaw
		if d.low == 8 {
			raw = d.code(vector)
		}
		d.ins("ldr q%d, [x8, #%d]", raw, 64*vector+16*part)
		for i := range 8 / d.low {
			g := vector
			switch d.low {
			case 4:
				g = vector + 4*i
				d.extract(4*i, d.code(g))
			case 2:
				g = 4*vector + i
				d.extract(2*i, d.code(g))
			}
			code := d.code(g)
			if d.high > 0 {
				d.addHigh(g)
			}
			switch {
			case d.levels:
				d.ins("tbl v%d.16b, {v%d.16b}, v%[1]d.16b", code, nLevels)
			case d.signedOffset() != 0:
				d.ins("add v%d.16b, v%[1]d.16b, v%d.16b", code, nLevels)
			}
			d.addSum(g)
			use(g, code)
		}
	}
	d.endSum()
}

// extract takes the low code at bit n of each byte of nRaw to a register.
func (d *neonDecoder) extract(n, code int) {
	src := nRaw
	if n > 0 {
		d.ins("ushr v%d.16b, v%d.16b, #%d", code, nRaw, n)
		src = code
	}
	if n+d.low < 8 {
		d.ins("and v%d.16b, v%d.16b, v%d.16b", code, src, nMask)
	}
}

// addHigh puts the high bits of group g above its low ones.
func (d *neonDecoder) addHigh(g int) {
	vector, bit := 0, g
	if d.high == 2 {
		vector, bit = g/4, g%4*2
	}
	src := nHigh0 + vector
	switch shift := d.low - bit; {
	case shift > 0:
		d.ins("shl v%d.16b, v%d.16b, #%d", nTmp, src, shift)
		src = nTmp
	case shift < 0:
		d.ins("ushr v%d.16b, v%d.16b, #%d", nTmp, src, -shift)
		src = nTmp
	}
	d.ins("bit v%d.16b, v%d.16b, v%d.16b", d.code(g), src, nHighMask)
}

func (d *neonDecoder) addSum(g int) {
	sum := nSum0
	if d.halves && g >= 4 {
		sum = nSum1
	}
	if d.level >= dotProd {
		d.ins("sdot v%d.4s, v%d.16b, v%d.16b", sum, d.code(g), nOnes)
		return
	}
	d.ins("saddlp v%d.8h, v%d.16b", nTmp, d.code(g))
	d.ins("sadalp v%d.4s, v%d.8h", sum, nTmp)
}

// endSum does the float operations of record.sumWeights.
func (d *neonDecoder) endSum() {
	d.ins("scvtf v%d.4s, v%[1]d.4s", nSum0)
	d.ins("fmul v%d.4s, v%[1]d.4s, v%d.4s", nSum0, nD0)
	if d.halves {
		d.ins("scvtf v%d.4s, v%[1]d.4s", nSum1)
		d.ins("fmla v%d.4s, v%d.4s, v%d.4s", nSum0, nSum1, nD1)
	}
	switch {
	case d.affine && d.halves:
		d.ins("fmov v%d.4s, #16.0", nTmp)
		d.ins("fmla v%d.4s, v%d.4s, v%d.4s", nSum0, nM0, nTmp)
		d.ins("fmla v%d.4s, v%d.4s, v%d.4s", nSum0, nM1, nTmp)
	case d.affine:
		d.ins("movi v%d.4s, #66, lsl #24", nTmp) // 32.0, 0x42000000
		d.ins("fmla v%d.4s, v%d.4s, v%d.4s", nSum0, nM0, nTmp)
	}
}

// eachBlock loops over the R14 blocks of a panel.
func (d *neonDecoder) eachBlock(body func()) {
	block := func() {
		body()
		d.op("ADD", d.blockBytes(), "R8")
		if n := d.perBlock(); n > 0 {
			d.op("ADD", n, "R9")
		}
	}
	switch {
	case d.scales == "minGroup":
		d.loop("R14", "R24", func() {
			d.op("MOVD", "R9", "R10")
			d.op("MOVD", paramsScaleBytes, "R25")
			d.op("ADD", "R25", "R9")
			d.op("MOVD", paramsGroupBlocks, "R24")
			d.op("MOVD", "R24", "R13")
			d.loop("R13", 1, block)
		})
	case d.header() == 0:
		d.loop("R14", 1, block)
	default:
		d.loop("R14", 8, func() {
			d.op("MOVD", "R9", "R10")
			d.op("ADD", d.header(), "R9")
			d.op("MOVD", "$8", "R13")
			d.loop("R13", 1, block)
		})
	}
}

// emitDecode emits the decoding of blocks to records. Register R15: records.
func (a *neon) emitDecode(f packing) {
	a.function("decode "+f.name, "decodes n blocks of a panel, whole super-blocks if the format has them.",
		"codes, scales, params unsafe.Pointer, n int, dst unsafe.Pointer", "")
	a.load("codes", "R8", "scales", "R9", "params", "R11", "n", "R14", "dst", "R15")
	d := neonDecoder{neon: a, packing: f, zipped: a.level == i8mm}
	d.setUp()
	d.eachBlock(func() {
		for part := range parts {
			at := partBytes * part
			d.loadScales(part)
			d.decodePart(part, func(g, code int) {
				switch {
				case !d.zipped:
					a.ins("str q%d, [x15, #%d]", code, 64*g+at)
				case g%2 == 1:
					for i := range 2 {
						a.ins("zip%d v%d.4s, v%d.4s, v%d.4s", i+1, nCode, code-1, code)
						a.ins("str q%d, [x15, #%d]", nCode, 64*(g-1+i)+at)
					}
				}
			})
			a.ins("str q%d, [x15, #%d]", nD0, recordD+at)
			if f.halves {
				a.ins("str q%d, [x15, #%d]", nD1, recordD+64+at)
			}
			if f.affine {
				a.ins("str q%d, [x15, #%d]", nM0, recordM+at)
				if f.halves {
					a.ins("str q%d, [x15, #%d]", nM1, recordM+64+at)
				}
			}
			a.ins("str q%d, [x15, #%d]", nSum0, recordSum+at)
		}
		a.op("ADD", recordBytes, "R15")
	})
	a.ret()
}

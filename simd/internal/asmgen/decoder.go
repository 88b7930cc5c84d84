package main

// decoder emits what turns one block of a panel into registers. Registers: R8
// codes of the block, R9 its scales, R10 the super-block's or group's header, R11
// the format's parameters.
type decoder struct {
	*asm
	packing
	part int // which vector of the 16 rows
	// stored leaves signed codes as they are stored: zero() too large, which
	// whoever uses them makes good in its integer sums.
	stored bool
}

// Vector registers of a decoder. AVX2 has only the first 16: there high planes
// are loaded when needed, and constants are memory operands.
const (
	rCode = iota // decoded codes
	rRaw
	rTmp
	rD0
	rD1
	rM0
	rM1
	rSum0 // integer sums, then rSum0 the float sum
	rSum1
	rHigh0
	rHigh1
	rLevels // table or offset
	rMask
	rHighMask
	rOnes
	rAcc // integer sums of rows, then results
)

// setUp loads what stays in registers. Tiles multiply signed codes as such,
// without the offset of 128.
func (d *decoder) setUp() {
	if !d.wide() {
		if d.levels {
			d.op("VBROADCASTI128", "(R11)", d.v(rLevels))
		}
		return
	}
	if d.levels {
		d.op("VBROADCASTI32X4", "(R11)", d.v(rLevels))
		if d.tiles {
			d.logic("VPXOR", d.bytes(0x80), d.v(rLevels), d.v(rLevels))
		}
	}
	d.op("VMOVDQU32", d.bytes(1), d.v(rOnes))
	if d.tiles && !d.affine && !d.levels {
		d.offset ^= 0x80
	}
	if d.offset != 0 && !d.stored {
		d.op("VMOVDQU32", d.bytes(byte(d.offset)), d.v(rLevels))
	}
	if d.low < 8 {
		d.op("VMOVDQU32", d.bytes(1<<d.low-1), d.v(rMask))
	}
	if d.high > 0 {
		d.op("VMOVDQU32", d.bytes((1<<d.high-1)<<d.low), d.v(rHighMask))
	}
}

// loadScales sets rD0, rD1, rM0, rM1.
func (d *decoder) loadScales() {
	h16, h8 := d.part*d.width/2, d.part*d.width/4 // where 16- and 8-bit lanes start
	d0, d1, m0, m1, tmp := d.v(rD0), d.v(rD1), d.v(rM0), d.v(rM1), d.v(rTmp)
	switch d.scales {
	case "f16":
		d.op("VCVTPH2PS", mem(h16, "R9"), d0)
	case "bf16":
		d.op("VPMOVZXWD", mem(h16, "R9"), d0)
		d.op("VPSLLD", 16, d0, d0)
	case "minF16":
		d.op("VCVTPH2PS", mem(h16, "R9"), d0)
		d.op("VCVTPH2PS", mem(32+h16, "R9"), m0)
	case "e4m3":
		for i, v := range []int{rD0, rD1} {
			// Bits eeeemmm to those of a binary16 number, which is 256 times
			// smaller; levels are doubled.
			d.op("VPMOVSXBW", mem(16*i+h8, "R9"), d.half(v))
			d.op("VPSLLW", 7, d.half(v), d.half(v))
			d.op("VCVTPH2PS", d.half(v), d.v(v))
			d.op("VMULPS", d.float(128), d.v(v), d.v(v))
		}
	case "minGroup":
		if !d.wide() { // else eachBlock has done it
			d.loadGroup()
		}
	case "super":
		d.op("VCVTPH2PS", mem(h16, "R10"), tmp)
		d.op("VPMOVSXBD", mem(h8, "R9"), d0)
		d.op("VCVTDQ2PS", d0, d0)
		d.op("VMULPS", tmp, d0, d0)
		if d.halves {
			d.op("VPMOVSXBD", mem(16+h8, "R9"), d1)
			d.op("VCVTDQ2PS", d1, d1)
			d.op("VMULPS", tmp, d1, d1)
		}
	case "minSuper":
		d.op("VCVTPH2PS", mem(h16, "R10"), tmp)
		d.op("VPMOVZXBD", mem(h8, "R9"), d0)
		d.op("VCVTDQ2PS", d0, d0)
		d.op("VMULPS", tmp, d0, d0)
		d.op("VCVTPH2PS", mem(32+h16, "R10"), tmp)
		d.op("VPMOVZXBD", mem(16+h8, "R9"), m0)
		d.op("VCVTDQ2PS", m0, m0)
		d.op("VMULPS", tmp, m0, m0)
		d.negate(m0)
	case "minSuperNib":
		for i, r := range []struct{ d, m string }{{d0, m0}, {d1, m1}} {
			d.op("VPMOVZXBD", mem(16*i+h8, "R9"), r.m)
			d.logic("VPAND", d.word(15), r.m, r.d)
			d.op("VPSRLD", 4, r.m, r.m)
			d.op("VCVTDQ2PS", r.d, r.d)
			d.op("VCVTDQ2PS", r.m, r.m)
			d.op("VCVTPH2PS", mem(h16, "R10"), tmp)
			d.op("VMULPS", tmp, r.d, r.d)
			d.op("VCVTPH2PS", mem(32+h16, "R10"), tmp)
			d.op("VMULPS", tmp, r.m, r.m)
			d.negate(r.m)
		}
	}
}

// loadGroup sets rD0 and rM0 to what all blocks of a group have, from whichever
// type the format names.
func (d *decoder) loadGroup() {
	at := d.part * d.width / 2 // where 16-bit lanes start
	d0, m0 := d.v(rD0), d.v(rM0)
	f16, f32, done := d.label("f16"), d.label("f32"), d.label("scales")
	d.op("CMPQ", paramsScaleType, 1)
	d.op("JLT", f32)
	d.op("JEQ", f16)
	for i, r := range []string{d0, m0} {
		d.op("VPMOVZXWD", mem(32*i+at, "R10"), r)
		d.op("VPSLLD", 16, r, r)
	}
	d.op("JMP", done)
	d.at(f16)
	d.op("VCVTPH2PS", mem(at, "R10"), d0)
	d.op("VCVTPH2PS", mem(32+at, "R10"), m0)
	d.op("JMP", done)
	d.at(f32)
	d.op("VMOVUPS", mem(2*at, "R10"), d0)
	d.op("VMOVUPS", mem(64+2*at, "R10"), m0)
	d.at(done)
}

func (a *asm) negate(v string) { a.logic("VPXOR", a.word(1<<31), v, v) }

// logic emits a bitwise instruction under the name that the width has.
func (a *asm) logic(name string, args ...any) {
	if a.wide() {
		name += "D"
	}
	a.op(name, args...)
}

func (a *asm) loadInt(src, dst string) {
	if a.wide() {
		a.op("VMOVDQU32", src, dst)
	} else {
		a.op("VMOVDQU", src, dst)
	}
}

// decodeBlock decodes all groups, calling use for each with its codes in rCode,
// and sums the codes.
func (d *decoder) decodeBlock(use func(g int)) {
	at := d.part * d.width
	code, raw := d.v(rCode), d.v(rRaw)
	d.startSum()
	lowBytes := 64 * d.low
	perVector := 8 / d.low
	if d.wide() {
		for i := range d.high {
			d.loadInt(mem(lowBytes+64*i+at, "R8"), d.v(rHigh0+i))
		}
	}
	for vector := range d.low {
		if d.low < 8 {
			d.loadInt(mem(64*vector+at, "R8"), raw)
		}
		for i := range perVector {
			var g int
			switch d.low {
			case 8:
				g = vector
				d.loadInt(mem(64*vector+at, "R8"), code)
			case 4:
				g = vector + 4*i
				d.shiftMask(raw, 4*i, code)
			case 2:
				g = 4*vector + i
				d.shiftMask(raw, 2*i, code)
			}
			if d.high > 0 {
				d.addHigh(g, at)
			}
			switch {
			case d.stored:
			case d.levels:
				d.op("VPSHUFB", code, d.v(rLevels), code)
			case d.offset != 0 && d.wide():
				d.op("VPADDB", d.v(rLevels), code, code)
			case d.offset != 0:
				d.op("VPADDB", d.bytes(byte(d.offset)), code, code)
			}
			d.addSum(g)
			use(g)
		}
	}
	d.endSum()
}

// shiftMask extracts the low code at bit n of each byte.
func (d *decoder) shiftMask(raw string, n int, code string) {
	if n > 0 {
		d.op("VPSRLW", n, raw, code)
		raw = code
	}
	if d.wide() {
		d.op("VPANDD", d.v(rMask), raw, code)
	} else {
		d.op("VPAND", d.bytes(1<<d.low-1), raw, code)
	}
}

// addHigh puts the high bits of group g above the low ones in rCode.
func (d *decoder) addHigh(g, at int) {
	vector, bit := 0, g
	if d.high == 2 {
		vector, bit = g/4, g%4*2
	}
	tmp := d.v(rTmp)
	src := tmp
	if d.wide() {
		src = d.v(rHigh0 + vector)
	} else {
		d.loadInt(mem(64*(d.low+vector)+at, "R8"), tmp)
	}
	switch shift := d.low - bit; {
	case shift > 0:
		d.op("VPSLLW", shift, src, tmp)
		src = tmp
	case shift < 0:
		d.op("VPSRLW", -shift, src, tmp)
		src = tmp
	}
	if d.wide() {
		d.op("VPTERNLOGD", "$0xf8", d.v(rHighMask), src, d.v(rCode)) // code |= src & mask
		return
	}
	d.op("VPAND", d.bytes((1<<d.high-1)<<d.low), src, tmp)
	d.op("VPOR", tmp, d.v(rCode), d.v(rCode))
}

// startSum, addSum and endSum leave in rSum0 the float sum of the block's
// weights. With VNNI the sums of codes start at minus the offset that they have,
// with AVX2 they are 16-bit until the end.
func (d *decoder) startSum() {
	columns := 32
	n := 1
	if d.halves {
		columns, n = 16, 2
	}
	for i := range n {
		r := d.v(rSum0 + i)
		if d.wide() && !d.affine && !d.tiles {
			zero := 128
			if d.stored {
				zero = d.zero()
			}
			d.loadInt(d.word(uint32(-zero*columns)), r)
		} else {
			d.logic("VPXOR", r, r, r)
		}
	}
}

func (d *decoder) addSum(g int) {
	r := d.v(rSum0)
	if d.halves && g >= 4 {
		r = d.v(rSum1)
	}
	if d.wide() {
		if d.tiles && !d.affine {
			d.op("VPDPBUSD", d.v(rCode), d.v(rOnes), r)
		} else {
			d.op("VPDPBUSD", d.v(rOnes), d.v(rCode), r)
		}
		return
	}
	d.op("VPMADDUBSW", d.bytes(1), d.v(rCode), d.v(rTmp))
	d.op("VPADDW", d.v(rTmp), r, r)
}

func (d *decoder) endSum() {
	columns, n := 32, 1
	if d.halves {
		columns, n = 16, 2
	}
	s0, s1 := d.v(rSum0), d.v(rSum1)
	for i := range n {
		r := d.v(rSum0 + i)
		if !d.wide() {
			d.op("VPMADDWD", d.word(0x00010001), r, r)
			if !d.affine {
				d.op("VPADDD", d.word(uint32(-128*columns)), r, r)
			}
		}
		d.op("VCVTDQ2PS", r, r)
	}
	d.op("VMULPS", d.v(rD0), s0, s0)
	if d.halves {
		d.op("VFMADD231PS", s1, d.v(rD1), s0)
	}
	if d.affine {
		d.op("VFMADD231PS", d.float(float32(columns)), d.v(rM0), s0)
		if d.halves {
			d.op("VFMADD231PS", d.float(float32(columns)), d.v(rM1), s0)
		}
	}
}

// eachBlock emits the loop over CX blocks: whole super-blocks or groups, if there
// are any.
func (d *decoder) eachBlock(body func()) {
	var blocks, header any = 8, d.header()
	if d.scales == "minGroup" {
		blocks, header = paramsGroupBlocks, paramsScaleBytes
	}
	if header == 0 {
		loop := d.label("block")
		d.at(loop)
		body()
		d.op("ADDQ", d.blockBytes(), "R8")
		d.op("ADDQ", d.perBlock(), "R9")
		d.op("DECQ", "CX")
		d.op("JNZ", loop)
		return
	}
	super, loop := d.label("super"), d.label("block")
	d.at(super)
	d.op("MOVQ", "R9", "R10")
	d.op("ADDQ", header, "R9")
	d.op("MOVQ", blocks, "R12")
	if d.scales == "minGroup" && d.wide() {
		d.loadGroup()
	}
	d.at(loop)
	body()
	d.op("ADDQ", d.blockBytes(), "R8")
	if n := d.perBlock(); n > 0 {
		d.op("ADDQ", n, "R9")
	}
	d.op("DECQ", "R12")
	d.op("JNZ", loop)
	d.op("SUBQ", blocks, "CX")
	d.op("JNZ", super)
}

package main

// Element-wise kernels take a number of elements that is a multiple of 16, not 0.

func emitVectors(a *asm) {
	v := a.v
	a.elementwise("add", "sets dst to a + b.", 2, false, func(m func(string) string) {
		a.op("VMOVUPS", m("SI"), v(0))
		a.op("VADDPS", m("DX"), v(0), v(0))
		a.op("VMOVUPS", v(0), m("DI"))
	})
	a.elementwise("addScaled", "adds s·a to dst.", 1, true, func(m func(string) string) {
		a.op("VMOVUPS", m("DI"), v(0))
		a.op("VFMADD231PS", m("SI"), v(15), v(0))
		a.op("VMOVUPS", v(0), m("DI"))
	})
	a.elementwise("scale", "sets dst to s·a.", 1, true, func(m func(string) string) {
		a.op("VMULPS", m("SI"), v(15), v(0))
		a.op("VMOVUPS", v(0), m("DI"))
	})
	a.elementwise("scaleMul", "sets dst to s·a·b.", 2, true, func(m func(string) string) {
		a.op("VMULPS", m("SI"), v(15), v(0))
		a.op("VMULPS", m("DX"), v(0), v(0))
		a.op("VMOVUPS", v(0), m("DI"))
	})
	a.elementwise("siluMul", "sets dst to silu(a)·b.", 2, false, func(m func(string) string) {
		a.op("VMOVUPS", m("SI"), v(5))
		a.logic("VPXOR", a.word(1<<31), v(5), v(0))
		a.sigmoidMul(m("DX"))
		a.op("VMOVUPS", v(0), m("DI"))
	})
	a.elementwise("geluTanhMul", "sets dst to gelu(a)·b, tanh approximation.", 2, false, func(m func(string) string) {
		const k = -1.5957691216057308 // -2·√(2/π)
		a.op("VMOVUPS", m("SI"), v(5))
		a.op("VMULPS", v(5), v(5), v(0))
		a.set(k, v(1))
		a.with("VFMADD132PS", 0.044715*k, v(1), v(0))
		a.op("VMULPS", v(5), v(0), v(0))
		a.sigmoidMul(m("DX"))
		a.op("VMOVUPS", v(0), m("DI"))
	})
	a.reduction("inner", "is the sum of a·b.", "VADDPS", 0, true, false, func(m func(string) string, sum string) {
		a.op("VMOVUPS", m("SI"), v(0))
		a.op("VFMADD231PS", m("DX"), v(0), sum)
	})
	a.reduction("max", "is the largest element.", "VMAXPS", 0xff800000, false, false, func(m func(string) string, sum string) {
		a.op("VMAXPS", m("SI"), sum, sum)
	})
	a.reduction("sumExp", "is the sum of exp(a - s).", "VADDPS", 0, false, true, func(m func(string) string, sum string) {
		a.op("VMOVUPS", m("SI"), v(0))
		a.op("VSUBPS", v(15), v(0), v(0))
		a.exp(v(0), v(1), v(2))
		a.op("VADDPS", v(0), sum, sum)
	})
	a.emitRotate()
	a.emitHalves()
	a.emitSampling()
}

// exp replaces x by e^x (Cephes, expf: within 2 units in the last place); t and n
// are clobbered. Below -87.7 the result is 0, above 88.3 about 2.4e38.
func (a *asm) exp(x, t, n string) {
	a.set(88.376, t)
	a.op("VMINPS", x, t, x) // a NaN stays
	a.expNegative(x, t, n)
}

// expNegative does the same for x below 88.4.
func (a *asm) expNegative(x, t, n string) {
	if low := a.held[-88]; low != "" {
		a.op("VMAXPS", x, low, x)
	} else {
		a.set(-88, t)
		a.op("VMAXPS", x, t, x)
	}
	a.set(1.44269504, n)
	a.with("VFMADD213PS", 3<<22, x, n) // n's low bits: x·log₂e as an integer
	a.with("VSUBPS", 3<<22, n, t)
	a.with("VFNMADD231PS", 0.693359375, t, x)
	a.with("VFNMADD231PS", -2.12194440e-4, t, x)
	a.op("VPSLLD", 23, n, n)
	a.with("VPADDD", one, n, n) // 2ⁿ
	a.set(expTerms[0], t)
	for _, c := range expTerms[1:] {
		a.with("VFMADD213PS", c, x, t)
	}
	a.op("VMULPS", t, n, x)
}

// one as the bits of a float32 is also the exponent's bias.
const one = 1

// expTerms are the coefficients of e^x for |x| ≤ ln 2/2, highest first.
var expTerms = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1}

// holdExp keeps the constants of expNegative in registers from first on, for a
// loop; release forgets them.
func (a *asm) holdExp(first int) (release func()) {
	a.held = map[float32]string{}
	for _, c := range append([]float32{-88, 1.44269504, 3 << 22, 0.693359375, -2.12194440e-4}, expTerms...) {
		if a.held[c] == "" {
			r := a.v(first + len(a.held))
			a.set(c, r)
			a.held[c] = r
		}
	}
	return func() { a.held = nil }
}

// with emits an instruction whose first operand is a constant in every lane.
// Wide vectors are broadcast from one element: Go aligns a constant to 32 bytes
// at most, and loads across cache lines are slow.
func (a *asm) with(name string, c float32, args ...any) {
	switch r := a.held[c]; {
	case r != "":
		a.op(name, append([]any{r}, args...)...)
	case a.wide():
		a.op(name+".BCST", append([]any{a.float(c)}, args...)...)
	default:
		a.op(name, append([]any{a.float(c)}, args...)...)
	}
}

// set puts a constant into every lane of a register.
func (a *asm) set(c float32, to string) {
	switch r := a.held[c]; {
	case r != "":
		a.op("VMOVAPS", r, to)
	case a.wide():
		a.op("VBROADCASTSS", a.float(c), to)
	default:
		a.op("VMOVUPS", a.float(c), to)
	}
}

// sigmoidMul sets v0 to v5/(1 + e^v0)·b.
func (a *asm) sigmoidMul(b string) {
	v := a.v
	a.exp(v(0), v(1), v(2))
	a.with("VADDPS", one, v(0), v(0))
	if a.wide() {
		a.comment("1/x by an estimate and one step of Newton's method: division is slow at this width.")
		a.op("VRCP14PS", v(0), v(1))
		a.with("VFNMADD213PS", one, v(1), v(0))
		a.op("VFMADD213PS", v(1), v(1), v(0))
		a.op("VMULPS", v(5), v(0), v(0))
	} else {
		a.op("VDIVPS", v(0), v(5), v(0))
	}
	a.op("VMULPS", b, v(0), v(0))
}

// elementwise emits a kernel with a destination (DI) and sources (SI, DX); a
// scalar s is in every lane of register 15.
func (a *asm) elementwise(name, doc string, sources int, scalar bool, body func(m func(string) string)) {
	params := "dst, a unsafe.Pointer, n int"
	if sources == 2 {
		params = "dst, a, b unsafe.Pointer, n int"
	}
	if scalar {
		params += ", s float32"
	}
	a.function(name, doc, params, "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "a+8(FP)", "SI")
	if sources == 2 {
		a.op("MOVQ", "b+16(FP)", "DX")
		a.op("MOVQ", "n+24(FP)", "CX")
	} else {
		a.op("MOVQ", "n+16(FP)", "CX")
	}
	if scalar {
		a.op("VBROADCASTSS", argument("s", 16+8*sources), a.v(15))
	}
	a.each(func(at func(string) string, part int) { body(at) })
	a.ret()
}

// reduction emits a kernel that combines 16 lanes, and those pairwise at the end.
func (a *asm) reduction(name, doc, combine string, start uint32, second, scalar bool, body func(m func(string) string, sum string)) {
	params, n := "a unsafe.Pointer, n int", 8
	if second {
		params, n = "a, b unsafe.Pointer, n int", 16
	}
	result := n + 8
	if scalar {
		params += ", s float32"
		result += 8
	}
	a.function(name, doc, params, "float32")
	a.op("MOVQ", "a+0(FP)", "SI")
	if second {
		a.op("MOVQ", "b+8(FP)", "DX")
	}
	a.op("MOVQ", argument("n", n), "CX")
	if scalar {
		a.op("VBROADCASTSS", argument("s", n+8), a.v(15))
	}
	for p := range a.parts() {
		a.op("VMOVUPS", a.word(start), a.v(8+p))
	}
	a.each(func(at func(string) string, part int) { body(at, a.v(8+part)) })
	if a.wide() {
		a.op("VEXTRACTF64X4", 1, "Z8", "Y9")
	}
	a.op(combine, "Y9", "Y8", "Y8")
	a.op("VEXTRACTF128", 1, "Y8", "X9")
	a.op(combine, "X9", "X8", "X8")
	a.op("VPERMILPS", 0x4e, "X8", "X9")
	a.op(combine, "X9", "X8", "X8")
	a.op("VPERMILPS", 0xb1, "X8", "X9")
	a.op(combine, "X9", "X8", "X8")
	a.op("VMOVSS", "X8", argument("ret", result))
	a.ret()
}

// each emits a loop over CX elements, 16 at a time. The body is emitted for each
// vector of them and gets its memory operands from a function.
func (a *asm) each(body func(at func(reg string) string, part int)) {
	loop := a.label("loop")
	a.op("XORQ", "AX", "AX")
	a.at(loop)
	for p := range a.parts() {
		body(func(reg string) string { return mem(p*a.width, reg) + "(AX*1)" }, p)
	}
	a.op("ADDQ", 64, "AX")
	a.op("SUBQ", 16, "CX")
	a.op("JNZ", loop)
}

// emitRotate emits rotations of n pairs.
func (a *asm) emitRotate() {
	v := a.v
	load := func() {
		a.op("MOVQ", "x+0(FP)", "SI")
		a.op("MOVQ", "cos+8(FP)", "DX")
		a.op("MOVQ", "sin+16(FP)", "BX")
	}
	a.function("rotateHalf", "rotates the pairs (x[i], x[half+i]) for i below n.", "x, cos, sin unsafe.Pointer, n, half int", "")
	load()
	a.op("MOVQ", "n+24(FP)", "CX")
	a.op("MOVQ", "half+32(FP)", "DI")
	a.op("LEAQ", "(SI)(DI*4)", "DI")
	a.each(func(m func(string) string, part int) {
		a.op("VMOVUPS", m("SI"), v(0))
		a.op("VMOVUPS", m("DI"), v(1))
		a.op("VMOVUPS", m("DX"), v(2))
		a.op("VMOVUPS", m("BX"), v(3))
		a.op("VMULPS", v(3), v(1), v(4))
		a.op("VMULPS", v(3), v(0), v(5))
		a.op("VFMSUB231PS", v(2), v(0), v(4))
		a.op("VFMADD231PS", v(2), v(1), v(5))
		a.op("VMOVUPS", v(4), m("SI"))
		a.op("VMOVUPS", v(5), m("DI"))
	})
	a.ret()

	a.function("rotatePairs", "rotates the pairs (x[2i], x[2i+1]) for i below n.", "x, cos, sin unsafe.Pointer, n int", "")
	load()
	a.op("MOVQ", "n+24(FP)", "CX")
	loop := a.label("loop")
	a.at(loop)
	for p := range 2 * a.parts() {
		x := mem(p*a.width, "SI")
		for i, r := range []string{"DX", "BX"} {
			a.op("VPMOVZXDQ", mem(p*a.width/2, r), v(i))
			a.op("VMOVSLDUP", v(i), v(i)) // each twice
		}
		a.op("VMOVUPS", x, v(2))
		a.op("VPERMILPS", 0xb1, v(2), v(3))
		a.op("VMULPS", v(1), v(3), v(3))
		a.op("VFMADDSUB213PS", v(3), v(0), v(2))
		a.op("VMOVUPS", v(2), x)
	}
	a.op("ADDQ", 128, "SI")
	a.op("ADDQ", 64, "DX")
	a.op("ADDQ", 64, "BX")
	a.op("SUBQ", 16, "CX")
	a.op("JNZ", loop)
	a.ret()
}

// emitHalves emits conversions from and to binary16.
func (a *asm) emitHalves() {
	for _, to := range []bool{true, false} {
		if to {
			a.function("toF16", "converts n elements to binary16.", "dst, a unsafe.Pointer, n int", "")
		} else {
			a.function("fromF16", "converts n elements from binary16.", "dst, a unsafe.Pointer, n int", "")
		}
		a.op("MOVQ", "dst+0(FP)", "DI")
		a.op("MOVQ", "a+8(FP)", "SI")
		a.op("MOVQ", "n+16(FP)", "CX")
		loop := a.label("loop")
		a.at(loop)
		for p := range a.parts() {
			if to {
				a.op("VMOVUPS", mem(p*a.width, "SI"), a.v(0))
				a.op("VCVTPS2PH", 0, a.v(0), mem(p*a.width/2, "DI"))
			} else {
				a.op("VCVTPH2PS", mem(p*a.width/2, "SI"), a.v(0))
				a.op("VMOVUPS", a.v(0), mem(p*a.width, "DI"))
			}
		}
		src, dst := 64, 32
		if !to {
			src, dst = dst, src
		}
		a.op("ADDQ", src, "SI")
		a.op("ADDQ", dst, "DI")
		a.op("SUBQ", 16, "CX")
		a.op("JNZ", loop)
		a.ret()
	}
}

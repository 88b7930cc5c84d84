package main

// Element-wise kernels take a number of elements that is a multiple of 16, not 0.

func (a *neon) emitVectors() {
	a.elementwise("add", "sets dst to a + b.", 2, false, nil, func() {
		a.ins("fadd v0.4s, v0.4s, v1.4s")
	})
	a.elementwise("addScaled", "adds s·a to dst.", 1, true, nil, func() {
		a.ins("fmla v2.4s, v0.4s, v15.s[0]")
		a.ins("mov v0.16b, v2.16b")
	})
	a.elementwise("scale", "sets dst to s·a.", 1, true, nil, func() {
		a.ins("fmul v0.4s, v0.4s, v15.s[0]")
	})
	a.elementwise("scaleMul", "sets dst to s·a·b.", 2, true, nil, func() {
		a.ins("fmul v0.4s, v0.4s, v15.s[0]")
		a.ins("fmul v0.4s, v0.4s, v1.4s")
	})
	a.elementwise("siluMul", "sets dst to silu(a)·b.", 2, false, a.expConstants, func() {
		a.ins("mov v5.16b, v0.16b")
		a.ins("fneg v0.4s, v0.4s")
		a.sigmoidMul()
	})
	gelu := func() {
		const k = -1.5957691216057308 // -2·√(2/π)
		a.constant(16, k)
		a.constant(17, 0.044715*k)
		a.expConstants()
	}
	a.elementwise("geluTanhMul", "sets dst to gelu(a)·b, tanh approximation.", 2, false, gelu, func() {
		a.ins("mov v5.16b, v0.16b")
		a.ins("fmul v0.4s, v0.4s, v0.4s")
		a.ins("mov v2.16b, v16.16b")
		a.ins("fmla v2.4s, v0.4s, v17.4s")
		a.ins("fmul v0.4s, v2.4s, v5.4s")
		a.sigmoidMul()
	})
	a.reduction("inner", "is the sum of a·b.", "fadd", 0, true, false, func(sum int) {
		a.ins("fmla v%d.4s, v0.4s, v1.4s", sum)
	})
	a.reduction("max", "is the largest element.", "fmax", 0xff800000, false, false, func(sum int) {
		a.ins("fmax v%d.4s, v%[1]d.4s, v0.4s", sum)
	})
	a.reduction("sumExp", "is the sum of exp(a - s).", "fadd", 0, false, true, func(sum int) {
		a.ins("fsub v0.4s, v0.4s, v15.4s")
		a.exp()
		a.ins("fadd v%d.4s, v%[1]d.4s, v0.4s", sum)
	})
	a.emitRotate()
	a.emitHalves()
	a.emitBlockMax()
	a.emitBlockSumExp()
}

// Registers of exp's constants.
const (
	expLow = 18 + iota
	expHigh
	expLog2e
	expMagic
	expLn2High
	expLn2Low
	expBias
	expPoly // seven, the last 1
)

func (a *neon) expConstants() {
	a.constant(expLow, -88)
	a.constant(expHigh, 88.376)
	a.constant(expLog2e, 1.44269504)
	a.constant(expMagic, 3<<22)
	a.constant(expLn2High, 0.693359375)
	a.constant(expLn2Low, -2.12194440e-4)
	a.constantWord(expBias, 127<<23)
	for i, c := range []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1} {
		a.constant(expPoly+i, c)
	}
}

// exp replaces v0 by e^v0 as asm.exp does; v2 to v4 are clobbered.
func (a *neon) exp() {
	a.ins("fmax v0.4s, v0.4s, v%d.4s", expLow) // a NaN stays
	a.ins("fmin v0.4s, v0.4s, v%d.4s", expHigh)
	a.ins("mov v4.16b, v%d.16b", expMagic)
	a.ins("fmla v4.4s, v0.4s, v%d.4s", expLog2e) // low bits: x·log₂e as an integer
	a.ins("fsub v2.4s, v4.4s, v%d.4s", expMagic)
	a.ins("fmls v0.4s, v2.4s, v%d.4s", expLn2High)
	a.ins("fmls v0.4s, v2.4s, v%d.4s", expLn2Low)
	a.ins("shl v4.4s, v4.4s, #23")
	a.ins("add v4.4s, v4.4s, v%d.4s", expBias) // 2ⁿ
	t := expPoly
	for i, c := range []int{1, 2, 3, 4, 5, 6, 6} {
		next := 2 + i%2
		a.ins("mov v%d.16b, v%d.16b", next, expPoly+c)
		a.ins("fmla v%d.4s, v%d.4s, v0.4s", next, t)
		t = next
	}
	a.ins("fmul v0.4s, v4.4s, v%d.4s", t)
}

// sigmoidMul sets v0 to v5/(1 + e^v0)·v1.
func (a *neon) sigmoidMul() {
	a.exp()
	a.ins("fadd v0.4s, v0.4s, v%d.4s", expPoly+6)
	a.ins("fdiv v0.4s, v5.4s, v0.4s")
	a.ins("fmul v0.4s, v0.4s, v1.4s")
}

// elementwise emits a kernel that gets elements of a in v0, of b in v1, or if it
// has only a those of dst in v2, and leaves results in v0. A scalar s is in v15.
func (a *neon) elementwise(name, doc string, sources int, scalar bool, setUp, body func()) {
	params := "dst, a unsafe.Pointer, n int"
	if sources == 2 {
		params = "dst, a, b unsafe.Pointer, n int"
	}
	if scalar {
		params += ", s float32"
	}
	a.function(name, doc, params, "")
	a.load("dst", "R0", "a", "R1")
	if sources == 2 {
		a.op("MOVD", argument("b", 16), "R2")
	}
	a.op("MOVD", argument("n", 8+8*sources), "R3")
	if scalar {
		a.op("FMOVS", argument("s", 16+8*sources), "F15")
	}
	if setUp != nil {
		setUp()
	}
	second := []int{0, 2}[sources-1] // R0 or R2
	a.loop("R3", 16, func() {
		for part := range parts {
			a.ins("ldr q0, [x1, #%d]", partBytes*part)
			if second == 0 {
				a.ins("ldr q2, [x0, #%d]", partBytes*part)
			} else {
				a.ins("ldr q1, [x2, #%d]", partBytes*part)
			}
			body()
			a.ins("str q0, [x0, #%d]", partBytes*part)
		}
		a.advance("R0", "R1")
		if sources == 2 {
			a.advance("R2")
		}
	})
	a.ret()
}

// advance moves pointers along by 16 elements.
func (a *neon) advance(pointers ...string) {
	for _, p := range pointers {
		a.op("ADD", 64, p)
	}
}

// reduction emits a kernel that combines 16 lanes (v8 to v11), and those pairwise
// at the end, as sumLanes does. Elements of a are in v0, of b in v1.
func (a *neon) reduction(name, doc, combine string, start uint32, second, scalar bool, body func(sum int)) {
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
	a.op("MOVD", argument("a", 0), "R0")
	if second {
		a.op("MOVD", argument("b", 8), "R1")
	}
	a.op("MOVD", argument("n", n), "R3")
	if scalar {
		a.op("FMOVS", argument("s", n+8), "F15")
		a.ins("dup v15.4s, v15.s[0]")
		a.expConstants()
	}
	for part := range parts {
		a.constantWord(8+part, start)
	}
	a.loop("R3", 16, func() {
		for part := range parts {
			a.ins("ldr q0, [x0, #%d]", partBytes*part)
			if second {
				a.ins("ldr q1, [x1, #%d]", partBytes*part)
			}
			body(8 + part)
		}
		a.advance("R0")
		if second {
			a.advance("R1")
		}
	})
	a.combine(combine)
	a.op("FMOVS", "F8", argument("ret", result))
	a.ret()
}

// combine combines the 16 lanes of v8 to v11 pairwise, as sumLanes does, to the
// first of v8.
func (a *neon) combine(name string) {
	a.ins("%s v8.4s, v8.4s, v10.4s", name)
	a.ins("%s v9.4s, v9.4s, v11.4s", name)
	a.ins("%s v8.4s, v8.4s, v9.4s", name)
	a.ins("ext v9.16b, v8.16b, v8.16b, #8")
	a.ins("%s v8.4s, v8.4s, v9.4s", name)
	a.ins("dup v9.4s, v8.s[1]")
	a.ins("%s v8.4s, v8.4s, v9.4s", name)
}

// emitRotate emits rotations of n pairs.
func (a *neon) emitRotate() {
	rotate := func() { // (v0, v1) by the angle with cosine v2 and sine v3, to (v4, v5)
		a.ins("fmul v4.4s, v0.4s, v2.4s")
		a.ins("fmul v5.4s, v1.4s, v2.4s")
		a.ins("fmls v4.4s, v1.4s, v3.4s")
		a.ins("fmla v5.4s, v0.4s, v3.4s")
	}
	a.function("rotateHalf", "rotates the pairs (x[i], x[half+i]) for i below n.", "x, cos, sin unsafe.Pointer, n, half int", "")
	a.load("x", "R0", "cos", "R1", "sin", "R2", "n", "R3", "half", "R4")
	a.op("ADD", "R4<<2", "R0", "R4")
	a.loop("R3", 16, func() {
		for part := range parts {
			for v, base := range []int{0, 4, 1, 2} {
				a.ins("ldr q%d, [x%d, #%d]", v, base, partBytes*part)
			}
			rotate()
			a.ins("str q4, [x0, #%d]", partBytes*part)
			a.ins("str q5, [x4, #%d]", partBytes*part)
		}
		a.advance("R0", "R1", "R2", "R4")
	})
	a.ret()

	a.function("rotatePairs", "rotates the pairs (x[2i], x[2i+1]) for i below n.", "x, cos, sin unsafe.Pointer, n int", "")
	a.load("x", "R0", "cos", "R1", "sin", "R2", "n", "R3")
	a.loop("R3", 16, func() {
		for part := range parts {
			a.ins("ld2 {v0.4s, v1.4s}, [x0]")
			a.ins("ldr q2, [x1, #%d]", partBytes*part)
			a.ins("ldr q3, [x2, #%d]", partBytes*part)
			rotate()
			a.ins("st2 {v4.4s, v5.4s}, [x0]")
			a.op("ADD", 2*partBytes, "R0")
		}
		a.advance("R1", "R2")
	})
	a.ret()
}

// emitHalves emits conversions from and to binary16.
func (a *neon) emitHalves() {
	convert := func(name, doc string, from, to int, body func()) {
		a.function(name, doc, "dst, a unsafe.Pointer, n int", "")
		a.load("dst", "R0", "a", "R1", "n", "R3")
		a.loop("R3", 16, func() {
			body()
			a.op("ADD", 16*to, "R0")
			a.op("ADD", 16*from, "R1")
		})
		a.ret()
	}
	convert("toF16", "converts n elements to binary16.", 4, 2, func() {
		for i := range 2 {
			a.ins("ldr q0, [x1, #%d]", 32*i)
			a.ins("ldr q1, [x1, #%d]", 32*i+16)
			a.ins("fcvtn v2.4h, v0.4s")
			a.ins("fcvtn2 v2.8h, v1.4s")
			a.ins("str q2, [x0, #%d]", 16*i)
		}
	})
	convert("fromF16", "converts n elements from binary16.", 2, 4, func() {
		for i := range 2 {
			a.widen(0, 1, 16*i)
			a.ins("str q2, [x0, #%d]", 32*i)
			a.ins("str q3, [x0, #%d]", 32*i+16)
		}
	})
}

// widen loads eight binary16 from an offset to a base register into v2 and v3.
func (a *neon) widen(tmp, base, offset int) {
	a.ins("ldr q%d, [x%d, #%d]", tmp, base, offset)
	a.ins("fcvtl v2.4s, v%d.4h", tmp)
	a.ins("fcvtl2 v3.4s, v%d.8h", tmp)
}

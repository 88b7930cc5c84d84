package main

import (
	"fmt"
	"math"
)

// emitBlockMax emits the maxima of n blocks of 64.
func (a *neon) emitBlockMax() {
	a.function("blockMax", "sets dst to the largest of each of n blocks of 64, whatever is NaN aside.", "dst, a unsafe.Pointer, n int", "")
	a.load("dst", "R0", "a", "R1", "n", "R3")
	a.constantWord(15, 0xff800000)
	a.loop("R3", 1, func() {
		for i := range parts {
			a.ins("mov v%d.16b, v15.16b", 8+i)
		}
		for i := range 16 {
			a.ins("ldr q0, [x1, #%d]", partBytes*i)
			a.ins("fcmeq v1.4s, v0.4s, v0.4s") // false for NaN
			a.ins("mov v2.16b, v15.16b")
			a.ins("bit v2.16b, v0.16b, v1.16b")
			a.ins("fmax v%d.4s, v%[1]d.4s, v2.4s", 8+i%parts)
		}
		a.combine("fmax")
		a.ins("str s8, [x0]")
		a.op("ADD", 4, "R0")
		a.op("ADD", 256, "R1")
	})
	a.ret()
}

// emitBlockSumExp emits Σ e^t over each of n blocks of 256, where t is
// (a - shift)·scale in float64 and only t of at least least counts; see
// asm.emitBlockSumExp.
func (a *neon) emitBlockSumExp() {
	const (
		shift = 11 + iota
		scale
		least
		log2e
		shifter
		ln2
		rest
		terms // 11
	)
	a.function("blockSumExp", "sums exponentials of each of n blocks of 256; see BlockSumExp.",
		"dst, a unsafe.Pointer, n int, shift, scale, least float64", "")
	a.load("dst", "R0", "a", "R1", "n", "R3")
	for i, name := range []string{"shift", "scale", "least"} {
		a.op("FMOVD", argument(name, 24+8*i), fmt.Sprintf("F%d", shift+i))
		a.ins("dup v%d.2d, v%[1]d.d[0]", shift+i)
	}
	constant := func(v int, f float64) {
		a.op("MOVD", fmt.Sprintf("$0x%016x", math.Float64bits(f)), "R25")
		a.ins("dup v%d.2d, x25", v)
	}
	high := math.Float64frombits(math.Float64bits(math.Ln2) &^ (1<<32 - 1)) // k·high is exact
	constant(log2e, math.Log2E)
	constant(shifter, 3<<51) // above it a float64 has no fraction
	constant(ln2, high)
	constant(rest, math.Ln2-high)
	f := 1.0
	for i := range 11 {
		constant(terms+i, 1/f)
		f *= float64(i + 1)
	}
	a.loop("R3", 1, func() {
		a.clear(9)
		a.clear(10)
		a.op("MOVD", "$256", "R4")
		a.loop("R4", 4, func() {
			a.ins("ldr q8, [x1]")
			for i, widen := range []string{"fcvtl v0.2d, v8.2s", "fcvtl2 v0.2d, v8.4s"} {
				a.ins("%s", widen)
				a.ins("fsub v0.2d, v0.2d, v%d.2d", shift)
				a.ins("fmul v0.2d, v0.2d, v%d.2d", scale)
				a.ins("fcmge v1.2d, v0.2d, v%d.2d", least) // false for NaN
				a.ins("mov v2.16b, v%d.16b", shifter)
				a.ins("fmla v2.2d, v0.2d, v%d.2d", log2e) // low bits: t/ln 2 as an integer
				a.ins("fsub v3.2d, v2.2d, v%d.2d", shifter)
				a.ins("fmls v0.2d, v3.2d, v%d.2d", ln2)
				a.ins("fmls v0.2d, v3.2d, v%d.2d", rest)
				p := terms + 10
				for j := 9; j >= 0; j-- {
					next := 4 + j%2
					a.ins("mov v%d.16b, v%d.16b", next, terms+j)
					a.ins("fmla v%d.2d, v%d.2d, v0.2d", next, p)
					p = next
				}
				a.ins("shl v2.2d, v2.2d, #52")
				a.ins("add v%d.2d, v%[1]d.2d, v2.2d", p) // times 2ᵏ
				a.ins("and v%d.16b, v%[1]d.16b, v1.16b", p)
				a.ins("fadd v%d.2d, v%[1]d.2d, v%d.2d", 9+i, p)
			}
			a.op("ADD", 16, "R1")
		})
		a.ins("fadd v9.2d, v9.2d, v10.2d")
		a.ins("faddp d9, v9.2d")
		a.op("FMOVD", "F9", "(R0)")
		a.op("ADD", 8, "R0")
	})
	a.ret()
}

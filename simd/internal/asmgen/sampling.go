package main

import (
	"fmt"
	"math"
)

// emitSampling emits what sampling does over whole vocabularies.
func (a *asm) emitSampling() {
	a.emitBlockMax()
	a.emitBlockSumExp()
}

// emitBlockMax emits the maxima of n blocks of 64. An instruction's first operand
// here is what it returns if the second is NaN.
func (a *asm) emitBlockMax() {
	v := a.v
	a.function("blockMax", "sets dst to the largest of each of n blocks of 64, whatever is NaN aside.", "dst, a unsafe.Pointer, n int", "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "a+8(FP)", "SI")
	a.op("MOVQ", "n+16(FP)", "CX")
	a.set(float32(math.Inf(-1)), v(15))
	n := 256 / a.width
	loop := a.label("block")
	a.at(loop)
	for i := range n {
		a.op("VMOVUPS", mem(i*a.width, "SI"), v(i))
		a.op("VMAXPS", v(15), v(i), v(i))
	}
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			a.op("VMAXPS", v(i+n/2), v(i), v(i))
		}
	}
	if a.wide() {
		a.op("VEXTRACTF64X4", 1, "Z0", "Y1")
		a.op("VMAXPS", "Y1", "Y0", "Y0")
	}
	a.reduce("VMAXPS", "X0", "Y0")
	a.op("VMOVSS", "X0", "(DI)")
	a.op("ADDQ", 256, "SI")
	a.op("ADDQ", 4, "DI")
	a.op("DECQ", "CX")
	a.op("JNZ", loop)
	a.ret()
}

// emitBlockSumExp emits Σ e^t over each of n blocks of 256, where t is
// (a - shift)·scale in float64 and only t of at least least, itself no less than
// -700, counts. With t = k·ln 2 + r, e^r is Taylor's series up to r¹⁰/10!, off by
// less than 1e-12 for |r| ≤ ln 2/2.
func (a *asm) emitBlockSumExp() {
	v := a.v
	a.function("blockSumExp", "sums exponentials of each of n blocks of 256; see BlockSumExp.",
		"dst, a unsafe.Pointer, n int, shift, scale, least float64", "")
	a.op("MOVQ", "dst+0(FP)", "DI")
	a.op("MOVQ", "a+8(FP)", "SI")
	a.op("MOVQ", "n+16(FP)", "CX")
	shift, scale, least, sum := v(12), v(13), v(14), v(15)
	a.op("VBROADCASTSD", "shift+24(FP)", shift)
	a.op("VBROADCASTSD", "scale+32(FP)", scale)
	a.op("VBROADCASTSD", "least+40(FP)", least)
	constant := func(i int, f float64) string { // in a register where there are enough
		if !a.wide() {
			return a.double(f)
		}
		a.op("VBROADCASTSD", a.double(f), v(16+i))
		return v(16 + i)
	}
	const magic = 3 << 51 // above it a float64 has no fraction
	log2e, shifter := constant(0, math.Log2E), constant(1, magic)
	high := math.Float64frombits(math.Float64bits(math.Ln2) &^ (1<<32 - 1)) // k·high is exact
	ln2, rest := constant(2, high), constant(3, math.Ln2-high)
	terms := make([]string, 11)
	f := 1.0
	for i := range terms {
		terms[i] = constant(4+i, 1/f)
		f *= float64(i + 1)
	}
	block, loop := a.label("block"), a.label("loop")
	a.at(block)
	a.op("VXORPD", sum, sum, sum)
	a.op("MOVQ", 1024/(a.width/2), "AX")
	a.at(loop)
	t, k, p, m := v(0), v(1), v(2), v(3)
	a.op("VCVTPS2PD", "(SI)", t)
	a.op("VSUBPD", shift, t, t)
	a.op("VMULPD", scale, t, t)
	if a.wide() {
		a.op("VCMPPD", 13, least, t, "K1") // not less, nor NaN
	} else {
		a.op("VCMPPD", 13, least, t, m)
	}
	a.op("VMOVUPD", shifter, k)
	a.op("VFMADD231PD", log2e, t, k) // k's low bits: t/ln 2 as an integer
	a.op("VSUBPD", shifter, k, p)
	a.op("VFNMADD231PD", ln2, p, t)
	a.op("VFNMADD231PD", rest, p, t)
	a.op("VMOVUPD", terms[10], p)
	for i := 9; i >= 0; i-- {
		a.op("VFMADD213PD", terms[i], t, p)
	}
	a.op("VPSLLQ", 52, k, k)
	a.op("VPADDQ", k, p, p) // times 2ᵏ
	if a.wide() {
		a.op("VADDPD", p, sum, "K1", sum)
	} else {
		a.op("VANDPD", m, p, p)
		a.op("VADDPD", p, sum, sum)
	}
	a.op("ADDQ", a.width/2, "SI")
	a.op("DECQ", "AX")
	a.op("JNZ", loop)
	if a.wide() {
		a.op("VEXTRACTF64X4", 1, "Z15", "Y0")
		a.op("VADDPD", "Y0", "Y15", "Y15")
	}
	a.op("VEXTRACTF128", 1, "Y15", "X0")
	a.op("VADDPD", "X0", "X15", "X0")
	a.op("VPERMILPD", 1, "X0", "X1")
	a.op("VADDSD", "X1", "X0", "X0")
	a.op("VMOVSD", "X0", "(DI)")
	a.op("ADDQ", 8, "DI")
	a.op("DECQ", "CX")
	a.op("JNZ", block)
	a.ret()
}

// double is a memory operand with a float64 in each of four lanes.
func (a *asm) double(f float64) string {
	bits := math.Float64bits(f)
	words := make([]uint32, 0, 8)
	for range 4 {
		words = append(words, uint32(bits), uint32(bits>>32))
	}
	return a.table(fmt.Sprintf("d%016x", bits), words)
}

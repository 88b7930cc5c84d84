package main

// emitQuantize emits quantizePortable. Registers: SI values, DI codes, BX scales,
// CX blocks left.
func emitQuantize(a *asm) {
	a.function("quantize", "is quantizePortable for n blocks.",
		"x unsafe.Pointer, n int, codes, scales unsafe.Pointer, step uintptr", "")
	a.op("MOVQ", "x+0(FP)", "SI")
	a.op("MOVQ", "n+8(FP)", "CX")
	a.op("MOVQ", "codes+16(FP)", "DI")
	a.op("MOVQ", "scales+24(FP)", "BX")
	a.op("MOVQ", "step+32(FP)", "DX")
	n := 128 / a.width
	x := func(i int) string { return a.v(i) } // 0 to 3
	loop := a.label("block")
	a.at(loop)
	for i := range n {
		a.op("VMOVUPS", mem(i*a.width, "SI"), x(i))
	}
	top, low := a.v(4), a.v(5)
	a.op("VMAXPS", x(0), x(1), top)
	a.op("VMINPS", x(0), x(1), low)
	for i := 2; i < n; i++ {
		a.op("VMAXPS", x(i), top, top)
		a.op("VMINPS", x(i), low, low)
	}
	a.logic("VPXOR", a.word(1<<31), low, low) // from here on the largest -x
	if a.wide() {
		a.op("VEXTRACTF64X4", 1, "Z4", "Y6")
		a.op("VEXTRACTF64X4", 1, "Z5", "Y7")
		a.op("VMAXPS", "Y6", "Y4", "Y4")
		a.op("VMAXPS", "Y7", "Y5", "Y5")
	}
	a.comment("The largest x in the low half of Y4, the largest -x in the high one.")
	a.op("VPERM2F128", 0x20, "Y5", "Y4", "Y6")
	a.op("VPERM2F128", 0x31, "Y5", "Y4", "Y7")
	a.op("VMAXPS", "Y6", "Y7", "Y4")
	a.op("VPERMILPS", 0x4e, "Y4", "Y5")
	a.op("VMAXPS", "Y5", "Y4", "Y4")
	a.op("VPERMILPS", 0xb1, "Y4", "Y5")
	a.op("VMAXPS", "Y5", "Y4", "Y4")
	a.op("VEXTRACTF128", 1, "Y4", "X5")
	a.op("VADDSS", "X5", "X4", "X6")               // range
	a.op("VSUBSS", "X5", "X4", "X7")               // sum of the ends
	a.op("VMULSS", a.float(0.5), "X7", "X7")       // z
	a.op("VMULSS", a.float(1.0/254), "X6", "X8")   // d
	a.op("VMOVSS", a.float(254), "X9")             //
	a.op("VDIVSS", "X6", "X9", "X9")               // 1/d
	a.op("VCMPSS", 30, a.float(1e-30), "X6", "X6") // range > tiniest
	a.op("VANDPS", "X6", "X9", "X9")
	z, inverse := a.v(10), a.v(11)
	a.op("VBROADCASTSS", "X7", z)
	a.op("VBROADCASTSS", "X9", inverse)
	for i := range n {
		a.op("VSUBPS", z, x(i), x(i))
		a.op("VMULPS", inverse, x(i), x(i))
		a.op("VCVTPS2DQ", x(i), x(i))
	}
	if a.wide() {
		a.op("VPMOVSDB", "Z0", "X0")
		a.op("VPMOVSDB", "Z1", "X1")
	} else {
		a.op("VPACKSSDW", "Y1", "Y0", "Y0")
		a.op("VPACKSSDW", "Y3", "Y2", "Y2")
		a.op("VPACKSSWB", "Y2", "Y0", "Y0")
		a.op("VMOVDQU", a.packOrder(), "Y1")
		a.op("VPERMD", "Y0", "Y1", "Y0")
		a.op("VEXTRACTI128", 1, "Y0", "X1")
	}
	a.comment("Sums of the halves: of unsigned bytes, 16·128 too much.")
	a.op("VPXOR", "X2", "X2", "X2")
	for i, r := range []string{"AX", "R8"} {
		q := []string{"X0", "X1"}[i]
		a.op("VMOVDQU", q, mem(16*i, "DI"))
		a.op("VPXOR", a.bytes(0x80), q, q)
		a.op("VPSADBW", "X2", q, q)
		a.op("VPSHUFD", 0x4e, q, "X3")
		a.op("VPADDD", "X3", q, q)
		a.op("VMOVD", q, r)
	}
	a.op("LEAL", "-4096(AX)(R8*1)", "R9")
	a.op("VCVTSI2SSL", "R9", "X8", "X3")
	a.op("VMULSS", "X8", "X3", "X3")
	a.op("VMOVSS", "X8", mem(actD, "BX"))
	a.op("VMOVSS", "X7", mem(actZ, "BX"))
	a.op("VMOVSS", "X3", mem(actSum, "BX"))
	for i, r := range []string{"R9", "AX", "R8"} {
		a.op("SHLL", 7, r)
		if r != "R9" {
			a.op("SUBL", 2048*128, r)
		}
		a.op("NEGL", r)
		a.op("MOVL", r, mem(actZero+4*i, "BX"))
	}
	a.op("ADDQ", 128, "SI")
	a.op("ADDQ", "DX", "DI")
	a.op("ADDQ", "DX", "BX")
	a.op("DECQ", "CX")
	a.op("JNZ", loop)
	a.ret()
}

// packOrder is the permutation that undoes the lane order of VPACKSSDW and
// VPACKSSWB.
func (a *asm) packOrder() string {
	return a.table("packOrder", []uint32{0, 4, 1, 5, 2, 6, 3, 7})
}

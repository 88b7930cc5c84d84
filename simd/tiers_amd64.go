package simd

import "golang.org/x/sys/cpu"

// availableTiers lists the tiers of this machine, slowest first.
func availableTiers() []*tier {
	x := &cpu.X86
	list := []*tier{&portable}
	if x.HasAVX2 && x.HasFMA && hasF16C() {
		list = append(list, kernelsAVX2.tier("avx2"))
		if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI {
			list = append(list, kernelsAVX512.tier("avx512vnni"))
			if x.HasAMXTile && x.HasAMXInt8 && requestTiles() {
				list = append(list, tierAMX())
			}
		}
	}
	return list
}

// hasF16C reports whether the processor converts from and to binary16. It is
// only asked on processors with AVX2.
func hasF16C() bool

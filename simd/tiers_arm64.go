package simd

import "golang.org/x/sys/cpu"

// availableTiers lists the tiers of this machine, slowest first. Every arm64
// processor has NEON; dot products came with Armv8.2 (optional) and are in every
// server and Mac, products of int8 matrices with Armv8.6.
func availableTiers() []*tier {
	list := []*tier{&portable, kernelsNEON.tier("neon")}
	if cpu.ARM64.HasASIMDDP {
		list = append(list, kernelsNEONDOT.tier("neondot"))
		if cpu.ARM64.HasI8MM {
			list = append(list, kernelsNEONI8MM.tier("neoni8mm"))
		}
	}
	return list
}

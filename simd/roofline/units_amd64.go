package roofline

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/inferflux/inferflux/simd"
)

// Loops of n rounds, each of twelve instructions (or groups of them) that don't
// wait for each other; tiles in rounds of four.
//
//go:noescape
func fma256(n int)

//go:noescape
func fma512(n int)

//go:noescape
func maddubs256(n int)

//go:noescape
func dpbusd512(n int)

//go:noescape
func tdpbssd(n int)

//go:noescape
func read256(p unsafe.Pointer, n int)

//go:noescape
func read512(p unsafe.Pointer, n int)

// has reports whether the machine has the kernels of a tier.
func has(tier string) bool { return slices.Contains(simd.Tiers(), tier) }

func units() []unit {
	var list []unit
	if has("avx2") {
		list = append(list, unit{"float32", "VFMADD231PS, 256 bit", 12 * 16, fma256}, unit{"int8", "VPMADDUBSW, 256 bit", 12 * 64, maddubs256})
	}
	if has("avx512vnni") {
		list = append(list, unit{"float32", "VFMADD231PS, 512 bit", 12 * 32, fma512}, unit{"int8", "VPDPBUSD, 512 bit", 12 * 128, dpbusd512})
	}
	if has("amx") {
		// Fewer rounds' worth of loop: an instruction takes 16 cycles.
		list = append(list, unit{"int8", "TDPBSSD", 4 * 2 * 16 * 16 * 64 / 8, func(n int) { tdpbssd(n / 8) }})
	}
	return list
}

// UnitOf names the instruction that bounds the products of a tier of package simd
// with int8 codes or with floating-point weights.
func UnitOf(tier string, float bool) string {
	switch {
	case float && (tier == "avx512vnni" || tier == "amx"):
		return "VFMADD231PS, 512 bit"
	case float:
		return "VFMADD231PS, 256 bit"
	case tier == "amx":
		return "TDPBSSD"
	case tier == "avx512vnni":
		return "VPDPBUSD, 512 bit"
	}
	return "VPMADDUBSW, 256 bit"
}

func read(p unsafe.Pointer, n int) {
	switch {
	case cpu.X86.HasAVX512F:
		read512(p, n)
	case cpu.X86.HasAVX2:
		read256(p, n)
	default:
		readPortable(p, n)
	}
}

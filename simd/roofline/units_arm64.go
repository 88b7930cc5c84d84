package roofline

import (
	"slices"
	"unsafe"

	"github.com/inferflux/inferflux/simd"
)

// Loops of n rounds, each of sixteen instructions that don't wait for each other.
//
//go:noescape
func fmla(n int)

//go:noescape
func sdot(n int)

//go:noescape
func smmla(n int)

//go:noescape
func readNEON(p unsafe.Pointer, n int)

func units() []unit {
	list := []unit{{"float32", "FMLA", 16 * 8, fmla}}
	if slices.Contains(simd.Tiers(), "neondot") {
		list = append(list, unit{"int8", "SDOT", 16 * 32, sdot})
	}
	if slices.Contains(simd.Tiers(), "neoni8mm") {
		list = append(list, unit{"int8", "SMMLA", 16 * 64, smmla})
	}
	return list
}

// UnitOf names the instruction that bounds the products of a tier of package simd
// with int8 codes or with floating-point weights.
func UnitOf(tier string, float bool) string {
	switch {
	case !float && tier == "neondot":
		return "SDOT"
	case !float && tier == "neoni8mm":
		return "SMMLA"
	}
	return "FMLA"
}

func read(p unsafe.Pointer, n int) { readNEON(p, n) }

//go:build !amd64 && !arm64

package roofline

import "unsafe"

func units() []unit {
	return []unit{{"float32", "multiplication and addition in Go", 8 * 2, func(n int) {
		var sums [8]float32
		for range n {
			for i := range sums {
				sums[i] += sums[i] * 1.0001
			}
		}
		sink = sums[0]
	}}}
}

var sink float32

// UnitOf names the arithmetic that bounds the products of a tier.
func UnitOf(string, bool) string { return "multiplication and addition in Go" }

func read(p unsafe.Pointer, n int) { readPortable(p, n) }

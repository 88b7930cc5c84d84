//go:build !amd64

package simd

func availableTiers() []*tier { return []*tier{&portable} }

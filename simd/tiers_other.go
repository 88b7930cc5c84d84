//go:build !amd64 && !arm64

package simd

func availableTiers() []*tier { return []*tier{&portable} }

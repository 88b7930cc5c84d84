//go:build !linux

package simd

// useHugePages does nothing: other systems decide for themselves.
func useHugePages([]byte) {}

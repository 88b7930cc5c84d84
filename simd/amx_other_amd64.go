//go:build !linux

package simd

// requestTiles reports that tile registers can't be used.
func requestTiles() bool { return false }

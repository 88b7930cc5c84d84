//go:build !unix

package cpu

// mapArena reserves n bytes of zeroed memory.
func mapArena(n int) ([]byte, error) { return make([]byte, n), nil }

func unmapArena([]byte) error { return nil }

func releaseArena([]byte, int, int) {}

//go:build unix

package cpu

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapArena reserves n bytes of zeroed address space. Memory is taken page by
// page as it is first written.
func mapArena(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|mapNoReserve)
	if err != nil {
		return nil, fmt.Errorf("map %d MiB of memory: %w", n>>20, err)
	}
	_ = unix.Madvise(b, adviseHuge) // advice only
	return b, nil
}

func unmapArena(b []byte) error {
	if b == nil {
		return nil
	}
	return unix.Munmap(b)
}

// releaseArena gives the memory of whole system pages within b[from:to] back.
// Their contents are lost.
func releaseArena(b []byte, from, to int) {
	page := os.Getpagesize()
	from, to = (from+page-1)/page*page, to/page*page
	if from < to {
		// Advice only: when it is refused, the memory merely stays resident.
		_ = unix.Madvise(b[from:to], adviceFree)
	}
}

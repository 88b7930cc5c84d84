package cpu

import (
	"errors"
	"unsafe"
)

// weightMemory is where the packed weights lie: in a few large mappings outside the
// collector's heap. There they don't double what the collector lets pile up before
// it runs, matrices of any size share large pages, nothing is zeroed that the system
// zeroes anyway, and all of it is back with the system once the engine is closed.
type weightMemory struct {
	mappings [][]byte
	free     []byte // of the last
}

const (
	// weightMapping is the least that is mapped at a time. Only what is written
	// takes memory.
	weightMapping = 256 << 20
	largePage     = 2 << 20
	lineBytes     = 64
)

// take gives n zeroed bytes at the beginning of a cache line, until close.
func (w *weightMemory) take(n int) ([]byte, error) {
	n = (n + lineBytes - 1) &^ (lineBytes - 1)
	if n > len(w.free) {
		// What is left of the last mapping stays untouched.
		m, err := mapArena(max(n, weightMapping) + largePage)
		if err != nil {
			return nil, err
		}
		w.mappings = append(w.mappings, m)
		skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(m)))) & (largePage - 1)
		w.free = m[skip:]
	}
	b := w.free[:n:n]
	w.free = w.free[n:]
	return b, nil
}

// close gives everything back. Nothing that was taken may be used any more.
func (w *weightMemory) close() error {
	var errs []error
	for _, m := range w.mappings {
		errs = append(errs, unmapArena(m))
	}
	*w = weightMemory{}
	return errors.Join(errs...)
}

package backend

import "time"

// DeviceMemory is what a native library says of its memory, in bytes.
type DeviceMemory struct {
	Active uint64 // in use: weights, KV pools, what a step computes
	Cache  uint64 // free, and kept for reuse
	Peak   uint64 // the most that was ever active
}

// MemoryReporter is implemented by engines whose native library accounts for its
// memory.
type MemoryReporter interface {
	Engine
	// Memory is what the library holds for the whole process: all engines of one
	// backend say the same. It may be called from any goroutine, and doesn't wait
	// for what is being computed.
	Memory() DeviceMemory
}

// Repacker is implemented by engines that compute with a copy of the weights in a
// layout of their own, or can do without.
type Repacker interface {
	Engine
	// Repacked says what that cost. It may be called from any goroutine.
	Repacked() Repacking
}

// Repacking is what came of an engine's choice to copy the weights.
type Repacking struct {
	Bytes int64         // of memory that the copy takes
	Took  time.Duration // of the load
	// Mapped says why there is none, and the weights are used as they lie in the
	// mapped file; "" if there is.
	Mapped string
}

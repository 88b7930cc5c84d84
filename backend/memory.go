package backend

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

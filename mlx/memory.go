package mlx

import "unsafe"

// The figures of MLX's allocator, in bytes. They may be read from anywhere.

// ActiveMemory is what live arrays occupy.
func (l *Library) ActiveMemory() uint64 { return l.memory(fnGetActiveMemory) }

// PeakMemory is the most that was active since the start or the last
// [Library.ResetPeakMemory].
func (l *Library) PeakMemory() uint64 { return l.memory(fnGetPeakMemory) }

// CacheMemory is what is free and held for reuse.
func (l *Library) CacheMemory() uint64 { return l.memory(fnGetCacheMemory) }

// MemoryLimit is the limit that [Library.SetMemoryLimit] sets.
func (l *Library) MemoryLimit() uint64 { return l.memory(fnGetMemoryLimit) }

func (l *Library) memory(f fn) uint64 {
	value := new(uint64)
	callC(l.fns[f], uintptr(unsafe.Pointer(value)))
	return *value
}

// ResetPeakMemory forgets the peak.
func (l *Library) ResetPeakMemory() { l.Do(func() { callC(l.fns[fnResetPeakMemory]) }) }

// ClearCache gives memory that is free and held for reuse back to the system.
func (l *Library) ClearCache() { l.Do(func() { callC(l.fns[fnClearCache]) }) }

// SetMemoryLimit sets how much may be active before evaluation waits for
// memory to come free, and before allocating fails where none does. It returns
// the previous limit.
func (l *Library) SetMemoryLimit(bytes uint64) (uint64, error) {
	return l.setLimit(fnSetMemoryLimit, bytes)
}

// SetCacheLimit sets how much free memory is held for reuse; 0 holds none. It
// returns the previous limit.
func (l *Library) SetCacheLimit(bytes uint64) (uint64, error) {
	return l.setLimit(fnSetCacheLimit, bytes)
}

// SetWiredLimit sets how much memory Metal keeps resident; elsewhere it does
// nothing. More than the system allows is an error. It returns the previous
// limit.
func (l *Library) SetWiredLimit(bytes uint64) (uint64, error) {
	return l.setLimit(fnSetWiredLimit, bytes)
}

func (l *Library) setLimit(f fn, bytes uint64) (previous uint64, err error) {
	l.Do(func() {
		value := new(uint64)
		if rc := callC(l.fns[f], uintptr(unsafe.Pointer(value)), uintptr(bytes)); int32(rc) != 0 {
			err = &Error{Op: opName(f), Message: takeMessage(opName(f))}
		}
		previous = *value
	})
	return previous, err
}

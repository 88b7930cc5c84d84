package mlx

import "github.com/inferflux/inferflux/backend"

var _ backend.MemoryReporter = (*Engine)(nil)

// Memory implements backend.MemoryReporter. It reads three numbers of MLX's
// allocator where it is called, not on MLX's thread, which may be in the middle of
// a long step.
func (e *Engine) Memory() backend.DeviceMemory {
	return backend.DeviceMemory{Active: e.lib.ActiveMemory(), Cache: e.lib.CacheMemory(), Peak: e.lib.PeakMemory()}
}

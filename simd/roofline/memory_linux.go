package roofline

import "golang.org/x/sys/unix"

// allocate maps memory, in huge pages where the system has them, as the engine's
// weights are.
func allocate(n int) (b []byte, free func()) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n), func() {}
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // without them it is only slower
	return b, func() { _ = unix.Munmap(b) }
}

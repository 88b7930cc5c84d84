//go:build unix

package kvstore

import "golang.org/x/sys/unix"

// allocate gives zeroed memory that the garbage collector doesn't know: a heap of
// gigabytes would let the collector wait for gigabytes of garbage.
func allocate(n int64) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err == nil {
		adviseHuge(b)
	}
	return b, err
}

func release(b []byte) {
	if len(b) > 0 {
		_ = unix.Munmap(b)
	}
}

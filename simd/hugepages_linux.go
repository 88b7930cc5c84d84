package simd

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// useHugePages asks the kernel to back b, which hasn't been touched yet, with
// large pages where it can: reading weights at the speed of memory otherwise
// waits for address translation. It is only advice, about all large pages that b
// touches (matrices smaller than one share it with their neighbours in the heap),
// and failure changes nothing.
func useHugePages(b []byte) {
	const size = 2 << 20
	if len(b) < size/8 {
		return
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	from, to := start&^(size-1), (start+uintptr(len(b))+size-1)&^(size-1)
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_HUGEPAGE)
}

package cpu

import "golang.org/x/sys/unix"

const (
	mapNoReserve = unix.MAP_NORESERVE
	adviceFree   = unix.MADV_DONTNEED
	// Without large pages, reading a long context waits for address translation.
	adviseHuge = unix.MADV_HUGEPAGE
)

package cpu

import "golang.org/x/sys/unix"

const (
	mapNoReserve = unix.MAP_NORESERVE
	adviceFree   = unix.MADV_DONTNEED
)

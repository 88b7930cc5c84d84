//go:build unix && !linux

package cpu

import "golang.org/x/sys/unix"

const (
	mapNoReserve = 0
	adviceFree   = unix.MADV_FREE
	adviseHuge   = unix.MADV_NORMAL
)

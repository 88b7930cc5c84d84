package simd

import "golang.org/x/sys/unix"

// requestTiles asks the kernel for the use of tile registers, whose state is so
// large that it isn't granted unasked. The answer holds for all threads of the
// process. It is no where the kernel or the hypervisor doesn't support them.
func requestTiles() bool {
	const requestPermission, tileData = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
}

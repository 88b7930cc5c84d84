package host

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// PhysicalCores counts the cores, or is 0 if that can't be told. On Apple
// silicon only the performance cores count: a slow core would hold up the rest.
func PhysicalCores() int {
	for _, name := range []string{"hw.perflevel0.physicalcpu", "hw.physicalcpu"} {
		if n, err := unix.SysctlUint32(name); err == nil && n > 0 {
			return int(n)
		}
	}
	return 0
}

// CPULimit is 0: there are no quotas.
func CPULimit() float64 { return 0 }

// Processor is the CPU's name.
func Processor() string {
	if name, err := unix.Sysctl("machdep.cpu.brand_string"); err == nil && name != "" {
		return name
	}
	return runtime.GOARCH
}

// Memory is the machine's memory in bytes, in all and what a new program could
// use of it (taken to be three quarters); 0 if that can't be told.
func Memory() (total, available int) {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, 0
	}
	return int(n), int(n / 4 * 3)
}

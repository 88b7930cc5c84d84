//go:build !linux && !darwin

package host

import "runtime"

// PhysicalCores is 0: it can't be told.
func PhysicalCores() int { return 0 }

// CPULimit is 0: it can't be told.
func CPULimit() float64 { return 0 }

// Processor is the CPU's name.
func Processor() string { return runtime.GOARCH }

// Memory is 0: it can't be told.
func Memory() (total, available int) { return 0, 0 }

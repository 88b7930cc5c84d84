//go:build !linux && !darwin

package cpu

import "runtime"

// physicalCores is 0: it can't be told.
func physicalCores() int { return 0 }

// processor is the CPU's name.
func processor() string { return runtime.GOARCH }

// memory is 0: it can't be told.
func memory() (total, available int) { return 0, 0 }

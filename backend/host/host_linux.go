package host

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// PhysicalCores counts the cores that the process may run on, or is 0 if that
// can't be told.
func PhysicalCores() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0
	}
	cores := map[string]bool{}
	for cpu := range len(set) * 64 {
		if !set.IsSet(cpu) {
			continue
		}
		siblings, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu))
		if err != nil {
			return 0
		}
		cores[string(siblings)] = true
	}
	return len(cores)
}

// Processor is the CPU's name.
func Processor() string {
	if name := procField("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	return runtime.GOARCH
}

// Memory is the machine's memory in bytes, in all and what a new program could
// use of it, within the limit of the control group; 0 if that can't be told.
func Memory() (total, available int) {
	total, available = kib(procField("/proc/meminfo", "MemTotal")), kib(procField("/proc/meminfo", "MemAvailable"))
	if limit, left := memoryLimit("/"); limit >= 0 {
		total, available = min(total, limit), min(available, left)
	}
	return total, available
}

func kib(field string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(field, " kB"))
	if err != nil {
		return 0
	}
	return n << 10
}

// procField finds the first line "name : value" of a file.
func procField(file, name string) string {
	for line := range lines(file) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

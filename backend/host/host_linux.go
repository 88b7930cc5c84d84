package host

import (
	"bufio"
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
	for _, files := range [][2]string{
		{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
		{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
	} {
		limit, err := number(files[0])
		if err != nil || limit <= 0 {
			continue
		}
		used, err := number(files[1])
		if err != nil {
			used = 0
		}
		total, available = min(total, limit), min(available, max(limit-used, 0))
	}
	return total, available
}

func number(file string) (int, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
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
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

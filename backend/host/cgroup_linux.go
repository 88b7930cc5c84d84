package host

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// CPULimit is how many CPUs' worth of time the process may use by the quota of its
// control group or of one above it, such as 1.5; 0 if there is no limit.
func CPULimit() float64 { return cpuLimit("/") }

// cpuLimit is CPULimit in a file system that begins at root.
func cpuLimit(root string) float64 {
	least := 0.0
	for _, dir := range controlGroups(root, "cpu") {
		// Version 2: "max 100000" or "150000 100000", both in microseconds.
		quota, period, _ := strings.Cut(readLine(dir, "cpu.max"), " ")
		if quota == "" { // version 1; -1 means no limit
			quota, period = readLine(dir, "cpu.cfs_quota_us"), readLine(dir, "cpu.cfs_period_us")
		}
		q, err1 := strconv.ParseUint(quota, 10, 63)
		p, err2 := strconv.ParseUint(period, 10, 63)
		if err1 != nil || err2 != nil || q == 0 || p == 0 {
			continue
		}
		if limit := float64(q) / float64(p); least == 0 || limit < least {
			least = limit
		}
	}
	return least
}

// memoryLimit is the memory that the process's control group and those above it may
// use, and how much of that is left, each the least of all; -1 if there is no limit.
func memoryLimit(root string) (limit, left int) {
	limit, left = -1, -1
	for _, dir := range controlGroups(root, "memory") {
		for _, files := range [][2]string{
			{"memory.max", "memory.current"},
			{"memory.limit_in_bytes", "memory.usage_in_bytes"},
		} {
			n, err := strconv.Atoi(readLine(dir, files[0]))
			if err != nil || n <= 0 {
				continue
			}
			used, err := strconv.Atoi(readLine(dir, files[1]))
			if err != nil {
				used = 0
			}
			used -= cached(dir)
			if limit < 0 || n < limit {
				limit = n
			}
			if free := min(max(n-used, 0), n); left < 0 || free < left {
				left = free
			}
		}
	}
	return limit, left
}

// cached is how much of the memory that a group uses holds files, such as models, and
// can be had back.
func cached(dir string) int {
	sum, all := 0, 0
	for line := range lines(filepath.Join(dir, "memory.stat")) {
		name, value, _ := strings.Cut(line, " ")
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			continue
		}
		switch name {
		case "active_file", "inactive_file":
			sum += n
		case "total_active_file", "total_inactive_file": // version 1, with the groups below
			all += n
		}
	}
	return max(sum, all)
}

// controlGroups lists the folders of the process's own control group and of all above
// it, as far as they can be seen from here. The controller's hierarchy of version 1
// is taken if it has one, otherwise that of version 2 (cgroups(7)).
func controlGroups(root, controller string) []string {
	var path string
	v1, found := false, false
	for line := range lines(filepath.Join(root, "proc/self/cgroup")) {
		// "4:memory:/path", "0::/path"
		id, rest, _ := strings.Cut(line, ":")
		controllers, at, ok := strings.Cut(rest, ":")
		switch {
		case !ok || v1:
		case slices.Contains(strings.Split(controllers, ","), controller):
			path, v1, found = at, true, true
		case id == "0" && controllers == "":
			path, found = at, true
		}
	}
	if !found {
		return nil
	}
	for line := range lines(filepath.Join(root, "proc/self/mountinfo")) {
		// "35 31 0:32 /root /mount/point options tags... - type source options"
		own, fs, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(own), strings.Fields(fs)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		if v1 && (g[0] != "cgroup" || !slices.Contains(strings.Split(g[2], ","), controller)) || !v1 && g[0] != "cgroup2" {
			continue
		}
		top := filepath.Join(root, unescape(f[4]))
		dirs := []string{top}
		// What is mounted is the group named by the fourth field. A path that
		// doesn't lie in it is that of another namespace; then only the top can be
		// seen.
		if rel, err := filepath.Rel(unescape(f[3]), path); err == nil && filepath.IsLocal(rel) && rel != "." {
			for _, name := range strings.Split(rel, "/") {
				dirs = append(dirs, filepath.Join(dirs[len(dirs)-1], name))
			}
		}
		return dirs
	}
	return nil
}

// unescape undoes the \ooo of mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// readLine is a file's text without surrounding space, or "".
func readLine(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// lines yields a file's lines; none if it can't be read.
func lines(file string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		f, err := os.Open(file)
		if err != nil {
			return
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if !yield(s.Text()) {
				return
			}
		}
	}
}

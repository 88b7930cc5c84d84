package host

import (
	"os"
	"path/filepath"
	"testing"
)

// tree writes files below a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Mount tables as Linux has them.
const (
	v2Mounts = `22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`
	v1Mounts = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:29 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:40 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	// A container of version 1: what is mounted is its own group.
	boundMounts = `95 90 0:30 /docker/0123 /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:12 - cgroup cgroup rw,cpu,cpuacct
96 90 0:31 /docker/0123 /sys/fs/cgroup/memory\040of\040it ro,nosuid master:13 - cgroup cgroup rw,memory
`
)

func TestCPULimit(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"no control groups": {nil, 0},
		"a container of version 2": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/cpu.max": "150000 100000\n",
		}, 1.5},
		"no limit": {map[string]string{
			"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/a/cpu.max": "max 100000\n",
		}, 0},
		"the group above has the limit": {map[string]string{
			"proc/self/cgroup": "0::/kube/pod 7/main\n", "proc/self/mountinfo": v2Mounts,
			"sys/fs/cgroup/kube/cpu.max": "800000 100000\n", "sys/fs/cgroup/kube/pod 7/cpu.max": "25000 50000\n",
			"sys/fs/cgroup/kube/pod 7/main/cpu.max": "max 100000\n",
		}, 0.5},
		"a group of another namespace": {map[string]string{
			"proc/self/cgroup": "0::/../../other\n", "proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/cpu.max": "300000 100000\n",
		}, 3},
		"version 1": {map[string]string{
			"proc/self/cgroup": "5:cpuset:/\n4:memory:/m\n1:cpu:/user/me\n0::/v2\n", "proc/self/mountinfo": v1Mounts,
			"sys/fs/cgroup/cpu/user/cpu.cfs_quota_us": "400000\n", "sys/fs/cgroup/cpu/user/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu/user/me/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/user/me/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/unified/v2/cpu.max": "100000 100000\n",
		}, 4},
		"a container of version 1": {map[string]string{
			"proc/self/cgroup": "3:cpu,cpuacct:/docker/0123\n", "proc/self/mountinfo": boundMounts,
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "125000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
		}, 2.5},
		"nonsense": {map[string]string{
			"proc/self/cgroup": "x\n0::\n::::\n", "proc/self/mountinfo": "- - -\n" + v2Mounts + "a b", "sys/fs/cgroup/cpu.max": "-5 0 7\n",
		}, 0},
		"a period of nothing": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/cpu.max": "100000 0\n",
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cpuLimit(tree(t, c.files)); got != c.want {
				t.Errorf("the limit is %g, expected %g", got, c.want)
			}
		})
	}
}

func TestMemoryLimit(t *testing.T) {
	for name, c := range map[string]struct {
		files       map[string]string
		limit, left int
	}{
		"no control groups": {nil, -1, -1},
		"the least of each": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2Mounts,
			"sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.current": "900\n",
			"sys/fs/cgroup/a/b/memory.max": "500\n", "sys/fs/cgroup/a/b/memory.current": "10\n",
		}, 500, 100},
		"version 1": {map[string]string{
			"proc/self/cgroup": "4:memory:/docker/0123/x\n", "proc/self/mountinfo": boundMounts,
			"sys/fs/cgroup/memory of it/memory.limit_in_bytes":   "9223372036854771712\n",
			"sys/fs/cgroup/memory of it/x/memory.limit_in_bytes": "700\n", "sys/fs/cgroup/memory of it/x/memory.usage_in_bytes": "800\n",
		}, 700, 0},
		"files in memory can be had back": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2Mounts,
			"sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "950\n",
			"sys/fs/cgroup/memory.stat": "anon 100\nfile 850\ninactive_file 600\nactive_file 200\n",
		}, 1000, 850},
		"no limit": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2Mounts, "sys/fs/cgroup/memory.max": "max\n",
		}, -1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			if limit, left := memoryLimit(tree(t, c.files)); limit != c.limit || left != c.left {
				t.Errorf("%d of %d left, expected %d of %d", left, limit, c.left, c.limit)
			}
		})
	}
}

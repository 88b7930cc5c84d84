package cpu_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

// TestResident: a process that has loaded a real model, read a prompt and
// generated never had more in memory than the file, the KV in use and 200 MB. It
// runs itself again, so that what other tests left behind doesn't count.
func TestResident(t *testing.T) {
	const child = "INFERFLUX_TEST_RESIDENT"
	if runtime.GOOS != "linux" {
		t.Skip("peak memory is read from /proc")
	}
	c := testModel(t)
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestResident$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	e := loadEngine(t, c, backend.LoadOptions{})
	loaded := procStatus(t, "VmRSS")
	seq, err := e.KV().Reserve(600)
	if err != nil {
		t.Fatal(err)
	}
	run(t, e, &backend.Batch{Spans: []backend.Span{{Seq: seq, Tokens: someTokens(512), Want: backend.LastLogits}}})
	for pos := 512; pos < 600; pos++ {
		run(t, e, &backend.Batch{Spans: []backend.Span{{Seq: seq, Pos: pos, Tokens: []int32{1}, Want: backend.LastLogits}}})
	}
	u := e.KV().Usage()
	used := u.Used * u.BytesPerToken
	peak := procStatus(t, "VmHWM")
	const mb = 1000 * 1000
	t.Logf("%d MB after loading, %d MB at most; the file has %d MB, the kv in use %d MB", loaded/mb, peak/mb, c.Size()/mb, used/mb)
	if limit := int(c.Size()) + used + 200*mb; peak > limit {
		t.Errorf("%d MB were resident, the limit is %d MB", peak/mb, limit/mb)
	}
}

// procStatus is a field of /proc/self/status in bytes.
func procStatus(t *testing.T, field string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), field+":")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("%s: %v", field, err)
	}
	return kib << 10
}

package cpu

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/simd"
)

// resident is the process's resident memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("resident memory is read from /proc")
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestCacheMemory: memory is taken when positions are written, shared by copies,
// and given back when they are freed.
func TestCacheMemory(t *testing.T) {
	shape := newKVShape(8, 8, 128, simd.KVF16) // 2 MiB a page
	c, err := newCache(shape, stateShape{}, paging.StateOptions{}, 100, 100*pageTokens, "model")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	const mib = 1 << 20
	debug.FreeOSMemory() // so that nothing else is given back while we measure
	empty := resident(t)
	id, err := c.Reserve(40 * pageTokens)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Sequence(id)
	if err != nil {
		t.Fatal(err)
	}
	c.Extend(s, s.Room)
	for _, p := range s.Pages {
		page := c.arena[int(p)*shape.pageBytes():][:shape.pageBytes()]
		for i := 0; i < len(page); i += 1024 {
			page[i] = 1
		}
	}
	c.Lengthen(s, s.Room)
	full := resident(t)
	if grown := full - empty; grown < 75*mib || grown > 100*mib {
		t.Errorf("80 MiB of kv made the process grow by %d MiB", grown/mib)
	}
	other, err := c.Fork(id, s.Len, s.Len)
	if err != nil {
		t.Fatal(err)
	}
	if u := c.Usage(); u.Used != 40*pageTokens || u.Reserved != 40*pageTokens {
		t.Errorf("usage with a fork: %+v", u)
	}
	if grown := resident(t) - full; grown > 5*mib {
		t.Errorf("a copy took %d MiB", grown/mib)
	}
	for _, id := range []backend.SeqID{id, other} {
		if err := c.Free(id); err != nil {
			t.Fatal(err)
		}
	}
	if left := resident(t) - empty; left > warmBytes+8*mib {
		t.Errorf("%d MiB are still resident after everything was freed", left/mib)
	}
	if u := c.Usage(); u.Used != 0 || u.Reserved != 0 {
		t.Errorf("usage after everything was freed: %+v", u)
	}
}

func TestThreads(t *testing.T) {
	if n := defaultThreads(); n < 1 || n > runtime.GOMAXPROCS(0) {
		t.Errorf("%d threads of %d", n, runtime.GOMAXPROCS(0))
	}
}

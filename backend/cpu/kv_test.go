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
	"github.com/inferflux/inferflux/model"
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
	shape := kvShape{layers: 8, heads: 8, headDim: 128, f16: true} // 2 MiB a page
	c, err := newCache(shape, 100, 100*pageTokens, "model")
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
	s.Len = s.Room
	full := resident(t)
	if grown := full - empty; grown < 75*mib || grown > 100*mib {
		t.Errorf("80 MiB of kv made the process grow by %d MiB", grown/mib)
	}
	other, err := c.Reserve(40 * pageTokens)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CopyPrefix(other, id, s.Len); err != nil {
		t.Fatal(err)
	}
	if u := c.Usage(); u.Used != 40*pageTokens || u.Reserved != 80*pageTokens {
		t.Errorf("usage with a copy: %+v", u)
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

func TestKVSize(t *testing.T) {
	total, available := memory()
	if total == 0 {
		t.Skip("this machine's memory can't be told")
	}
	small := model.Config{Context: 8192, Layers: 30, KVHeads: 3, HeadDim: 64}
	huge := model.Config{Context: 1 << 26, Layers: 128, KVHeads: 64, HeadDim: 256}
	for _, c := range []struct {
		name    string
		cfg     model.Config
		weights int64
		o       backend.LoadOptions
		check   func(tokens, context int) bool // nil: an error
	}{
		{"defaults", small, 1 << 27, backend.LoadOptions{}, func(n, ctx int) bool { return ctx == 8192 && n >= 8192 && n <= 16*8192 }},
		{"asked for", small, 0, backend.LoadOptions{Context: 100, KVTokens: 500}, func(n, ctx int) bool { return ctx == 100 && n == 512 }},
		{"few positions shrink the context", small, 0, backend.LoadOptions{KVTokens: 4000}, func(n, ctx int) bool { return ctx == 4032 && n == 4032 }},
		{"a context that doesn't fit in memory", huge, 0, backend.LoadOptions{}, func(n, ctx int) bool {
			return ctx <= n && ctx >= 2048 && n*2*128*64*256*2 <= max(available, 2048*2*128*64*256*2)
		}},
		{"asked for more than there is", huge, 0, backend.LoadOptions{Context: 1 << 26}, nil},
		{"no memory left", small, int64(available), backend.LoadOptions{}, func(n, ctx int) bool { return n == 2048 && ctx == 2048 }},
	} {
		shape, err := shapeOf(c.cfg, "")
		if err != nil {
			t.Fatal(err)
		}
		pages, context, err := paging.Size(c.cfg, shape.bytesPerToken(), machineMemory(c.weights), c.o)
		if (err == nil) != (c.check != nil) || err == nil && !c.check(pages*pageTokens, context) {
			t.Errorf("%s: %d positions, context %d, %v", c.name, pages*pageTokens, context, err)
		}
	}
}

func TestMachine(t *testing.T) {
	if n := defaultThreads(); n < 1 || n > runtime.GOMAXPROCS(0) {
		t.Errorf("%d threads of %d", n, runtime.GOMAXPROCS(0))
	}
	if processor() == "" {
		t.Error("the processor has no name")
	}
	if total, available := memory(); available > total {
		t.Errorf("%d bytes available of %d", available, total)
	}
}

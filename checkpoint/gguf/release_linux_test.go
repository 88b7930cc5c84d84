package gguf_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// resident is how much of a mapped file is in this process's memory, in KiB.
func resident(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	total, inside := 0, false
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if fields := strings.Fields(line); len(fields) >= 5 && strings.Contains(fields[0], "-") {
			inside = strings.HasSuffix(line, path)
		}
		var kib int
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kib); n == 1 && inside {
			total += kib
		}
	}
	return total
}

func TestRelease(t *testing.T) {
	const size = 4 << 20
	w := gguf.NewWriter()
	for i, name := range []string{"small", "large", "other"} {
		n := size
		if name == "small" {
			n = 100 // so that the others don't begin on a page
		}
		w.Add(tensor.Tensor{Name: name, Type: tensor.I8, Shape: []int{n}, Data: bytes.Repeat([]byte{byte(i + 1)}, n)})
	}
	f := open(t, save(t, "large.gguf", encode(t, w)))
	read := func(name string) tensor.Tensor {
		x, ok := f.Tensor(name)
		if !ok {
			t.Fatalf("no tensor %q", name)
		}
		if n := bytes.Count(x.Data, x.Data[:1]); n != len(x.Data) {
			t.Fatalf("tensor %q has %d of %d bytes right", name, n, len(x.Data))
		}
		return x
	}
	large := read("large")
	read("other")
	before := resident(t, f.Path())
	if before < 2*size>>10 {
		t.Skipf("only %d KiB are resident after all was read: the system doesn't tell", before)
	}
	checkpoint.Releaser(f).Release(large)
	if after := resident(t, f.Path()); after > before-(size>>10)+2*os.Getpagesize()>>10 || after < size>>10-16 {
		t.Errorf("%d KiB were resident, after the release of %d KiB there are %d", before, size>>10, after)
	}
	if large.Data[0] != 2 || large.Data[size-1] != 2 {
		t.Error("released bytes read differently")
	}
	read("large")
	read("other")
	f.Release(tensor.Tensor{Name: "unknown"})
	f.Release(read("small"))
}

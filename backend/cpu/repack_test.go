package cpu_test

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/model/modeltest"
)

// TestRepackNever: weights that stay in the file give the same bits, and memory is
// only taken where they don't.
func TestRepackNever(t *testing.T) {
	for _, name := range modeltest.Fixtures(t) {
		t.Run(name, func(t *testing.T) {
			c := modeltest.Open(t, name)
			tokens, _ := modeltest.Reference(t, name)
			repacked := loadEngine(t, c, backend.LoadOptions{Threads: 2})
			mapped := loadEngine(t, c, backend.LoadOptions{Threads: 2, Repack: "never"})
			if r := repacked.(backend.Repacker).Repacked(); r.Bytes <= 0 || r.Took <= 0 || r.Mapped != "" {
				t.Errorf("repacked: %+v", r)
			}
			if r := mapped.(backend.Repacker).Repacked(); r.Bytes != 0 || r.Took != 0 || r.Mapped == "" {
				t.Errorf("mapped: %+v", r)
			}
			for _, chunk := range []int{len(tokens), 3, 1} {
				want, got := runChunked(t, repacked, tokens, chunk), runChunked(t, mapped, tokens, chunk)
				for i := range want {
					if !slices.Equal(got[i], want[i]) {
						t.Fatalf("chunks of %d: the logits of row %d differ", chunk, i)
					}
				}
			}
		})
	}
}

// TestMappedFileCutShort: a file that loses its end while the engine computes from it
// is an error of the engine, not the end of the process.
func TestMappedFileCutShort(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("mapped files can't be cut short everywhere")
	}
	c := openQuantized(t)
	e := loadEngine(t, c, backend.LoadOptions{Threads: 2, Repack: "never"})
	seq, err := e.KV().Reserve(8)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.Path(), 4096); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b := backend.Batch{Spans: []backend.Span{{Seq: seq, Tokens: []int32{1, 2, 3, 4}, Want: backend.LastLogits}}}
		if err := e.Run(t.Context(), &b); !errors.Is(err, backend.ErrEngineFailed) {
			t.Errorf("Run: %v, expected %v", err, backend.ErrEngineFailed)
		}
	}
}

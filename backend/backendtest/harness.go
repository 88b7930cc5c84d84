package backendtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

// harness is an engine under test with the helpers that tests share.
type harness struct {
	backend.Engine
	t         testing.TB
	kv        backend.KV
	caps      backend.Capabilities
	vocab     int
	tolerance float32
	known     map[string][][]float32 // logits by history
}

func newHarness(t testing.TB, open func(testing.TB) backend.Engine, o Options) *harness {
	e := open(t)
	h := &harness{Engine: e, t: t, kv: e.KV(), caps: e.Capabilities(), vocab: e.Model().Vocab, tolerance: o.Tolerance, known: map[string][][]float32{}}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if e.Context() < 128 || e.MaxBatchTokens() < 256 || e.KV().Usage().Capacity < 2048 {
		t.Fatalf("the engine is too small for this test: context %d, batch %d, kv %d", e.Context(), e.MaxBatchTokens(), e.KV().Usage().Capacity)
	}
	return h
}

// text is a deterministic sequence of n tokens.
func (h *harness) text(seed, n int) []int32 {
	out := make([]int32, n)
	x := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = int32(x % uint64(h.vocab))
	}
	return out
}

func (h *harness) reserve(positions int) backend.SeqID {
	h.t.Helper()
	id, err := h.kv.Reserve(positions)
	if err != nil {
		h.t.Fatalf("Reserve(%d): %v", positions, err)
	}
	return id
}

func (h *harness) free(ids ...backend.SeqID) {
	h.t.Helper()
	for _, id := range ids {
		if err := h.kv.Free(id); err != nil {
			h.t.Fatalf("Free(%d): %v", id, err)
		}
	}
}

func (h *harness) truncate(id backend.SeqID, n int) {
	h.t.Helper()
	if err := h.kv.Truncate(id, n); err != nil {
		h.t.Fatalf("Truncate(%d, %d): %v", id, n, err)
	}
	h.wantLen(id, n)
}

// goBack is truncate to n, or to what is nearest before on an engine that can't go to any
// length; then going to n must be refused. It returns the length.
func (h *harness) goBack(id backend.SeqID, n int) int {
	h.t.Helper()
	if !h.caps.KVTruncate {
		before, at := h.kv.Len(id), backend.Restorable(h.kv, id, n)
		if at < n {
			h.refused("Truncate", h.kv.Truncate(id, n))
			_, err := h.kv.Fork(id, n, n)
			h.refused("Fork", err)
			h.wantLen(id, before)
		}
		n = at
	}
	h.truncate(id, n)
	return n
}

// rewind makes a sequence one of the first n of tokens, by going back or by computing them anew.
func (h *harness) rewind(id backend.SeqID, tokens []int32, n int) {
	h.t.Helper()
	if backend.Restorable(h.kv, id, n) == n {
		h.truncate(id, n)
		return
	}
	h.truncate(id, 0)
	h.extend(id, tokens[:n])
}

func (h *harness) wantLen(id backend.SeqID, n int) {
	h.t.Helper()
	if got := h.kv.Len(id); got != n {
		h.t.Fatalf("sequence %d has %d positions, expected %d", id, got, n)
	}
}

// run runs a batch that must succeed, and checks the spans' lengths and the
// number and size of the logits.
func (h *harness) run(spans ...backend.Span) []backend.Span {
	h.t.Helper()
	b := backend.Batch{Spans: spans}
	if err := h.Run(context.Background(), &b); err != nil {
		h.t.Fatalf("Run: %v", err)
	}
	for _, s := range b.Spans {
		h.wantLen(s.Seq, s.Pos+len(s.Tokens))
		want := map[backend.LogitsWanted]int{backend.LastLogits: 1, backend.AllLogits: len(s.Tokens)}[s.Want]
		if len(s.Logits) != want {
			h.t.Fatalf("a span of %d tokens that wants %d got %d rows of logits", len(s.Tokens), s.Want, len(s.Logits))
		}
		for _, row := range s.Logits {
			if len(row) != h.vocab {
				h.t.Fatalf("a row of %d logits for a vocabulary of %d", len(row), h.vocab)
			}
		}
		want = map[backend.LogitsWanted]int{backend.LastHidden: 1, backend.AllHidden: len(s.Tokens)}[s.Want]
		if len(s.Hidden) != want {
			h.t.Fatalf("a span of %d tokens that wants %d got %d hidden states", len(s.Tokens), s.Want, len(s.Hidden))
		}
		for _, row := range s.Hidden {
			if len(row) != h.Model().Hidden {
				h.t.Fatalf("a hidden state of %d elements in a model of %d", len(row), h.Model().Hidden)
			}
		}
	}
	return b.Spans
}

// extend appends tokens to a sequence in one span and returns a copy of all
// their logits, which themselves last only until the next run.
func (h *harness) extend(id backend.SeqID, tokens []int32) [][]float32 {
	h.t.Helper()
	return clone(h.run(backend.Span{Seq: id, Pos: h.kv.Len(id), Tokens: tokens, Want: backend.AllLogits})[0].Logits)
}

// expected is the logits of every token of a history, computed from scratch, one
// token at a time, in a sequence of its own.
func (h *harness) expected(history []int32) [][]float32 {
	h.t.Helper()
	key := fmt.Sprint(history)
	if rows, ok := h.known[key]; ok {
		return rows
	}
	id := h.reserve(len(history))
	var rows [][]float32
	for _, token := range history {
		rows = append(rows, h.extend(id, []int32{token})...)
	}
	h.free(id)
	h.known[key] = rows
	return rows
}

// same compares rows of logits.
func (h *harness) same(what string, got, want [][]float32) {
	h.t.Helper()
	if len(got) != len(want) {
		h.t.Fatalf("%s: %d rows of logits, expected %d", what, len(got), len(want))
	}
	for i := range got {
		for j := range got[i] {
			a, b := got[i][j], want[i][j]
			if h.tolerance == 0 && math.Float32bits(a) != math.Float32bits(b) || !(max(a-b, b-a) <= h.tolerance) {
				h.t.Fatalf("%s: row %d, token %d: logit %v, expected %v", what, i, j, a, b)
			}
		}
	}
}

// clone copies rows, which belong to the engine.
func clone(rows [][]float32) [][]float32 {
	out := make([][]float32, len(rows))
	for i, row := range rows {
		out[i] = slices.Clone(row)
	}
	return out
}

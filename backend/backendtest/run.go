package backendtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// testWrongBatches runs batches with one mistake each beside a good span: they
// must fail, no sequence may grow, and the engine must go on working.
func testWrongBatches(t *testing.T, h *harness) {
	text := h.text(12, 60)
	a, b := h.reserve(60), h.reserve(60)
	h.extend(a, text[:20])
	h.extend(b, text[:30])
	good := backend.Span{Seq: b, Pos: 30, Tokens: text[30:35], Want: backend.LastLogits}
	many := h.reserve(h.Context())
	long := make([]int32, min(h.MaxBatchTokens(), h.Context()))
	tests := map[string]backend.Span{
		"a position that is taken":   {Seq: a, Pos: 19, Tokens: text[20:21]},
		"a position past the end":    {Seq: a, Pos: 21, Tokens: text[20:21]},
		"a negative position":        {Seq: a, Pos: -1, Tokens: text[20:21]},
		"a negative token":           {Seq: a, Pos: 20, Tokens: []int32{text[20], -1}},
		"a token past the end":       {Seq: a, Pos: 20, Tokens: []int32{text[20], int32(h.vocab)}},
		"an unknown sequence":        {Seq: a + 1000, Pos: 0, Tokens: text[:1]},
		"no tokens":                  {Seq: a, Pos: 20},
		"more than there is room":    {Seq: a, Pos: 20, Tokens: h.text(13, 41)},
		"two spans of one sequence":  {Seq: b, Pos: 30, Tokens: text[30:31]},
		"an unknown wish for logits": {Seq: a, Pos: 20, Tokens: text[20:21], Want: 9},
	}
	if len(long)+len(good.Tokens) > h.MaxBatchTokens() {
		tests["too many tokens"] = backend.Span{Seq: many, Tokens: long}
	}
	for what, bad := range tests {
		for _, spans := range [][]backend.Span{{bad, good}, {good, bad}} {
			batch := backend.Batch{Spans: spans}
			err := h.Run(t.Context(), &batch)
			if err == nil || errors.Is(err, backend.ErrEngineFailed) || errors.Is(err, backend.ErrKVFull) {
				t.Errorf("a batch with %s: %v, expected a plain error", what, err)
			}
			h.wantLen(a, 20)
			h.wantLen(b, 30)
		}
	}
	want := h.expected(text)
	h.same("after wrong batches", h.extend(a, text[20:]), want[20:])
	h.same("after wrong batches", h.extend(b, text[30:]), want[30:])
}

// testCancel cancels before and, at random moments, during a run.
func testCancel(t *testing.T, h *harness) {
	text := h.text(14, 120)
	want := h.expected(text)
	id := h.reserve(len(text))
	h.extend(id, text[:10])
	batch := backend.Batch{Spans: []backend.Span{{Seq: id, Pos: 10, Tokens: text[10:], Want: backend.AllLogits}}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Run(ctx, &batch); !errors.Is(err, context.Canceled) {
		t.Errorf("Run with a cancelled context: %v", err)
	}
	h.wantLen(id, 10)
	before := h.kv.Usage()
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*i)*5*time.Microsecond)
		err := h.Run(ctx, &batch)
		cancel()
		switch {
		case err == nil:
			h.same("not cancelled in time", batch.Spans[0].Logits, want[10:])
			h.rewind(id, text, 10)
		case !errors.Is(err, context.DeadlineExceeded):
			t.Fatalf("Run past its deadline: %v", err)
		}
		h.wantLen(id, 10)
		if now := h.kv.Usage(); now != before {
			t.Fatalf("the usage went from %+v to %+v by a run that was undone", before, now)
		}
	}
	h.same("after cancelled runs", h.extend(id, text[10:]), want[10:])
}

// testClose reads what may be read from any goroutine while a run goes on, then
// closes, twice, and runs once more.
func testClose(t *testing.T, h *harness) {
	id := h.reserve(100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			_, _, _ = h.Model(), h.Capabilities(), h.Description()
		}
	}()
	h.extend(id, h.text(15, 100))
	<-done
	for range 2 {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Run(t.Context(), &backend.Batch{Spans: []backend.Span{{Seq: id, Pos: 100, Tokens: h.text(16, 1)}}}); err == nil {
		t.Error("Run after Close succeeded")
	}
	for _, n := range []int{0, 1} {
		if _, err := h.kv.Reserve(n); err == nil {
			t.Errorf("Reserve(%d) after Close succeeded", n)
		}
	}
}

package backendtest_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/backendtest"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/sample"
)

// sampling makes an engine that samples of one that doesn't: what is started is
// run at once, and told when it is waited for.
type sampling struct {
	backend.Engine
	unmixed bool
	chooser sample.Chooser
	drawn   map[backend.SeqID]int32 // by the batch started last
}

func (s *sampling) Capabilities() backend.Capabilities {
	c := s.Engine.Capabilities()
	c.DeviceSampling, c.MixedBatch = true, !s.unmixed
	return c
}

func (s *sampling) Run(ctx context.Context, b *backend.Batch) error {
	longest, shortest := 0, 1<<30
	for _, span := range b.Spans {
		longest, shortest = max(longest, len(span.Tokens)), min(shortest, len(span.Tokens))
	}
	if s.unmixed && longest > 1 && shortest == 1 && len(b.Spans) > 1 && b.Spans[0].Pos > 0 {
		return fmt.Errorf("a batch of tokens and prompts: %w", backend.ErrUnsupported)
	}
	return s.Engine.Run(ctx, b)
}

type told struct {
	batch   *backend.Batch
	results []backend.Span
}

func (s *sampling) Start(ctx context.Context, b *backend.Batch) (backend.Started, error) {
	run := backend.Batch{Spans: slices.Clone(b.Spans)}
	for i := range run.Spans {
		span := &run.Spans[i]
		span.Logits = nil
		if len(span.Tokens) == 1 && span.Tokens[0] == backend.Drawn {
			token, ok := s.drawn[span.Seq]
			if !ok {
				return nil, fmt.Errorf("sequence %d drew no token in the batch before", span.Seq)
			}
			span.Tokens = []int32{token}
		}
	}
	if err := s.Run(ctx, &run); err != nil {
		return nil, err
	}
	s.drawn = map[backend.SeqID]int32{}
	for i := range run.Spans {
		span := &run.Spans[i]
		if span.Draw != nil {
			span.Choice, span.Err = s.chooser.Choose(span.Draw, span.Logits[0])
			span.Logits = nil
			s.drawn[span.Seq] = span.Choice.Token
		}
		for j, row := range span.Logits {
			span.Logits[j] = slices.Clone(row)
		}
	}
	return &told{b, run.Spans}, nil
}

func (f *told) Wait(context.Context) error {
	for i, r := range f.results {
		s := &f.batch.Spans[i]
		s.Logits, s.Choice, s.Err = r.Logits, r.Choice, r.Err
	}
	return nil
}

// TestDeviceSampling proves the tests of sampling engines on one.
func TestDeviceSampling(t *testing.T) {
	for _, unmixed := range []bool{false, true} {
		t.Run(fmt.Sprintf("unmixed=%t", unmixed), func(t *testing.T) {
			backendtest.Run(t, func(t testing.TB) backend.Engine {
				c, err := gguf.Open(filepath.Join("..", "..", "model", "testdata", "llama-gqa-tied.gguf"))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				e, err := cpu.Backend{}.Load(t.Context(), c, backend.LoadOptions{Threads: 1, MaxBatchTokens: 256, KVTokens: 2048})
				if err != nil {
					t.Fatal(err)
				}
				return &sampling{Engine: e, unmixed: unmixed}
			}, backendtest.Options{})
		})
	}
}

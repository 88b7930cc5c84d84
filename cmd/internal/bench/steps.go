package bench

import (
	"context"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// steps runs batches on an engine: one after the other, or, if the engine samples
// on its device, each one started before the last has ended, as the scheduler
// has it.
type steps struct {
	bench   *Engine
	batches [2]backend.Batch
	turn    int             // the batch to use next
	under   backend.Started // under way, if not nil,
	spans   []backend.Span  // and what it computes
	host    []time.Duration // what each Start took
}

// run computes the batch whose spans fill appends, or starts it and waits for the
// one before.
func (s *steps) run(ctx context.Context, fill func([]backend.Span) []backend.Span) error {
	b := &s.batches[s.turn]
	b.Spans = fill(b.Spans[:0])
	if s.bench.device == nil {
		return s.bench.engine.Run(ctx, b)
	}
	greedy := &backend.Draw{TopP: 1, Logprobs: -1}
	for i := range b.Spans {
		if b.Spans[i].Want == backend.LastLogits {
			b.Spans[i].Draw = greedy
		}
	}
	start := time.Now()
	next, err := s.bench.device.Start(ctx, b)
	if err != nil {
		return err
	}
	s.host = append(s.host, time.Since(start))
	err = s.finish(ctx)
	s.under, s.spans, s.turn = next, b.Spans, 1-s.turn
	return err
}

// finish waits for the batch under way, if there is one.
func (s *steps) finish(ctx context.Context) error {
	if s.under == nil {
		return nil
	}
	under := s.under
	s.under = nil
	if err := under.Wait(ctx); err != nil {
		return err
	}
	for i := range s.spans {
		if err := s.spans[i].Err; err != nil {
			return err
		}
	}
	return nil
}

// prefill reads tokens into a sequence that ends at pos.
func (s *steps) prefill(ctx context.Context, seq backend.SeqID, pos int, tokens []int32, last backend.LogitsWanted) error {
	for len(tokens) > 0 {
		k := min(len(tokens), s.bench.engine.MaxBatchTokens())
		want := backend.NoLogits
		if k == len(tokens) {
			want = last
		}
		err := s.run(ctx, func(spans []backend.Span) []backend.Span {
			return append(spans, backend.Span{Seq: seq, Pos: pos, Tokens: tokens[:k], Want: want})
		})
		if err != nil {
			return err
		}
		pos, tokens = pos+k, tokens[k:]
	}
	return nil
}

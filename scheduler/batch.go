package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// batch is what a step computes, reused from step to step.
type batch struct {
	backend.Batch
	seqs []*Sequence // of each span
	step Step
	turn int // rotates which prompt is served first
}

func (b *batch) add(q *Sequence, tokens []int32, want backend.LogitsWanted) {
	b.Spans = append(b.Spans, backend.Span{Seq: q.kv, Pos: q.pos, Tokens: tokens, Want: want})
	b.seqs = append(b.seqs, q)
}

// form fills the batch: a token for every sequence that is generating, then, in
// what is left of the budget, a chunk of each prompt, a different one first each
// time. An engine that can't mix the two alternates between them.
func (s *Scheduler) form() {
	b := &s.batch
	b.Spans, b.seqs, b.step = b.Spans[:0], b.seqs[:0], Step{}
	b.turn++
	prefilling := 0
	for _, q := range s.running {
		if q.prefilling() {
			prefilling++
		}
	}
	decode, prefill := true, true
	if !s.engine.Capabilities().MixedBatch && prefilling > 0 && prefilling < len(s.running) {
		decode, prefill = b.turn%2 == 0, b.turn%2 == 1
	}
	budget := s.opts.BatchTokens
	if decode {
		for _, q := range s.running {
			if !q.prefilling() {
				b.add(q, q.next[:], backend.LastLogits)
				b.step.DecodeTokens++
				budget--
			}
		}
	}
	for i := range s.running {
		q := s.running[(i+b.turn)%len(s.running)]
		if !prefill || !q.prefilling() || budget <= 0 {
			continue
		}
		rest := q.req.Prompt[q.pos:]
		n := min(len(rest), s.opts.PrefillChunk, budget)
		want := backend.NoLogits
		if n == len(rest) {
			want = backend.LastLogits
		}
		b.add(q, rest[:n], want)
		b.step.PrefillTokens += n
		budget -= n
	}
	b.step.Sequences = len(b.Spans)
}

// step computes one batch and hands out its tokens. An error is fatal.
func (s *Scheduler) step(ctx context.Context) error {
	s.form()
	b := &s.batch
	start := time.Now()
	err := s.engine.Run(ctx, &b.Batch)
	now := time.Now()
	switch {
	case err == nil:
		for i, q := range b.seqs {
			s.advance(q, &b.Spans[i], now)
		}
	case ctx.Err() != nil:
		return nil // the loop ends everything
	case errors.Is(err, backend.ErrEngineFailed):
		return err
	default:
		if err := s.stepSingly(ctx); err != nil {
			return err
		}
	}
	b.step.Duration = now.Sub(start)
	s.opts.Observer.Stepped(b.step)
	s.mu.Lock()
	s.totals.Steps++
	s.totals.PromptTokens += uint64(b.step.PrefillTokens)
	s.mu.Unlock()
	return nil
}

// stepSingly runs the spans of a batch that failed one by one, so that only the
// sequences at fault fail.
func (s *Scheduler) stepSingly(ctx context.Context) error {
	b := &s.batch
	spans := slices.Clone(b.Spans)
	for i, q := range b.seqs {
		one := backend.Batch{Spans: spans[i : i+1]}
		err := s.engine.Run(ctx, &one)
		switch {
		case err == nil:
			s.advance(q, &one.Spans[0], time.Now())
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, backend.ErrEngineFailed):
			return err
		default:
			s.finish(q, Event{Err: fmt.Errorf("compute position %d: %w", q.pos, err)})
		}
	}
	return nil
}

// advance records that a span is in KV and samples where its logits are there.
func (s *Scheduler) advance(q *Sequence, span *backend.Span, now time.Time) {
	q.pos += len(span.Tokens)
	if span.Want == backend.NoLogits {
		return
	}
	var banned []int32
	if q.generated < q.req.MinTokens {
		banned = q.req.StopTokens
	}
	choice, err := q.sampler.Sample(span.Logits[len(span.Logits)-1], nil, banned)
	if err != nil {
		s.finish(q, Event{Err: fmt.Errorf("sample token %d of the answer: %w", q.generated+1, err)})
		return
	}
	q.next[0] = choice.Token
	q.generated++
	s.clockToken(q, now)
	e := Event{Choice: choice, HasToken: true}
	switch {
	case slices.Contains(q.req.StopTokens, choice.Token):
		e.Finish = FinishStop
	case q.generated >= q.req.MaxTokens:
		e.Finish = FinishLength
	default:
		q.emit(e)
		return
	}
	s.finish(q, e)
}

// clockToken keeps the milestones and tells the observer.
func (s *Scheduler) clockToken(q *Sequence, now time.Time) {
	q.mu.Lock()
	q.timings.GeneratedTokens = q.generated
	first := q.generated == 1
	if first {
		q.timings.FirstToken = now
	}
	queued := q.timings.Queued
	q.mu.Unlock()
	if first {
		s.opts.Observer.FirstToken(now.Sub(queued))
	} else {
		s.opts.Observer.NextToken(now.Sub(q.last))
	}
	q.last = now
	s.mu.Lock()
	s.totals.GeneratedTokens++
	s.mu.Unlock()
}

// finish takes one sequence out of the batch and ends it.
func (s *Scheduler) finish(q *Sequence, e Event) {
	s.take(func(o *Sequence) bool { return o == q })
	s.end(q, e)
}

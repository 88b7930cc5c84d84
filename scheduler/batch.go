package scheduler

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// batch is what a step computes. There are two, for a step and the one that is
// started before it has been read.
type batch struct {
	backend.Batch
	seqs  []*Sequence    // of each span
	draws []backend.Draw // of each span; it is long enough from the beginning
	drawn [1]int32       // the tokens of spans whose token isn't known
	step  Step

	started backend.Started
	begun   time.Time // when it was started
}

// add puts the next n tokens of a sequence into the batch.
func (b *batch) add(q *Sequence, n int) {
	i := len(b.Spans)
	b.Spans = slices.Grow(b.Spans, 1)[:i+1]
	b.seqs = append(b.seqs, q)
	b.put(i, n)
}

// put makes span i the next n tokens of its sequence.
func (b *batch) put(i, n int) {
	q := b.seqs[i]
	// The engine fills the slice of an earlier step's rows again.
	span := backend.Span{Seq: q.kv, Pos: q.pos, Want: backend.LastLogits, Logits: b.Spans[i].Logits[:0], Hidden: b.Spans[i].Hidden[:0]}
	switch {
	case q.prefilling():
		span.Tokens = q.feed[q.pos : q.pos+n]
		if q.pos+n < len(q.feed) {
			span.Want = backend.NoLogits
		}
	case q.drawing > 0:
		b.drawn[0] = backend.Drawn
		span.Tokens = b.drawn[:]
	case q.guesses != nil && len(q.guesses.tokens) > 0:
		g := q.guesses
		g.fed = append(append(g.fed[:0], q.next[0]), g.tokens...)
		span.Tokens, span.Want = g.fed, backend.AllLogits
	default:
		span.Tokens = q.next[:]
	}
	if q.req.Reading != nil {
		span.Want = q.wanted(n)
	} else if span.Want == backend.LastLogits {
		b.draws[i] = q.draw()
		span.Draw = &b.draws[i]
	}
	b.Spans[i] = span
}

// form fills a batch: a token for every sequence that is generating, then chunks
// of prompts in what is left of the budget. It may come out empty, if all that is
// left to compute is under way.
func (s *Scheduler) form(ctx context.Context) *batch {
	b := &s.batches[0]
	if slices.Contains(s.underway, b) {
		b = &s.batches[1]
	}
	b.Spans, b.seqs, b.step = b.Spans[:0], b.seqs[:0], Step{}
	s.formed++
	s.prompts = s.prompts[:0]
	generating := 0
	for _, q := range s.running {
		switch {
		case q.prefilling():
			s.prompts = append(s.prompts, q)
		case !q.ending():
			generating++
		}
	}
	// Whose last chunk was longest ago comes first; of those, who came first.
	slices.SortStableFunc(s.prompts, func(x, y *Sequence) int { return cmp.Compare(x.served, y.served) })

	decode := generating > 0
	if !s.mixed {
		s.prompts = s.prompts[:min(1, len(s.prompts))]
		if decode && len(s.prompts) > 0 {
			s.prefills = !s.prefills
			if s.prefills {
				decode = false
			} else {
				s.prompts = s.prompts[:0]
			}
		}
	}
	budget := s.opts.BatchTokens
	if decode {
		if s.spec != nil {
			if err := s.speculate(ctx, generating); err != nil {
				s.broken = err
				return b
			}
		}
		for _, q := range s.running {
			if !q.prefilling() && !q.ending() {
				b.add(q, 1)
			}
		}
		decoding := b.Tokens()
		budget = min(budget-decoding, s.pace.tokens(s.opts.TargetLatency, decoding))
	}
	s.divide(budget, generating > 0)
	for _, q := range s.prompts {
		if q.share > 0 {
			q.served = s.formed
			b.add(q, q.share)
		}
	}
	b.step.Sequences = len(b.Spans)
	return b
}

// divide shares a budget among the prompts: a chunk for each, as far as it goes;
// then, if nobody is kept waiting for a token by it, the rest in the same order.
//
// Prompts aren't starved by those who generate: there are at most BatchTokens
// sequences, so each prompt leaves at least one token of the budget.
func (s *Scheduler) divide(budget int, chunksOnly bool) {
	for _, q := range s.prompts {
		q.share = min(q.unread(), s.opts.PrefillChunk, budget)
		budget -= q.share
	}
	if chunksOnly {
		return
	}
	for _, q := range s.prompts {
		more := min(q.unread()-q.share, budget)
		q.share += more
		budget -= more
	}
}

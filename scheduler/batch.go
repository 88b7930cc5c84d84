package scheduler

import (
	"cmp"
	"slices"

	"github.com/inferflux/inferflux/backend"
)

// batch is what a step computes, reused from step to step.
type batch struct {
	backend.Batch
	seqs    []*Sequence // of each span
	choices []choice    // of each span, after sampling
	step    Step

	number   uint64 // of the step
	prompts  []*Sequence
	prefills bool // an engine that can't mix got prompts last time
	workers  int  // goroutines that sample
}

// add puts the next n tokens of a sequence into the batch.
func (b *batch) add(q *Sequence, n int) {
	tokens, want := q.next[:], backend.LastLogits
	if q.prefilling() {
		tokens = q.req.Prompt[q.pos : q.pos+n]
		if q.pos+n < len(q.req.Prompt) {
			want = backend.NoLogits
		}
	}
	i := len(b.Spans)
	b.Spans = slices.Grow(b.Spans, 1)[:i+1]
	// The engine fills the slice of an earlier step's rows again.
	b.Spans[i] = backend.Span{Seq: q.kv, Pos: q.pos, Tokens: tokens, Want: want, Logits: b.Spans[i].Logits[:0]}
	b.seqs = append(b.seqs, q)
}

// form fills the batch: a token for every sequence that is generating, then
// chunks of prompts in what is left of the budget.
//
// Preemption will take sequences out of the batch here, when a more urgent one
// needs their room; speculation will make the spans of the generating longer.
func (s *Scheduler) form() {
	b := &s.batch
	b.Spans, b.seqs, b.prompts, b.step = b.Spans[:0], b.seqs[:0], b.prompts[:0], Step{}
	b.number++
	for _, q := range s.running {
		if q.prefilling() {
			b.prompts = append(b.prompts, q)
		}
	}
	generating := len(s.running) - len(b.prompts)
	// Whose last chunk was longest ago comes first; of those, who came first.
	slices.SortStableFunc(b.prompts, func(x, y *Sequence) int { return cmp.Compare(x.served, y.served) })

	decode := generating > 0
	if !s.mixed {
		b.prompts = b.prompts[:min(1, len(b.prompts))]
		if decode && len(b.prompts) > 0 {
			b.prefills = !b.prefills
			if b.prefills {
				decode = false
			} else {
				b.prompts = b.prompts[:0]
			}
		}
	}
	budget := s.opts.BatchTokens
	if decode {
		for _, q := range s.running {
			if !q.prefilling() {
				b.add(q, 1)
			}
		}
		budget -= generating
	}
	s.divide(budget, generating > 0)
	for _, q := range b.prompts {
		if q.share > 0 {
			q.served = b.number
			b.add(q, q.share)
		}
	}
	b.step.Sequences = len(b.Spans)
}

// divide shares a budget among the prompts: a chunk for each, as far as it goes;
// then, if nobody is kept waiting for a token by it, the rest in the same order.
//
// Prompts aren't starved by those who generate: there are at most BatchTokens
// sequences, so each prompt leaves at least one token of the budget.
func (s *Scheduler) divide(budget int, chunksOnly bool) {
	for _, q := range s.batch.prompts {
		q.share = min(len(q.req.Prompt)-q.pos, s.opts.PrefillChunk, budget)
		budget -= q.share
	}
	if chunksOnly {
		return
	}
	for _, q := range s.batch.prompts {
		more := min(len(q.req.Prompt)-q.pos-q.share, budget)
		q.share += more
		budget -= more
	}
}

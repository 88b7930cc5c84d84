package scheduler

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// run computes the batch and hands out its tokens.
func (s *Scheduler) run(ctx context.Context) {
	b := &s.batch
	start := time.Now()
	err := s.engine.Run(ctx, &b.Batch)
	b.step.Duration = time.Since(start)
	switch {
	case err == nil:
		s.advance(b.Spans, b.seqs)
	case ctx.Err() != nil:
		return // the loop ends everything
	case isFatal(err):
		s.broken = fmt.Errorf("run a batch of %d tokens: %w", b.Tokens(), err)
		return
	default:
		s.runSingly(ctx, err)
	}
	usage := s.usage // only the loop changes it
	if s.broken == nil {
		usage = s.kv.Usage()
	}
	s.mu.Lock()
	s.usage = usage
	s.totals.Steps++
	s.totals.PromptTokens += uint64(b.step.PrefillTokens)
	s.mu.Unlock()
	s.opts.Observer.Stepped(b.step)
}

// runSingly runs the spans of a batch that failed one by one, so that only the
// sequences at fault fail.
func (s *Scheduler) runSingly(ctx context.Context, cause error) {
	b := &s.batch
	for i, q := range b.seqs {
		if s.broken != nil {
			return
		}
		err := cause
		if len(b.seqs) > 1 {
			start := time.Now()
			err = s.engine.Run(ctx, &backend.Batch{Spans: b.Spans[i : i+1]})
			b.step.Duration += time.Since(start)
		}
		switch {
		case err == nil:
			s.advance(b.Spans[i:i+1], b.seqs[i:i+1])
		case ctx.Err() != nil:
			return
		case isFatal(err):
			s.broken = fmt.Errorf("run one sequence of a batch that failed: %w", err)
			return
		default:
			s.end(q, Event{Err: fmt.Errorf("compute position %d: %w", q.pos, err)})
		}
	}
}

// advance records that spans are in KV, samples where there are logits, and hands
// out the tokens.
func (s *Scheduler) advance(spans []backend.Span, seqs []*Sequence) {
	choices := s.sample(spans, seqs)
	for i, q := range seqs {
		n := len(spans[i].Tokens)
		if q.prefilling() {
			s.batch.step.PrefillTokens += n
		} else {
			s.batch.step.DecodeTokens += n
		}
		q.pos += n
		switch f := q.asked(); {
		case f != Running:
			s.end(q, Event{Finish: f})
		case spans[i].Want == backend.NoLogits:
		case choices[i].err != nil:
			s.end(q, Event{Err: fmt.Errorf("sample token %d of the answer: %w", q.generated+1, choices[i].err)})
		default:
			s.token(q, choices[i].Choice)
		}
	}
}

// token gives a sequence its next token, which may be its last.
func (s *Scheduler) token(q *Sequence, c sample.Choice) {
	now := time.Now()
	q.next[0] = c.Token
	q.generated++
	s.mu.Lock()
	s.totals.GeneratedTokens++
	s.mu.Unlock()
	if q.generated == 1 {
		s.opts.Observer.FirstToken(now.Sub(q.timings.Queued))
	} else {
		s.opts.Observer.NextToken(now.Sub(q.last))
	}
	q.last = now
	e := Event{Choice: c, HasToken: true}
	switch {
	case slices.Contains(q.req.StopTokens, c.Token):
		e.Finish = FinishStop
	case q.generated == q.req.MaxTokens:
		e.Finish = FinishLength
	}
	if e.last() {
		s.end(q, e)
		return
	}
	q.emit(e, now)
}

// choice is what sampling gave for a span.
type choice struct {
	sample.Choice
	err error
}

// sample chooses a token for every span that has logits, on all cores: drawing
// from a large vocabulary takes a good part of a millisecond.
func (s *Scheduler) sample(spans []backend.Span, seqs []*Sequence) []choice {
	b := &s.batch
	b.choices = slices.Grow(b.choices[:0], len(seqs))[:len(seqs)]
	wanted := 0
	for i := range spans {
		if spans[i].Want != backend.NoLogits {
			wanted++
		}
	}
	if workers := min(b.workers, wanted); workers > 1 {
		sampleOn(workers, spans, seqs, b.choices)
		return b.choices
	}
	for i, q := range seqs {
		b.choices[i] = q.choose(&spans[i])
	}
	return b.choices
}

func sampleOn(workers int, spans []backend.Span, seqs []*Sequence, choices []choice) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(seqs); i = int(next.Add(1)) - 1 {
			choices[i] = seqs[i].choose(&spans[i])
		}
	}
	var others sync.WaitGroup
	for range workers - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
}

// choose samples from a span's logits, if it has any and somebody wants the token.
func (q *Sequence) choose(span *backend.Span) (c choice) {
	defer func() {
		if r := recover(); r != nil {
			c.err = &PanicError{r, debug.Stack()}
		}
	}()
	if span.Want == backend.NoLogits || q.asked() != Running {
		return choice{}
	}
	if len(span.Logits) != 1 || len(span.Logits[0]) != q.s.vocab {
		return choice{err: fmt.Errorf("the engine gave %d rows of logits instead of one of %d", len(span.Logits), q.s.vocab)}
	}
	var banned []int32
	if q.generated < q.req.MinTokens {
		banned = q.req.StopTokens
	}
	c.Choice, c.err = q.sampler.Sample(span.Logits[0], nil, banned)
	return c
}

package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// foretold reports whether the next batch can be formed now: whoever waits for a
// token goes on the same way whatever it is, or ends with it.
func (s *Scheduler) foretold() bool {
	if !s.ahead {
		return false
	}
	for _, q := range s.running {
		if q.drawing > 0 && !q.ending() && (q.req.Constraint != nil || !q.sampler.Memoryless() || s.spec.awaits(q, s.formed)) {
			return false
		}
	}
	return true
}

// start starts a batch, unless it is empty. After an error it isn't under way.
func (s *Scheduler) start(ctx context.Context, b *batch) error {
	if len(b.Spans) == 0 {
		return nil
	}
	b.begun = time.Now()
	started, err := s.engine.Start(ctx, &b.Batch)
	if err != nil {
		b.step.Duration += time.Since(b.begun)
		s.failed(b, err)
		return err
	}
	b.started = started
	for i, q := range b.seqs {
		q.pos += len(b.Spans[i].Tokens)
		if b.Spans[i].Want != backend.NoLogits && q.req.Reading == nil {
			q.drawing++
		}
	}
	s.underway = append(s.underway, b)
	return nil
}

// wait waits for the oldest batch under way. After an error none is under way.
func (s *Scheduler) wait(ctx context.Context) error {
	b := s.underway[0]
	err := b.started.Wait(ctx)
	from := b.begun
	if s.waited.After(from) {
		from = s.waited
	}
	s.waited = time.Now()
	b.step.Duration += s.waited.Sub(from)
	if err == nil {
		s.underway = slices.Delete(s.underway, 0, 1)
		return nil
	}
	s.failed(b, err)
	s.forget()
	return err
}

// failed notes an error of the engine that ends everything.
func (s *Scheduler) failed(b *batch, err error) {
	if isFatal(err) {
		s.broken = fmt.Errorf("run a batch of %d tokens: %w", b.Tokens(), err)
	}
}

// ignore waits for a batch of which nothing is wanted any more. That the scheduler
// is being closed must not matter here.
func (s *Scheduler) ignore(b *batch) {
	s.failed(b, b.started.Wait(context.Background()))
}

// forget takes back all that is under way, the first of which has failed.
func (s *Scheduler) forget() {
	for _, b := range s.underway[1:] {
		if s.broken == nil {
			s.ignore(b)
		}
	}
	for _, b := range slices.Backward(s.underway) {
		for i, q := range b.seqs {
			if q.over || s.broken != nil {
				continue
			}
			if b.Spans[i].Want != backend.NoLogits && q.req.Reading == nil {
				q.drawing--
			}
			q.pos = b.Spans[i].Pos
			q.sampler.Rewind()
			if err := s.kv.Truncate(q.kv, q.pos); err != nil {
				s.broken = fmt.Errorf("%w: truncate a sequence: %w", backend.ErrEngineFailed, err)
			}
		}
	}
	s.underway = s.underway[:0]
}

// read waits for the oldest batch under way and hands out its tokens.
func (s *Scheduler) read(ctx context.Context) {
	b := s.underway[0]
	if err := s.wait(ctx); err != nil {
		if s.broken == nil {
			s.singly(ctx, b, err)
		}
		return
	}
	s.check(b)
	s.advance(b.Spans, b.seqs, &b.step)
	s.report(b)
}

// singly runs the spans of a batch that failed one by one, so that only the
// sequences at fault fail. Nothing is under way.
func (s *Scheduler) singly(ctx context.Context, b *batch, cause error) {
	for _, q := range b.seqs {
		q.sampler.Rewind() // a batch that wasn't started leaves its draws
		if q.guesses != nil {
			q.guesses.tokens = q.guesses.tokens[:0]
		}
	}
	for i, q := range b.seqs {
		if ctx.Err() != nil {
			return // the loop ends everything
		}
		if q.over {
			continue // with a token of the batch before
		}
		err := cause
		if len(b.seqs) > 1 {
			b.put(i, len(b.Spans[i].Tokens)) // without guesses
			one := batch{Batch: backend.Batch{Spans: b.Spans[i : i+1]}, seqs: b.seqs[i : i+1]}
			if err = s.start(ctx, &one); err == nil {
				err = s.wait(ctx)
			}
			b.step.Duration += one.step.Duration
		}
		switch {
		case err == nil:
			s.advance(b.Spans[i:i+1], b.seqs[i:i+1], &b.step)
		case ctx.Err() == nil && s.broken == nil:
			s.end(q, Event{Err: fmt.Errorf("compute position %d: %w", q.pos, err)})
		}
		if s.broken != nil {
			break
		}
	}
	s.report(b)
}

// report counts a batch that was computed, in whole or in part.
func (s *Scheduler) report(b *batch) {
	usage := s.usage // only the loop changes it
	if s.broken == nil {
		usage = s.kv.Usage()
	}
	s.mu.Lock()
	s.usage = usage
	s.pace.add(b.step)
	if s.opts.Store != nil && b.step.PrefillTokens >= leastPrefill && b.step.DecodeTokens == 0 {
		s.opts.Store.ObservePrefill(s.opts.StoreModel, b.step.PrefillTokens, b.step.Duration)
	}
	s.totals.Steps++
	s.totals.PromptTokens += uint64(b.step.PrefillTokens)
	s.totals.GuessedTokens += uint64(b.step.GuessedTokens)
	s.totals.AcceptedTokens += uint64(b.step.AcceptedTokens)
	s.mu.Unlock()
	s.opts.Observer.Stepped(b.step)
}

// advance hands out the tokens of spans that were computed. Those of sequences
// that have ended since the batch was started are nobody's.
func (s *Scheduler) advance(spans []backend.Span, seqs []*Sequence, st *Step) {
	for i, q := range seqs {
		span := &spans[i]
		if span.Pos < len(q.req.Prompt) {
			st.PrefillTokens += len(span.Tokens)
		} else {
			st.DecodeTokens += len(span.Tokens)
		}
		if q.req.Reading != nil {
			s.take(q, span)
			continue
		}
		if span.Want != backend.NoLogits {
			q.drawing--
		}
		switch f := q.asked(); {
		case q.over:
		case f != Running:
			// What was drawn after guesses is nobody's.
			if span.Want != backend.AllLogits || s.keep(q, span, 1) == nil {
				s.end(q, Event{Finish: f})
			}
		case span.Want == backend.AllLogits:
			s.settle(q, span, st)
		case span.Want == backend.NoLogits:
		case span.Err == nil && (span.Choice.Token < 0 || int(span.Choice.Token) >= s.vocab):
			s.end(q, Event{Err: fmt.Errorf("the engine chose token %d, which is not in the vocabulary of %d", span.Choice.Token, s.vocab)})
		case span.Err != nil:
			s.end(q, Event{Err: fmt.Errorf("sample token %d of the answer: %w", q.generated+1, span.Err)})
		default:
			if err := q.accept(span.Choice.Token); err != nil {
				s.end(q, Event{Err: err})
				continue
			}
			s.token(q, span.Choice)
		}
	}
}

// settle takes what was guessed wrong out of a sequence, and hands out what was drawn.
func (s *Scheduler) settle(q *Sequence, span *backend.Span, st *Step) {
	g := q.guesses
	guessed, accepted := len(span.Tokens)-1, max(0, len(g.drawn)-1)
	st.GuessedTokens += guessed
	st.AcceptedTokens += accepted
	if g.follower != nil {
		s.spec.observe(g, modelClass, accepted, accepted < guessed)
	}
	q.mu.Lock()
	q.timings.GuessedTokens += guessed
	q.timings.AcceptedTokens += accepted
	q.mu.Unlock()
	if err := s.keep(q, span, 1+accepted); err != nil {
		return
	}
	for _, c := range g.drawn {
		if s.token(q, c); q.over {
			return
		}
	}
	if g.err != nil {
		s.end(q, Event{Err: fmt.Errorf("sample token %d of the answer: %w", q.generated+1, g.err)})
	}
}

// keep leaves the first n tokens of a span that was computed in its sequence.
func (s *Scheduler) keep(q *Sequence, span *backend.Span, n int) error {
	if n == len(span.Tokens) {
		return nil
	}
	q.pos = span.Pos + n
	if err := s.kv.Truncate(q.kv, q.pos); err != nil {
		s.broken = fmt.Errorf("%w: truncate a sequence: %w", backend.ErrEngineFailed, err)
		return s.broken
	}
	return nil
}

// token gives a sequence its next token, which may be its last.
func (s *Scheduler) token(q *Sequence, c sample.Choice) {
	now := time.Now()
	s.spec.token(q.guesses, c.Token)
	q.masked = false
	q.next[0] = c.Token
	q.generated++
	if s.held != nil || s.opts.Policy == ByPriority || q.guesses != nil {
		q.answer = append(q.answer, c.Token)
	}
	if s.held != nil && q.generated == 1 {
		s.holdPrompt(q)
	}
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

package scheduler

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// Sequence is a submitted request. Its events wait in it until they are read:
// a slow reader delays nobody, and what waits is bounded by MaxTokens. One
// goroutine reads; the other methods may be called from any.
type Sequence struct {
	s       *Scheduler
	req     Request
	unwatch func() bool                  // ends the watch over Submit's context
	request atomic.Pointer[FinishReason] // of the caller, to end

	// The loop's own.
	sampler   *sample.Sampler
	admitted  bool
	over      bool
	kv        backend.SeqID
	feed      []int32  // what is computed before the first draw: the prompt, and what was answered before it gave way
	pos       int      // tokens in KV, with what is under way
	mask      []uint32 // of the next draw, if there is a constraint
	masked    bool     // mask is that of the tokens so far
	answer    []int32  // the tokens so far, if they may be held or computed again
	guesses   *guesses // of the tokens to come; nil: none are made
	next      [1]int32 // the last token, which isn't in KV yet unless it is under way
	generated int
	drawing   int       // tokens that batches under way choose
	cached    int       // tokens that were held when it was let in
	served    uint64    // the step that last computed part of the prompt
	share     int       // tokens of the prompt that go into the batch
	last      time.Time // of the last sampled token

	mu      sync.Mutex
	events  []Event
	read    int // how many of events were given out
	ended   bool
	timings Timings       // Queued and Started are set by the loop, before the first event
	ready   chan struct{} // has room for one: something was added
}

// prepare checks a request and makes what it needs, on the caller's time rather
// than the loop's.
func (s *Scheduler) prepare(r Request) (*Sequence, error) {
	switch {
	case len(r.Prompt) == 0:
		return nil, fmt.Errorf("%w: the prompt has no tokens", ErrInvalidRequest)
	case r.MaxTokens < 0 || r.MinTokens < 0:
		return nil, fmt.Errorf("%w: a number of tokens is negative: at most %d, at least %d", ErrInvalidRequest, r.MaxTokens, r.MinTokens)
	}
	for i, id := range r.Prompt {
		if id < 0 || int(id) >= s.vocab {
			return nil, fmt.Errorf("%w: token %d at position %d of the prompt is not in the vocabulary of %d", ErrInvalidRequest, id, i, s.vocab)
		}
	}
	if r.Reading != nil {
		r.Prompt = slices.Clone(r.Prompt)
		return s.prepareReading(r)
	}
	left := s.context - len(r.Prompt)
	if left < 1 || r.MaxTokens > left {
		return nil, &ContextLengthError{Prompt: len(r.Prompt), MaxTokens: r.MaxTokens, Context: s.context}
	}
	if r.MaxTokens == 0 {
		r.MaxTokens = min(left, max(r.MinTokens, s.opts.DefaultMaxTokens))
	}
	if r.MinTokens > r.MaxTokens {
		return nil, fmt.Errorf("%w: at least %d tokens are asked for, but there can be at most %d", ErrInvalidRequest, r.MinTokens, r.MaxTokens)
	}
	sampler, err := sample.New(r.Sampling, s.vocab)
	if err != nil {
		return nil, err
	}
	sampler.Prompt(r.Prompt)
	// The caller may use its slices for something else.
	r.Prompt, r.StopTokens = slices.Clone(r.Prompt), slices.Clone(r.StopTokens)
	var mask []uint32
	if r.Constraint != nil {
		mask = make([]uint32, (s.vocab+31)/32)
	}
	return &Sequence{
		s: s, req: r, feed: r.Prompt, sampler: sampler, mask: mask, guesses: s.spec.prepare(&r),
		timings: Timings{PromptTokens: len(r.Prompt)}, ready: make(chan struct{}, 1),
	}, nil
}

// Next waits for the next event. After the last one, which has Finish or Err
// set, it returns io.EOF. It returns ctx's error if that ends first.
func (q *Sequence) Next(ctx context.Context) (Event, error) {
	for {
		q.mu.Lock()
		if q.read < len(q.events) {
			e := q.events[q.read]
			q.events[q.read] = Event{}
			q.read++
			if q.read == len(q.events) {
				q.events, q.read = q.events[:0], 0
			}
			q.mu.Unlock()
			return e, nil
		}
		ended := q.ended
		q.mu.Unlock()
		if ended {
			return Event{}, io.EOF
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Cancel ends the sequence with FinishCanceled before the scheduler's next step.
// It may be called at any time, more than once.
func (q *Sequence) Cancel() { q.ask(FinishCanceled) }

// Stop is Cancel for a reader that has what it wanted (a stop string, say): the
// sequence ends with FinishStop.
func (q *Sequence) Stop() { q.ask(FinishStop) }

// ask keeps the first request to end.
func (q *Sequence) ask(f FinishReason) {
	if q.request.CompareAndSwap(nil, &f) {
		q.s.wake()
	}
}

// asked is how the caller wants the sequence to end: Running means not at all.
func (q *Sequence) asked() FinishReason {
	if f := q.request.Load(); f != nil {
		return *f
	}
	return Running
}

// Timings are the milestones so far.
func (q *Sequence) Timings() Timings {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.timings
}

// prefilling reports whether part of the prompt isn't in KV or under way yet.
func (q *Sequence) prefilling() bool { return q.pos < len(q.feed) }

// ending reports whether the last token there can be is under way.
func (q *Sequence) ending() bool { return q.generated+q.drawing == q.req.MaxTokens }

// draw says how to choose the next token after those under way.
func (q *Sequence) draw() backend.Draw { return q.drawAt(q.generated + q.drawing) }

// drawAt says how to choose the token after the first n of the answer.
func (q *Sequence) drawAt(n int) backend.Draw {
	var banned []int32
	if n < q.req.MinTokens {
		banned = q.req.StopTokens
	}
	return q.sampler.Draw(q.mask, banned)
}

// room is the number of positions that a sequence can come to hold. The last
// token of an answer is never fed back.
func (q *Sequence) room() int { return len(q.req.Prompt) + max(q.req.MaxTokens, 1) - 1 }

// emit gives the reader an event that happened at a time, and returns the
// milestones after it.
func (q *Sequence) emit(e Event, at time.Time) Timings {
	q.mu.Lock()
	q.events = append(q.events, e)
	if e.HasToken {
		q.timings.GeneratedTokens++
		q.timings.LastToken = at
		if q.timings.FirstToken.IsZero() {
			q.timings.FirstToken = at
		}
	}
	if e.last() {
		q.ended = true
		q.timings.Done = at
	}
	t := q.timings
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return t
}

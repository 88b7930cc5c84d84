package scheduler

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// Scheduler owns an engine and runs requests on it. Its methods are safe for
// concurrent use. The engine must not be used by anybody else until Close has
// returned; closing it is the caller's business.
type Scheduler struct {
	engine backend.Engine
	opts   Options

	mu       sync.Mutex
	waiting  []*Sequence // in order of arrival
	running  []*Sequence // in order of admission
	draining bool
	failure  error
	usage    backend.KVUsage
	totals   Totals
	rate     rate

	woken chan struct{}
	stop  context.CancelFunc // ends the loop and the step it is in
	ended chan struct{}      // closed when the loop has ended
	batch batch              // the loop's own
}

// Totals count since the start.
type Totals struct {
	Requests, Rejected, Finished, Cancelled, Failed uint64
	PromptTokens, GeneratedTokens, Steps            uint64
}

// Stats is a snapshot.
type Stats struct {
	Running, Waiting int
	KV               backend.KVUsage
	Totals           Totals
}

// New starts a scheduler on an engine.
func New(e backend.Engine, o Options) *Scheduler {
	ctx, stop := context.WithCancel(context.Background())
	s := &Scheduler{
		engine: e, opts: o.withDefaults(e.MaxBatchTokens()), usage: e.KV().Usage(),
		woken: make(chan struct{}, 1), stop: stop, ended: make(chan struct{}),
	}
	go s.loop(ctx)
	return s
}

// Submit queues a request. When ctx ends, the sequence does. The error is a
// [ContextLengthError], a [QueueFullError], ErrStopped, one that wraps
// backend.ErrEngineFailed, or says what is wrong with the request.
func (s *Scheduler) Submit(ctx context.Context, r Request) (*Sequence, error) {
	q, err := s.prepare(ctx, r)
	if err == nil {
		err = s.enqueue(q)
	}
	if err != nil {
		s.mu.Lock()
		s.totals.Rejected++
		s.mu.Unlock()
		s.opts.Observer.Rejected(err)
		return nil, err
	}
	s.opts.Observer.Queued(len(r.Prompt))
	s.wake()
	return q, nil
}

func (s *Scheduler) prepare(ctx context.Context, r Request) (*Sequence, error) {
	vocab := s.engine.Model().Vocab
	if len(r.Prompt) == 0 {
		return nil, errors.New("the prompt has no tokens")
	}
	for i, id := range r.Prompt {
		if id < 0 || int(id) >= vocab {
			return nil, fmt.Errorf("token %d at position %d of the prompt is not in the vocabulary of %d", id, i, vocab)
		}
	}
	limit := min(s.engine.Context(), s.engine.KV().Usage().Capacity)
	// The last token of an answer needs no place in KV.
	left := limit - len(r.Prompt) + 1
	if left < 1 || r.MaxTokens > left {
		return nil, &ContextLengthError{Prompt: len(r.Prompt), MaxTokens: r.MaxTokens, Context: limit}
	}
	if r.MaxTokens <= 0 {
		r.MaxTokens = left
		if s.opts.DefaultMaxTokens > 0 {
			r.MaxTokens = min(left, s.opts.DefaultMaxTokens)
		}
	}
	sampler, err := sample.New(r.Sampling, vocab)
	if err != nil {
		return nil, err
	}
	sampler.Prompt(r.Prompt)
	return &Sequence{s: s, req: r, ctx: ctx, sampler: sampler, ready: make(chan struct{}, 1)}, nil
}

func (s *Scheduler) enqueue(q *Sequence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		return s.failure
	case s.draining:
		return ErrStopped
	case len(s.waiting) >= s.opts.MaxQueue:
		return &QueueFullError{Waiting: len(s.waiting), RetryAfter: s.retryAfter()}
	}
	q.timings.Queued = time.Now()
	q.timings.PromptTokens = len(q.req.Prompt)
	q.unwatch = context.AfterFunc(q.ctx, s.wake)
	s.waiting = append(s.waiting, q)
	s.totals.Requests++
	return nil
}

// retryAfter estimates when the queue will have moved: the time in which as
// many sequences as run at once have lately come to their end.
func (s *Scheduler) retryAfter() time.Duration {
	return min(max(s.rate.perSequence()*time.Duration(max(len(s.running), 1)), time.Second), time.Minute)
}

// Stats says how things stand.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Running: len(s.running), Waiting: len(s.waiting), KV: s.usage, Totals: s.totals}
}

// Failed is why the scheduler has stopped for good, or nil.
func (s *Scheduler) Failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Drain refuses new requests and waits until all accepted ones have ended, or
// ctx has.
func (s *Scheduler) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.wake()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all sequences and the loop, and waits for it.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.stop()
	<-s.ended
}

func (s *Scheduler) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// loop runs steps until there is nothing to do and never will be.
func (s *Scheduler) loop(ctx context.Context) {
	defer close(s.ended)
	defer s.stop()
	defer func() {
		if r := recover(); r != nil {
			s.fail(fmt.Errorf("%w: panic in the scheduler: %v\n%s", backend.ErrEngineFailed, r, debug.Stack()))
		}
	}()
	for {
		s.reap()
		if ctx.Err() != nil {
			s.endAll(Event{Finish: FinishCanceled})
			return
		}
		s.admit()
		switch work, done := s.pending(); {
		case done:
			return
		case !work:
			select {
			case <-s.woken:
			case <-ctx.Done():
			}
			continue
		}
		if err := s.step(ctx); err != nil {
			s.fail(err)
			return
		}
	}
}

// pending says whether a step can run, and whether nothing ever will again.
func (s *Scheduler) pending() (work, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage = s.engine.KV().Usage()
	return len(s.running) > 0, s.draining && len(s.running)+len(s.waiting) == 0
}

// reap ends the sequences whose callers went away.
func (s *Scheduler) reap() {
	for _, q := range s.take((*Sequence).cancelled) {
		s.end(q, Event{Finish: FinishCanceled})
	}
}

// take removes the sequences for which f holds from the queue and the batch.
func (s *Scheduler) take(f func(*Sequence) bool) []*Sequence {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken []*Sequence
	grab := func(q *Sequence) bool {
		if f(q) {
			taken = append(taken, q)
			return true
		}
		return false
	}
	s.waiting = slices.DeleteFunc(s.waiting, grab)
	s.running = slices.DeleteFunc(s.running, grab)
	return taken
}

// end frees a sequence that was taken out and gives its last event.
func (s *Scheduler) end(q *Sequence, e Event) {
	q.unwatch()
	if q.admitted && !errors.Is(e.Err, backend.ErrEngineFailed) {
		if err := s.engine.KV().Free(q.kv); err != nil && e.Err == nil {
			e.Err = fmt.Errorf("free the sequence's kv: %w", err)
		}
	}
	now := time.Now()
	q.mu.Lock()
	q.timings.Done = now
	t := q.timings
	q.mu.Unlock()
	s.mu.Lock()
	switch {
	case e.Err != nil:
		s.totals.Failed++
	case e.Finish == FinishCanceled:
		s.totals.Cancelled++
	default:
		s.totals.Finished++
		s.rate.add(now.Sub(t.Started))
	}
	s.mu.Unlock()
	q.emit(e)
	s.opts.Observer.Finished(e.Finish, t, e.Err)
}

func (s *Scheduler) endAll(e Event) {
	for _, q := range s.take(func(*Sequence) bool { return true }) {
		s.end(q, e)
	}
}

// fail stops the scheduler for good.
func (s *Scheduler) fail(err error) {
	s.mu.Lock()
	s.failure = err
	s.mu.Unlock()
	s.endAll(Event{Err: err})
}

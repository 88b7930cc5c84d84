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
	"github.com/inferflux/inferflux/scheduler/prefix"
)

// Scheduler owns an engine and runs requests on it. Its methods are safe for
// concurrent use. The engine must not be used by anybody else until Close has
// returned; closing it is the caller's business.
type Scheduler struct {
	engine  starter
	kv      backend.KV
	opts    Options
	context int // the most positions of a sequence
	vocab   int
	mixed   bool          // prompts and generating sequences may share a batch
	ahead   bool          // a batch may be started before the tokens of the last are known
	held    *prefix.Cache // of ended sequences; nil: none
	spec    *speculator   // nil: no tokens are guessed

	// Only the loop changes running, and takes from waiting.
	mu       sync.Mutex
	waiting  []*Sequence // in order of arrival
	running  []*Sequence // in order of admission
	draining bool
	failure  error
	usage    backend.KVUsage
	prefixes prefix.Stats
	totals   Totals
	rate     rate
	calls    []func() // that the loop is to make, between two steps

	woken chan struct{}
	stop  context.CancelFunc // ends the loop and the step it is in
	ended chan struct{}      // closed when the loop has ended

	// The loop's own.
	batches  [2]batch
	underway []*batch    // started, in that order
	formed   uint64      // batches so far
	prompts  []*Sequence // that form shares the budget among
	prefills bool        // an engine that can't mix got prompts last time
	waited   time.Time   // when the last batch was waited for
	pace     pace
	exported int64 // the most bytes that a position takes when it is exported
	broken   error // the engine can't be used any more
}

// starter is how the loop sees an engine: a backend.DeviceSampler, or a [host].
type starter interface {
	Start(ctx context.Context, b *backend.Batch) (backend.Started, error)
}

// Totals count since the start.
type Totals struct {
	Requests, Rejected, Finished, Cancelled, Failed uint64
	Preempted                                       uint64
	PromptTokens, GeneratedTokens, Steps            uint64 // PromptTokens: those computed
	CachedTokens                                    uint64 // of prompts, those that were held or stored
	HydratedTokens                                  uint64 // of those, the ones that were stored
	GuessedTokens, AcceptedTokens                   uint64 // of answers: guessed, and those that were right
	Stashed                                         uint64 // sequences that were stored
}

// Stats is a snapshot.
type Stats struct {
	Running, Waiting int
	KV               backend.KVUsage
	Prefix           prefix.Stats // of what is held of ended sequences
	Totals           Totals
}

// New starts a scheduler on an engine.
func New(e backend.Engine, o Options) *Scheduler {
	ctx, stop := context.WithCancel(context.Background())
	s := newScheduler(e, o, stop)
	go s.loop(ctx)
	return s
}

func newScheduler(e backend.Engine, o Options, stop context.CancelFunc) *Scheduler {
	caps := e.Capabilities()
	s := &Scheduler{
		kv: e.KV(), opts: o.withDefaults(e), context: e.Context(), vocab: e.Model().Vocab, mixed: caps.MixedBatch,
		woken: make(chan struct{}, 1), stop: stop, ended: make(chan struct{}),
	}
	if sampler, ok := e.(backend.DeviceSampler); ok && caps.DeviceSampling {
		s.engine, s.ahead = &device{engine: sampler, chooser: *newHost(e)}, true
	} else {
		s.engine = newHost(e)
	}
	for i := range s.batches {
		s.batches[i].draws = make([]backend.Draw, s.opts.MaxRunning)
	}
	if caps.KVPrefixCopy && s.opts.PrefixTokens >= 0 {
		s.held = prefix.New(prefix.Options{KV: s.kv, Limit: s.opts.PrefixTokens, Evicted: s.stash})
	}
	s.spec = newSpeculator(s.opts.Speculation, e)
	if !caps.KVExport {
		s.opts.Store = nil
	}
	s.usage = s.kv.Usage()
	s.exported = 4 * int64(s.usage.BytesPerToken) // float32 of what may be 8 bits
	s.context = min(s.context, s.usage.Capacity)
	return s
}

// Submit queues a request. When ctx ends, the sequence does. The error is a
// [ContextLengthError], a [QueueFullError], a sample.ParamError, or wraps
// [ErrInvalidRequest], [ErrStopped] or, after a failure, backend.ErrEngineFailed.
func (s *Scheduler) Submit(ctx context.Context, r Request) (*Sequence, error) {
	q, err := s.prepare(r)
	if err == nil {
		err = s.enqueue(ctx, q)
	}
	if err != nil {
		s.mu.Lock()
		s.totals.Rejected++
		s.mu.Unlock()
		s.opts.Observer.Rejected(err)
		return nil, err
	}
	s.wake()
	return q, nil
}

func (s *Scheduler) enqueue(ctx context.Context, q *Sequence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		return s.failure
	case s.draining:
		return ErrStopped
	case len(s.waiting) >= s.opts.MaxQueue+s.opts.MaxRunning-len(s.running), s.tooMany(q.req.Client):
		return &QueueFullError{Waiting: len(s.waiting), RetryAfter: s.rate.retryAfter(len(s.waiting), len(s.running))}
	}
	// Under the lock, so that nobody hears of its admission first.
	s.opts.Observer.Queued(len(q.req.Prompt))
	q.timings.Queued = time.Now()
	q.unwatch = context.AfterFunc(ctx, q.Cancel)
	if ctx.Err() != nil {
		q.Cancel() // AfterFunc's goroutine might come after the first step
	}
	s.waiting = append(s.waiting, q)
	s.totals.Requests++
	return nil
}

// Stats says how things stand.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Running: len(s.running), Waiting: len(s.waiting), KV: s.usage, Prefix: s.prefixes, Totals: s.totals}
}

// Failed is why the scheduler has stopped for good, or nil.
func (s *Scheduler) Failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Drain refuses new requests and waits until all accepted ones have ended, or
// ctx has: then what runs goes on until Close cuts it.
func (s *Scheduler) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.wake()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		st := s.Stats()
		if st.Running+st.Waiting == 0 {
			return nil
		}
		return fmt.Errorf("drain: %d sequences still run and %d wait: %w", st.Running, st.Waiting, ctx.Err())
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
			s.fail(fmt.Errorf("%w: %w", backend.ErrEngineFailed, &PanicError{r, debug.Stack()}))
		}
	}()
	for ctx.Err() == nil && s.broken == nil {
		s.answer()
		more := s.step(ctx)
		s.verify()
		if more {
			continue
		}
		if s.drained() {
			s.letGo()
			return
		}
		select {
		case <-s.woken:
		case <-ctx.Done():
		}
	}
	if s.broken != nil {
		s.fail(s.broken)
		return
	}
	s.endAll()
	s.letGo()
}

// step frees, admits, starts one batch and reads one, which may be the one before;
// it reports whether there was anything to do.
func (s *Scheduler) step(ctx context.Context) bool {
	s.reap()
	s.admit(ctx)
	s.constrain()
	if s.broken != nil || len(s.running)+len(s.underway) == 0 {
		return s.broken != nil
	}
	b := s.form(ctx)
	if s.broken != nil {
		return true
	}
	err := s.start(ctx, b)
	// The new batch stays under way if the next can be formed before it is read.
	for len(s.underway) > 0 && s.broken == nil && (s.underway[0] != b || !s.foretold()) {
		s.read(ctx)
	}
	if err != nil && s.broken == nil {
		s.singly(ctx, b, err)
	}
	return true
}

// drained says whether nothing is left and nothing will come.
func (s *Scheduler) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining && len(s.running)+len(s.waiting) == 0
}

// reap ends the sequences whose callers went away.
func (s *Scheduler) reap() {
	for i := len(s.running) - 1; i >= 0; i-- { // end takes them out
		if q := s.running[i]; q.asked() != Running {
			s.end(q, Event{Finish: q.asked()})
		}
	}
	gone := func(q *Sequence) bool { return q.asked() != Running }
	for q := s.firstWaiting(gone); q != nil; q = s.firstWaiting(gone) {
		s.end(q, Event{Finish: q.asked()})
	}
}

// firstWaiting finds the first in the queue for which f holds, or nil.
func (s *Scheduler) firstWaiting(f func(*Sequence) bool) *Sequence {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.waiting, f); i >= 0 {
		return s.waiting[i]
	}
	return nil
}

// end frees a sequence, takes it out of the queue or the batch, and gives it its
// last event. Whatever panics on the way, it is either still listed, for fail to
// end, or its reader has been told.
func (s *Scheduler) end(q *Sequence, e Event) {
	list := &s.waiting
	usage := s.usage // only the loop changes it
	if q.admitted {
		list = &s.running
	}
	q.over = true
	if q.admitted && s.broken == nil {
		if err := s.release(q, e.Err == nil); err != nil {
			// Its books and ours differ; there would be less memory for each
			// request to come.
			s.broken = fmt.Errorf("%w: free a sequence: %w", backend.ErrEngineFailed, err)
		} else {
			usage = s.kv.Usage()
		}
	}
	now := time.Now()

	s.mu.Lock()
	if i := slices.Index(*list, q); i >= 0 {
		*list = slices.Delete(*list, i, i+1)
	}
	s.usage = usage
	s.prefixes = s.prefixStats()
	switch {
	case e.Err != nil:
		s.totals.Failed++
	case e.Finish == FinishCanceled:
		s.totals.Cancelled++
	default:
		s.totals.Finished++
		if q.admitted {
			s.rate.add(now.Sub(q.timings.Started))
		}
	}
	s.mu.Unlock()

	q.unwatch()
	s.opts.Observer.Finished(e.Finish, q.emit(e, now), e.Err)
}

// endAll ends everything because the scheduler is closed.
func (s *Scheduler) endAll() {
	for _, b := range s.underway {
		if s.broken == nil {
			s.ignore(b)
		}
	}
	s.underway = nil
	for i := len(s.running) - 1; i >= 0; i-- {
		s.end(s.running[i], Event{Finish: FinishCanceled})
	}
	all := func(*Sequence) bool { return true }
	for q := s.firstWaiting(all); q != nil; q = s.firstWaiting(all) {
		s.end(q, Event{Finish: FinishCanceled})
	}
}

// fail stops the scheduler for good, without another call to the engine.
func (s *Scheduler) fail(err error) {
	s.mu.Lock()
	s.failure = err
	all := slices.Concat(s.running, s.waiting)
	s.running, s.waiting = nil, nil
	s.totals.Failed += uint64(len(all))
	s.mu.Unlock()

	now := time.Now()
	timings := make([]Timings, len(all))
	for i, q := range all {
		q.unwatch()
		timings[i] = q.emit(Event{Err: err}, now)
	}
	// The observer may be what panicked; then it has to do without.
	defer func() { _ = recover() }()
	for _, t := range timings {
		s.opts.Observer.Finished(Running, t, err)
	}
}

// isFatal says whether an error of the engine ends everything.
func isFatal(err error) bool { return errors.Is(err, backend.ErrEngineFailed) }

package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

func TestMain(m *testing.M) { // MLX's thread lives as long as the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/inferflux/inferflux/mlx.(*Library).serve"))
}

// greedy is a request for n tokens after the prompt 1, 2, …, prompt.
func greedy(prompt, n int) scheduler.Request {
	r := scheduler.Request{Sampling: sample.Defaults(), MaxTokens: n}
	r.Sampling.Temperature = 0
	for i := range prompt {
		r.Prompt = append(r.Prompt, int32(i+1))
	}
	return r
}

// read reads a sequence to its end.
func read(t testing.TB, q *scheduler.Sequence) (tokens []int32, last scheduler.Event) {
	t.Helper()
	for {
		e, err := q.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return tokens, last
		}
		if err != nil {
			t.Errorf("Next: %s", err)
			return tokens, last
		}
		if last.Finish != scheduler.Running || last.Err != nil {
			t.Errorf("an event after the last: %+v", e)
		}
		if e.HasToken {
			tokens = append(tokens, e.Choice.Token)
		}
		last = e
	}
}

func submit(t testing.TB, s *scheduler.Scheduler, ctx context.Context, r scheduler.Request) *scheduler.Sequence {
	t.Helper()
	q, err := s.Submit(ctx, r)
	if err != nil {
		t.Fatalf("Submit: %s", err)
	}
	return q
}

// gate makes an engine wait before each batch: each receive from entered says
// that a batch is there, each send to proceed lets it run.
func gate(e *fakeEngine) (entered chan []backend.SeqID, proceed chan struct{}) {
	entered, proceed = make(chan []backend.SeqID), make(chan struct{})
	e.before = func(ctx context.Context, b *backend.Batch) error {
		var ids []backend.SeqID
		for _, s := range b.Spans {
			ids = append(ids, s.Seq)
		}
		select {
		case entered <- ids:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-proceed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return entered, proceed
}

// A caller that goes away while a step runs is out of the next one, and its
// memory is free by then.
func TestContextEndsSequence(t *testing.T) {
	e := newFakeEngine(t)
	entered, proceed := gate(e)
	s := scheduler.New(e, scheduler.Options{})
	defer s.Close()

	ctx, cancel := context.WithCancel(t.Context())
	gone := submit(t, s, ctx, greedy(3, 20))
	if ids := <-entered; len(ids) != 1 {
		t.Fatalf("the first batch has %d sequences", len(ids))
	}
	stays := submit(t, s, t.Context(), greedy(3, 20))
	proceed <- struct{}{}
	if ids := <-entered; len(ids) != 2 {
		t.Fatalf("the second batch has %d sequences", len(ids))
	}
	cancel()
	if _, err := gone.Next(ctx); err != nil {
		t.Errorf("Next with an ended context and an event waiting: %s", err)
	}
	// The context's end reaches the sequence by a goroutine of its own.
	for gone.Asked() == scheduler.Running {
		time.Sleep(time.Millisecond)
	}
	proceed <- struct{}{}
	if ids := <-entered; !slices.Equal(ids, []backend.SeqID{2}) {
		t.Errorf("the third batch is of the sequences %v", ids)
	}
	if _, last := read(t, gone); last.Finish != scheduler.FinishCanceled || last.HasToken {
		t.Errorf("the cancelled sequence ended with %+v", last)
	}
	if st := s.Stats(); st.Running != 1 || st.KV.Sequences != 1 {
		t.Errorf("after the cancellation: %+v", st)
	}
	if got := gone.Timings(); got.GeneratedTokens != 1 || got.Done.IsZero() {
		t.Errorf("timings of the cancelled: %+v", got)
	}
	stays.Stop()
	proceed <- struct{}{}
	if _, last := read(t, stays); last.Finish != scheduler.FinishStop {
		t.Errorf("the stopped sequence ended with %+v", last)
	}
}

// Submit with a context that has ended doesn't leave the cancellation to chance.
func TestSubmitAfterContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := scheduler.NewStepper(newFakeEngine(t), scheduler.Options{})
	defer s.Close()
	for range 200 {
		if q := submit(t, s.Scheduler, ctx, greedy(3, 1)); q.Asked() != scheduler.FinishCanceled {
			t.Fatalf("asked to end: %q", q.Asked())
		}
	}
}

// Thousands wait, and all go away: one step ends them.
func TestLongQueue(t *testing.T) {
	const n = 5000
	e := newFakeEngine(t)
	s := scheduler.NewStepper(e, scheduler.Options{MaxQueue: n, MaxRunning: 1})
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var all []*scheduler.Sequence
	for range n {
		all = append(all, submit(t, s.Scheduler, ctx, greedy(3, 2)))
	}
	last := submit(t, s.Scheduler, t.Context(), greedy(3, 2))
	if _, err := s.Submit(ctx, greedy(3, 2)); !errors.Is(err, scheduler.ErrQueueFull) {
		t.Errorf("one more: %v", err)
	}
	cancel()
	for _, q := range all {
		q.Cancel() // as the context will, but at once
	}
	s.Step()
	for _, q := range all {
		if e, err := s.Peek(q); err != nil || e.Finish != scheduler.FinishCanceled {
			t.Fatalf("got %+v, %v", e, err)
		}
	}
	if e, err := s.Peek(last); err != nil || !e.HasToken {
		t.Errorf("the last in the queue got %+v, %v", e, err)
	}
}

// A reader that doesn't read delays nobody, and finds everything later.
func TestSlowReader(t *testing.T) {
	s := scheduler.New(newFakeEngine(t), scheduler.Options{})
	defer s.Close()
	slow := submit(t, s, t.Context(), greedy(3, 50))
	fast := submit(t, s, t.Context(), greedy(4, 60))
	if tokens, last := read(t, fast); len(tokens) != 60 || last.Finish != scheduler.FinishLength {
		t.Errorf("got %d tokens, %+v", len(tokens), last)
	}
	if tokens, _ := read(t, slow); len(tokens) != 50 || tokens[49] != 53 {
		t.Errorf("the slow reader got %v", tokens)
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("Next after the last event: %v", err)
	}
}

// Next gives up with its own context, which ends nothing.
func TestNextContext(t *testing.T) {
	e := newFakeEngine(t)
	entered, proceed := gate(e)
	s := scheduler.New(e, scheduler.Options{})
	defer s.Close()
	q := submit(t, s, t.Context(), greedy(3, 1))
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	proceed <- struct{}{}
	if tokens, _ := read(t, q); len(tokens) != 1 {
		t.Errorf("got %v", tokens)
	}
}

// Whatever panics, every reader is told, and the scheduler says that it failed.
func TestPanic(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(e *fakeEngine, o *scheduler.Options)
	}{
		{"start of a batch", func(e *fakeEngine, _ *scheduler.Options) {
			newFakeDevice(e)
			e.before = func(_ context.Context, b *backend.Batch) error {
				if e.dead = b.Spans[0].Pos > 0; e.dead {
					panic("boom")
				}
				return nil
			}
		}},
		{"wait for a batch", func(e *fakeEngine, _ *scheduler.Options) {
			newFakeDevice(e).beforeWait = func(*backend.Batch) error {
				e.dead = true
				panic("boom")
			}
		}},
		{"engine", func(e *fakeEngine, _ *scheduler.Options) {
			e.before = func(context.Context, *backend.Batch) error { panic("boom") }
		}},
		{"observer of admissions", func(_ *fakeEngine, o *scheduler.Options) { o.Observer = &panicky{on: "admitted"} }},
		{"observer of ends", func(_ *fakeEngine, o *scheduler.Options) { o.Observer = &panicky{on: "finished"} }},
		{"observer of steps", func(_ *fakeEngine, o *scheduler.Options) { o.Observer = &panicky{on: "stepped"} }},
		{"free", func(e *fakeEngine, _ *scheduler.Options) { e.freePanics = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, o := newFakeEngine(t), scheduler.Options{MaxRunning: 2}
			hold := make(chan struct{})
			c.set(e, &o)
			inner := e.before
			e.before = func(ctx context.Context, b *backend.Batch) error {
				<-hold
				if inner != nil {
					return inner(ctx, b)
				}
				return nil
			}
			s := scheduler.New(e.engine(), o)
			var all []*scheduler.Sequence
			for i := range 4 {
				if q, err := s.Submit(t.Context(), greedy(3, i+1)); err == nil {
					all = append(all, q)
				} else if !errors.Is(err, backend.ErrEngineFailed) {
					t.Errorf("Submit: %s", err)
				}
			}
			close(hold)
			failed := 0
			for _, q := range all {
				if _, last := read(t, q); errors.Is(last.Err, backend.ErrEngineFailed) {
					failed++
				} else if last.Finish == scheduler.Running {
					t.Errorf("a sequence ended with %+v", last)
				}
			}
			if failed == 0 {
				t.Error("no sequence failed")
			}
			s.Close()
			var panicked *scheduler.PanicError
			if err := s.Failed(); !errors.As(err, &panicked) || !errors.Is(err, backend.ErrEngineFailed) {
				t.Errorf("Failed: %v", err)
			} else if fmt.Sprint(panicked.Value) != "boom" || len(panicked.Stack) == 0 {
				t.Errorf("panic value %v, %d bytes of stack", panicked.Value, len(panicked.Stack))
			}
			if _, err := s.Submit(t.Context(), greedy(1, 1)); !errors.Is(err, backend.ErrEngineFailed) {
				t.Errorf("Submit to a failed scheduler: %v", err)
			}
			if st := s.Stats(); st.Running != 0 || st.Waiting != 0 {
				t.Errorf("after the failure: %+v", st)
			}
		})
	}
}

type panicky struct {
	recorded
	on string
}

func (p *panicky) Preempted()                  { p.maybe("preempted") }
func (p *panicky) Admitted(time.Duration, int) { p.maybe("admitted") }
func (p *panicky) Stepped(scheduler.Step)      { p.maybe("stepped") }
func (p *panicky) Finished(scheduler.FinishReason, scheduler.Timings, error) {
	p.maybe("finished")
}

func (p *panicky) maybe(on string) {
	if p.on == on {
		panic("boom")
	}
}

// What a sampler can't handle fails its sequence alone.
func TestSamplingError(t *testing.T) {
	e := newFakeEngine(t)
	nan := float32(0)
	nan /= nan
	e.fill = func(row []float32, tokens []int32) {
		countUp(row, tokens)
		if tokens[0] == 7 && len(tokens) > 3 {
			for i := range row {
				row[i] = nan
			}
		}
	}
	s := scheduler.New(e, scheduler.Options{})
	defer s.Close()
	good := submit(t, s, t.Context(), greedy(2, 5))
	r := greedy(2, 5)
	r.Prompt[0] = 7
	bad := submit(t, s, t.Context(), r)
	if _, last := read(t, bad); !errors.Is(last.Err, sample.ErrNoToken) {
		t.Errorf("the bad sequence ended with %+v", last)
	}
	if tokens, last := read(t, good); len(tokens) != 5 || last.Err != nil {
		t.Errorf("the good sequence got %v, %+v", tokens, last)
	}
}

func TestDrain(t *testing.T) {
	e := newFakeEngine(t)
	entered, proceed := gate(e)
	s := scheduler.New(e, scheduler.Options{})
	q := submit(t, s, t.Context(), greedy(3, 1))
	<-entered

	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(short); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain within no time: %v", err)
	}
	if _, err := s.Submit(t.Context(), greedy(3, 1)); !errors.Is(err, scheduler.ErrStopped) {
		t.Errorf("Submit while draining: %v", err)
	}
	proceed <- struct{}{}
	if err := s.Drain(t.Context()); err != nil {
		t.Errorf("Drain: %s", err)
	}
	if tokens, last := read(t, q); len(tokens) != 1 || last.Finish != scheduler.FinishLength {
		t.Errorf("got %v, %+v", tokens, last)
	}
	s.Close()
	s.Close() // again does nothing
}

// With nothing to wait for, a drain doesn't need time.
func TestDrainIdle(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		s := scheduler.New(newFakeEngine(t), scheduler.Options{})
		if err := s.Drain(over); err != nil {
			t.Fatalf("Drain: %s", err)
		}
		s.Close()
	}
}

// Close cuts a step short.
func TestCloseCutsStep(t *testing.T) {
	e := newFakeEngine(t)
	entered, _ := gate(e)
	s := scheduler.New(e, scheduler.Options{MaxRunning: 1})
	running := submit(t, s, t.Context(), greedy(3, 1))
	waiting := submit(t, s, t.Context(), greedy(3, 1))
	<-entered
	s.Close()
	for _, q := range []*scheduler.Sequence{running, waiting} {
		if _, last := read(t, q); last.Finish != scheduler.FinishCanceled {
			t.Errorf("ended with %+v", last)
		}
	}
	if len(e.seqs) != 0 {
		t.Errorf("%d sequences were not freed", len(e.seqs))
	}
}

// A step of one sequence allocates nothing; with more, only what it takes to
// sample on several cores.
func TestStepAllocations(t *testing.T) {
	e := newFakeEngine(t)
	e.context, e.capacity = 5000, 5000
	s := scheduler.NewStepper(e, scheduler.Options{})
	defer s.Close()
	q := submit(t, s.Scheduler, t.Context(), greedy(1, 4000))
	next := func() {
		s.Step()
		if _, err := s.Peek(q); err != nil {
			t.Error(err)
		}
	}
	next()
	for _, q := range e.seqs {
		q.tokens = slices.Grow(q.tokens, 5000)
	}
	if n := testing.AllocsPerRun(1000, next); n > 0 {
		t.Errorf("%v allocations a step", n)
	}
}

package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/scheduler"
)

// recorded notes what an observer is told.
type recorded struct {
	mu  sync.Mutex
	log []string
}

func (r *recorded) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorded) Queued(n int)                    { r.note("queued %d", n) }
func (r *recorded) Rejected(err error)              { r.note("rejected: %s", err) }
func (r *recorded) Admitted(d time.Duration, _ int) { r.note("admitted after %s", d) }
func (r *recorded) Preempted()                      { r.note("preempted") }
func (r *recorded) FirstToken(d time.Duration)      { r.note("first token after %s", d) }
func (r *recorded) NextToken(d time.Duration)       { r.note("next token after %s", d) }
func (r *recorded) Stepped(st scheduler.Step) {
	r.note("stepped {Sequences:%d DecodeTokens:%d PrefillTokens:%d Duration:%s}", st.Sequences, st.DecodeTokens, st.PrefillTokens, st.Duration)
}
func (r *recorded) Finished(f scheduler.FinishReason, t scheduler.Timings, err error) {
	r.note("finished %s after %s: %d, %d", f, t.Done.Sub(t.Queued), t.PromptTokens, t.GeneratedTokens)
}

// A step takes a second in this world, so times come out exact.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, o := newFakeEngine(t), &recorded{}
		e.before = func(context.Context, *backend.Batch) error { time.Sleep(time.Second); return nil }
		s := scheduler.New(e, scheduler.Options{MaxRunning: 1, Observer: o})
		a := submit(t, s, t.Context(), greedy(20, 3))
		synctest.Wait()
		b := submit(t, s, t.Context(), greedy(3, 1))
		if _, err := s.Submit(t.Context(), greedy(100, 1)); err == nil {
			t.Error("a prompt of 100 tokens was accepted")
		}
		read(t, a)
		read(t, b)
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		want := []string{
			"queued 20",
			"admitted after 0s",
			"queued 3",
			"rejected: the prompt has 100 tokens and 1 are asked for, but the model's context is 64",
			"stepped {Sequences:1 DecodeTokens:0 PrefillTokens:16 Duration:1s}",
			"first token after 2s",
			"stepped {Sequences:1 DecodeTokens:0 PrefillTokens:4 Duration:1s}",
			"next token after 1s",
			"stepped {Sequences:1 DecodeTokens:1 PrefillTokens:0 Duration:1s}",
			"next token after 1s",
			"finished length after 4s: 20, 3",
			"stepped {Sequences:1 DecodeTokens:1 PrefillTokens:0 Duration:1s}",
			"admitted after 4s",
			"first token after 5s",
			"finished length after 5s: 3, 1",
			"stepped {Sequences:1 DecodeTokens:0 PrefillTokens:3 Duration:1s}",
		}
		if diff := cmp.Diff(want, o.log); diff != "" {
			t.Errorf("the observer was told (-want +got):\n%s", diff)
		}
		got := a.Timings()
		start := got.Queued
		if diff := cmp.Diff(scheduler.Timings{
			Queued: start, Started: start, FirstToken: start.Add(2 * time.Second), LastToken: start.Add(4 * time.Second), Done: start.Add(4 * time.Second),
			PromptTokens: 20, GeneratedTokens: 3,
		}, got); diff != "" {
			t.Errorf("timings (-want +got):\n%s", diff)
		}
	})
}

// The time after which to come back follows the pace at which sequences end.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		step := time.Second
		e.before = func(context.Context, *backend.Batch) error { time.Sleep(step); return nil }
		s := scheduler.New(e, scheduler.Options{MaxRunning: 2, MaxQueue: 6})
		defer s.Close()
		rejected := func() time.Duration {
			t.Helper()
			for i := range 8 {
				submit(t, s, t.Context(), greedy(2, 4)) // takes four steps
				for i == 1 && s.Stats().Running < 2 {
					time.Sleep(step)
				}
			}
			_, err := s.Submit(t.Context(), greedy(2, 4))
			var full *scheduler.QueueFullError
			if !errors.As(err, &full) || !errors.Is(err, scheduler.ErrQueueFull) || full.Waiting != 6 {
				t.Fatalf("the ninth request: %v", err)
			}
			for st := s.Stats(); st.Running+st.Waiting > 0; st = s.Stats() {
				time.Sleep(step)
			}
			return full.RetryAfter
		}
		if d := rejected(); d != 5*time.Second {
			t.Errorf("with nothing to go by: %s", d)
		}
		// Two end every four seconds, so that three of six are gone, and a fourth
		// for the one who asks, after 8 s.
		if d := rejected(); d != 8*time.Second {
			t.Errorf("at one step a second: %s", d)
		}
		step = time.Hour
		rejected()
		if d := rejected(); d != time.Minute {
			t.Errorf("at one step an hour: %s", d)
		}
	})
}

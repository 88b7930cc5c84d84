package scheduler_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// TestAheadHidesHost: where the device takes a second for a batch and the host
// 0.4 to start one, a token comes every second, unless penalties forbid to look
// ahead; and a step is said to take as long as the device was at it.
func TestAheadHidesHost(t *testing.T) {
	for _, c := range []struct {
		penalty float64
		pace    time.Duration
	}{{1, time.Second}, {1.1, 1400 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			e, o := newFakeEngine(t), &recorded{}
			d := newFakeDevice(e)
			var done time.Time // when the device will have computed what it was given
			ends := map[*backend.Batch]time.Time{}
			d.before = func(_ context.Context, b *backend.Batch) error {
				time.Sleep(400 * time.Millisecond)
				if done.Before(time.Now()) {
					done = time.Now()
				}
				done = done.Add(time.Second)
				ends[b] = done
				return nil
			}
			d.beforeWait = func(b *backend.Batch) error {
				time.Sleep(time.Until(ends[b]))
				return nil
			}
			s := scheduler.New(d, scheduler.Options{Observer: o})
			defer s.Close()
			r := greedy(3, 5)
			r.Sampling.RepetitionPenalty = c.penalty
			read(t, submit(t, s, t.Context(), r))
			if err := s.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			var got, want []string
			for _, line := range o.log {
				if strings.Contains(line, "token") || strings.Contains(line, "stepped") {
					got = append(got, line)
				}
			}
			want = append(want, "first token after 1.4s", "stepped {Sequences:1 DecodeTokens:0 PrefillTokens:3 Duration:1.4s}")
			for range 4 {
				want = append(want, fmt.Sprintf("next token after %s", c.pace),
					fmt.Sprintf("stepped {Sequences:1 DecodeTokens:1 PrefillTokens:0 Duration:%s}", c.pace))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("with a penalty of %v (-want +got):\n%s", c.penalty, diff)
			}
		})
	}
}

// TestDevicesEqual: the same requests on an engine that gives logits, on one that
// samples, and on one that samples but can't be run ahead of, for somebody else's
// penalties or a draw that devices don't know.
func TestDevicesEqual(t *testing.T) {
	answers := func(device, penalties, shaped, mixed bool) (all [][]int32, ahead int) {
		e := newFakeEngine(t)
		e.fill, e.capacity, e.batch, e.caps.MixedBatch = scatter, 16*64, 24, mixed
		if device {
			newFakeDevice(e)
		}
		s := scheduler.New(e.engine(), scheduler.Options{})
		defer s.Close()
		if penalties {
			r := greedy(2, 60)
			r.Sampling.PresencePenalty = 0.1
			if shaped {
				r.Sampling.Temperature, r.Sampling.TypicalP = 1, 0.9
			}
			submit(t, s, t.Context(), r)
		}
		var wait sync.WaitGroup
		all = make([][]int32, 12)
		for i := range all {
			r := greedy(1+2*i, 30-i)
			seed := uint64(i)
			r.Sampling.Temperature, r.Sampling.TopP, r.Sampling.Seed = float64(i%3)/2, 1-float64(i%2)/10, &seed
			if shaped && i%4 == 0 {
				r.Sampling.Temperature, r.Sampling.TopP, r.Sampling.Mirostat = 1, 1, 2
			}
			q := submit(t, s, t.Context(), r)
			wait.Go(func() { all[i], _ = read(t, q) })
		}
		wait.Wait()
		if device {
			ahead = e.device.ahead
		}
		return all, ahead
	}
	for _, mixed := range []bool{true, false} {
		want, _ := answers(false, false, true, mixed)
		if got, _ := answers(true, true, true, mixed); !cmp.Equal(want, got) {
			t.Errorf("mixed %t: the shaped answers differ (-logits +device):\n%s", mixed, cmp.Diff(want, got))
		}
		want, _ = answers(false, false, false, mixed)
		for _, penalties := range []bool{false, true} {
			got, ahead := answers(true, penalties, false, mixed)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("mixed %t, penalties %t: the answers differ (-logits +device):\n%s", mixed, penalties, diff)
			}
			// Prompts end ahead of somebody penalized only where they have batches of
			// their own.
			if want := !penalties || !mixed; (ahead > 0) != want {
				t.Errorf("mixed %t, penalties %t: %d tokens computed ahead", mixed, penalties, ahead)
			}
		}
	}
}

// A device that doesn't claim to sample is used for its logits.
func TestDeviceWithoutCapability(t *testing.T) {
	e := newFakeEngine(t)
	d := &mute{newFakeDevice(e)}
	e.caps.DeviceSampling = false
	s := scheduler.New(d, scheduler.Options{})
	defer s.Close()
	if tokens, _ := read(t, submit(t, s, t.Context(), greedy(3, 3))); !slices.Equal(tokens, []int32{4, 5, 6}) {
		t.Errorf("got %v", tokens)
	}
	if e.device.started > 0 {
		t.Errorf("%d batches were started", e.device.started)
	}
}

// mute is a device whose Run works.
type mute struct{ *fakeDevice }

func (m *mute) Run(ctx context.Context, b *backend.Batch) error { return m.fakeEngine.Run(ctx, b) }

// instant is a device that takes no time and no memory.
type instant struct{ *fakeEngine }

func (d *instant) Capabilities() backend.Capabilities {
	return backend.Capabilities{MixedBatch: true, DeviceSampling: true}
}

func (d *instant) Start(_ context.Context, b *backend.Batch) (backend.Started, error) {
	for i := range b.Spans {
		b.Spans[i].Choice = sample.Choice{TokenLogprob: sample.TokenLogprob{Token: 7}}
	}
	return d, nil
}

func (d *instant) Wait(context.Context) error { return nil }

// A step ahead allocates nothing either.
func TestAheadAllocations(t *testing.T) {
	e := newFakeEngine(t)
	e.context, e.capacity = 5000, 20000
	s := scheduler.NewStepper(&instant{e}, scheduler.Options{})
	defer s.Close()
	var all []*scheduler.Sequence
	for range 3 {
		r := greedy(1, 4000)
		r.Sampling.Temperature, r.Sampling.LogitBias = 1, map[int32]float64{3: 1}
		all = append(all, submit(t, s.Scheduler, t.Context(), r))
	}
	s.Step()
	next := func() {
		s.Step()
		for _, q := range all {
			if _, err := s.Peek(q); err != nil {
				t.Error(err)
			}
		}
	}
	next()
	if n := testing.AllocsPerRun(1000, next); n > 0 {
		t.Errorf("%v allocations a step", n)
	}
}

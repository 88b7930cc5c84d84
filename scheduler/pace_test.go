package scheduler_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/scheduler"
)

// A step takes 10 ms and 1 ms for each token of a prompt. While somebody generates, a
// long prompt is computed in pieces that fit the target; alone, in one.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		target  time.Duration
		longest time.Duration // of a step, once the cost is known
	}{{0, 26 * time.Millisecond}, {35 * time.Millisecond, 35 * time.Millisecond}, {time.Millisecond, 26 * time.Millisecond}, {time.Second, 111 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			e, o := newFakeEngine(t), &recorded{}
			e.capacity, e.context, e.batch = 20_000, 5000, 200
			e.before = func(_ context.Context, b *backend.Batch) error {
				time.Sleep(10*time.Millisecond + time.Duration(b.Tokens()-1)*time.Millisecond)
				return nil
			}
			s := scheduler.New(e, scheduler.Options{Observer: o, TargetLatency: c.target})
			defer s.Close()
			steady := submit(t, s, t.Context(), greedy(1, 900))
			for range 5 {
				if _, err := steady.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			read(t, submit(t, s, t.Context(), greedy(990, 1)))
			steady.Cancel()
			if err := s.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			worst, steps := time.Duration(0), 0
			for _, line := range o.log {
				var sequences, decode, prefill int
				var took string
				if _, err := fmt.Sscanf(line, "stepped {Sequences:%d DecodeTokens:%d PrefillTokens:%d Duration:%s", &sequences, &decode, &prefill, &took); err != nil || decode == 0 || prefill == 0 {
					continue
				}
				d, err := time.ParseDuration(strings.TrimSuffix(took, "}"))
				if err != nil {
					t.Fatal(err)
				}
				if steps++; steps > 1 { // the first finds out what a token costs
					worst = max(worst, d)
				}
			}
			if worst > c.longest || worst < c.longest*2/3 {
				t.Errorf("target %s: the longest of %d steps took %s, expected about %s", c.target, steps, worst, c.longest)
			}
		})
	}
}

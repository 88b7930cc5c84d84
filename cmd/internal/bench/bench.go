// Package bench measures how fast engines run a model: ours in this process, and
// others beside it, each in a process of its own, in turns.
package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Test is one thing to measure: reading a prompt, or generating.
type Test struct {
	Prompt    int `json:"n_prompt"` // tokens of the prompt; 0 to generate
	Generated int `json:"n_gen"`    // tokens for each sequence
	Depth     int `json:"n_depth"`  // tokens that each sequence has before
	Parallel  int `json:"parallel"` // sequences
}

// String is the test's name: pp512, tg128@d4096×8.
func (t Test) String() string {
	name := fmt.Sprintf("pp%d", t.Prompt)
	if t.Prompt == 0 {
		name = fmt.Sprintf("tg%d", t.Generated)
	}
	if t.Depth > 0 {
		name += fmt.Sprintf("@d%d", t.Depth)
	}
	if t.Parallel > 1 {
		name += fmt.Sprintf("×%d", t.Parallel)
	}
	return name
}

// Tokens is how many tokens are counted.
func (t Test) Tokens() int { return t.Parallel * (t.Prompt + t.Generated) }

// Positions is the room that each sequence needs. A generation's first token comes
// from a step before those that are timed.
func (t Test) Positions() int {
	if t.Prompt > 0 {
		return t.Depth + t.Prompt
	}
	return t.Depth + 1 + t.Generated
}

// Timing is one run of a test.
type Timing struct {
	Took time.Duration
	Host []time.Duration // to start each step, if the engine samples on its device
}

// A Runner runs tests on an engine. What lies before the part that is timed, it may
// keep from run to run of the same test.
type Runner interface {
	// Run returns ErrUnsupported for a test that the engine doesn't have.
	Run(ctx context.Context, t Test) (Timing, error)
}

// ErrUnsupported is for tests that an engine can't be put to.
var ErrUnsupported = errors.New("not measured")

// Series is a test, repeated, in tokens per second.
type Series struct {
	Median  float64   `json:"median_tokens_per_second"`
	Mean    float64   `json:"mean_tokens_per_second"`
	StdDev  float64   `json:"stddev_tokens_per_second"`
	First   float64   `json:"first_tokens_per_second"` // of the run that warmed up
	Samples []float64 `json:"samples_tokens_per_second"`
	// HostStep is set for generation by an engine that samples on its device.
	HostStep *HostTime `json:"host_step,omitempty"`
}

// HostTime is how long the host took to start steps, in microseconds: from
// Start's entry to its return, over all steps of all repetitions.
type HostTime struct {
	Median float64 `json:"median_us"`
	Mean   float64 `json:"mean_us"`
	P99    float64 `json:"p99_us"`
}

// Measure runs a test on all runners in turns, once to warm up and then as often as
// repeat says. The series of a runner that doesn't support the test has no samples.
// Before each round it calls note with its number, from 0 on.
func Measure(ctx context.Context, t Test, repeat int, note func(round int), runners ...Runner) ([]Series, error) {
	all := make([]Series, len(runners))
	host := make([][]float64, len(runners))
	lacks := make([]bool, len(runners))
	for round := range repeat + 1 {
		note(round)
		for i, r := range runners {
			if lacks[i] {
				continue
			}
			timing, err := r.Run(ctx, t)
			if errors.Is(err, ErrUnsupported) {
				lacks[i] = true
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t, err)
			}
			speed := float64(t.Tokens()) / max(timing.Took, 1).Seconds()
			if round == 0 {
				all[i].First = speed
				continue
			}
			all[i].Samples = append(all[i].Samples, speed)
			for _, d := range timing.Host {
				host[i] = append(host[i], float64(d)/float64(time.Microsecond))
			}
		}
	}
	for i := range all {
		s := &all[i]
		if len(s.Samples) > 0 {
			s.Median, s.Mean, s.StdDev = Spread(s.Samples)
		}
		if len(host[i]) > 0 {
			q := QuantilesOf(host[i])
			s.HostStep = &HostTime{Median: q.P50, Mean: q.Mean, P99: q.P99}
		}
	}
	return all, nil
}

package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// reading is a request of something of a prompt, and what it gets alone.
type reading struct {
	prompt []int32
	want   backend.LogitsWanted
	alone  string
}

// readOff submits a reading and returns all that it got, to the bit. A row that comes twice
// takes the place of the first.
func readOff(ctx context.Context, s *scheduler.Scheduler, r *reading, priority int) (string, error) {
	rows := map[int]string{}
	q, err := s.Submit(ctx, scheduler.Request{Prompt: r.prompt, Priority: priority, Reading: &scheduler.Reading{
		Want: r.want,
		Take: func(pos int, got [][]float32) {
			for i, row := range got {
				rows[pos+i] = fmt.Sprintf("%d %x", len(row), row)
			}
		},
	}})
	if err != nil {
		return "", err
	}
	for {
		e, err := q.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || e.Err != nil || e.HasToken || e.Finish != scheduler.FinishStop {
			return "", fmt.Errorf("event %+v, error %w", e, errors.Join(err, e.Err))
		}
	}
	var all strings.Builder
	for pos := range r.prompt {
		fmt.Fprintln(&all, pos, rows[pos])
	}
	return all.String(), nil
}

// TestReadings: whatever else runs, however prompts are cut, shared and interrupted, a
// reading gets what it gets alone, and so do answers beside it.
func TestReadings(t *testing.T) {
	e := realEngine(t, 1024)
	answers := conversations(t, e, 20, 30, exactly)
	rng := rand.New(rand.NewPCG(5, 6))
	alone := scheduler.New(e, scheduler.Options{PrefixTokens: -1})
	readings := make([]reading, 24)
	for i := range readings {
		prompt := answers[rng.IntN(len(answers))].Prompt
		r := reading{prompt: prompt[:1+rng.IntN(len(prompt))], want: backend.LastLogits + backend.LogitsWanted(i%4)}
		var err error
		if r.alone, err = readOff(t.Context(), alone, &r, 0); err != nil {
			t.Fatal(err)
		}
		readings[i] = r
	}
	alone.Close()
	schedules := 60
	if testing.Short() {
		schedules = 10
	}
	for i := range schedules {
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		s := scheduler.New(e, scheduler.Options{
			Policy:     []scheduler.Policy{scheduler.FirstCome, scheduler.ByPriority}[rng.IntN(2)],
			MaxRunning: 1 + rng.IntN(6), BatchTokens: []int{16, 64, 512}[rng.IntN(3)],
			Speculation: scheduler.Speculation{Lookup: rng.IntN(2) == 0, Tokens: 4},
		})
		done := make(chan error)
		for range 6 {
			r, a, priority := readings[rng.IntN(len(readings))], answers[rng.IntN(len(answers))], rng.IntN(3)
			go func() {
				got, err := readOff(t.Context(), s, &r, priority)
				if err == nil && got != r.alone {
					err = fmt.Errorf("reading %d of %d tokens differs", r.want, len(r.prompt))
				}
				done <- err
			}()
			go func() {
				q, err := s.Submit(t.Context(), a.Request)
				if err == nil {
					var got string
					if got, _, err = readExactly(t.Context(), q); err == nil && got != a.want {
						err = errors.New("an answer differs")
					}
				}
				done <- err
			}()
		}
		for range 12 {
			if err := <-done; err != nil {
				t.Errorf("schedule %d: %v", i, err)
			}
		}
		s.Close()
		if u := e.KV().Usage(); u.Sequences != 0 || u.Reserved != 0 {
			t.Fatalf("schedule %d leaves %+v", i, u)
		}
	}
}

func TestReadingRefused(t *testing.T) {
	s := scheduler.New(realEngine(t, 1024), scheduler.Options{})
	defer s.Close()
	none := &scheduler.Reading{Want: backend.LastHidden, Take: func(int, [][]float32) {}}
	if _, err := s.Submit(t.Context(), scheduler.Request{Prompt: []int32{1}, MaxTokens: 1, Reading: none}); !errors.Is(err, scheduler.ErrInvalidRequest) {
		t.Errorf("with an answer: %v", err)
	}
	if _, err := s.Submit(t.Context(), scheduler.Request{Prompt: make([]int32, 257), Reading: none}); !errors.Is(err, scheduler.ErrContextLength) {
		t.Errorf("too long: %v", err)
	}
	// As long as the context can be, and a panic in Take is the reader's own.
	whole := &reading{prompt: make([]int32, 256), want: backend.LastHidden}
	if _, err := readOff(t.Context(), s, whole, 0); err != nil {
		t.Error(err)
	}
	q, err := s.Submit(t.Context(), scheduler.Request{Prompt: []int32{1}, Reading: &scheduler.Reading{Want: backend.LastHidden, Take: func(int, [][]float32) { panic("no") }}})
	if err != nil {
		t.Fatal(err)
	}
	var panicked *scheduler.PanicError
	if ev, err := q.Next(t.Context()); err != nil || !errors.As(ev.Err, &panicked) {
		t.Errorf("event %+v, error %v", ev, err)
	}
	if _, err := s.Submit(t.Context(), scheduler.Request{Prompt: []int32{1}, Sampling: sample.Defaults(), MaxTokens: 1}); err != nil {
		t.Error(err)
	}
}

package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// alone computes what a request must give, without a scheduler.
func alone(t testing.TB, fill func(row []float32, tokens []int32), vocab int, r scheduler.Request) (tokens []int32, f scheduler.FinishReason) {
	sampler, err := sample.New(r.Sampling, vocab)
	if err != nil {
		t.Fatal(err)
	}
	sampler.Prompt(r.Prompt)
	all := slices.Clone(r.Prompt)
	row := make([]float32, vocab)
	for n := 0; ; n++ {
		var banned []int32
		if n < r.MinTokens {
			banned = r.StopTokens
		}
		fill(row, all)
		c, err := sampler.Sample(row, nil, banned)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c.Token)
		switch {
		case slices.Contains(r.StopTokens, c.Token):
			return all[len(r.Prompt):], scheduler.FinishStop
		case n+1 == r.MaxTokens:
			return all[len(r.Prompt):], scheduler.FinishLength
		}
	}
}

// drawRequest makes a request that fits, perhaps one with penalties.
func drawRequest(random *rand.Rand, e *fakeEngine, penalties bool) scheduler.Request {
	seed := random.Uint64()
	r := scheduler.Request{Sampling: sample.Defaults(), MaxTokens: 1 + random.IntN(e.context/2)}
	r.Sampling.Seed = &seed
	r.Sampling.Temperature = []float64{0, 0.7, 1}[random.IntN(3)]
	if penalty := []float64{1, 1.2}[random.IntN(2)]; penalties {
		r.Sampling.RepetitionPenalty = penalty
	}
	for range 1 + random.IntN(e.context-r.MaxTokens) {
		r.Prompt = append(r.Prompt, int32(random.IntN(e.vocab)))
	}
	for range random.IntN(3) {
		r.StopTokens = append(r.StopTokens, int32(random.IntN(e.vocab)))
	}
	r.MinTokens = random.IntN(r.MaxTokens)
	return r
}

// TestRandom lets many callers loose on small schedulers: they submit, cancel by
// every means, read slowly or not at all, and batches fail. Whoever reads to the
// end gets what the request gives alone, or a beginning of it if it was cut; the
// engine is used by its contract and holds nothing afterwards. All this is so
// whether the engine gives logits or chooses tokens itself, and then whether
// penalties let batches be started ahead or not.
func TestRandom(t *testing.T) {
	ahead, guessed, accepted := 0, uint64(0), uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		e := newFakeEngine(t)
		e.reuse = true
		var d *fakeDevice
		if rapid.Bool().Draw(rt, "device") {
			d = newFakeDevice(e)
		}
		penalties := rapid.Bool().Draw(rt, "penalties")
		e.vocab, e.context, e.fill = 50, 40, scatter
		guess := rapid.SampledFrom([]int{0, 0, 3, 8}).Draw(rt, "guess")
		if guess > 0 {
			e.fill, e.caps.SpeculativeDecoding = repeat, true
		}
		e.batch = rapid.IntRange(1, 24).Draw(rt, "batch")
		e.capacity = rapid.IntRange(40, 200).Draw(rt, "capacity")
		e.caps.MixedBatch = rapid.Bool().Draw(rt, "mixed")
		failing := rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "one batch in so many fails")
		o := scheduler.Options{
			MaxRunning:   rapid.IntRange(1, 20).Draw(rt, "running"),
			MaxQueue:     rapid.IntRange(-1, 30).Draw(rt, "queue"),
			BatchTokens:  rapid.IntRange(0, 30).Draw(rt, "budget"),
			PrefillChunk: rapid.IntRange(0, 30).Draw(rt, "chunk"),
			Speculation:  scheduler.Speculation{Lookup: guess > 0, Tokens: guess},
		}
		seed := rapid.Uint64().Draw(rt, "seed")
		faults := rand.New(rand.NewPCG(seed, 0))
		errHot := errors.New("too hot")
		limit := o.BatchTokens
		if limit == 0 {
			limit = e.batch
		}
		most := max(o.MaxRunning, 1)
		if d != nil {
			d.beforeWait = func(*backend.Batch) error {
				if failing > 0 && faults.IntN(failing) == 0 {
					return errHot
				}
				return nil
			}
		}
		e.before = func(_ context.Context, b *backend.Batch) error {
			if n := b.Tokens(); n > limit {
				t.Errorf("a batch of %d tokens, over the budget of %d", n, limit)
			}
			if len(e.seqs) > most {
				t.Errorf("%d sequences, more than %d", len(e.seqs), most)
			}
			if failing > 0 && faults.IntN(failing) == 0 {
				return errHot
			}
			return nil
		}
		s := scheduler.New(e.engine(), o)

		var callers sync.WaitGroup
		for i := range 12 {
			random := rand.New(rand.NewPCG(seed, uint64(i+1)))
			callers.Go(func() {
				for range 4 {
					call(t, s, e, drawRequest(random, e, penalties), random.IntN(8), errHot)
				}
			})
		}
		callers.Wait()
		if err := s.Drain(context.Background()); err != nil {
			t.Errorf("drain: %s", err)
		}
		s.Close()
		st := s.Stats()
		if len(e.seqs) != 0 || st.Running != 0 || st.Waiting != 0 || st.KV.Reserved != 0 || st.KV.Sequences != 0 {
			t.Errorf("afterwards the engine holds %d sequences; %+v", len(e.seqs), st)
		}
		if n := st.Totals; n.Finished+n.Cancelled+n.Failed != n.Requests || n.Requests+n.Rejected != 48 {
			t.Errorf("the totals don't add up: %+v", n)
		}
		guessed, accepted = guessed+st.Totals.GuessedTokens, accepted+st.Totals.AcceptedTokens
		if d != nil {
			d.checkIdle()
			ahead += d.ahead
		}
		if t.Failed() {
			rt.FailNow()
		}
	})
	if ahead < 100 || accepted == 0 || guessed == accepted {
		t.Errorf("only %d tokens were computed ahead, %d guessed, %d of them rightly", ahead, guessed, accepted)
	}
}

// call is one caller with one request. Those with habit 0 to 3 go away, each in a
// way of its own.
func call(t *testing.T, s *scheduler.Scheduler, e *fakeEngine, r scheduler.Request, habit int, errHot error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	q, err := s.Submit(ctx, r)
	if err != nil {
		if !errors.Is(err, scheduler.ErrQueueFull) {
			t.Errorf("Submit: %s", err)
		}
		return
	}
	var got []int32
	for {
		ev, err := q.Next(context.Background())
		if err != nil {
			t.Errorf("Next: %s", err)
			return
		}
		if ev.HasToken {
			got = append(got, ev.Choice.Token)
		}
		if ev.Finish == scheduler.Running && ev.Err == nil {
			if len(got) == 1+habit {
				switch habit {
				case 0:
					q.Cancel()
				case 1:
					q.Stop()
				case 2:
					cancel()
				case 3:
					return // the deferred cancel ends it
				}
			}
			continue
		}
		want, finish := alone(t, e.fill, e.vocab, r)
		switch {
		case errors.Is(ev.Err, errHot), ev.Finish == scheduler.FinishCanceled && (habit == 0 || habit == 2), ev.Finish == scheduler.FinishStop && !ev.HasToken && habit == 1:
			if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
				t.Errorf("got %v before it was cut, want the beginning of %v", got, want)
			}
		case ev.Err != nil:
			t.Errorf("failed: %s", ev.Err)
		case ev.Finish != finish || !slices.Equal(got, want):
			t.Errorf("got %v, %s; want %v, %s", got, ev.Finish, want, finish)
		}
		if n := q.Timings().GeneratedTokens; n != len(got) {
			t.Errorf("%d tokens counted, %d given", n, len(got))
		}
		return
	}
}

// Sixteen at once, each with its own seed, get token for token and bit for bit
// what each gets alone.
func TestBatchedEqualsAlone(t *testing.T) {
	for _, mixed := range []bool{true, false} {
		t.Run(fmt.Sprintf("mixed=%t", mixed), func(t *testing.T) {
			e := newFakeEngine(t)
			e.fill, e.capacity, e.batch, e.caps.MixedBatch = scatter, 16*64, 32, mixed
			s := scheduler.New(e, scheduler.Options{})
			defer s.Close()
			var all sync.WaitGroup
			for i := range 16 {
				r := drawRequest(rand.New(rand.NewPCG(uint64(i), 7)), e, true)
				q := submit(t, s, t.Context(), r)
				all.Go(func() {
					want, finish := alone(t, e.fill, e.vocab, r)
					if got, last := read(t, q); !slices.Equal(got, want) || last.Finish != finish {
						t.Errorf("sequence %d: got %v, %s; want %v, %s", i, got, last.Finish, want, finish)
					}
				})
			}
			all.Wait()
		})
	}
}

package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// realEngine loads the tiny model on the CPU engine, with little memory for KV.
func realEngine(t testing.TB, kvTokens int) backend.Engine {
	t.Helper()
	return engineOf(t, "llama-gqa-tied", kvTokens)
}

func engineOf(t testing.TB, name string, kvTokens int) backend.Engine {
	t.Helper()
	f, err := gguf.Open("../model/testdata/" + name + ".gguf")
	if err != nil {
		t.Fatal(err)
	}
	e, err := cpu.Backend{}.Load(t.Context(), f, backend.LoadOptions{KVTokens: kvTokens, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		_ = f.Close()
	})
	return e
}

// asked is a request of the tests below, and what it gets alone.
type asked struct {
	scheduler.Request
	want string
}

// exactly is an answer, log-probabilities to the bit.
func exactly(tokens []int32, choices []sample.Choice) string {
	var b strings.Builder
	for i, token := range tokens {
		fmt.Fprintf(&b, "%d %x %x;", token, choices[i].Logprob, choices[i].Top)
	}
	return b.String()
}

// readExactly reads an answer to its end.
func readExactly(ctx context.Context, q *scheduler.Sequence) (string, scheduler.FinishReason, error) {
	var tokens []int32
	var choices []sample.Choice
	for {
		e, err := q.Next(ctx)
		if err != nil {
			return "", "", err
		}
		if e.HasToken {
			tokens, choices = append(tokens, e.Choice.Token), append(choices, e.Choice)
		}
		if e.Err != nil || e.Finish != scheduler.Running {
			return exactly(tokens, choices), e.Finish, e.Err
		}
	}
}

// conversations makes requests that share beginnings in many ways: of a few texts, cut
// and continued anywhere, with each other's answers in them.
func conversations(t *testing.T, e backend.Engine, n int) []asked {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	vocab := int32(e.Model().Vocab)
	text := func(n int) []int32 {
		tokens := make([]int32, n)
		for i := range tokens {
			tokens[i] = rng.Int32N(vocab)
		}
		return tokens
	}
	alone := scheduler.New(e, scheduler.Options{PrefixTokens: -1})
	defer alone.Close()
	all := make([]asked, n)
	texts := [][]int32{text(150), text(130), text(70)}
	for i := range all {
		base := texts[rng.IntN(len(texts))]
		prompt := slices.Concat(base[:1+rng.IntN(len(base))], text(rng.IntN(20)))
		seed := uint64(i)
		p := sample.Defaults()
		p.Temperature, p.Seed, p.Logprobs = float64(rng.IntN(3))/2, &seed, rng.IntN(3)
		if rng.IntN(4) == 0 {
			p.RepetitionPenalty = 1.2
		}
		all[i].Request = scheduler.Request{Prompt: prompt, Sampling: p, MaxTokens: 1 + rng.IntN(30)}
		q, err := alone.Submit(t.Context(), all[i].Request)
		if err != nil {
			t.Fatal(err)
		}
		var tokens []int32
		var choices []sample.Choice
		for {
			ev, err := q.Next(t.Context())
			if err != nil || ev.Err != nil {
				t.Fatal(err, ev.Err)
			}
			tokens, choices = append(tokens, ev.Choice.Token), append(choices, ev.Choice)
			if ev.Finish != scheduler.Running {
				break
			}
		}
		all[i].want = exactly(tokens, choices)
		if turn := slices.Concat(prompt, tokens); len(turn) < 180 && rng.IntN(2) == 0 {
			texts = append(texts, turn) // the next turn of a conversation
		}
	}
	return all
}

// TestCachedEqualsUncached runs random schedules on the CPU engine: requests that begin
// like others, with little and much memory, cancelled here and there, under each policy,
// giving way to others, with tokens guessed in both ways. Whatever was held of their
// prompts, however often they were interrupted, and whatever was guessed, each must get
// what it gets alone, to the bit.
func TestCachedEqualsUncached(t *testing.T) {
	e := realEngine(t, 1024)
	all := conversations(t, e, 80)
	schedules := 1000
	if testing.Short() {
		schedules = 100
	}
	drafts := []backend.Engine{engineOf(t, "llama-gqa-tied", 1024), engineOf(t, "llama-mha", 600)}
	var cached, evicted, preempted, guessed, accepted uint64
	for i := range schedules {
		rng := rand.New(rand.NewPCG(3, uint64(i)))
		speculation := scheduler.Speculation{Lookup: rng.IntN(2) == 0, Tokens: 1 + rng.IntN(8)}
		if n := rng.IntN(4); n < len(drafts) {
			speculation.Model = drafts[n]
		}
		s := scheduler.New(e, scheduler.Options{
			Policy:     []scheduler.Policy{scheduler.FirstCome, scheduler.LongestPrefix, scheduler.ByPriority, scheduler.ByPriority}[rng.IntN(4)],
			MaxRunning: 1 + rng.IntN(8), BatchTokens: []int{16, 64, 512}[rng.IntN(3)], PrefixTokens: []int{0, 0, 300, -1}[rng.IntN(4)],
			Speculation: speculation,
		})
		var wait sync.WaitGroup
		for range 12 {
			r := &all[rng.IntN(len(all))]
			request := r.Request
			request.Tenant, request.Client = []string{"", "", "other"}[rng.IntN(3)], []string{"a", "b"}[rng.IntN(2)]
			request.Priority = rng.IntN(3) - 1
			q, err := s.Submit(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			cancel := rng.IntN(8) == 0
			check := func() {
				got, finish, err := readExactly(t.Context(), q)
				switch {
				case err != nil:
					t.Errorf("schedule %d: %s", i, err)
				case finish == scheduler.FinishCanceled && strings.HasPrefix(r.want, got):
				case got != r.want:
					t.Errorf("schedule %d: %d of %d tokens of the prompt were held; got\n%s, expected\n%s", i, q.Timings().CachedTokens, len(request.Prompt), got, r.want)
				}
			}
			switch {
			case cancel:
				q.Cancel()
				check()
			case rng.IntN(2) == 0:
				check()
			default:
				wait.Go(check)
			}
		}
		wait.Wait()
		if _, err := s.Prefixes(t.Context(), 100); err != nil {
			t.Error(err)
		}
		st := s.Stats()
		guessed, accepted = guessed+st.Totals.GuessedTokens, accepted+st.Totals.AcceptedTokens
		cached, evicted, preempted = cached+st.Totals.CachedTokens, evicted+st.Prefix.Evictions, preempted+st.Totals.Preempted
		if _, err := s.ClearPrefixes(t.Context(), true, ""); err != nil {
			t.Error(err)
		}
		s.Close()
		for _, e := range append(drafts, e) {
			if u := e.KV().Usage(); u.Used+u.Reserved+u.Sequences != 0 {
				t.Fatalf("schedule %d: at the end there is %+v", i, u)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d tokens were held, %d entries evicted, %d requests preempted, %d of %d guesses right", cached, evicted, preempted, accepted, guessed)
	if cached < uint64(schedules)*20 || evicted == 0 || preempted == 0 || accepted < uint64(schedules) || guessed < accepted+uint64(schedules) {
		t.Error("the schedules test too little")
	}
}

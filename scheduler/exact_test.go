package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/backend"
	_ "github.com/inferflux/inferflux/backend/cpu" // registers the backend
	_ "github.com/inferflux/inferflux/backend/mlx" // registers the backend
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// realEngine loads the tiny model on the CPU engine, with little memory for KV.
func realEngine(t testing.TB, kvTokens int) backend.Engine {
	t.Helper()
	return engineOf(t, "cpu", "llama-gqa-tied", kvTokens)
}

// needMLX skips a test where there is no MLX.
func needMLX(t *testing.T) {
	t.Helper()
	if os.Getenv("INFERFLUX_TEST_MLX_LIBRARY") == "" {
		t.Skip("INFERFLUX_TEST_MLX_LIBRARY does not name a libmlxc: run `make test`, which installs one where it can")
	}
}

// engineOf loads one of the tiny models on a backend.
func engineOf(t testing.TB, name, file string, kvTokens int) backend.Engine {
	t.Helper()
	f, err := gguf.Open("../model/testdata/" + file + ".gguf")
	if err != nil {
		t.Fatal(err)
	}
	manager, err := backend.NewManager(backend.Settings{Configs: map[string]backend.Config{"mlx": {Library: os.Getenv("INFERFLUX_TEST_MLX_LIBRARY"), Device: "cpu"}}})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := manager.Load(t.Context(), f, backend.LoadRequest{Backend: name, Options: backend.LoadOptions{KVTokens: kvTokens, KVType: "f32", Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := loaded.Engine.Close(); err != nil {
			t.Error(err)
		}
		_ = f.Close()
	})
	return loaded.Engine
}

// asked is a request of the tests below, and what it gets alone.
type asked struct {
	scheduler.Request
	want string
}

// exactly is an answer, log-probabilities to the bit.
func exactly(choices []sample.Choice) string {
	var b strings.Builder
	for _, c := range choices {
		fmt.Fprintf(&b, "%d %x %x;", c.Token, c.Logprob, c.Top)
	}
	return b.String()
}

// tokensOf is an answer without log-probabilities, which depend on the batch on an engine
// whose sums do.
func tokensOf(choices []sample.Choice) string {
	var b strings.Builder
	for _, c := range choices {
		fmt.Fprintf(&b, "%d;", c.Token)
	}
	return b.String()
}

// readExactly reads an answer to its end.
func readExactly(ctx context.Context, q *scheduler.Sequence) (string, scheduler.FinishReason, error) {
	choices, finish, err := readChoices(ctx, q)
	return exactly(choices), finish, err
}

func readChoices(ctx context.Context, q *scheduler.Sequence) (choices []sample.Choice, finish scheduler.FinishReason, err error) {
	for {
		e, err := q.Next(ctx)
		if err != nil {
			return nil, "", err
		}
		if e.HasToken {
			choices = append(choices, e.Choice)
		}
		if e.Err != nil || e.Finish != scheduler.Running {
			return choices, e.Finish, e.Err
		}
	}
}

// conversations makes requests that share beginnings in many ways: of a few texts, cut
// and continued anywhere, with each other's answers in them, of most tokens at most.
func conversations(t *testing.T, e backend.Engine, n, most int, show func([]sample.Choice) string) []asked {
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
		all[i].Request = scheduler.Request{Prompt: prompt, Sampling: p, MaxTokens: 1 + rng.IntN(most)}
		choices, _, err := readChoices(t.Context(), submit(t, alone, t.Context(), all[i].Request))
		if err != nil {
			t.Fatal(err)
		}
		all[i].want = show(choices)
		turn := prompt
		for _, c := range choices {
			turn = append(turn, c.Token)
		}
		if len(turn) < 180 && rng.IntN(2) == 0 {
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
	playSchedules(t, "cpu", "llama-gqa-tied", 1024, 12, 30, exactly)
}

// The same of a model with layers whose state can't be shortened: what is held is used as far
// as a state was kept.
func TestCachedEqualsUncachedOfHybrids(t *testing.T) {
	playSchedules(t, "cpu", "granitehybrid", 1024, 12, 30, exactly)
}

// The same on MLX, in float32, to the token.
func TestCachedEqualsUncachedOnMLX(t *testing.T) {
	needMLX(t)
	playSchedules(t, "mlx", "llama-gqa-tied", 512, 6, 8, tokensOf)
}

// playSchedules plays schedules of so many requests, with answers of most tokens at most, in
// so much KV.
func playSchedules(t *testing.T, name, file string, kvTokens, requests, most int, show func([]sample.Choice) string) {
	e := engineOf(t, name, file, kvTokens)
	speculates := e.Capabilities().SpeculativeDecoding
	all := conversations(t, e, 80, most, show)
	schedules := 1000
	if testing.Short() {
		schedules = 100
	}
	drafts := []backend.Engine{engineOf(t, name, "llama-gqa-tied", 1024), engineOf(t, name, "llama-mha", 600)}
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
		for range requests {
			r := &all[rng.IntN(len(all))]
			request := r.Request
			request.Tenant, request.Client = []string{"", "", "other"}[rng.IntN(3)], []string{"a", "b"}[rng.IntN(2)]
			request.Priority = rng.IntN(3) - 1
			q := submit(t, s, t.Context(), request)
			cancel := rng.IntN(8) == 0
			check := func() {
				choices, finish, err := readChoices(t.Context(), q)
				got := show(choices)
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
	if !testing.Short() && (cached < uint64(schedules) || evicted == 0 || preempted == 0 || speculates && (accepted < uint64(schedules)/4 || guessed == accepted)) {
		t.Error("the schedules test too little")
	}
}

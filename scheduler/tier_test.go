package scheduler_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/kvstore"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

func openStore(t *testing.T, o kvstore.Options) *kvstore.Store {
	t.Helper()
	s, err := kvstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// longRequests have prompts long enough to be stored.
func longRequests(t *testing.T, e backend.Engine, n int, show func([]sample.Choice) string) []asked {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	common := make([]int32, 190)
	for i := range common {
		common[i] = rng.Int32N(int32(e.Model().Vocab))
	}
	alone := scheduler.New(e, scheduler.Options{PrefixTokens: -1})
	defer alone.Close()
	all := make([]asked, n)
	for i := range all {
		prompt := append([]int32(nil), common[:135+rng.IntN(55)]...)
		for range 1 + rng.IntN(40) {
			prompt = append(prompt, rng.Int32N(int32(e.Model().Vocab)))
		}
		p := sample.Defaults()
		seed := uint64(i)
		p.Seed, p.Logprobs = &seed, 1
		all[i].Request = scheduler.Request{Prompt: prompt, Sampling: p, MaxTokens: 4}
		q := submit(t, alone, t.Context(), all[i].Request)
		choices, _, err := readChoices(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		all[i].want = show(choices)
	}
	return all
}

// TestRestartedEqualsContinued: what gave way, or was held when the server ended, is found
// again in memory and on disk, also by another process, time and again; and the answers are
// the same, to the bit. Damaged files do no harm.
func TestRestartedEqualsContinued(t *testing.T) { restart(t, "cpu", 1000, exactly) }

// The same on MLX, in float32, to the token.
func TestRestartedEqualsContinuedOnMLX(t *testing.T) {
	needMLX(t)
	restart(t, "mlx", 1000, tokensOf)
}

func restart(t *testing.T, name string, times int, show func([]sample.Choice) string) {
	if testing.Short() {
		times = 20
	}
	e := engineOf(t, name, "llama-gqa-tied", 1024)
	all := longRequests(t, e, 12, show)
	folder := t.TempDir()
	var hydrated, stashed uint64
	for run := range times {
		store := openStore(t, kvstore.Options{Memory: []int64{1 << 30, 3 << 20, 1 << 20, 1 << 30}[run%4], Disk: kvstore.Disk{Path: folder, Limit: 1 << 30}})
		s := scheduler.New(e, scheduler.Options{MaxRunning: 3, Store: store, StoreModel: "tiny"})
		rng := rand.New(rand.NewPCG(11, uint64(run)))
		var wait sync.WaitGroup
		for range 6 {
			r := &all[rng.IntN(len(all))]
			q := submit(t, s, t.Context(), r.Request)
			check := func() {
				choices, _, err := readChoices(t.Context(), q)
				if got := show(choices); err != nil || got != r.want {
					t.Errorf("run %d: %d of %d tokens were cached; error %v; got\n%s, expected\n%s", run, q.Timings().CachedTokens, len(r.Prompt), err, got, r.want)
				}
			}
			if rng.IntN(2) == 0 {
				check()
			} else {
				wait.Go(check)
			}
		}
		wait.Wait()
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		st := s.Stats()
		hydrated, stashed = hydrated+st.Totals.HydratedTokens, stashed+st.Totals.Stashed
		s.Close()
		if err := store.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if u := e.KV().Usage(); u.Used+u.Sequences != 0 {
			t.Fatalf("run %d: at the end there is %+v", run, u)
		}
		if t.Failed() {
			return
		}
		if run%4 == 2 {
			damage(t, folder)
		}
	}
	t.Logf("%d restarts: %d sequences were stored, %d tokens of prompts found again", times, stashed, hydrated)
	if stashed == 0 || hydrated == 0 {
		t.Error("nothing was stored, or found again")
	}
}

// damage changes a byte in the middle of some files.
func damage(t *testing.T, folder string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range files {
		data, err := os.ReadFile(name)
		if err != nil || len(data) < 1000 || i%2 == 0 {
			continue
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

package scheduler_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// simulated is an engine that takes time, has pages, and says the token that is three more
// than the last.
type simulated struct {
	*paging.Table
	t      *testing.T
	random *rand.Rand
	tokens map[backend.SeqID][]int32
	rows   paging.Rows
	logits [][]float32
	faults int // one batch of so many fails
	failed int
	most   int // tokens in a batch
}

const simulatedVocab = 32

type noStorage struct{}

func (noStorage) CopyRows(int32, int32, int) {}
func (noStorage) Release(int32)              {}

func (e *simulated) Model() model.Config              { return model.Config{Vocab: simulatedVocab} }
func (e *simulated) Description() backend.Description { return backend.Description{Ready: true} }
func (e *simulated) Context() int                     { return 600 }
func (e *simulated) MaxBatchTokens() int              { return 256 }
func (e *simulated) KV() backend.KV                   { return e }
func (e *simulated) Close() error                     { return nil }
func (e *simulated) Capabilities() backend.Capabilities {
	return backend.Capabilities{MixedBatch: true, KVPrefixCopy: true, SpeculativeDecoding: true}
}
func (e *simulated) Export(backend.SeqID, io.Writer) error { return backend.ErrUnsupported }
func (e *simulated) Import(backend.SeqID, io.Reader) error { return backend.ErrUnsupported }

func (e *simulated) Fork(src backend.SeqID, n, positions int) (backend.SeqID, error) {
	id, err := e.Table.Fork(src, n, positions)
	if err == nil {
		e.tokens[id] = append([]int32(nil), e.tokens[src][:n]...)
	}
	return id, err
}

func (e *simulated) Free(id backend.SeqID) error {
	delete(e.tokens, id)
	return e.Table.Free(id)
}

func (e *simulated) Truncate(id backend.SeqID, n int) error {
	err := e.Table.Truncate(id, n)
	if err == nil {
		e.tokens[id] = e.tokens[id][:n]
	}
	return err
}

func (e *simulated) Run(_ context.Context, b *backend.Batch) error {
	if err := e.Lay(&e.rows, b, paging.Limits{Vocab: simulatedVocab, MaxBatch: e.MaxBatchTokens()}); err != nil {
		e.t.Fatal(err)
	}
	time.Sleep(5*time.Millisecond + time.Duration(b.Tokens())*100*time.Microsecond)
	if e.random.IntN(e.faults) == 0 {
		e.failed++
		return errors.New("too hot")
	}
	e.Prepare(&e.rows)
	e.Commit(&e.rows)
	e.most = max(e.most, b.Tokens())
	row := 0
	for i := range b.Spans {
		s := &b.Spans[i]
		e.tokens[s.Seq] = append(e.tokens[s.Seq], s.Tokens...)
		s.Logits = s.Logits[:0]
		if s.Want == backend.NoLogits {
			continue
		}
		for _, token := range s.Tokens[firstRow(s, len(s.Tokens))-1:] {
			if row == len(e.logits) {
				e.logits = append(e.logits, make([]float32, simulatedVocab))
			}
			clear(e.logits[row])
			e.logits[row][after(token)] = 9
			s.Logits = append(s.Logits, e.logits[row])
			row++
		}
	}
	return nil
}

func after(token int32) int32 { return (token + 3) % simulatedVocab }

// client is one request of the simulation and what is known of it.
type client struct {
	q       *scheduler.Sequence
	last    int32 // of its tokens
	got     int
	max     int
	cancel  context.CancelFunc
	leaves  int // after so many tokens it goes away; -1: never
	came    time.Time
	stopped bool
}

// TestSimulation plays a million requests of random lengths, priorities and tenants on an
// engine that fails now and then, in virtual time: they come in bursts, share beginnings,
// and some go away. After every step all that was said must be right, limits kept, and
// nobody left waiting for ever; at the end nothing is left. With the build tag invariants, the
// books are checked after each step too.
func TestSimulation(t *testing.T) {
	requests := 1_000_000
	if testing.Short() {
		requests = 30_000
	}
	for i, policy := range []scheduler.Policy{scheduler.FirstCome, scheduler.ByPriority, scheduler.LongestPrefix} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, policy, uint64(i), requests/3) })
		})
	}
}

func simulate(t *testing.T, policy scheduler.Policy, seed uint64, requests int) {
	random := rand.New(rand.NewPCG(seed, 77))
	e := &simulated{
		Table: paging.New(paging.Options{Pages: 30, Context: 600, Storage: noStorage{}}), t: t, random: random,
		tokens: map[backend.SeqID][]int32{}, faults: 60,
	}
	const running, queue = 12, 40
	s := scheduler.NewStepper(e, scheduler.Options{
		Policy: policy, MaxRunning: running, MaxQueue: queue, ClientRunning: 8, BatchTokens: 200, PrefillChunk: 100,
		Speculation: scheduler.Speculation{Lookup: true, Tokens: 4},
	})
	system := make([][]int32, 5) // what many prompts begin with
	for i := range system {
		system[i] = make([]int32, 64*(1+random.IntN(3)))
		for j := range system[i] {
			system[i][j] = random.Int32N(simulatedVocab)
		}
	}
	var clients []*client
	var longest time.Duration
	sent, refused, failed, left := 0, 0, 0, 0
	for sent < requests || len(clients) > 0 {
		for range arrivals(random, requests-sent) {
			sent++
			if c := arrive(t, s, random, system); c != nil {
				clients = append(clients, c)
			} else {
				refused++
			}
		}
		if !s.Step() && len(clients) == 0 {
			time.Sleep(time.Millisecond)
		}
		if st := s.Stats(); st.Running > running || st.Waiting > queue+running {
			t.Fatalf("%d run and %d wait", st.Running, st.Waiting)
		}
		clients = slices.DeleteFunc(clients, func(c *client) bool {
			ended, err := c.listen(t, s)
			if err != nil {
				failed++
			}
			if ended {
				longest = max(longest, time.Since(c.came))
				if c.stopped {
					left++
				}
				c.cancel()
			}
			return ended
		})
		if t.Failed() {
			return
		}
	}
	if _, err := s.Evict(); err != nil {
		t.Error(err)
	}
	st, u := s.Stats(), e.Usage()
	if u.Sequences != 0 || u.Reserved != 0 || st.Running+st.Waiting != 0 {
		t.Errorf("at the end: %+v, %+v", st, u)
	}
	n := st.Totals
	if int(n.Requests) != sent-refused || n.Finished+n.Cancelled+n.Failed != n.Requests || int(n.Failed) != failed {
		t.Errorf("%d were sent, %d refused, %d failed: %+v", sent, refused, failed, n)
	}
	if policy == scheduler.ByPriority && n.Preempted == 0 || n.CachedTokens == 0 || n.AcceptedTokens == 0 || e.failed == 0 || left == 0 || refused == 0 {
		t.Errorf("it tests too little: %+v; %d batches failed, %d left", n, e.failed, left)
	}
	if longest > 5*time.Minute {
		t.Errorf("somebody waited for %s", longest)
	}
	t.Logf("%d requests, %d refused, %d failed, %d left; %d steps; %d tokens of %d cached, %d of %d guesses right, %d preempted; %s at most",
		sent, refused, failed, left, n.Steps, n.CachedTokens, n.CachedTokens+n.PromptTokens, n.AcceptedTokens, n.GuessedTokens, n.Preempted, longest)
	s.Close()
}

// arrivals is how many come before the next step: mostly few, at times a crowd.
func arrivals(random *rand.Rand, most int) int {
	n := 0
	switch random.IntN(40) {
	case 0:
		n = random.IntN(60)
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
		n = 1 + random.IntN(12)
	}
	return min(n, most)
}

func arrive(t *testing.T, s *scheduler.Stepper, random *rand.Rand, system [][]int32) *client {
	var prompt []int32
	if random.IntN(3) > 0 {
		prompt = append(prompt, system[random.IntN(len(system))]...)
	}
	for range 1 + random.IntN(20) {
		prompt = append(prompt, random.Int32N(simulatedVocab))
	}
	if random.IntN(50) == 0 { // a long one
		for range random.IntN(250) {
			prompt = append(prompt, random.Int32N(simulatedVocab))
		}
	}
	r := scheduler.Request{
		Prompt: prompt, Sampling: sample.Defaults(), MaxTokens: 1 + int(random.ExpFloat64()*8), Priority: random.IntN(4),
		Client: string(rune('a' + random.IntN(3))), Tenant: []string{"", "other"}[random.IntN(2)],
	}
	r.MaxTokens = min(r.MaxTokens, 100)
	r.Sampling.Temperature = 0
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{last: prompt[len(prompt)-1], max: r.MaxTokens, cancel: cancel, leaves: -1, came: time.Now()}
	if random.IntN(12) == 0 {
		c.leaves = random.IntN(r.MaxTokens)
	}
	q, err := s.Submit(ctx, r)
	if err != nil {
		cancel()
		if !errors.Is(err, scheduler.ErrQueueFull) {
			t.Errorf("refused: %s", err)
		}
		return nil
	}
	c.q = q
	c.leave()
	return c
}

// leave goes away, when it is time to.
func (c *client) leave() {
	if c.got == c.leaves && !c.stopped {
		c.stopped = true
		c.q.Cancel()
	}
}

// listen takes what has been said, and reports whether that was all.
func (c *client) listen(t *testing.T, s *scheduler.Stepper) (ended bool, failed error) {
	for {
		ev, err := s.Peek(c.q)
		if err != nil {
			return false, nil
		}
		if ev.HasToken {
			if c.last = after(c.last); ev.Choice.Token != c.last {
				t.Errorf("token %d is %d, expected %d", c.got, ev.Choice.Token, c.last)
			}
			c.got++
			c.leave()
		}
		switch {
		case ev.Err != nil:
			return true, ev.Err
		case ev.Finish == scheduler.FinishCanceled && !c.stopped, ev.Finish == scheduler.FinishLength && c.got != c.max, ev.Finish == scheduler.FinishStop:
			t.Errorf("%s after %d of %d tokens", ev.Finish, c.got, c.max)
		}
		if ev.Finish != scheduler.Running {
			return true, nil
		}
	}
}

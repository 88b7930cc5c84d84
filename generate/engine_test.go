package generate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/tokenizer"
)

// openModel loads a tiny model of random weights on the CPU engine.
func openModel(t *testing.T, load backend.LoadOptions, o scheduler.Options) *generate.Model {
	t.Helper()
	f, err := gguf.Open("../model/testdata/llama-gqa-tied.gguf")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	e, err := cpu.Backend{}.Load(t.Context(), f, load)
	if err != nil {
		t.Fatal(err)
	}
	m := generate.New(generate.ModelOptions{ID: "tiny", Tokenizer: tok, Engine: e, Scheduler: o, Close: f.Close})
	t.Cleanup(func() {
		if _, err := m.Scheduler().ClearPrefixes(context.Background(), true, ""); err != nil && !errors.Is(err, scheduler.ErrStopped) {
			t.Errorf("clear the prefixes: %s", err)
		}
		if st := m.Scheduler().Stats(); st.KV.Sequences != 0 || st.KV.Reserved != 0 {
			t.Errorf("the engine still holds %+v", st.KV)
		}
		if err := m.Close(); err != nil {
			t.Errorf("close the model: %s", err)
		}
	})
	return m
}

// transcript is all there is to know of an answer, log-probabilities to the bit.
func transcript(ctx context.Context, m *generate.Model, r generate.Request) (string, error) {
	s, err := m.Generate(ctx, r)
	if err != nil {
		return "", err
	}
	defer s.Close()
	var text, tokens strings.Builder
	for {
		d, err := s.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("%q%s", text.String(), tokens.String()), nil
		}
		if err != nil {
			return "", err
		}
		text.WriteString(d.Text)
		for _, c := range d.Tokens {
			fmt.Fprintf(&tokens, " %d:%08x", c.Token, math.Float32bits(c.Logprob))
			for _, top := range c.Top {
				fmt.Fprintf(&tokens, ",%d:%08x", top.Token, math.Float32bits(top.Logprob))
			}
		}
		if d.Finish != scheduler.Running {
			fmt.Fprintf(&tokens, " %s %+v", d.Finish, s.Usage())
		}
	}
}

// together lets nobody in before a number of requests are there.
type together struct {
	missing sync.WaitGroup
	widest  int // the most sequences in a batch
}

func (o *together) Rejected(error)                                            {}
func (o *together) Queued(int)                                                { o.missing.Done() }
func (o *together) Admitted(time.Duration, int)                               { o.missing.Wait() }
func (o *together) Stepped(s scheduler.Step)                                  { o.widest = max(o.widest, s.Sequences) }
func (o *together) FirstToken(time.Duration)                                  {}
func (o *together) NextToken(time.Duration)                                   {}
func (o *together) Finished(scheduler.FinishReason, scheduler.Timings, error) {}

// Sixteen at once on a real engine, each with its own prompt and seed, get bit for
// bit what each gets alone, however small the steps are cut and however short the
// memory is.
func TestSixteenAtOnceGetWhatEachGetsAlone(t *testing.T) {
	requests := make([]generate.Request, 16)
	want := make([]string, len(requests))
	m := openModel(t, backend.LoadOptions{}, scheduler.Options{})
	for i := range requests {
		seed := uint64(i)
		r := generate.Request{
			Prompt:    m.RawPrompt(strings.Repeat(fmt.Sprintf("Client %d says: é🙂. ", i), 1+i%7)),
			Sampling:  sample.Defaults(),
			MaxTokens: 20 + 2*i, IgnoreEOS: true,
		}
		r.Sampling.Seed, r.Sampling.Logprobs = &seed, 3
		if i%3 == 1 {
			r.Sampling.TopK, r.Sampling.TopP, r.Sampling.RepetitionPenalty = 40, 0.9, 1.1
		}
		var err error
		if want[i], err = transcript(t.Context(), m, r); err != nil {
			t.Fatal(err)
		}
		requests[i] = r
	}
	if want[0] == want[3] {
		t.Fatalf("two clients get the same: %s", want[0])
	}
	for _, c := range []struct {
		name   string
		load   backend.LoadOptions
		o      scheduler.Options
		widest int
	}{
		{"large steps", backend.LoadOptions{}, scheduler.Options{}, 16},
		{"small steps", backend.LoadOptions{}, scheduler.Options{BatchTokens: 23, PrefillChunk: 7}, 10},
		{"little memory", backend.LoadOptions{KVTokens: 640}, scheduler.Options{BatchTokens: 50}, 3},
		{"one thread", backend.LoadOptions{Threads: 1}, scheduler.Options{MaxRunning: 5}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := &together{}
			o.missing.Add(len(requests))
			c.o.Observer = o
			m := openModel(t, c.load, c.o)
			var all sync.WaitGroup
			for i, r := range requests {
				all.Go(func() {
					got, err := transcript(t.Context(), m, r)
					if err != nil {
						t.Errorf("client %d: %s", i, err)
					} else if got != want[i] {
						t.Errorf("client %d got\n%s\nand alone\n%s", i, got, want[i])
					}
				})
			}
			all.Wait()
			if err := m.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			if o.widest < c.widest {
				t.Errorf("the widest batch had %d sequences, expected %d", o.widest, c.widest)
			}
		})
	}
}

package bench

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/inferflux/inferflux/llamacpp"
)

// LlamaCommand is the hidden command under which inferctl runs [ServeLlama].
const LlamaCommand = "bench-llama.cpp"

// Llama says what llama.cpp's library is to run.
type Llama struct {
	Library, Model       string
	Threads, Batch       int
	Positions, Sequences int // of the largest test
	HostOnly             bool
	test                 Test
	model                *llamacpp.Model
	rng                  *rand.Rand
	prepared             bool
}

// StartLlama runs llama.cpp beside this process. Without a library in l it looks for
// one.
func StartLlama(ctx context.Context, l Llama) (*Peer, error) {
	if l.Library == "" {
		if l.Library = llamacpp.Find(); l.Library == "" {
			return nil, errors.New("compare with llama.cpp: no libllama was found; name the folder that it lies in (--compare llama.cpp=FOLDER, or LLAMA_CPP_LIB), " +
				"such as node_modules/@node-llama-cpp/linux-x64/bins/linux-x64 after npm install @node-llama-cpp/linux-x64")
		}
	}
	program, err := self()
	if err != nil {
		return nil, err
	}
	args := []string{LlamaCommand, l.Library, l.Model}
	for _, n := range []int{l.Threads, l.Batch, l.Positions, l.Sequences} {
		args = append(args, strconv.Itoa(n))
	}
	return StartPeer(ctx, program, append(args, strconv.FormatBool(l.HostOnly))...)
}

// ServeLlama is that other process: args are those of StartLlama.
func ServeLlama(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 7 {
		return errors.New("expected LIBRARY MODEL THREADS BATCH POSITIONS SEQUENCES HOST-ONLY")
	}
	l := &Llama{Library: args[0], Model: args[1], rng: rand.New(rand.NewPCG(1, 2))}
	for i, n := range []*int{&l.Threads, &l.Batch, &l.Positions, &l.Sequences} {
		v, err := strconv.Atoi(args[2+i])
		if err != nil {
			return err
		}
		*n = v
	}
	l.HostOnly = args[6] == "true"
	about := About{Name: "llama.cpp"}
	model, err := llamacpp.Open(l.Library, l.Model, llamacpp.Options{
		Threads: l.Threads, Positions: l.Positions, Sequences: l.Sequences, Batch: l.Batch, HostOnly: l.HostOnly,
	})
	if err != nil {
		about.Failure = err.Error()
		return ServePeer(ctx, in, out, about, nil)
	}
	defer model.Close()
	l.model, about.Version = model, model.About()
	return ServePeer(ctx, in, out, about, l)
}

// Run implements Runner. A row of logits is computed for the last token of a prompt
// and for each token of a generation, as ours does.
func (l *Llama) Run(_ context.Context, t Test) (timing Timing, err error) {
	if l.test != t {
		l.prepared = false
	}
	keep := t.Depth
	if !l.prepared {
		keep = 0
	}
	for s := range l.Sequences {
		if err := l.model.Truncate(int32(s), keep); err != nil {
			return timing, err
		}
	}
	if !l.prepared {
		for s := range t.Parallel {
			if err := l.prefill(s, 0, t.Depth, false); err != nil {
				return timing, err
			}
		}
		l.test, l.prepared = t, true
	}
	l.prepared = false // unless all goes well
	if t.Prompt > 0 {
		start := time.Now()
		for s := range t.Parallel {
			if err := l.prefill(s, t.Depth, t.Prompt, true); err != nil {
				return timing, err
			}
		}
		timing.Took = time.Since(start)
	} else {
		// One step before those that are timed.
		if err := l.decode(t, t.Depth); err != nil {
			return timing, err
		}
		start := time.Now()
		for i := range t.Generated {
			if err := l.decode(t, t.Depth+1+i); err != nil {
				return timing, err
			}
		}
		timing.Took = time.Since(start)
	}
	l.prepared = true
	return timing, nil
}

func (l *Llama) token() int32 { return l.rng.Int32N(int32(l.model.Vocab())) }

func (l *Llama) prefill(sequence, from, n int, last bool) error {
	for at := 0; at < n; {
		k := min(l.Batch, n-at)
		tokens := make([]llamacpp.Token, k)
		for i := range tokens {
			tokens[i] = llamacpp.Token{ID: l.token(), Position: int32(from + at + i), Sequence: int32(sequence), Logits: last && at+i == n-1}
		}
		if err := l.model.Decode(tokens); err != nil {
			return err
		}
		at += k
	}
	return nil
}

func (l *Llama) decode(t Test, position int) error {
	tokens := make([]llamacpp.Token, t.Parallel)
	for s := range tokens {
		tokens[s] = llamacpp.Token{ID: l.token(), Position: int32(position), Sequence: int32(s), Logits: true}
	}
	return l.model.Decode(tokens)
}

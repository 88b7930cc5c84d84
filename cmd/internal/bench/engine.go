package bench

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// Engine runs tests on an engine in this process. Tokens are random. An engine that
// samples on its device draws them there, each step started before the last one's
// token is read.
type Engine struct {
	engine backend.Engine
	device backend.DeviceSampler // nil if it doesn't sample on its device
	rng    *rand.Rand

	// The sequences of the test that was run last, with what it wants before.
	seqs []backend.SeqID
	test Test
}

// NewEngine prepares tests of an engine.
func NewEngine(e backend.Engine) *Engine {
	b := &Engine{engine: e, rng: rand.New(rand.NewPCG(1, 2))} // the same tokens each time
	if d, ok := e.(backend.DeviceSampler); ok && e.Capabilities().DeviceSampling {
		b.device = d
	}
	return b
}

// OnDevice reports whether the engine samples on its device.
func (b *Engine) OnDevice() bool { return b.device != nil }

// Close frees the sequences. The engine stays open.
func (b *Engine) Close() {
	for _, s := range b.seqs {
		_ = b.engine.KV().Free(s) // it is known: it was reserved here
	}
	b.seqs = nil
}

// Run implements Runner.
func (b *Engine) Run(ctx context.Context, t Test) (timing Timing, err error) {
	if err := b.prepare(ctx, t); err != nil {
		return timing, err
	}
	if t.Prompt > 0 {
		timing, err = b.readPrompts(ctx, t)
	} else {
		timing, err = b.generate(ctx, t)
	}
	if err != nil {
		b.Close()
	}
	return timing, err
}

// prepare gets sequences that hold as many tokens as the test wants before.
func (b *Engine) prepare(ctx context.Context, t Test) error {
	if b.test != t {
		b.Close()
	}
	for _, s := range b.seqs {
		if backend.Restorable(b.engine.KV(), s, t.Depth) != t.Depth {
			b.Close() // it can't be shortened to there: it is read again
			break
		}
		if err := b.engine.KV().Truncate(s, t.Depth); err != nil {
			b.Close()
			return err
		}
	}
	if len(b.seqs) > 0 {
		return nil
	}
	b.test = t
	for range t.Parallel {
		seq, err := b.engine.KV().Reserve(t.Positions())
		if err != nil {
			b.Close()
			return err
		}
		b.seqs = append(b.seqs, seq)
		s := steps{bench: b}
		err = s.prefill(ctx, seq, 0, b.tokens(t.Depth), backend.NoLogits)
		if e := s.finish(ctx); err == nil {
			err = e
		}
		if err != nil {
			b.Close()
			return err
		}
	}
	return nil
}

func (b *Engine) token() int32 { return b.rng.Int32N(int32(b.engine.Model().Vocab)) }

func (b *Engine) tokens(n int) []int32 {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = b.token()
	}
	return tokens
}

// readPrompts times the prefill of random tokens, one sequence after the other, up
// to the logits of the last, or the token drawn from them.
func (b *Engine) readPrompts(ctx context.Context, test Test) (t Timing, err error) {
	prompts := make([][]int32, len(b.seqs))
	for i := range prompts {
		prompts[i] = b.tokens(test.Prompt)
	}
	s := steps{bench: b}
	defer func() { _ = s.finish(ctx) }() // nothing is under way unless something failed
	start := time.Now()
	for i, seq := range b.seqs {
		if err := s.prefill(ctx, seq, test.Depth, prompts[i], backend.LastLogits); err != nil {
			return t, err
		}
	}
	err = s.finish(ctx)
	t.Took = time.Since(start)
	return t, err
}

// generate times steps of one token for each sequence, beginning when the token
// that the first of these steps takes is known.
func (b *Engine) generate(ctx context.Context, test Test) (t Timing, err error) {
	s := steps{bench: b}
	defer func() { _ = s.finish(ctx) }() // nothing is under way unless something failed
	decode := func(pos int) error {
		return s.run(ctx, func(spans []backend.Span) []backend.Span {
			for _, seq := range b.seqs {
				token := backend.Drawn
				if b.device == nil || pos == test.Depth {
					token = b.token()
				}
				spans = append(spans, backend.Span{Seq: seq, Pos: pos, Tokens: []int32{token}, Want: backend.LastLogits})
			}
			return spans
		})
	}
	pos := test.Depth
	if err := decode(pos); err != nil {
		return t, err
	}
	s.host = nil
	pos++
	if b.device != nil {
		// Started ahead like all the others: it returns when the token before its
		// own has come.
		if err := decode(pos); err != nil {
			return t, err
		}
		pos++
	}
	start := time.Now()
	for ; pos <= test.Depth+test.Generated; pos++ {
		if err := decode(pos); err != nil {
			return t, err
		}
	}
	err = s.finish(ctx)
	t.Took, t.Host = time.Since(start), s.host
	return t, err
}

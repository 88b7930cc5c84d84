package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/registry"
)

// engineResult is one row: a test of an engine, repeated.
type engineResult struct {
	Test      string    `json:"test"` // "pp512", "tg128", "tg128@d512×4"
	Prompt    int       `json:"n_prompt"`
	Generated int       `json:"n_gen"`
	Depth     int       `json:"n_depth"`
	Parallel  int       `json:"parallel"`
	Median    float64   `json:"median_tokens_per_second"`
	Mean      float64   `json:"mean_tokens_per_second"`
	StdDev    float64   `json:"stddev_tokens_per_second"`
	First     float64   `json:"first_tokens_per_second"` // of the run that warmed up
	Samples   []float64 `json:"samples_tokens_per_second"`
	// HostStep is set for generation by an engine that samples on its device.
	HostStep       *hostTime `json:"host_step,omitempty"`
	DeviceSampling bool      `json:"device_sampling"` // else tokens aren't sampled at all
	Model          string    `json:"model"`
	File           string    `json:"file"`
	Size           int64     `json:"file_bytes"`
	Parameters     int64     `json:"parameters"`
	Quant          string    `json:"quantization"`
	Backend        string    `json:"backend"`
	BackendVersion string    `json:"backend_version"`
	Device         string    `json:"device"`
	Threads        int       `json:"threads"` // 0: one per core
	Batch          int       `json:"batch_tokens"`
	KVType         string    `json:"kv_type"`
	Repack         string    `json:"repack"`
	Version        string    `json:"version"`
}

// hostTime is how long the host took to start steps, in microseconds: from
// Start's entry to its return, over all steps of all repetitions.
type hostTime struct {
	Median float64 `json:"median_us"`
	Mean   float64 `json:"mean_us"`
	P99    float64 `json:"p99_us"`
}

func (a *app) benchEngine(ctx context.Context, m registry.Model, o benchOptions, note benchNote) ([]engineResult, error) {
	c, err := checkpoint.Open(m.Path())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	manager, err := openManager()
	if err != nil {
		return nil, err
	}
	// A generation's first token comes from a step before those that are timed.
	generated := 0
	if len(o.generations) > 0 {
		generated = o.depth + 1 + slices.Max(o.generations)
	}
	longest := max(generated, slices.Max(append([]int{0}, o.prompts...)))
	need := max(longest, o.parallel*generated)
	choice, err := manager.Load(ctx, c, backend.LoadRequest{Backend: o.backend, Options: backend.LoadOptions{
		Context: longest, KVTokens: need + 64*(o.parallel+1), KVType: o.kvType, MaxBatchTokens: o.batch, Threads: o.threads, Repack: o.repack,
		Progress: func(f float64) { note("loading %3.0f%%", f*100) },
	}})
	if err != nil {
		return nil, err
	}
	defer choice.Engine.Close()
	b := newEngineBench(choice.Engine)
	e := choice.Engine
	shape, about := e.Model(), e.Description()
	row := engineResult{Model: m.Name, File: m.Path(), Size: c.Size(), Parameters: shape.Parameters, Quant: shape.Quantization,
		Backend: choice.Backend, BackendVersion: about.Version, Device: about.Device, DeviceSampling: b.device != nil,
		Threads: o.threads, Batch: e.MaxBatchTokens(), KVType: o.kvType, Repack: o.repack, Version: a.version}
	var results []engineResult
	measure := func(r engineResult, run func() (timing, error)) error {
		tokens := r.Prompt + r.Generated*r.Parallel
		var host []float64
		for i := -1; i < o.repetition; i++ { // the first one warms up
			note("%s %d/%d", r.Test, i+1, o.repetition)
			t, err := run()
			if err != nil {
				return fmt.Errorf("%s: %w", r.Test, err)
			}
			speed := float64(tokens) / t.took.Seconds()
			if i < 0 {
				r.First = speed
				continue
			}
			r.Samples = append(r.Samples, speed)
			for _, d := range t.host {
				host = append(host, float64(d)/float64(time.Microsecond))
			}
		}
		r.Median, r.Mean, r.StdDev = spread(r.Samples)
		if len(host) > 0 {
			q := quantilesOf(host)
			r.HostStep = &hostTime{Median: q.P50, Mean: q.Mean, P99: q.P99}
		}
		results = append(results, r)
		return nil
	}
	for _, n := range o.prompts {
		r := row
		r.Test, r.Prompt, r.Parallel = fmt.Sprintf("pp%d", n), n, 1
		if err := measure(r, func() (timing, error) { return b.readPrompt(ctx, n) }); err != nil {
			return nil, err
		}
	}
	for _, n := range o.generations {
		r := row
		r.Test, r.Generated, r.Depth, r.Parallel = fmt.Sprintf("tg%d", n), n, o.depth, o.parallel
		if o.depth > 0 {
			r.Test += fmt.Sprintf("@d%d", o.depth)
		}
		if o.parallel > 1 {
			r.Test += fmt.Sprintf("×%d", o.parallel)
		}
		if err := measure(r, func() (timing, error) { return b.generate(ctx, o.depth, n, o.parallel) }); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// timing is one run of a test.
type timing struct {
	took time.Duration
	host []time.Duration // to start each step, if the engine samples on its device
}

// engineBench runs tests on an engine.
type engineBench struct {
	engine backend.Engine
	device backend.DeviceSampler // nil if it doesn't sample on its device
	rng    *rand.Rand
}

func newEngineBench(e backend.Engine) *engineBench {
	b := &engineBench{engine: e, rng: rand.New(rand.NewPCG(1, 2))} // the same tokens each time
	if d, ok := e.(backend.DeviceSampler); ok && e.Capabilities().DeviceSampling {
		b.device = d
	}
	return b
}

func (b *engineBench) token() int32 { return b.rng.Int32N(int32(b.engine.Model().Vocab)) }

// reserve makes sequences with room for n positions each; free forgets them.
func (b *engineBench) reserve(parallel, n int) (seqs []backend.SeqID, free func(), err error) {
	kv := b.engine.KV()
	free = func() {
		for _, s := range seqs {
			_ = kv.Free(s) // it is known: it was just reserved
		}
	}
	for range parallel {
		s, err := kv.Reserve(n)
		if err != nil {
			free()
			return nil, nil, err
		}
		seqs = append(seqs, s)
	}
	return seqs, free, nil
}

func (b *engineBench) tokens(n int) []int32 {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = b.token()
	}
	return tokens
}

// readPrompt times the prefill of n random tokens, up to the logits of the last,
// or the token drawn from them.
func (b *engineBench) readPrompt(ctx context.Context, n int) (t timing, err error) {
	seqs, free, err := b.reserve(1, n)
	if err != nil {
		return t, err
	}
	defer free()
	prompt := b.tokens(n)
	s := steps{bench: b}
	defer func() { _ = s.finish(ctx) }() // nothing is under way unless something failed
	start := time.Now()
	if err := s.prefill(ctx, seqs[0], prompt, backend.LastLogits); err != nil {
		return t, err
	}
	err = s.finish(ctx)
	t.took = time.Since(start)
	return t, err
}

// generate times n steps of one token for each of several sequences that hold
// depth tokens, beginning when the token that the first of these steps takes is
// known.
func (b *engineBench) generate(ctx context.Context, depth, n, parallel int) (t timing, err error) {
	seqs, free, err := b.reserve(parallel, depth+1+n)
	if err != nil {
		return t, err
	}
	defer free()
	s := steps{bench: b}
	defer func() { _ = s.finish(ctx) }() // nothing is under way unless something failed
	for _, seq := range seqs {
		if err := s.prefill(ctx, seq, b.tokens(depth), backend.NoLogits); err != nil {
			return t, err
		}
	}
	decode := func(pos int) error {
		return s.run(ctx, func(spans []backend.Span) []backend.Span {
			for _, seq := range seqs {
				token := backend.Drawn
				if b.device == nil || pos == depth {
					token = b.token()
				}
				spans = append(spans, backend.Span{Seq: seq, Pos: pos, Tokens: []int32{token}, Want: backend.LastLogits})
			}
			return spans
		})
	}
	if err := decode(depth); err != nil {
		return t, err
	}
	s.host = nil
	pos := depth + 1
	if b.device != nil {
		// Started ahead like all the others: it returns when the token before its
		// own has come.
		if err := decode(pos); err != nil {
			return t, err
		}
		pos++
	}
	start := time.Now()
	for ; pos <= depth+n; pos++ {
		if err := decode(pos); err != nil {
			return t, err
		}
	}
	err = s.finish(ctx)
	t.took, t.host = time.Since(start), s.host
	return t, err
}

package cli

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/registry"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	model, backend           string
	prompts, generations     []int
	threads, batch, parallel int
	repetitions              int
	kvType                   string
}

// benchResult is one row: a test, repeated.
type benchResult struct {
	Test       string    `json:"test"` // "pp512", "tg128"
	Prompt     int       `json:"n_prompt"`
	Generated  int       `json:"n_gen"`
	Parallel   int       `json:"parallel"`
	Median     float64   `json:"median_tokens_per_second"`
	Mean       float64   `json:"mean_tokens_per_second"`
	StdDev     float64   `json:"stddev_tokens_per_second"`
	Samples    []float64 `json:"samples_tokens_per_second"`
	Model      string    `json:"model"`
	File       string    `json:"file"`
	Size       int64     `json:"file_bytes"`
	Parameters int64     `json:"parameters"`
	Quant      string    `json:"quantization"`
	Backend    string    `json:"backend"`
	Device     string    `json:"device"`
	Threads    int       `json:"threads"` // 0: one per core
	Batch      int       `json:"batch_tokens"`
	KVType     string    `json:"kv_type"`
	Version    string    `json:"version"`
}

func (a *app) bench() *cobra.Command {
	var o benchOptions
	var asJSON bool
	var output string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a model runs here",
		Long: `Measure how fast an engine runs a model, in this process and without a server.

pp512 reads a prompt of 512 tokens, tg128 generates 128 tokens one by one from an
empty context, as llama-bench does, with random tokens and without sampling.
Each test runs once to warm up and then as often as -r says; the table shows the
median and the standard deviation in tokens per second.`,
		Example: `  inferctl bench -m smollm2:135m
  inferctl bench -m ./model.gguf -p 128,512,2048 -n 0 -t 1 --json
  inferctl bench -m smollm2:135m -p 0 -n 64 --parallel 8`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usagef("--output must be table or json, not %q", output)
			}
			if err := o.check(); err != nil {
				return err
			}
			ctx, stop := daemon.Interruptible(cmd.Context())
			defer stop()
			p := newProgress(cmd.ErrOrStderr())
			m, err := fetchModel(ctx, o.model, p)
			if err != nil {
				return err
			}
			results, err := a.runBench(ctx, m, o, func(format string, args ...any) {
				if p.terminal {
					fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
					p.drawn = true
				}
			})
			p.done()
			if err != nil {
				return err
			}
			if asJSON || output == "json" {
				return printJSON(cmd.OutOrStdout(), results)
			}
			first := results[0]
			fmt.Fprintf(cmd.OutOrStdout(), "%s, %s, %s parameters, %s\n%s: %s\n\n", oneLine(first.Model), registry.FormatBytes(first.Size),
				countParameters(first.Parameters), first.Quant, first.Backend, first.Device)
			t := newTable("TEST", ">TOKENS/S", "", ">RUNS")
			for _, r := range results {
				t.add(r.Test, fmt.Sprintf("%.2f", r.Median), fmt.Sprintf("± %.2f", r.StdDev), fmt.Sprint(len(r.Samples)))
			}
			t.write(cmd.OutOrStdout())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.model, "model", "m", "smollm2:135m", "model to run: a name or a file")
	f.StringVar(&o.backend, "backend", "", "backend to run it on (default the first that can)")
	f.IntSliceVarP(&o.prompts, "prompt", "p", []int{512}, "prompt lengths to read; 0 for none")
	f.IntSliceVarP(&o.generations, "gen", "n", []int{128}, "numbers of tokens to generate; 0 for none")
	f.IntVarP(&o.threads, "threads", "t", 0, "threads of a CPU engine (default one per core)")
	f.IntVarP(&o.repetitions, "repetitions", "r", 5, "how often to run each test")
	f.IntVarP(&o.batch, "batch", "b", 512, "largest number of tokens in a step")
	f.IntVar(&o.parallel, "parallel", 1, "sequences that generate together")
	f.StringVar(&o.kvType, "kv-type", "auto", "number format of the KV cache: auto, f16 or f32")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	f.BoolVar(&asJSON, "json", false, "the same as --output json")
	return cmd
}

func (o *benchOptions) check() error {
	const most = 1 << 20
	bad := func(name string, n, least int) error {
		if n < least || n > most {
			return usagef("--%s must be between %d and %d, not %d", name, least, most, n)
		}
		return nil
	}
	for _, n := range o.prompts {
		if err := bad("prompt", n, 0); err != nil {
			return err
		}
	}
	for _, n := range o.generations {
		if err := bad("gen", n, 0); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		name     string
		n, least int
	}{{"threads", o.threads, 0}, {"repetitions", o.repetitions, 1}, {"batch", o.batch, 1}, {"parallel", o.parallel, 1}} {
		if err := bad(c.name, c.n, c.least); err != nil {
			return err
		}
	}
	if o.parallel > o.batch {
		return usagef("--parallel (%d) must not exceed --batch (%d): each sequence needs a token a step", o.parallel, o.batch)
	}
	if !slices.Contains([]string{"auto", "f16", "f32"}, o.kvType) {
		return usagef("--kv-type must be auto, f16 or f32, not %q", o.kvType)
	}
	isZero := func(n int) bool { return n == 0 }
	o.prompts = slices.DeleteFunc(o.prompts, isZero)
	o.generations = slices.DeleteFunc(o.generations, isZero)
	if len(o.prompts)+len(o.generations) == 0 {
		return usagef("there is nothing to measure: both --prompt and --gen are 0")
	}
	return nil
}

func (a *app) runBench(ctx context.Context, m registry.Model, o benchOptions, note func(string, ...any)) ([]benchResult, error) {
	c, err := checkpoint.Open(m.Path())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	manager, err := openManager()
	if err != nil {
		return nil, err
	}
	longest := slices.Max(slices.Concat(o.prompts, o.generations))
	need := max(longest, o.parallel*slices.Max(append(slices.Clone(o.generations), 0)))
	choice, err := manager.Load(ctx, c, backend.LoadRequest{Backend: o.backend, Options: backend.LoadOptions{
		Context: longest, KVTokens: need + 64*(o.parallel+1), KVType: o.kvType, MaxBatchTokens: o.batch, Threads: o.threads,
		Progress: func(f float64) { note("loading %3.0f%%", f*100) },
	}})
	if err != nil {
		return nil, err
	}
	defer choice.Engine.Close()
	e := choice.Engine
	shape := e.Model()
	row := benchResult{Model: m.Name, File: m.Path(), Size: m.Size(), Parameters: shape.Parameters, Quant: shape.Quantization,
		Backend: choice.Backend, Device: e.Description().Device, Threads: o.threads, Batch: e.MaxBatchTokens(), KVType: o.kvType, Version: a.version}
	var results []benchResult
	measure := func(r benchResult, run func() (time.Duration, error)) error {
		tokens := r.Prompt + r.Generated*r.Parallel
		for i := -1; i < o.repetitions; i++ { // the first one warms up
			note("%s %d/%d", r.Test, i+1, o.repetitions)
			took, err := run()
			if err != nil {
				return fmt.Errorf("%s: %w", r.Test, err)
			}
			if i >= 0 {
				r.Samples = append(r.Samples, float64(tokens)/took.Seconds())
			}
		}
		r.Median, r.Mean, r.StdDev = spread(r.Samples)
		results = append(results, r)
		return nil
	}
	rng := rand.New(rand.NewPCG(1, 2)) // the same tokens each time
	for _, n := range o.prompts {
		r := row
		r.Test, r.Prompt, r.Parallel = fmt.Sprintf("pp%d", n), n, 1
		if err := measure(r, func() (time.Duration, error) { return readPrompt(ctx, e, rng, n) }); err != nil {
			return nil, err
		}
	}
	for _, n := range o.generations {
		r := row
		r.Test, r.Generated, r.Parallel = fmt.Sprintf("tg%d", n), n, o.parallel
		if o.parallel > 1 {
			r.Test += fmt.Sprintf("×%d", o.parallel)
		}
		if err := measure(r, func() (time.Duration, error) { return generateTokens(ctx, e, rng, n, o.parallel) }); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// readPrompt times the prefill of n random tokens.
func readPrompt(ctx context.Context, e backend.Engine, rng *rand.Rand, n int) (time.Duration, error) {
	seq, err := e.KV().Reserve(n)
	if err != nil {
		return 0, err
	}
	defer func() { _ = e.KV().Free(seq) }() // it is known: it was just reserved
	prompt := make([]int32, n)
	for i := range prompt {
		prompt[i] = rng.Int32N(int32(e.Model().Vocab))
	}
	b := backend.Batch{Spans: make([]backend.Span, 1)}
	start := time.Now()
	for pos := 0; pos < n; {
		k := min(n-pos, e.MaxBatchTokens())
		want := backend.NoLogits
		if pos+k == n {
			want = backend.LastLogits
		}
		b.Spans[0] = backend.Span{Seq: seq, Pos: pos, Tokens: prompt[pos : pos+k], Want: want}
		if err := e.Run(ctx, &b); err != nil {
			return 0, err
		}
		pos += k
	}
	return time.Since(start), nil
}

// generateTokens times n steps of one token for each of several sequences.
func generateTokens(ctx context.Context, e backend.Engine, rng *rand.Rand, n, parallel int) (time.Duration, error) {
	var seqs []backend.SeqID
	defer func() {
		for _, s := range seqs {
			_ = e.KV().Free(s)
		}
	}()
	for range parallel {
		s, err := e.KV().Reserve(n)
		if err != nil {
			return 0, err
		}
		seqs = append(seqs, s)
	}
	tokens := make([]int32, parallel)
	b := backend.Batch{Spans: make([]backend.Span, parallel)}
	start := time.Now()
	for pos := range n {
		for i, s := range seqs {
			tokens[i] = rng.Int32N(int32(e.Model().Vocab))
			b.Spans[i] = backend.Span{Seq: s, Pos: pos, Tokens: tokens[i : i+1], Want: backend.LastLogits}
		}
		if err := e.Run(ctx, &b); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// spread is the median, the mean and the sample standard deviation.
func spread(samples []float64) (median, mean, deviation float64) {
	s := slices.Sorted(slices.Values(samples))
	n := len(s)
	median = (s[(n-1)/2] + s[n/2]) / 2
	for _, x := range s {
		mean += x / float64(n)
	}
	if n > 1 {
		for _, x := range s {
			deviation += (x - mean) * (x - mean) / float64(n-1)
		}
	}
	return median, mean, math.Sqrt(deviation)
}

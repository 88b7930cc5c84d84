package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/bench"
	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	model                           string
	prompts, generations, parallels []int
	format                          string // of the output

	// of an engine in this process
	backend                    string
	depths                     []int
	threads, batch, repetition int
	kvType, repack             string
	full                       bool
	compare, compareModel      string

	// of kernels and the machine
	kernels, machine bool
	types, tiers     []string
	rows             []int
	megabytes        int

	// of a running server
	requests  int
	seed      uint64
	ignoreEOS bool
}

// what there is to measure, and the flags that make sense only for some of it.
const (
	anEngine  = "an engine in this process"
	aServer   = "a server"
	kernels   = "kernels"
	aMachine  = "the machine"
	needsFlag = "needs --server"
)

var benchFlags = map[string][]string{
	"backend": {anEngine}, "depth": {anEngine}, "threads": {anEngine, kernels, aMachine}, "batch": {anEngine}, "repetitions": {anEngine}, "kv-type": {anEngine},
	"repack": {anEngine}, "full": {anEngine}, "compare": {anEngine}, "compare-model": {anEngine}, "model": {anEngine, aServer}, "prompt": {anEngine, aServer},
	"gen": {anEngine, aServer}, "parallel": {anEngine, aServer}, "requests": {aServer}, "seed": {aServer}, "ignore-eos": {aServer},
	"types": {kernels}, "tiers": {kernels}, "rows": {kernels}, "size": {kernels, aMachine},
}

func (a *app) bench() *cobra.Command {
	var o benchOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a model runs here, or a server answers",
		Long: `Measure how fast an engine runs a model in this process, or, with --server, how
fast a running server answers; with --kernels how fast weights of each type are
multiplied, with --machine what the machine can give at most.

In this process: pp512 reads a prompt of 512 tokens, tg128 generates 128 tokens one
by one; pp512@d4096 and tg128@d4096 do so after 4096 others (--depth), tg128×8 for 8
sequences at once (--parallel). Each flag takes a list, and every combination is
measured. Tokens are random. An engine that samples on its device draws them there
(greedily), with the next step started before the last one's token is read, as the
server has it; for it the table also shows how long the host needed to start a step.
Other engines don't sample. Each test runs once to warm up and then as often as -r
says; the table shows the median and the standard deviation in tokens per second.
For one sequence on the CPU it also shows at how many GB/s weights were read, and
what part of the memory's speed that is, measured before and after.

--compare runs another engine in turns with ours, test by test and run by run, in a
process of its own, with as many threads: llama.cpp (its library is looked for where
LLAMA_CPP_LIB says and where Homebrew, Linux and npm install it, or named:
llama.cpp=FOLDER) or mlx-lm (by python3, or named: mlx-lm=PYTHON). RATIO is ours to
theirs. --compare-model has it run another file, such as the GGUF file of a model
that ours has in MLX's format.

With --kernels: products of a matrix of each type with 1, 8 and 512 rows of
activations, by each tier of kernels that this processor has, in GOP/s and GB/s of
weights, and as a part of what bounds them: the memory, or the instruction that
products are made of, both measured at the same time.

With --server: sends chat requests (/v1/chat/completions, streaming, greedy) with
different prompts of about -p tokens for answers of -n, --parallel at a time, after
as many to warm up. It shows tokens per second of all together, the time to the
first token, the time between two pieces of an answer, the time per token after the
first, and that of the whole request. Any server with this API will do; tokens are
counted as its usage says, or, if it reports none, by pieces of answers.`,
		Example: `  inferctl bench -m smollm2:135m
  inferctl bench -m ./model.gguf --full -o markdown
  inferctl bench -m ./model.gguf -t 2 --parallel 1,8 --compare llama.cpp
  inferctl bench -m smollm2:135m -p 0 -n 64 -d 0,4096
  inferctl bench --kernels --types q4_0,q8_0
  inferctl bench --server 127.0.0.1:8080 -p 128 -n 128 --parallel 16 --requests 64`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				o.format = "json"
			}
			if !slices.Contains([]string{"table", "json", "csv", "markdown"}, o.format) {
				return usagef("--output must be table, json, csv or markdown, not %q", o.format)
			}
			changed := cmd.Flags().Changed
			what, err := o.what(changed)
			if err != nil {
				return err
			}
			ctx, stop := daemon.Interruptible(cmd.Context())
			defer stop()
			p := newProgress(cmd.ErrOrStderr())
			defer p.done()
			note := func(format string, args ...any) {
				if p.terminal {
					fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
					p.drawn = true
				}
			}
			w := &benchWriter{w: cmd.OutOrStdout(), format: o.format, before: p.done}
			switch what {
			case kernels:
				return o.benchKernels(ctx, w, note)
			case aMachine:
				return o.benchMachine(ctx, w)
			case aServer:
				if !changed("model") {
					o.model = "" // the server's own choice
				}
				if !changed("prompt") {
					o.prompts = []int{512}
				}
				return a.benchServer(ctx, o, w, note)
			}
			if err := o.checkEngine(changed); err != nil {
				return err
			}
			m, err := fetchModel(ctx, o.model, p)
			if err != nil {
				return err
			}
			return a.benchEngine(ctx, m, o, w, note)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.model, "model", "m", "smollm2:135m", "model to run: a name or a file; with --server a name that it serves (default its first)")
	f.StringVar(&o.backend, "backend", "", "backend to run it on (default the first that can)")
	f.IntSliceVarP(&o.prompts, "prompt", "p", []int{512, 64}, "prompt lengths to read; 0 for none; with --server one (default 512)")
	f.IntSliceVarP(&o.generations, "gen", "n", []int{128}, "numbers of tokens to generate; 0 for none")
	f.IntSliceVarP(&o.depths, "depth", "d", []int{0}, "tokens in the context before a test begins")
	f.IntSliceVar(&o.parallels, "parallel", []int{1}, "sequences that generate together; with --server, requests at a time")
	f.BoolVar(&o.full, "full", false, "prompts of 512 and 64, 128 tokens generated by 1, 2, 4, 8, 16 and 32 sequences, and the first two after 4096 others")
	f.IntVarP(&o.threads, "threads", "t", 0, "threads of a CPU engine, or of the measurement (default one per core)")
	f.IntVarP(&o.repetition, "repetitions", "r", 5, "how often to run each test")
	f.IntVarP(&o.batch, "batch", "b", 512, "largest number of tokens in a step")
	f.StringVar(&o.kvType, "kv-type", "auto", "number format of the KV cache: auto, f16, f32 or q8_0")
	f.StringVar(&o.repack, "repack", "auto", "whether a CPU engine copies the weights into the layout of its kernels: auto or never")
	f.StringVar(&o.compare, "compare", "", "another engine to run in turns with ours: llama.cpp, llama.cpp=FOLDER, mlx-lm or mlx-lm=PYTHON")
	f.StringVar(&o.compareModel, "compare-model", "", "the file or folder that the other engine runs (default the same)")
	f.BoolVar(&o.kernels, "kernels", false, "measure products with weights of each type")
	f.StringSliceVar(&o.types, "types", nil, "with --kernels: types of weights (default all): "+strings.Join(bench.KernelTypes(), ", "))
	f.StringSliceVar(&o.tiers, "tiers", nil, "with --kernels: tiers of kernels (default all that this processor has), see docs/benchmarks.md")
	f.IntSliceVar(&o.rows, "rows", []int{1, 8, 512}, "with --kernels: rows of activations to multiply with")
	f.IntVar(&o.megabytes, "size", 0, "with --kernels, MB of weights (default 128); with --machine, of memory to read (default 512)")
	f.BoolVar(&o.machine, "machine", false, "measure how fast memory is read, and the processor's arithmetic")
	f.IntVar(&o.requests, "requests", 32, "with --server: how many requests to send")
	f.Uint64Var(&o.seed, "seed", 1, "with --server: another seed gives other prompts, which no cache knows")
	f.BoolVar(&o.ignoreEOS, "ignore-eos", true, "with --server: ask for answers that don't end before -n tokens (not every server can)")
	f.StringVarP(&o.format, "output", "o", "table", "table, json, csv or markdown")
	f.BoolVar(&asJSON, "json", false, "the same as --output json")
	return cmd
}

// what is to be measured, and whether the flags fit it.
func (o *benchOptions) what(changed func(string) bool) (string, error) {
	what, asked := anEngine, 0
	for _, c := range []struct {
		on   bool
		what string
	}{{changed("server"), aServer}, {o.kernels, kernels}, {o.machine, aMachine}} {
		if c.on {
			what = c.what
			asked++
		}
	}
	if asked > 1 {
		return "", usagef("--server, --kernels and --machine are three things: give one of them")
	}
	for name, fits := range benchFlags {
		if !changed(name) || slices.Contains(fits, what) {
			continue
		}
		switch {
		case slices.Equal(fits, []string{aServer}):
			return "", usagef("--%s %s", name, needsFlag)
		case slices.Equal(fits, []string{kernels}):
			return "", usagef("--%s needs --kernels", name)
		}
		return "", usagef("--%s is for %s, not for %s", name, strings.Join(fits, " or "), what)
	}
	return what, nil
}

// mostTokens bounds every number on the command line.
const mostTokens = 1 << 20

func checkRange(name string, least int, numbers ...int) error {
	for _, n := range numbers {
		if n < least || n > mostTokens {
			return usagef("--%s must be between %d and %d, not %d", name, least, mostTokens, n)
		}
	}
	return nil
}

// checkEngine checks the flags for an engine.
func (o *benchOptions) checkEngine(changed func(string) bool) error {
	if o.full {
		for _, name := range []string{"prompt", "gen", "depth", "parallel"} {
			if changed(name) {
				return usagef("--full says what to measure: leave out --%s", name)
			}
		}
	}
	if err := errors.Join(
		checkRange("prompt", 0, o.prompts...), checkRange("gen", 0, o.generations...), checkRange("depth", 0, o.depths...), checkRange("parallel", 1, o.parallels...),
		checkRange("threads", 0, o.threads), checkRange("repetitions", 1, o.repetition), checkRange("batch", 1, o.batch),
	); err != nil {
		return err
	}
	if most := slices.Max(append(o.parallels, 0)); most > o.batch {
		return usagef("--parallel (%d) must not exceed --batch (%d): each sequence needs a token a step", most, o.batch)
	}
	if !slices.Contains([]string{"auto", "f16", "f32", "q8_0"}, o.kvType) {
		return usagef("--kv-type must be auto, f16, f32 or q8_0, not %q", o.kvType)
	}
	if name, _, _ := strings.Cut(o.compare, "="); o.compare != "" && name != "llama.cpp" && name != "mlx-lm" {
		return usagef("--compare must be llama.cpp or mlx-lm, or one of them with =PATH, not %q", o.compare)
	}
	if o.compareModel != "" && o.compare == "" {
		return usagef("--compare-model needs --compare")
	}
	if len(o.tests()) == 0 {
		return usagef("there is nothing to measure: both --prompt and --gen are 0")
	}
	return nil
}

// tests are all combinations of what the flags list.
func (o *benchOptions) tests() []bench.Test {
	if o.full {
		full := benchOptions{prompts: []int{512, 64}, generations: []int{128}, depths: []int{0, 4096}, parallels: []int{1}}
		tests := full.tests()
		for _, n := range []int{2, 4, 8, 16, 32} {
			tests = append(tests, bench.Test{Generated: 128, Parallel: n})
		}
		return tests
	}
	var tests []bench.Test
	for _, depth := range o.depths {
		for _, n := range o.prompts {
			if n > 0 {
				tests = append(tests, bench.Test{Prompt: n, Depth: depth, Parallel: 1})
			}
		}
		for _, parallel := range o.parallels {
			for _, n := range o.generations {
				if n > 0 {
					tests = append(tests, bench.Test{Generated: n, Depth: depth, Parallel: parallel})
				}
			}
		}
	}
	return tests
}

// llamaProcess is the process that --compare llama.cpp runs.
func llamaProcess() *cobra.Command {
	return &cobra.Command{
		Use: bench.LlamaCommand, Hidden: true, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.ServeLlama(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// A benchNote tells a person who watches what is being done.
type benchNote func(format string, args ...any)

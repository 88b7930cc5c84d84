package cli

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/registry"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	model                string
	prompts, generations []int
	parallel             int

	// of an engine in this process
	backend                           string
	depth, threads, batch, repetition int
	kvType, repack                    string

	// of a running server
	requests  int
	seed      uint64
	ignoreEOS bool
}

// The flags that make sense for only one of the two things to measure.
var (
	engineFlags = []string{"backend", "depth", "threads", "batch", "repetitions", "kv-type", "repack"}
	serverFlags = []string{"requests", "seed", "ignore-eos"}
)

func (a *app) bench() *cobra.Command {
	var o benchOptions
	var asJSON bool
	var output string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a model runs here, or a server answers",
		Long: `Measure how fast an engine runs a model in this process, or, with --server, how
fast a running server answers.

In this process: pp512 reads a prompt of 512 tokens, tg128 generates 128 tokens one
by one, after as many others as --depth says (tg128@d512). Tokens are random. An
engine that samples on its device draws them there (greedily), with the next step
started before the last one's token is read, as the server has it; for it the table
also shows how long the host needed to start a step. Other engines don't sample.
Each test runs once to warm up and then as often as -r says; the table shows the
median and the standard deviation in tokens per second.

With --server: sends chat requests (/v1/chat/completions, streaming, greedy) with
different prompts of about -p tokens for answers of -n, --parallel at a time, after
as many to warm up. It shows tokens per second of all together, the time to the
first token, the time between two pieces of an answer, the time per token after the
first, and that of the whole request. Any server with this API will do; tokens are
counted as its usage says, or, if it reports none, by pieces of answers.`,
		Example: `  inferctl bench -m smollm2:135m
  inferctl bench -m ./model.gguf -p 128,512,2048 -n 0 -t 1 --json
  inferctl bench -m smollm2:135m -p 0 -n 64 --parallel 8
  inferctl bench --server 127.0.0.1:8080 -p 128 -n 128 --parallel 16 --requests 64`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return usagef("--output must be table or json, not %q", output)
			}
			asJSON = asJSON || output == "json"
			server := cmd.Flags().Changed("server")
			foreign, why := serverFlags, "needs --server"
			if server {
				foreign, why = engineFlags, "is for an engine in this process, not for a server"
			}
			for _, name := range foreign {
				if cmd.Flags().Changed(name) {
					return usagef("--%s %s", name, why)
				}
			}
			ctx, stop := daemon.Interruptible(cmd.Context())
			defer stop()
			p := newProgress(cmd.ErrOrStderr())
			note := func(format string, args ...any) {
				if p.terminal {
					fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
					p.drawn = true
				}
			}
			if server {
				if !cmd.Flags().Changed("model") {
					o.model = "" // the server's own choice
				}
				return a.benchServer(ctx, o, cmd.OutOrStdout(), asJSON, note, p.done)
			}
			if err := o.check(); err != nil {
				return err
			}
			m, err := fetchModel(ctx, o.model, p)
			if err != nil {
				return err
			}
			results, err := a.benchEngine(ctx, m, o, note)
			p.done()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), results)
			}
			writeEngineTable(cmd.OutOrStdout(), results)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.model, "model", "m", "smollm2:135m", "model to run: a name or a file; with --server a name that it serves (default its first)")
	f.StringVar(&o.backend, "backend", "", "backend to run it on (default the first that can)")
	f.IntSliceVarP(&o.prompts, "prompt", "p", []int{512}, "prompt lengths to read; 0 for none")
	f.IntSliceVarP(&o.generations, "gen", "n", []int{128}, "numbers of tokens to generate; 0 for none")
	f.IntVarP(&o.depth, "depth", "d", 0, "tokens in the context before generation begins")
	f.IntVarP(&o.threads, "threads", "t", 0, "threads of a CPU engine (default one per core)")
	f.IntVarP(&o.repetition, "repetitions", "r", 5, "how often to run each test")
	f.IntVarP(&o.batch, "batch", "b", 512, "largest number of tokens in a step")
	f.IntVar(&o.parallel, "parallel", 1, "sequences that generate together; with --server, requests at a time")
	f.StringVar(&o.kvType, "kv-type", "auto", "number format of the KV cache: auto, f16, f32 or q8_0")
	f.StringVar(&o.repack, "repack", "auto", "whether a CPU engine copies the weights into the layout of its kernels: auto or never")
	f.IntVar(&o.requests, "requests", 32, "with --server: how many requests to send")
	f.Uint64Var(&o.seed, "seed", 1, "with --server: another seed gives other prompts, which no cache knows")
	f.BoolVar(&o.ignoreEOS, "ignore-eos", true, "with --server: ask for answers that don't end before -n tokens (not every server can)")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	f.BoolVar(&asJSON, "json", false, "the same as --output json")
	return cmd
}

// mostTokens bounds every number on the command line.
const mostTokens = 1 << 20

func checkRange(name string, n, least int) error {
	if n < least || n > mostTokens {
		return usagef("--%s must be between %d and %d, not %d", name, least, mostTokens, n)
	}
	return nil
}

// check checks the flags for an engine.
func (o *benchOptions) check() error {
	for _, n := range o.prompts {
		if err := checkRange("prompt", n, 0); err != nil {
			return err
		}
	}
	for _, n := range o.generations {
		if err := checkRange("gen", n, 0); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		name     string
		n, least int
	}{{"threads", o.threads, 0}, {"depth", o.depth, 0}, {"repetitions", o.repetition, 1}, {"batch", o.batch, 1}, {"parallel", o.parallel, 1}} {
		if err := checkRange(c.name, c.n, c.least); err != nil {
			return err
		}
	}
	if o.parallel > o.batch {
		return usagef("--parallel (%d) must not exceed --batch (%d): each sequence needs a token a step", o.parallel, o.batch)
	}
	if !slices.Contains([]string{"auto", "f16", "f32", "q8_0"}, o.kvType) {
		return usagef("--kv-type must be auto, f16, f32 or q8_0, not %q", o.kvType)
	}
	isZero := func(n int) bool { return n == 0 }
	o.prompts = slices.DeleteFunc(o.prompts, isZero)
	o.generations = slices.DeleteFunc(o.generations, isZero)
	if len(o.prompts)+len(o.generations) == 0 {
		return usagef("there is nothing to measure: both --prompt and --gen are 0")
	}
	return nil
}

func writeEngineTable(w io.Writer, results []engineResult) {
	first := results[0]
	fmt.Fprintf(w, "%s, %s, %s parameters, %s\n%s: %s\n\n", oneLine(first.Model), registry.FormatBytes(first.Size),
		countParameters(first.Parameters), first.Quant, first.Backend, first.Device)
	head := []string{"TEST", ">TOKENS/S", "", ">RUNS"}
	timed := slices.ContainsFunc(results, func(r engineResult) bool { return r.HostStep != nil })
	if timed {
		head = append(head, ">HOST/STEP")
	}
	t := newTable(head...)
	for _, r := range results {
		row := []string{r.Test, fmt.Sprintf("%.2f", r.Median), fmt.Sprintf("± %.2f", r.StdDev), fmt.Sprint(len(r.Samples))}
		if r.HostStep != nil {
			row = append(row, fmt.Sprintf("%.0f µs", r.HostStep.Median))
		}
		t.add(row...)
	}
	t.write(w)
}

// A benchNote tells a person who watches what is being done.
type benchNote func(format string, args ...any)

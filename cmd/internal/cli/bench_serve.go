package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/bench"
)

// serveOptions are the flags of bench serve.
type serveOptions struct {
	model                   string
	prompt, shared, gen     int
	concurrency             []int
	rates                   []float64
	requests, rounds        int
	seed                    uint64
	ignoreEOS               bool
	limits                  map[string]string
	compare, compareModel   string
	firstToken, tpot, total time.Duration // of limits
}

// servedResult is one row: a server at a level.
type servedResult struct {
	Server       string `json:"server"`
	Model        string `json:"model,omitempty"`
	MaxTokens    int    `json:"max_tokens"`
	SharedTokens int    `json:"shared_prompt_tokens"`
	Rounds       int    `json:"rounds"`
	bench.Served
	Peer    *servedResult `json:"peer,omitempty"`
	Ratio   float64       `json:"ratio,omitempty"` // of tokens per second, to the peer's
	Version string        `json:"version"`         // of this program
}

func (a *app) benchServe() *cobra.Command {
	var o serveOptions
	var out benchOutput
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Measure how fast a running server answers",
		Long: `Measure how fast a running server answers.

Sends chat requests (/v1/chat/completions, streaming, greedy) with different prompts
of about -p tokens for answers of -n, after as many to warm up. --concurrency keeps
so many under way, each followed by the next as soon as it is answered; --rate sends
so many a second on average, at random times (Poisson), however long answers take.
Either takes a list, and each is measured in turn. With --shared, all prompts begin
with the same so many tokens.

It shows tokens and requests per second of all together, the time to the first token,
the time between two pieces of an answer, and that of the whole request. --goodput
sets limits, such as ttft=500ms,tpot=50ms,e2e=10s (first token, each further one, all),
and counts the requests that kept them. --compare names another server, which gets the
same requests, round by round in turn with the first. Any server with this API will
do; tokens are counted as its usage says, or, if it reports none, by pieces.

The server is that of --server; INFERFLUX_API_KEY is sent to it, and not to the other.`,
		Example: `  inferctl bench serve -p 128 -n 128 --concurrency 1,2,4,8,16
  inferctl bench serve --rate 0.5,1,2 --requests 100 --goodput ttft=1s,tpot=100ms
  inferctl bench serve -p 2100 --shared 2000 --concurrency 8
  inferctl bench serve --concurrency 8,16 --compare http://127.0.0.1:8081`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd.Flags().Changed); err != nil {
				return err
			}
			return out.run(cmd, func(ctx context.Context, w *benchWriter, note benchNote) error { return a.runServe(ctx, &o, w, note) })
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.model, "model", "m", "", "name that the server serves (default its first)")
	f.IntVarP(&o.prompt, "prompt", "p", 512, "tokens of a prompt, about")
	f.IntVar(&o.shared, "shared", 0, "tokens that all prompts begin with, about")
	f.IntVarP(&o.gen, "gen", "n", 128, "most tokens of an answer")
	f.IntSliceVar(&o.concurrency, "concurrency", []int{1}, "requests under way at a time")
	f.Float64SliceVar(&o.rates, "rate", nil, "requests a second, instead of --concurrency")
	f.IntVar(&o.requests, "requests", 32, "how many requests to send in a round")
	f.IntVarP(&o.rounds, "rounds", "r", 1, "rounds of each, whose requests are put together")
	f.Uint64Var(&o.seed, "seed", 1, "another seed gives other prompts, which no cache knows")
	f.BoolVar(&o.ignoreEOS, "ignore-eos", true, "ask for answers that don't end before -n tokens (not every server can)")
	f.StringToStringVar(&o.limits, "goodput", nil, "limits that a good request keeps: ttft=, tpot= and e2e= with durations")
	f.StringVar(&o.compare, "compare", "", "address of another server that gets the same requests")
	f.StringVar(&o.compareModel, "compare-model", "", "name of its model (default its first)")
	out.flags(f)
	return cmd
}

func (o *serveOptions) check(changed func(string) bool) error {
	if changed("rate") && changed("concurrency") {
		return usagef("--concurrency and --rate are two ways to send requests: give one of them")
	}
	for _, r := range o.rates {
		if !(r > 0 && r <= mostTokens) {
			return usagef("--rate must be above 0, and at most %d, not %g", mostTokens, r)
		}
	}
	if o.compareModel != "" && o.compare == "" {
		return usagef("--compare-model needs --compare")
	}
	if o.shared > o.prompt {
		return usagef("--shared (%d) must not exceed --prompt (%d)", o.shared, o.prompt)
	}
	into := map[string]*time.Duration{"ttft": &o.firstToken, "tpot": &o.tpot, "e2e": &o.total}
	for name, value := range o.limits {
		d, err := time.ParseDuration(value)
		if into[name] == nil || err != nil || d <= 0 {
			return usagef("--goodput takes ttft, tpot and e2e with durations, such as ttft=500ms, not %s=%s", name, value)
		}
		*into[name] = d
	}
	return errors.Join(checkRange("prompt", 1, o.prompt), checkRange("shared", 0, o.shared), checkRange("gen", 1, o.gen),
		checkRange("concurrency", 1, o.concurrency...), checkRange("requests", 1, o.requests), checkRange("rounds", 1, o.rounds))
}

func (o *serveOptions) levels() []bench.Level {
	var all []bench.Level
	for _, r := range o.rates {
		all = append(all, bench.Level{Rate: r, Requests: o.requests})
	}
	if len(all) == 0 {
		for _, n := range o.concurrency {
			all = append(all, bench.Level{Concurrency: n, Requests: o.requests})
		}
	}
	return all
}

// load prepares requests to a server.
func (o *serveOptions) load(c *client, model string, note benchNote) *bench.Load {
	c.http.Transport.(*http.Transport).MaxIdleConnsPerHost = max(o.requests, slices.Max(o.concurrency))
	return &bench.Load{
		Note: note, Model: model, PromptTokens: o.prompt, SharedTokens: o.shared, MaxTokens: o.gen, IgnoreEOS: o.ignoreEOS, Seed: o.seed,
		Send: func(ctx context.Context, body any, event func([]byte) error) error {
			res, err := c.do(ctx, http.MethodPost, "/v1/chat/completions", body)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if err := readEvents(res.Body, event); err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, res.Body) // to its end, so that the connection is used again
			return nil
		},
	}
}

// runServe measures a server, or two in turns, and shows what came of it.
func (a *app) runServe(ctx context.Context, o *serveOptions, w *benchWriter, note benchNote) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	clients, models := []*client{c}, []string{o.model}
	if o.compare != "" {
		other, err := clientAt(o.compare, "--compare", "")
		if err != nil {
			return err
		}
		clients, models = append(clients, other), append(models, o.compareModel)
	}
	warm := min(o.requests, slices.Max(o.concurrency))
	var loads []*bench.Load
	for i, c := range clients {
		l := o.load(c, models[i], note)
		if i == 0 {
			err = l.Fit(ctx, warm)
		} else {
			err = l.Like(ctx, loads[0], warm)
		}
		if err != nil {
			return err
		}
		loads = append(loads, l)
	}
	limits := bench.Limits{FirstToken: o.firstToken, PerToken: o.tpot, Latency: o.total}
	var results []servedResult
	var failures error
	next := 0
	for _, level := range o.levels() {
		took := make([]time.Duration, len(loads))
		answers := make([][]bench.Answer, len(loads))
		for range o.rounds {
			for i, l := range loads {
				d, got, err := l.Run(ctx, level, next)
				if err != nil {
					return err
				}
				took[i] += d
				answers[i] = append(answers[i], got...)
			}
			next += level.Requests
		}
		rows := make([]servedResult, len(loads))
		for i := range loads {
			rows[i] = servedResult{Server: clients[i].base, Model: models[i], MaxTokens: o.gen, SharedTokens: o.shared, Rounds: o.rounds, Version: a.version}
			var failure error
			if rows[i].Served, failure = bench.Summarize(level, took[i], answers[i], limits); failure != nil {
				failures = fmt.Errorf("%s: %d of %d requests failed, one of them: %w", clients[i].base, rows[i].Failed, rows[i].Requests, failure)
			}
		}
		if len(rows) > 1 {
			rows[0].Peer = &rows[1]
			if rows[1].Speed > 0 {
				rows[0].Ratio = rows[0].Speed / rows[1].Speed
			}
		}
		results = append(results, rows[0])
	}
	return errors.Join(w.write(o.report(results)), failures)
}

func (o *serveOptions) report(results []servedResult) benchReport {
	first := results[0]
	what := fmt.Sprintf("prompts of %.0f tokens, answers of up to %d", first.PromptTokens, o.gen)
	if o.shared > 0 {
		what = fmt.Sprintf("prompts of %.0f tokens, of which all share about %d, answers of up to %d", first.PromptTokens, o.shared, o.gen)
	}
	report := benchReport{json: results, above: []string{fmt.Sprintf("%s: %s; times in milliseconds", first.Server, what)}}
	pace := "AT ONCE"
	if len(o.rates) > 0 {
		pace = "RATE"
	}
	head := []string{">" + pace, ">REQUESTS", ">TOKENS/S", ">REQUESTS/S"}
	names := []string{"concurrency", "rate", "server", "requests", "failed", "prompt_tokens", "cached_tokens", "generated_tokens", "tokens_per_second", "requests_per_second", "good_requests_per_second"}
	if len(o.limits) > 0 {
		head = append(head, ">GOOD/S")
	}
	for _, name := range []string{"ttft", "itl", "tpot", "e2e"} {
		for _, q := range []string{"mean", "p50", "p90", "p99", "max"} {
			names = append(names, name+"_"+q+"_ms")
		}
	}
	head = append(head, ">FIRST TOKEN P50", ">P90", ">P99", ">BETWEEN P50", ">P99", ">REQUEST P50", ">P99", ">CACHED")
	if first.Peer != nil {
		report.above = append(report.above, fmt.Sprintf("beside %s: the same requests, in turns", first.Peer.Server))
		head, names = append(head, "SERVER", ">RATIO"), append(names, "ratio")
	}
	report.table, report.numbers = newTable(head...), [][]string{names}
	for _, r := range results {
		o.row(&report, r, first.Peer != nil)
		if r.Peer != nil {
			o.row(&report, *r.Peer, true)
		}
	}
	return report
}

// row adds a server at a level to the table and to the numbers.
func (o *serveOptions) row(report *benchReport, r servedResult, compared bool) {
	pace := fmt.Sprint(r.Concurrency)
	if r.Rate > 0 {
		pace = fmt.Sprint(r.Rate)
	}
	requests := fmt.Sprint(r.Requests)
	if r.Failed > 0 {
		requests += fmt.Sprintf(" (%d failed)", r.Failed)
	}
	cells := []string{pace, requests, fmt.Sprintf("%.1f", r.Speed), fmt.Sprintf("%.2f", r.RequestsPerSecond)}
	if len(o.limits) > 0 {
		cells = append(cells, fmt.Sprintf("%.2f", r.Goodput))
	}
	for _, v := range []float64{r.FirstToken.P50, r.FirstToken.P90, r.FirstToken.P99, r.Interval.P50, r.Interval.P99, r.Latency.P50, r.Latency.P99} {
		cells = append(cells, fmt.Sprintf("%.1f", v))
	}
	cells = append(cells, fmt.Sprintf("%.0f", r.CachedTokens))
	numbers := []string{fmt.Sprint(r.Concurrency), fmt.Sprint(r.Rate), r.Server}
	for _, n := range []int{r.Requests, r.Failed} {
		numbers = append(numbers, fmt.Sprint(n))
	}
	for _, v := range []float64{r.PromptTokens, r.CachedTokens, float64(r.Generated), r.Speed, r.RequestsPerSecond, r.Goodput} {
		numbers = append(numbers, fmt.Sprint(v))
	}
	for _, q := range []bench.Quantiles{r.FirstToken, r.Interval, r.PerToken, r.Latency} {
		for _, v := range []float64{q.Mean, q.P50, q.P90, q.P99, q.Max} {
			numbers = append(numbers, fmt.Sprint(v))
		}
	}
	if compared {
		ratio, number := "", ""
		if r.Ratio > 0 {
			ratio, number = fmt.Sprintf("%.2f", r.Ratio), fmt.Sprint(r.Ratio)
		}
		cells, numbers = append(cells, strings.TrimPrefix(r.Server, "http://"), ratio), append(numbers, number)
	}
	report.table.add(cells...)
	report.numbers = append(report.numbers, numbers)
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inferflux/inferflux/cmd/internal/bench"
)

// serverResult is how a server answered many requests.
type serverResult struct {
	Server    string `json:"server"`
	Model     string `json:"model,omitempty"`
	Requests  int    `json:"requests"`
	Failed    int    `json:"failed"`
	Parallel  int    `json:"parallel"`
	MaxTokens int    `json:"max_tokens"`
	// PromptTokens and CachedTokens (of them, those that the server knew already)
	// are means, as the server reports them.
	PromptTokens float64 `json:"mean_prompt_tokens"`
	CachedTokens float64 `json:"mean_cached_prompt_tokens"`
	Generated    int     `json:"generated_tokens"`
	CountedBy    string  `json:"counted_by"` // "usage", or "pieces" if the server reports none
	Seconds      float64 `json:"seconds"`
	// Speed is of all answers together, from the first request to the last answer.
	Speed             float64         `json:"tokens_per_second"`
	RequestsPerSecond float64         `json:"requests_per_second"`
	FirstToken        bench.Quantiles `json:"time_to_first_token_ms"`
	Interval          bench.Quantiles `json:"inter_token_latency_ms"`   // between two pieces of an answer
	PerToken          bench.Quantiles `json:"time_per_output_token_ms"` // of a request, after its first token
	Latency           bench.Quantiles `json:"request_latency_ms"`
	Version           string          `json:"version"` // of this program
}

func (o *benchOptions) checkServer() error {
	if len(o.prompts) != 1 || len(o.generations) != 1 {
		return usagef("a server is measured with one --prompt and one --gen at a time")
	}
	if len(o.parallels) != 1 {
		return usagef("a server is measured with one --parallel at a time")
	}
	return errors.Join(checkRange("prompt", 1, o.prompts[0]), checkRange("gen", 1, o.generations[0]), checkRange("parallel", 1, o.parallels[0]), checkRange("requests", 1, o.requests))
}

// benchServer measures a running server and shows what came of it.
func (a *app) benchServer(ctx context.Context, o benchOptions, w *benchWriter, note benchNote) error {
	if err := o.checkServer(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	c.http.Transport.(*http.Transport).MaxIdleConnsPerHost = o.parallels[0]
	l := &load{client: c, options: o, note: note}
	r, failure, err := l.run(ctx)
	if err != nil {
		return err
	}
	r.Version = a.version
	err = w.write(serverReport(r))
	if err == nil && failure != nil {
		err = fmt.Errorf("%d of %d requests failed, one of them: %w", r.Failed, r.Requests, failure)
	}
	return err
}

func serverReport(r serverResult) benchReport {
	report := benchReport{json: r, table: newTable("MILLISECONDS", ">MEAN", ">P50", ">P90", ">P99", ">MAX"), above: []string{
		fmt.Sprintf("%s: %d requests, %d at a time, prompts of %.0f tokens, answers of up to %d", r.Server, r.Requests, r.Parallel, r.PromptTokens, r.MaxTokens),
		fmt.Sprintf("%.1f tokens/s, %.2f requests/s, %d tokens in %.1f s", r.Speed, r.RequestsPerSecond, r.Generated, r.Seconds),
	}}
	report.numbers = [][]string{{"what", "mean", "p50", "p90", "p99", "max"}, {"tokens_per_second", fmt.Sprint(r.Speed), "", "", "", ""}}
	for _, row := range []struct {
		name, key string
		q         bench.Quantiles
	}{
		{"first token", "time_to_first_token_ms", r.FirstToken}, {"between pieces", "inter_token_latency_ms", r.Interval},
		{"per token", "time_per_output_token_ms", r.PerToken}, {"request", "request_latency_ms", r.Latency},
	} {
		cells, numbers := []string{row.name}, []string{row.key}
		for _, v := range []float64{row.q.Mean, row.q.P50, row.q.P90, row.q.P99, row.q.Max} {
			cells, numbers = append(cells, fmt.Sprintf("%.2f", v)), append(numbers, fmt.Sprint(v))
		}
		report.table.add(cells...)
		report.numbers = append(report.numbers, numbers)
	}
	return report
}

// load sends requests to a server.
type load struct {
	client  *client
	options benchOptions
	note    benchNote
	words   int // of a prompt
}

// loadRequest is the body of a request.
type loadRequest struct {
	Model       string         `json:"model,omitempty"`
	Messages    []message      `json:"messages"`
	Stream      bool           `json:"stream"`
	StreamOpts  map[string]any `json:"stream_options"`
	MaxTokens   int            `json:"max_tokens"`
	Temperature float64        `json:"temperature"`
	IgnoreEOS   bool           `json:"ignore_eos,omitempty"`
}

// loadAnswer is what came of one request.
type loadAnswer struct {
	prompt, cached, generated int // as the server's usage says; 0 if it says nothing
	pieces                    []time.Time
	start, end                time.Time
	err                       error
}

// tokens is the number of tokens generated.
func (a *loadAnswer) tokens() int {
	if a.generated > 0 {
		return a.generated
	}
	return len(a.pieces)
}

// run measures. failure is one of the errors of single requests.
func (l *load) run(ctx context.Context) (r serverResult, failure, err error) {
	o := l.options
	l.note("finding prompts of %d tokens", o.prompts[0])
	if err := l.fit(ctx); err != nil {
		return r, nil, err
	}
	// Prompts are numbered; those that warm up come from the other end.
	_, warm, err := l.send(ctx, o.parallels[0], func(i int) uint64 { return math.MaxUint64 - uint64(i) }, o.generations[0], "warming up")
	if err != nil {
		return r, nil, err
	}
	if warm[0].err != nil {
		return r, nil, warm[0].err
	}
	took, answers, err := l.send(ctx, o.requests, func(i int) uint64 { return uint64(i) }, o.generations[0], "request")
	if err != nil {
		return r, nil, err
	}
	r = serverResult{Server: l.client.base, Model: o.model, Requests: o.requests, Parallel: o.parallels[0], MaxTokens: o.generations[0],
		Seconds: took.Seconds(), CountedBy: "usage"}
	var first, interval, perToken, latency []float64
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	for _, a := range answers {
		if a.err != nil {
			r.Failed++
			failure = a.err
			continue
		}
		if a.generated == 0 {
			r.CountedBy = "pieces"
		}
		r.PromptTokens += float64(a.prompt)
		r.CachedTokens += float64(a.cached)
		r.Generated += a.tokens()
		latency = append(latency, ms(a.end.Sub(a.start)))
		n := len(a.pieces)
		if n == 0 {
			continue
		}
		first = append(first, ms(a.pieces[0].Sub(a.start)))
		for i := 1; i < n; i++ {
			interval = append(interval, ms(a.pieces[i].Sub(a.pieces[i-1])))
		}
		if a.tokens() > 1 {
			perToken = append(perToken, ms(a.pieces[n-1].Sub(a.pieces[0]))/float64(a.tokens()-1))
		}
	}
	answered := float64(max(1, r.Requests-r.Failed))
	r.PromptTokens /= answered
	r.CachedTokens /= answered
	r.Speed = float64(r.Generated) / r.Seconds
	r.RequestsPerSecond = float64(r.Requests-r.Failed) / r.Seconds
	r.FirstToken, r.Interval, r.PerToken, r.Latency = bench.QuantilesOf(first), bench.QuantilesOf(interval), bench.QuantilesOf(perToken), bench.QuantilesOf(latency)
	return r, failure, nil
}

// fit finds how many words make a prompt of the length wanted, chat template
// included, from what the server counts for two prompts.
func (l *load) fit(ctx context.Context) error {
	want := l.options.prompts[0]
	few := 8
	many := max(2*few, want/8)
	var counted [2]int
	for i, words := range []int{few, many} {
		l.words = words
		a := l.ask(ctx, math.MaxUint64/2+uint64(i), 1)
		if a.err != nil {
			return a.err
		}
		counted[i] = a.prompt
	}
	l.words = want
	if perWord := float64(counted[1]-counted[0]) / float64(many-few); perWord > 0 {
		around := float64(counted[0]) - perWord*float64(few)
		l.words = max(1, int(math.Round((float64(want)-around)/perWord)))
	}
	return nil
}

// send sends n requests, so many at a time. An error means that they can't be
// sent at all; one of a single request is in its answer.
func (l *load) send(ctx context.Context, n int, prompt func(i int) uint64, maxTokens int, what string) (time.Duration, []loadAnswer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([]loadAnswer, n)
	var next, finished atomic.Int64
	var wait sync.WaitGroup
	var noting sync.Mutex
	start := time.Now()
	for range min(n, l.options.parallels[0]) {
		wait.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				answers[i] = l.ask(ctx, prompt(i), maxTokens)
				var gone *unreachableError
				if errors.As(answers[i].err, &gone) {
					cancel(gone)
					return
				}
				noting.Lock()
				l.note("%s %d/%d", what, finished.Add(1), n)
				noting.Unlock()
			}
		})
	}
	wait.Wait()
	return time.Since(start), answers, context.Cause(ctx)
}

// ask sends one request and reads its answer.
func (l *load) ask(ctx context.Context, prompt uint64, maxTokens int) (a loadAnswer) {
	body := loadRequest{
		Model: l.options.model, Messages: []message{{Role: "user", Content: l.prompt(prompt)}},
		Stream: true, StreamOpts: map[string]any{"include_usage": true}, MaxTokens: maxTokens, IgnoreEOS: l.options.ignoreEOS,
	}
	a.start = time.Now()
	res, err := l.client.do(ctx, http.MethodPost, "/v1/chat/completions", body)
	if err != nil {
		a.err = err
		return a
	}
	defer res.Body.Close()
	a.pieces = make([]time.Time, 0, min(maxTokens, 1<<10))
	a.err = readEvents(res.Body, a.event)
	if a.err == nil {
		_, _ = io.Copy(io.Discard, res.Body) // to its end, so that the connection is used again
	}
	a.end = time.Now()
	return a
}

// event notes what a piece of an answer brings.
func (a *loadAnswer) event(data []byte) error {
	var chunk struct {
		Error   *apiError
		Choices []struct {
			Delta struct {
				Content          string
				Reasoning        string
				ReasoningContent string            `json:"reasoning_content"`
				ToolCalls        []json.RawMessage `json:"tool_calls"`
			}
		}
		Usage *struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
			Details    struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	if err := json.Unmarshal(data, &chunk); err != nil {
		return fmt.Errorf("the server sent a broken event: %w", err)
	}
	if chunk.Error != nil {
		return chunk.Error
	}
	for _, c := range chunk.Choices {
		if d := c.Delta; d.Content != "" || d.Reasoning != "" || d.ReasoningContent != "" || len(d.ToolCalls) > 0 {
			a.pieces = append(a.pieces, time.Now())
			break
		}
	}
	if u := chunk.Usage; u != nil {
		a.prompt, a.cached, a.generated = u.Prompt, u.Details.Cached, u.Completion
	}
	return nil
}

// prompt writes the text of a number: words of four letters, which most
// vocabularies split in two, and those without merges in letters.
func (l *load) prompt(number uint64) string {
	rng := rand.New(rand.NewPCG(l.options.seed, number))
	var text strings.Builder
	for i := range l.words {
		if i > 0 {
			text.WriteByte(' ')
		}
		for range 2 {
			text.WriteByte("bdfgklmnprstvz"[rng.IntN(14)])
			text.WriteByte("aeiou"[rng.IntN(5)])
		}
	}
	return text.String()
}

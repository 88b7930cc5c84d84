package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load sends chat requests to a server: streaming, greedy, each with another prompt.
type Load struct {
	// Send posts a body to /v1/chat/completions and gives event each event of the
	// answer, up to its end. An error that wraps [ErrGone] ends everything.
	Send func(ctx context.Context, body any, event func(data []byte) error) error
	// Note is told what is being done; it is called by one goroutine at a time.
	Note func(format string, args ...any)

	Model        string // "": the server's choice
	PromptTokens int    // about
	SharedTokens int    // of them, those that all prompts begin with
	MaxTokens    int
	IgnoreEOS    bool
	Seed         uint64 // another one gives other prompts

	words, shared int // that make so many tokens
}

// ErrGone says that nothing answers where the server was.
var ErrGone = errors.New("no server answers")

// Level is how much is asked of a server: so many requests at a time, each followed
// by the next (a closed loop), or, if Rate isn't 0, so many a second on average, at
// random times, whatever became of those before (an open loop, Poisson arrivals).
type Level struct {
	Concurrency int     `json:"concurrency,omitempty"`
	Rate        float64 `json:"rate,omitempty"`
	Requests    int     `json:"requests"`
}

// Answer is what came of one request.
type Answer struct {
	Prompt, Cached, Generated int         // as the server's usage says; 0 if it says nothing
	Pieces                    []time.Time // when the pieces of the answer came
	Start, End                time.Time
	Err                       error
}

// Tokens is the number of tokens generated: by the usage, or by the pieces.
func (a *Answer) Tokens() int {
	if a.Generated > 0 {
		return a.Generated
	}
	return len(a.Pieces)
}

// chatRequest is the body of a request.
type chatRequest struct {
	Model       string         `json:"model,omitempty"`
	Messages    []chatMessage  `json:"messages"`
	Stream      bool           `json:"stream"`
	StreamOpts  map[string]any `json:"stream_options"`
	MaxTokens   int            `json:"max_tokens"`
	Temperature float64        `json:"temperature"`
	IgnoreEOS   bool           `json:"ignore_eos,omitempty"`
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Fit finds how many words make a prompt of the length wanted, chat template
// included, from what the server counts for two prompts, and sends n requests to
// warm up. It must come before Run; another server's Fit may be taken over.
func (l *Load) Fit(ctx context.Context, warm int) error {
	l.Note("finding prompts of %d tokens", l.PromptTokens)
	few := 8
	many := max(2*few, l.PromptTokens/8)
	var counted [2]int
	for i, words := range []int{few, many} {
		l.words = words
		a := l.ask(ctx, math.MaxUint64/2+uint64(i), 1)
		if a.Err != nil {
			return a.Err
		}
		counted[i] = a.Prompt
	}
	l.words = l.PromptTokens
	if perWord := float64(counted[1]-counted[0]) / float64(many-few); perWord > 0 {
		around := float64(counted[0]) - perWord*float64(few)
		l.words = max(1, int(math.Round((float64(l.PromptTokens)-around)/perWord)))
		l.shared = int(math.Round((float64(l.SharedTokens) - around) / perWord)) // what is around is shared too
	} else {
		l.shared = l.SharedTokens
	}
	l.shared = max(0, min(l.shared, l.words-1)) // no two prompts are the same
	return l.warm(ctx, warm)
}

// Like takes over the prompts of another load.
func (l *Load) Like(ctx context.Context, other *Load, warm int) error {
	l.words, l.shared = other.words, other.shared
	return l.warm(ctx, warm)
}

// warm sends prompts from the other end of the numbers than Run.
func (l *Load) warm(ctx context.Context, n int) error {
	_, answers, err := l.send(ctx, Level{Concurrency: n, Requests: n}, func(i int) uint64 { return math.MaxUint64 - uint64(i) }, "warming up")
	if err != nil {
		return err
	}
	return answers[0].Err
}

// Run sends requests with prompts numbered from first on, and returns what came of
// each and how long all took. An error means that they can't be sent at all; one of
// a single request is in its answer.
func (l *Load) Run(ctx context.Context, level Level, first int) (time.Duration, []Answer, error) {
	return l.send(ctx, level, func(i int) uint64 { return uint64(first + i) }, "request")
}

func (l *Load) send(ctx context.Context, level Level, prompt func(i int) uint64, what string) (time.Duration, []Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answers := make([]Answer, level.Requests)
	var finished atomic.Int64
	var wait sync.WaitGroup
	var noting sync.Mutex
	one := func(i int) {
		answers[i] = l.ask(ctx, prompt(i), l.MaxTokens)
		if errors.Is(answers[i].Err, ErrGone) {
			cancel(answers[i].Err)
			return
		}
		noting.Lock()
		defer noting.Unlock()
		l.Note("%s %d/%d", what, finished.Add(1), level.Requests)
	}
	start := time.Now()
	if level.Rate > 0 {
		rng := rand.New(rand.NewPCG(l.Seed, 1)) // the same times for every server
		at := start
		for i := range level.Requests {
			select {
			case <-time.After(time.Until(at)):
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				break
			}
			wait.Go(func() { one(i) })
			at = at.Add(time.Duration(rng.ExpFloat64() / level.Rate * float64(time.Second)))
		}
	} else {
		var next atomic.Int64
		for range min(level.Requests, level.Concurrency) {
			wait.Go(func() {
				for i := int(next.Add(1)) - 1; i < level.Requests && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
					one(i)
				}
			})
		}
	}
	wait.Wait()
	return time.Since(start), answers, context.Cause(ctx)
}

// ask sends one request and reads its answer.
func (l *Load) ask(ctx context.Context, prompt uint64, maxTokens int) (a Answer) {
	body := chatRequest{
		Model: l.Model, Messages: []chatMessage{{Role: "user", Content: l.prompt(prompt)}},
		Stream: true, StreamOpts: map[string]any{"include_usage": true}, MaxTokens: maxTokens, IgnoreEOS: l.IgnoreEOS,
	}
	a.Start = time.Now()
	a.Pieces = make([]time.Time, 0, min(maxTokens, 1<<10))
	a.Err = l.Send(ctx, body, a.event)
	a.End = time.Now()
	return a
}

// event notes what a piece of an answer brings.
func (a *Answer) event(data []byte) error {
	var chunk struct {
		Error   *struct{ Message string }
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
		return errors.New(chunk.Error.Message)
	}
	for _, c := range chunk.Choices {
		if d := c.Delta; d.Content != "" || d.Reasoning != "" || d.ReasoningContent != "" || len(d.ToolCalls) > 0 {
			a.Pieces = append(a.Pieces, time.Now())
			break
		}
	}
	if u := chunk.Usage; u != nil {
		a.Prompt, a.Cached, a.Generated = u.Prompt, u.Details.Cached, u.Completion
	}
	return nil
}

// prompt writes the text of a number: words of four letters, which most
// vocabularies split in two, and those without merges in letters.
func (l *Load) prompt(number uint64) string {
	var text strings.Builder
	write := func(rng *rand.Rand, n int) {
		for range n {
			if text.Len() > 0 {
				text.WriteByte(' ')
			}
			for range 2 {
				text.WriteByte("bdfgklmnprstvz"[rng.IntN(14)])
				text.WriteByte("aeiou"[rng.IntN(5)])
			}
		}
	}
	write(rand.New(rand.NewPCG(l.Seed, math.MaxUint64/3)), l.shared)
	write(rand.New(rand.NewPCG(l.Seed, number)), l.words-l.shared)
	return text.String()
}

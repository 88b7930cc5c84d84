package generate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// Caller is who something is computed for, as in [Request].
type Caller struct {
	Client, Tenant string
	Priority       int
}

// Pooling says how the hidden states of a text's tokens become one vector.
type Pooling string

// The poolings.
const (
	PoolLast Pooling = "last" // that of the last token, which alone has seen all others
	PoolMean Pooling = "mean" // their mean
)

// ErrNoEmbeddings is returned where the engine can't hand out hidden states.
var ErrNoEmbeddings = errors.New("the model's backend can't give embeddings")

// Pooling is what was configured for the model, or else what it was made for, as far as its
// file says.
func (m *Model) Pooling() Pooling {
	if m.o.Pooling != "" {
		return m.o.Pooling
	}
	if m.o.Engine.Model().MeanPooling {
		return PoolMean
	}
	return PoolLast
}

// Embed gives the vector of each text, [Hidden] elements of unit length. The errors are
// ErrNoEmbeddings and those of [scheduler.Scheduler.Submit].
func (m *Model) Embed(ctx context.Context, by Caller, texts [][]int32, p Pooling) ([][]float32, error) {
	if !m.o.Engine.Capabilities().Embeddings {
		return nil, ErrNoEmbeddings
	}
	want := backend.LastHidden
	if p == PoolMean {
		want = backend.AllHidden
	}
	width := m.o.Engine.Model().Hidden
	sums := make([][]float64, len(texts))
	err := m.read(ctx, by, texts, want, func(i, pos int, rows [][]float32) {
		if sums[i] == nil {
			sums[i] = make([]float64, width)
		}
		if pos == 0 {
			clear(sums[i])
		}
		for _, row := range rows {
			for j, v := range row {
				sums[i][j] += float64(v)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	vectors := make([][]float32, len(texts))
	for i, sum := range sums {
		vectors[i] = make([]float32, width)
		for j, v := range sum {
			vectors[i][j] = float32(v)
		}
		Normalize(vectors[i])
	}
	return vectors, nil
}

// Normalize gives a vector unit length. One of zeros stays as it is.
func Normalize(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if !(sum > 0) {
		return
	}
	inverse := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * inverse)
	}
}

// NextLogits gives the logits of some tokens after each prompt.
func (m *Model) NextLogits(ctx context.Context, by Caller, prompts [][]int32, tokens []int32) ([][]float32, error) {
	logits := make([][]float32, len(prompts))
	err := m.read(ctx, by, prompts, backend.LastLogits, func(i, _ int, rows [][]float32) {
		logits[i] = make([]float32, len(tokens))
		for j, token := range tokens {
			logits[i][j] = rows[0][token]
		}
	})
	return logits, err
}

// PromptToken is a token of a prompt, with how likely it is in its place.
type PromptToken struct {
	sample.Choice
	Rank int // among all tokens; 1 is the likeliest
}

// PromptLogprobs gives the log-probability of each token of each prompt but its first, under
// what comes before it, with the n most likely ones.
func (m *Model) PromptLogprobs(ctx context.Context, by Caller, prompts [][]int32, n int) ([][]PromptToken, error) {
	all := make([][]PromptToken, len(prompts))
	for i, p := range prompts {
		all[i] = make([]PromptToken, max(len(p)-1, 0))
	}
	var chooser sample.Chooser // the scheduler's loop alone uses it
	err := m.read(ctx, by, prompts, backend.AllLogits, func(i, pos int, rows [][]float32) {
		for k, row := range rows {
			if next := pos + k + 1; next < len(prompts[i]) {
				token := prompts[i][next]
				all[i][next-1] = PromptToken{chooser.Score(row, token, n), rank(row, token)}
			}
		}
	})
	return all, err
}

func rank(logits []float32, token int32) int {
	n, own := 1, logits[token]
	for _, v := range logits {
		if v > own {
			n++
		}
	}
	return n
}

// readAtOnce is how many of a request's texts may be queued or run at a time, so that
// one with many leaves the queue to others.
const readAtOnce = 16

// read has texts computed; take gets what is wanted of text i.
func (m *Model) read(ctx context.Context, by Caller, texts [][]int32, want backend.LogitsWanted, take func(i, pos int, rows [][]float32)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of those still under way, after an error
	var underway []*scheduler.Sequence
	for i, text := range texts {
		if len(underway) == readAtOnce {
			if err := ended(ctx, underway[0]); err != nil {
				return err
			}
			underway = underway[1:]
		}
		q, err := m.scheduler.Submit(ctx, scheduler.Request{
			Prompt: text, Client: by.Client, Tenant: by.Tenant, Priority: by.Priority,
			Reading: &scheduler.Reading{Want: want, Take: func(pos int, rows [][]float32) { take(i, pos, rows) }},
		})
		if err != nil {
			return err
		}
		underway = append(underway, q)
	}
	for _, q := range underway {
		if err := ended(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// ended waits for the end of a sequence that has no tokens.
func ended(ctx context.Context, q *scheduler.Sequence) error {
	for {
		e, err := q.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case e.Err != nil:
			return fmt.Errorf("compute a text: %w", e.Err)
		case e.Finish == scheduler.FinishCanceled:
			if err := ctx.Err(); err != nil {
				return err
			}
			return scheduler.ErrStopped
		}
	}
}

package mlx

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/inferflux/inferflux/backend"
)

// warm runs batches of the usual kinds once: a prompt that goes on past what one
// block attends to, and many short ones. Kernels are compiled when they are first
// needed, those of our own in every process, at one or two seconds each: better now
// than in somebody's request.
func (e *Engine) warm(ctx context.Context) error {
	slog.Info("compiling the GPU's kernels", "model", e.config.Name)
	for _, batch := range []struct{ rows, tokens int }{{1, aloneUpTo + 1}, {9, 2}} {
		tokens := max(1, min(batch.tokens, e.context-3, e.maxBatch/batch.rows))
		if err := e.warmRows(ctx, batch.rows, tokens); err != nil {
			return fmt.Errorf("compile kernels with a batch of %d sequences: %w", batch.rows, err)
		}
	}
	return nil
}

// warmRows has a number of sequences read some tokens and go on by two, one alone
// among them.
func (e *Engine) warmRows(ctx context.Context, rows, tokens int) error {
	var b backend.Batch
	defer func() {
		for i := range b.Spans {
			_ = e.kv.Free(b.Spans[i].Seq) // a failed engine has none
		}
	}()
	for range rows {
		id, err := e.kv.Reserve(tokens + 3)
		if err != nil {
			break // a small cache has no such batches
		}
		b.Spans = append(b.Spans, backend.Span{
			Seq: id, Tokens: make([]int32, tokens), Want: backend.LastLogits, Draw: &backend.Draw{TopP: 1, Logprobs: -1},
		})
	}
	for step := range 3 {
		started, err := e.Start(ctx, &b)
		if err == nil {
			err = started.Wait(ctx)
		}
		if err != nil {
			return err
		}
		for i := range b.Spans {
			sp := &b.Spans[i]
			sp.Pos, sp.Tokens = tokens+step, []int32{backend.Drawn}
		}
	}
	return nil
}

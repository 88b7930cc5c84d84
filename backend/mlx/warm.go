package mlx

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/inferflux/inferflux/backend"
)

// warm runs batches of every kind once. MLX and we compile kernels when they are
// first needed, for half a minute in all where none is cached on disk yet: better
// now than in somebody's request.
func (e *Engine) warm(ctx context.Context) error {
	slog.Info("preparing the GPU's kernels; where they were never compiled this takes half a minute", "model", e.config.Name)
	long := min(2*unpackAtCUDA+1, e.context-4, e.maxBatch)
	for _, rows := range []int{1, 9, 17, 32} {
		if err := e.warmRows(ctx, rows, max(1, min(long, e.maxBatch/rows))); err != nil {
			return fmt.Errorf("prepare kernels with a batch of %d sequences: %w", rows, err)
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

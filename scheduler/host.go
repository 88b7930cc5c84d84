package scheduler

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// host makes a starter of any engine: Start runs the batch, Wait chooses from its
// logits on the host.
type host struct {
	engine   backend.Engine
	vocab    int
	choosers []sample.Chooser // one for each core
	batch    *backend.Batch   // which Start ran
}

func newHost(e backend.Engine) *host {
	return &host{engine: e, vocab: e.Model().Vocab, choosers: make([]sample.Chooser, runtime.GOMAXPROCS(0))}
}

// Start implements starter.
func (h *host) Start(ctx context.Context, b *backend.Batch) (backend.Started, error) {
	if err := h.engine.Run(ctx, b); err != nil {
		return nil, err
	}
	h.batch = b
	return h, nil
}

// Wait implements backend.Started. It works on all cores: drawing from a large
// vocabulary takes a good part of a millisecond.
func (h *host) Wait(context.Context) error {
	spans, draws := h.batch.Spans, 0
	for i := range spans {
		if spans[i].Draw != nil {
			draws++
		}
	}
	if workers := min(len(h.choosers), draws); workers > 1 {
		h.share(workers, spans)
		return nil
	}
	for i := range spans {
		h.choose(&h.choosers[0], &spans[i])
	}
	return nil
}

func (h *host) share(workers int, spans []backend.Span) {
	var next atomic.Int64
	work := func(c *sample.Chooser) {
		for i := int(next.Add(1)) - 1; i < len(spans); i = int(next.Add(1)) - 1 {
			h.choose(c, &spans[i])
		}
	}
	var others sync.WaitGroup
	for i := range workers - 1 {
		others.Go(func() { work(&h.choosers[i+1]) })
	}
	work(&h.choosers[0])
	others.Wait()
}

// choose carries out a span's draw, if it has one.
func (h *host) choose(c *sample.Chooser, span *backend.Span) {
	defer func() {
		if r := recover(); r != nil {
			span.Err = &PanicError{r, debug.Stack()}
		}
	}()
	switch {
	case span.Draw == nil:
	case len(span.Logits) != 1 || len(span.Logits[0]) != h.vocab:
		span.Err = fmt.Errorf("the engine gave %d rows of logits instead of one of %d", len(span.Logits), h.vocab)
	default:
		span.Choice, span.Err = c.Choose(span.Draw, span.Logits[0])
	}
}

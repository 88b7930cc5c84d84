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

// device is a DeviceSampler whose draws of a kind that no device knows are carried out
// on the host.
type device struct {
	engine  backend.DeviceSampler
	chooser host // for its choosers
}

// Start implements starter.
func (d *device) Start(ctx context.Context, b *backend.Batch) (backend.Started, error) {
	var held []heldDraw
	for i := range b.Spans {
		if draw := b.Spans[i].Draw; draw != nil && draw.Shape != nil {
			held = append(held, heldDraw{i, draw})
			b.Spans[i].Draw = nil
		}
	}
	if held == nil {
		return d.engine.Start(ctx, b)
	}
	giveBack := func() {
		for _, h := range held {
			b.Spans[h.span].Draw = h.draw
		}
	}
	started, err := d.engine.Start(ctx, b)
	if err != nil {
		giveBack()
		return nil, err
	}
	return &shapedBatch{Started: started, d: d, b: b, held: held, giveBack: giveBack}, nil
}

type heldDraw struct {
	span int
	draw *backend.Draw
}

// shapedBatch is a batch under way of which some rows of logits come to the host.
type shapedBatch struct {
	backend.Started
	d        *device
	b        *backend.Batch
	held     []heldDraw
	giveBack func()
}

// Wait implements backend.Started.
func (s *shapedBatch) Wait(ctx context.Context) error {
	err := s.Started.Wait(ctx)
	s.giveBack()
	if err != nil {
		return err
	}
	for _, h := range s.held {
		s.d.chooser.choose(&s.d.chooser.choosers[0], &s.b.Spans[h.span])
	}
	return nil
}

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

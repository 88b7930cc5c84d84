package cpu

import (
	"errors"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/nn"
)

// broken is a model that asks for what can't be.
type broken struct {
	model.Model
	forward func(ops nn.Ops) nn.Tensor
}

func (b broken) Hidden(ops nn.Ops) nn.Tensor { return b.forward(ops) }

// TestEngineFails: a panic, in the model or on any thread, and operations that
// don't fit together are errors that wrap ErrEngineFailed, after which the
// engine says so again, and can be closed.
func TestEngineFails(t *testing.T) {
	for name, c := range map[string]struct {
		damage  func(e *Engine)
		forward func(ops nn.Ops) nn.Tensor
	}{
		"a panic on the threads":     {damage: func(e *Engine) { e.kv.arena = e.kv.arena[:0:0] }},
		"a panic in the model":       {forward: func(nn.Ops) nn.Tensor { panic("no such layer") }},
		"no hidden states":           {forward: func(nn.Ops) nn.Tensor { return nn.Tensor{} }},
		"a foreign tensor":           {forward: func(ops nn.Ops) nn.Tensor { return nn.Tensor{Ref: 7, Rows: 1, Cols: 1, Stride: 1} }},
		"hidden states of every row": {forward: func(ops nn.Ops) nn.Tensor { return ops.Embed(nn.Weight{Ref: 1}) }},
		"a foreign weight":           {forward: func(ops nn.Ops) nn.Tensor { return ops.Embed(nn.Weight{Ref: 1000}) }},
		"a vector as a matrix":       {forward: func(ops nn.Ops) nn.Tensor { return ops.Embed(nn.Weight{Ref: 2}) }},
		"a sum of different widths":  {forward: func(ops nn.Ops) nn.Tensor { x := ops.Embed(nn.Weight{Ref: 1}); return ops.Add(x, ops.Slice(x, 0, 3)) }},
		"columns past the end":       {forward: func(ops nn.Ops) nn.Tensor { return ops.Slice(ops.Embed(nn.Weight{Ref: 1}), 0, 1000) }},
		"attention of another shape": {forward: func(ops nn.Ops) nn.Tensor {
			x := ops.Embed(nn.Weight{Ref: 1})
			return ops.Attend(x, x, x, nn.Attention{Layer: 9, Heads: 1, KVHeads: 1, HeadDim: 32})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c0, err := gguf.Open("../../model/testdata/llama-gqa-tied.gguf")
			if err != nil {
				t.Fatal(err)
			}
			defer c0.Close()
			e, err := load(t.Context(), c0, backend.LoadOptions{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			arena := e.kv.arena
			defer func() { e.kv.arena = arena }()
			if c.damage != nil {
				c.damage(e)
			} else {
				e.model = broken{e.model, c.forward}
			}
			id, err := e.kv.Reserve(10)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				b := backend.Batch{Spans: []backend.Span{{Seq: id, Tokens: []int32{1, 2, 3}, Want: backend.AllLogits}}}
				if err := e.Run(t.Context(), &b); !errors.Is(err, backend.ErrEngineFailed) {
					t.Errorf("Run: %v, expected %v", err, backend.ErrEngineFailed)
				}
				if e.kv.Len(id) != 0 || len(b.Spans[0].Logits) != 0 {
					t.Errorf("%d positions, %d rows of logits after a failure", e.kv.Len(id), len(b.Spans[0].Logits))
				}
			}
		})
	}
}

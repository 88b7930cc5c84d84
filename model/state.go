package model

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/tensor"
)

// KVLayers numbers the layers that keep keys and values: of each layer its number among
// them, or -1. There are n.
func (c Config) KVLayers() (numbers []int, n int) {
	for _, s := range c.States {
		if s.Attends() {
			numbers = append(numbers, n)
			n++
		} else {
			numbers = append(numbers, -1)
		}
	}
	return numbers, n
}

// StateElements is how many elements a sequence's state has, in float32, beside its keys and
// values: those of convolutions and recurrences. 0: the model has no such layers.
func (c Config) StateElements() int {
	n := 0
	for _, s := range c.States {
		n += s.Conv + s.Matrix
	}
	return n
}

// KeepsConv reports whether a layer keeps so many elements of a convolution's inputs.
func (c Config) KeepsConv(layer, elements int) bool {
	return layer >= 0 && layer < len(c.States) && c.States[layer].Conv == elements
}

// KeepsMatrix reports whether a layer keeps so many elements of a recurrence.
func (c Config) KeepsMatrix(layer, elements int) bool {
	return layer >= 0 && layer < len(c.States) && c.States[layer].Matrix == elements
}

// readKVHeads reads the heads of keys and values. A GGUF file of a hybrid lists them by
// layer, 0 for those that don't attend.
func readKVHeads(p *Params, heads int) int {
	list, ok := p.c.Metadata().Ints(p.name(keyKVHeads))
	if !ok || p.Format() != checkpoint.GGUF {
		return p.IntOr(keyKVHeads, heads, 1, heads)
	}
	n := 0
	for _, v := range list {
		if v < 0 || v > heads || v != 0 && n != 0 && v != n {
			p.Fail("%s has the entry %d, expected the same number in all layers that attend, up to %d", p.name(keyKVHeads), v, heads)
			return 1
		}
		n = max(n, v)
	}
	return max(n, 1)
}

// attends reads which layers attend: from a GGUF file's heads by layer, or from layer_types,
// in which the others are called by one of the names.
func (d *decoder) attends(p *Params, others ...string) []bool {
	out := make([]bool, len(d.layers))
	fail := func(name string, n int) []bool {
		p.Fail("%s has %d entries for %d layers", name, n, len(d.layers))
		return out
	}
	if p.Format() == checkpoint.GGUF {
		list := p.Ints(keyKVHeads)
		if len(list) != len(out) {
			return fail(p.name(keyKVHeads), len(list))
		}
		for i, n := range list {
			out[i] = n > 0
		}
	} else if types := p.Strings(keyLayerTypes); len(types) == 0 && p.Has(keyAttnLayers) {
		for _, i := range p.Ints(keyAttnLayers) {
			if i < 0 || i >= len(out) {
				p.Fail("%s has the entry %d for %d layers", p.name(keyAttnLayers), i, len(out))
				continue
			}
			out[i] = true
		}
	} else {
		if len(types) != len(out) {
			return fail(p.name(keyLayerTypes), len(types))
		}
		for i, t := range types {
			out[i] = t == "full_attention" || t == "attention"
			if !out[i] && !slices.Contains(others, t) {
				p.Fail("%s has the entry %q, expected full_attention or %s", p.name(keyLayerTypes), t, others[0])
			}
		}
	}
	if !slices.Contains(out, true) {
		p.Fail("no layer attends: models of convolutions or recurrences alone are not supported")
	}
	return out
}

// Taps is the weights of a convolution of each column on its own, as nn.ShortConv has them.
// They are stored as [columns, width], perhaps with an axis of 1 between or after.
func (w *Weights) Taps(n Name, columns, width int) nn.Weight {
	name := n.in(w.c.Format(), w.layer)
	shape := []int{columns, width}
	if t, ok := w.c.Tensor(name); ok && len(t.Shape) == 3 {
		if shape = []int{columns, 1, width}; t.Shape[2] == 1 {
			shape = []int{columns, width, 1}
		}
	}
	t, ok := w.tensor(name, shape...)
	if !ok || w.l == nil || w.failed {
		return nn.Weight{}
	}
	return w.remade(t, func(values []float32) []float32 {
		taps := make([]float32, len(values))
		for c := range columns {
			for i := range width {
				taps[i*columns+c] = values[c*width+i]
			}
		}
		return taps
	})
}

// Mapped is Vector of one part with f applied to each element. It may be stored as a matrix of
// one column.
func (w *Weights) Mapped(f func(float32) float32, p Part) nn.Weight {
	name := p.Name.in(w.c.Format(), w.layer)
	shape := []int{p.Rows}
	if t, ok := w.c.Tensor(name); ok && len(t.Shape) == 2 {
		shape = []int{p.Rows, 1}
		if t.Shape[0] == 1 {
			shape = []int{1, p.Rows}
		}
	}
	t, ok := w.tensor(name, shape...)
	if !ok || w.l == nil || w.failed {
		return nn.Weight{}
	}
	return w.remade(t, func(values []float32) []float32 {
		for i, v := range values {
			values[i] = f(v)
		}
		return values
	})
}

// remade is the vector that f makes of a tensor's elements.
func (w *Weights) remade(t tensor.Tensor, f func([]float32) []float32) nn.Weight {
	values := make([]float32, t.Elems())
	if err := t.Dequantize(values, 0, t.Rows()); err != nil {
		return w.made(nn.Weight{}, fmt.Errorf("read %s: %w", t, err))
	}
	values = f(values)
	made := tensor.Tensor{Name: t.Name, Type: tensor.F32, Shape: []int{len(values)}}
	for _, v := range values {
		made.Data = binary.LittleEndian.AppendUint32(made.Data, math.Float32bits(v))
	}
	return w.made(w.l.Vector(made))
}

// rowRange is rows from to to of a stored matrix of so many rows.
type rowRange struct {
	name         Name
	of, from, to int
}

// LinearRows is one weight of rows of stored matrices, in the order given.
func (w *Weights) LinearRows(in int, ranges ...rowRange) nn.Weight {
	var parts []tensor.Tensor
	wrong := map[Name]bool{} // said once, not for each range
	for _, r := range ranges {
		if wrong[r.name] {
			continue
		}
		ts, ok := w.tensors(in, []Part{{r.name, r.of}})
		if !ok {
			wrong[r.name] = true
			continue
		}
		parts = append(parts, rowsOf(ts[0], r.from, r.to))
	}
	if len(wrong) > 0 || w.l == nil || w.failed {
		return nn.Weight{}
	}
	return w.made(w.l.Linear(parts...))
}

// rowsOf is rows from to to of a matrix, which has whole rows in Data.
func rowsOf(t tensor.Tensor, from, to int) tensor.Tensor {
	row := len(t.Data) / t.Shape[0]
	t.Data = t.Data[from*row : to*row : to*row]
	t.Shape = slices.Concat([]int{to - from}, t.Shape[1:])
	if t.Packed != nil {
		p := *t.Packed
		p.Scales = rowsOf(p.Scales, from, to)
		if p.Biases.Data != nil {
			p.Biases = rowsOf(p.Biases, from, to)
		}
		t.Packed = &p
	}
	return t
}

// Row is a weight [1, in] that may be stored as a vector.
func (w *Weights) Row(n Name, in int) nn.Weight {
	name := n.in(w.c.Format(), w.layer)
	shape := []int{1, in}
	if t, ok := w.c.Tensor(name); ok && len(t.Shape) == 1 {
		shape = shape[1:]
	}
	t, ok := w.tensor(name, shape...)
	if !ok || w.l == nil || w.failed {
		return nn.Weight{}
	}
	t.Shape = []int{1, in}
	return w.made(w.l.Linear(t))
}

package mlx

import (
	"math"
	"math/bits"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/mlx"
)

// build adds to the graph what chooses a token for each row of logits [n, vocab],
// of any float type. Nothing is computed yet. The results belong to s; what lies
// in between is let go of, so that MLX may reuse its memory.
func (d *drawer) build(s *mlx.Scope, logits mlx.Array, draws []*backend.Draw) (drawn, error) {
	g := s.Library().NewScope(s.Stream())
	defer g.Close()
	r := d.graph(g, logits, draws)
	if err := g.Err(); err != nil {
		return drawn{}, err
	}
	for _, a := range r.arrays() {
		s.Own(g.Keep(a))
	}
	return r, nil
}

func (d *drawer) graph(g *mlx.Scope, logits mlx.Array, draws []*backend.Draw) drawn {
	shape := d.lib.Shape(logits)
	if g.Err() != nil || len(shape) != 2 || shape[0] != len(draws) {
		return drawn{}
	}
	n, vocab := shape[0], shape[1]
	p := newRowParams(draws, vocab)
	r := drawn{vocab: vocab, padded: vocab}
	raw := logits
	block := blockSize(vocab)
	if p.logprobs || !p.greedy {
		r.padded = (vocab + block - 1) / block * block
		if r.padded > vocab {
			raw = g.Pad(raw, []int{1}, []int{0}, []int{r.padded - vocab}, g.Scalar(float32(math.Inf(-1)), d.lib.DType(raw)))
		}
	}

	x := raw
	if p.edits {
		x = g.AsType(x, mlx.Float32)
		tokens, divide, add := p.editArrays(g, draws, vocab)
		changed := d.stages.edit.on(g, g.TakeAlongAxis(x, tokens, 1), divide, add)
		x = g.PutAlongAxis(x, tokens, changed, 1)
	}
	x = d.stages.settle.on(g, x)
	if p.masks {
		words := d.maskArray(g, draws, r.padded)
		bits := d.stages.expand.on(g, g.ExpandDims(words, 2), d.shifts(g))
		bits = g.Reshape(bits, n, -1)
		if d.lib.Shape(words)[1]*32 != r.padded {
			bits = g.Slice(bits, []int{0, 0}, []int{n, r.padded})
		}
		x = d.stages.allow.on(g, bits, x)
	}

	if p.greedy {
		at := g.Argmax(x, 1, true)
		r.best = g.TakeAlongAxis(x, at, 1)
		r.ids = g.View(at, mlx.Int32)
	} else {
		r.best = g.Max(x, true, 1)
		r.ids = d.pick(g, d.weights(g, x, r.best, &p, block), &p, block)
	}
	if p.logprobs {
		settled := x
		if p.edits || p.masks {
			settled = d.stages.settle.on(g, raw)
		}
		r.chosen = g.TakeAlongAxis(settled, r.ids, 1)
		r.largest = g.Max(settled, true, 1)
		one, all := d.scalar(g, 1, mlx.Float32), d.scalar(g, reach, mlx.Float32)
		r.mass = g.Sum(d.stages.weigh.on(g, settled, r.largest, one, d.unit(g, r.padded), all), true, 1)
		if p.tops > 0 {
			r.top = d.largest(g, d.keys(g, g.AsType(raw, mlx.Float32)), min(powerOfTwo(p.tops), r.padded), block)
		}
	}
	r.ids = g.Reshape(r.ids, n)
	return r
}

// blockSize is how the vocabulary is cut for cumulative sums: a power of two that
// divides it, if there is a handy one.
func blockSize(vocab int) int {
	const smallest, largest, otherwise = 64, 512, 256
	if b := min(vocab&-vocab, largest); b >= smallest {
		return b
	}
	return otherwise
}

// weights are the tokens' weights in the draw, [n, padded] int64: exp of the
// distance to the best after temperature, in units; 0 for those left out.
func (d *drawer) weights(g *mlx.Scope, x, best mlx.Array, p *rowParams, block int) mlx.Array {
	if g.Err() != nil {
		return mlx.Array{}
	}
	padded := d.lib.Shape(x)[1]
	inverse, limit, unit := column(g, p.inverse), column(g, p.limit), d.unit(g, padded)
	if !p.topKs && !p.topPs {
		return d.stages.weigh.on(g, x, best, inverse, unit, limit)
	}
	keys := d.keys(g, x)
	count := min(powerOfTwo(p.largest), padded)
	sorted := d.largest(g, keys, count, block)
	kept := make([]int32, p.n)
	for i, k := range p.topK {
		kept[i] = min(max(k, 1), int32(count))
	}
	keptArray := g.FromInt32s(kept, p.n, 1)
	if p.topPs {
		keptArray = d.nucleus(g, sorted, best, inverse, unit, keptArray, p, count)
	}
	least := g.TakeAlongAxis(sorted, d.stages.fromEnd.on(g, keptArray, d.scalar(g, float32(count), mlx.Int32)), 1)
	return d.stages.weighKept.on(g, x, best, inverse, unit, limit, keys, least, column(g, p.keep))
}

// nucleus is how many of the largest tokens top-p keeps, [n, 1] int32: of the
// first kept of sorted [n, count] keys, those before which less than a part p of
// their weight lies.
func (d *drawer) nucleus(g *mlx.Scope, sorted, best, inverse, unit, kept mlx.Array, p *rowParams, count int) mlx.Array {
	rank := d.descending(g, count, mlx.Int32)
	y := g.View(d.stages.logitBits.on(g, sorted), mlx.Float32)
	w := d.stages.weighRanked.on(g, y, best, inverse, unit, rank, kept)
	high, low := p.topP.upload(g)
	want := d.stages.part.on(g, g.Sum(w, true, 1), high, low)
	above := g.Cumsum(w, 1, true, false)
	return g.Sum(d.stages.inNucleus.on(g, above, want, rank, kept), true, 1)
}

// pick draws ids [n, 1] by weights [n, padded]: the first token at which the
// cumulative weight exceeds the row's share of the whole. It looks for the block
// first, then inside.
func (d *drawer) pick(g *mlx.Scope, w mlx.Array, p *rowParams, block int) mlx.Array {
	if g.Err() != nil {
		return mlx.Array{}
	}
	n, blocks := p.n, d.lib.Shape(w)[1]/block
	w = g.Reshape(w, n, blocks, block)
	sums := g.Sum(w, false, 2)
	before := g.Cumsum(sums, 1, false, false)
	last := func(a mlx.Array) mlx.Array { return g.Slice(a, []int{0, blocks - 1}, []int{n, blocks}) }
	high, low := p.uniform.upload(g)
	target := d.stages.part.on(g, g.Add(last(before), last(sums)), high, low)
	at := g.Argmax(d.stages.past.on(g, before, sums, target, d.scalar(g, 0, mlx.Int64)), 1, true)

	passed := g.TakeAlongAxis(before, at, 1)
	w = g.Reshape(g.TakeAlongAxis(w, g.ExpandDims(at, 2), 1), n, block)
	before = g.Cumsum(w, 1, false, false)
	place := g.Argmax(d.stages.past.on(g, before, w, target, passed), 1, true)
	return d.stages.join.on(g, at, place, d.scalar(g, float32(block), mlx.Uint32))
}

// keys are numbers in the order of the tokens' ranks, [n, padded] int64: by logit,
// and among equals the lowest id first. The upper half is made of the logit's
// bits, NaN lowest of all; the lower is padded-1-id.
func (d *drawer) keys(g *mlx.Scope, x mlx.Array) mlx.Array {
	if g.Err() != nil {
		return mlx.Array{}
	}
	return d.stages.order.on(g, x, g.View(x, mlx.Int32), d.descending(g, d.lib.Shape(x)[1], mlx.Int64))
}

// splitKey is a key's logit and token.
func splitKey(key int64, padded int) (x float32, id int) {
	id = padded - 1 - int(uint32(key))
	k := int32(key >> 32)
	if k == math.MinInt32 {
		return float32(math.NaN()), id
	}
	if k < 0 {
		k = math.MinInt32 - k
	}
	return math.Float32frombits(uint32(k)), id
}

// largest is the count largest keys, [n, count], ascending. They lie in the count
// blocks with the largest heads, so that only those need sorting.
func (d *drawer) largest(g *mlx.Scope, keys mlx.Array, count, block int) mlx.Array {
	shape := d.lib.Shape(keys)
	if g.Err() != nil {
		return mlx.Array{}
	}
	n, blocks := shape[0], shape[1]/block
	tail := func(a mlx.Array, size int) mlx.Array {
		if size == count {
			return a
		}
		return g.Slice(a, []int{0, size - count}, []int{n, size})
	}
	if 2*count > blocks {
		return tail(g.Sort(keys, 1), shape[1])
	}
	keys = g.Reshape(keys, n, blocks, block)
	heads := tail(g.Sort(g.Max(keys, false, 2), 1), blocks)
	at := d.stages.blockOf.on(g, heads, d.scalar(g, float32(bits.Len(uint(block))-1), mlx.Uint32), d.scalar(g, float32(blocks-1), mlx.Uint32))
	keys = g.Reshape(g.TakeAlongAxis(keys, g.ExpandDims(at, 2), 1), n, count*block)
	return tail(g.Sort(keys, 1), count*block)
}

// constant names an array that never changes.
type constant struct {
	kind  string
	value float32
	count int
	dtype mlx.DType
}

func (d *drawer) constant(g *mlx.Scope, c constant, make func() mlx.Array) mlx.Array {
	a, ok := d.constants[c]
	if !ok && g.Err() == nil {
		if a = make(); g.Err() == nil {
			d.constants[c] = g.Keep(a)
		}
	}
	return a
}

func (d *drawer) scalar(g *mlx.Scope, x float32, t mlx.DType) mlx.Array {
	return d.constant(g, constant{kind: "scalar", value: x, dtype: t}, func() mlx.Array { return g.Scalar(x, t) })
}

// unit is the weight of the best token, in units.
func (d *drawer) unit(g *mlx.Scope, padded int) mlx.Array {
	return d.scalar(g, unit(padded), mlx.Float32)
}

// descending is …, 1, 0 [count].
func (d *drawer) descending(g *mlx.Scope, count int, t mlx.DType) mlx.Array {
	return d.constant(g, constant{kind: "descending", count: count, dtype: t}, func() mlx.Array {
		return g.Arange(float64(count-1), -1, -1, t)
	})
}

// shifts is 0 to 31, uint32.
func (d *drawer) shifts(g *mlx.Scope) mlx.Array {
	return d.constant(g, constant{kind: "shifts"}, func() mlx.Array { return g.Arange(0, 32, 1, mlx.Uint32) })
}

package mlx

import (
	"math"
	"slices"

	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
)

// Attend implements nn.Ops.
func (s *step) Attend(q, k, v nn.Tensor, a nn.Attention) nn.Tensor {
	if s.value(q) == nil || s.value(k) == nil || s.value(v) == nil {
		return nn.Tensor{}
	}
	kv := s.e.kv.shape
	if a.Layer < 0 || a.Layer >= len(s.e.kv.layers) || s.e.kv.layers[a.Layer] < 0 {
		return s.fail("attention of layer %d, which keeps no keys and values", a.Layer)
	}
	a.Layer = s.e.kv.layers[a.Layer]
	if a.KVHeads != kv.heads || a.HeadDim != kv.headDim || a.Heads%a.KVHeads != 0 ||
		q.Cols != a.Heads*a.HeadDim || k.Cols != a.KVHeads*a.HeadDim || v.Cols != k.Cols ||
		q.Rows != len(s.Tokens) || k.Rows != q.Rows || v.Rows != q.Rows {
		return s.fail("attention %+v of q [%d, %d], k [%d, %d], v [%d, %d]", a, q.Rows, q.Cols, k.Rows, k.Cols, v.Rows, v.Cols)
	}
	if err := s.breathe(q); err != nil {
		if s.err == nil {
			s.err = err
		}
		return nn.Tensor{}
	}
	if y, ok := s.attendFused(q, k, v, a); ok {
		return s.computed(allRows, y, q.Cols)
	}
	s.generic = true
	qa, ok1 := s.array(q)
	ka, ok2 := s.array(k)
	va, ok3 := s.array(v)
	if !ok1 || !ok2 || !ok3 {
		return nn.Tensor{}
	}
	n := len(s.Tokens)
	qh := s.g.Reshape(qa, n, a.Heads, a.HeadDim)
	kh := s.g.Reshape(ka, n, a.KVHeads, a.HeadDim)
	vh := s.g.Reshape(va, n, a.KVHeads, a.HeadDim)
	s.append(a.Layer, kh, vh)
	return s.computed(allRows, s.attendSpans(qh, kh, vh, a, s.attendGathered), q.Cols)
}

// attendSpans puts the output of all rows together, [rows, heads·head_dim]: of the
// rows that attend one by one, by short, and of the long spans.
func (s *step) attendSpans(q, k, v mlx.Array, a nn.Attention, short func(q mlx.Array, a nn.Attention) mlx.Array) mlx.Array {
	n, width := len(s.Tokens), a.Heads*a.HeadDim
	if len(s.prefill) == 0 {
		return s.g.Reshape(short(q, a), n, width)
	}
	// The short spans' rows come first, then those of each long one.
	order := make([]int32, n)
	var parts []mlx.Array
	at := 0
	if rows := s.decode.rows; len(rows) > 0 {
		parts = append(parts, s.g.Reshape(short(s.g.Take(q, s.decodeRows(), 0), a), len(rows), width))
		for _, row := range rows {
			order[row] = int32(at)
			at++
		}
	}
	sorted := true
	for i := range s.prefill {
		p := &s.prefill[i]
		parts = append(parts, s.attendLong(p, q, k, v, a))
		for row := p.from; row < p.to; row++ {
			order[row] = int32(at)
			at++
		}
	}
	for row, at := range order {
		sorted = sorted && int(at) == row
	}
	if len(parts) == 1 {
		return parts[0]
	}
	y := s.g.Concatenate(parts, 0)
	if !sorted {
		y = s.g.Take(y, s.g.FromInt32s(order, n), 0)
	}
	return y
}

// decodeRows is the rows that attend one by one, as an index.
func (s *step) decodeRows() mlx.Array {
	return s.g.FromInt32s(s.decode.rows, len(s.decode.rows))
}

// append writes keys and values [rows, kv_heads, head_dim] to the layer's pools.
func (s *step) append(layer int, k, v mlx.Array) {
	n := len(s.Tokens)
	if s.places.IsZero() {
		at := make([]int32, n)
		for row, p := range s.Positions {
			at[row] = slot(s.Seqs[s.Owner[row]].Pages, int(p))
		}
		s.places = s.g.FromInt32s(at, n)
	}
	kv := s.e.kv.shape
	put := func(pool, x mlx.Array) mlx.Array {
		x = s.g.Reshape(s.g.AsType(x, s.e.kv.dtype), n, 1, kv.heads, kv.headDim)
		return s.g.Scatter(pool, []mlx.Array{s.places}, x, []int{0})
	}
	s.setPools(layer, put(s.e.kv.keys[layer], k), put(s.e.kv.values[layer], v))
}

// attendGathered is attention of the rows that attend one by one, q [rows, heads,
// head_dim], over copies of their sequences' keys and values, padded to the
// longest and masked.
func (s *step) attendGathered(q mlx.Array, a nn.Attention) mlx.Array {
	g := &s.decode
	rows, length := len(g.rows), roundUp(g.length, gatherStep)
	if g.index.IsZero() {
		at := make([]int32, 0, rows*length)
		for _, row := range g.rows {
			at = slots(at, s.Seqs[s.Owner[row]].Pages, 0, int(s.Positions[row])+1)
			for len(at)%length != 0 {
				at = append(at, at[len(at)-1]) // masked
			}
		}
		g.index = s.g.FromInt32s(at, rows*length)
	}
	mask := g.masks.get(a.Window, func() mlx.Array {
		at := s.g.Take(s.positions(), s.decodeRows(), 0)
		return s.g.Reshape(s.hidden(at, rows, 0, length, a.Window), rows, 1, 1, length)
	})
	gather := func(pool mlx.Array) mlx.Array {
		x := s.g.AsType(s.g.Take(pool, g.index, 0), s.e.dtype)
		return s.g.Transpose(s.g.Reshape(x, rows, length, a.KVHeads, a.HeadDim), 0, 2, 1, 3)
	}
	q = s.g.Reshape(q, rows, a.Heads, 1, a.HeadDim)
	k, v := gather(s.e.kv.keys[a.Layer]), gather(s.e.kv.values[a.Layer])
	return s.softmaxAttention(q, k, v, a, mask, false)
}

// gatherStep is what lengths of gathered keys are rounded up to, so that shapes
// change seldom.
const gatherStep = 64

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// hidden is what is added to the scores of n queries at positions, [n] int32, for
// keys at length positions from one on: [n, length], minus infinity for keys that
// come later or lie before the window.
func (s *step) hidden(positions mlx.Array, n, from, length, window int) mlx.Array {
	q := s.g.Reshape(positions, n, 1)
	k := s.g.Reshape(s.g.Arange(float64(from), float64(from+length), 1, mlx.Int32), 1, length)
	sees := s.g.LessEqual(k, q)
	if window > 0 {
		start := s.g.Subtract(q, s.g.FromInt32s([]int32{int32(window)}, 1))
		sees = s.g.LogicalAnd(sees, s.g.Greater(k, start))
	}
	return s.g.Where(sees, s.g.Scalar(0, s.e.dtype), s.g.Scalar(float32(math.Inf(-1)), s.e.dtype))
}

// attendLong is attention of one long span, whose keys and values follow what its
// sequence has in the pools already.
func (s *step) attendLong(p *prefill, q, k, v mlx.Array, a nn.Attention) mlx.Array {
	n, past := p.to-p.from, int(s.Positions[p.from])
	first := 0 // the first position that a query sees
	if a.Window > 0 {
		first = max(0, past-a.Window+1)
	}
	cut := func(x mlx.Array, heads int) mlx.Array {
		return s.g.Slice(x, []int{p.from, 0, 0}, []int{p.to, heads, a.HeadDim})
	}
	history := p.history(s, first, past)
	// Rows of zeros after the end keep the number of different shapes small. A
	// causal mask hides them from all queries but their own.
	padded := n
	if s.e.device.Type == mlx.GPU {
		padded = roundUp(n, gatherStep)
	}
	pad := func(x mlx.Array) mlx.Array {
		if padded == n {
			return x
		}
		return s.g.Pad(x, []int{0}, []int{0}, []int{padded - n}, s.g.Scalar(0, s.e.dtype))
	}
	whole := func(pool, x mlx.Array) mlx.Array {
		x = pad(cut(x, a.KVHeads))
		if !history.IsZero() {
			x = s.g.Concatenate([]mlx.Array{s.g.AsType(s.g.Take(pool, history, 0), s.e.dtype), x}, 0)
		}
		return s.g.Transpose(s.g.Reshape(x, 1, past-first+padded, a.KVHeads, a.HeadDim), 0, 2, 1, 3)
	}
	qt := s.g.Transpose(s.g.Reshape(pad(cut(q, a.Heads)), 1, padded, a.Heads, a.HeadDim), 0, 2, 1, 3)
	kt, vt := whole(s.e.kv.keys[a.Layer], k), whole(s.e.kv.values[a.Layer], v)
	var mask mlx.Array
	causal := a.Window == 0 || past+n <= a.Window
	if !causal || a.SoftCap > 0 {
		causal = false
		mask = p.masks.get(a.Window, func() mlx.Array {
			at := s.g.Arange(float64(past), float64(past+padded), 1, mlx.Int32)
			return s.g.Reshape(s.hidden(at, padded, first, past-first+padded, a.Window), 1, 1, padded, past-first+padded)
		})
	}
	y := s.softmaxAttention(qt, kt, vt, a, mask, causal)
	y = s.g.Reshape(s.g.Transpose(y, 0, 2, 1, 3), padded, a.Heads*a.HeadDim)
	if padded > n {
		y = s.g.Slice(y, []int{0, 0}, []int{n, a.Heads * a.HeadDim})
	}
	return y
}

// history is the places of the positions from first to past, for all layers that
// begin there.
func (p *prefill) history(s *step, first, past int) mlx.Array {
	if first == past {
		return mlx.Array{}
	}
	return p.histories.get(first, func() mlx.Array {
		return s.g.FromInt32s(slots(nil, s.Seqs[s.Owner[p.from]].Pages, first, past), past-first)
	})
}

// byNumber are arrays by a number that they are made from, made once a step for all
// layers that need them.
type byNumber struct {
	numbers []int
	arrays  []mlx.Array
}

func (m *byNumber) get(number int, build func() mlx.Array) mlx.Array {
	if i := slices.Index(m.numbers, number); i >= 0 {
		return m.arrays[i]
	}
	m.numbers, m.arrays = append(m.numbers, number), append(m.arrays, build())
	return m.arrays[len(m.arrays)-1]
}

// softmaxAttention is q [b, heads, n, head_dim] over k and v [b, kv_heads, m,
// head_dim], with a mask that is added to the scores, or a causal one that lets
// the last query see everything.
func (s *step) softmaxAttention(q, k, v mlx.Array, a nn.Attention, mask mlx.Array, causal bool) mlx.Array {
	if a.SoftCap > 0 {
		return s.cappedAttention(q, k, v, a, mask)
	}
	mode := "array"
	if causal {
		mode = "causal"
	}
	return s.g.ScaledDotProductAttention(q, k, v, a.Scale, mode, mask, s.sinks(a))
}

// sinks are an attention's, or zero.
func (s *step) sinks(a nn.Attention) mlx.Array {
	if !a.Sinks.Present() {
		return mlx.Array{}
	}
	p := s.weight(a.Sinks, false)
	if p == nil {
		return mlx.Array{}
	}
	if p.rows != a.Heads || a.SoftCap > 0 {
		s.fail("%d sinks of %d heads, scores capped at %g", p.rows, a.Heads, a.SoftCap)
	}
	return s.g.AsType(p.vector, s.e.dtype)
}

// cappedAttention is attention whose scores become cap·tanh(score/cap), for which
// MLX has no kernel.
func (s *step) cappedAttention(q, k, v mlx.Array, a nn.Attention, mask mlx.Array) mlx.Array {
	shape := s.lib.Shape(q)
	group := a.Heads / a.KVHeads
	q = s.g.Reshape(s.g.Multiply(q, s.g.Scalar(a.Scale/a.SoftCap, s.e.dtype)), shape[0], a.KVHeads, group, shape[2], a.HeadDim)
	k, v = s.g.ExpandDims(k, 2), s.g.ExpandDims(v, 2)
	scores := s.g.Matmul(q, s.g.SwapAxes(k, 3, 4))
	scores = s.g.Multiply(s.g.Tanh(scores), s.g.Scalar(a.SoftCap, s.e.dtype))
	scores = s.g.Add(scores, s.g.ExpandDims(mask, 2))
	y := s.g.Matmul(s.g.Softmax(scores, -1, true), v)
	return s.g.Reshape(y, shape[0], a.Heads, shape[2], a.HeadDim)
}

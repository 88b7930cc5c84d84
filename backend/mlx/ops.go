package mlx

import (
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
)

var _ nn.Ops = (*step)(nil)

// weight finds a weight of the engine.
func (s *step) weight(w nn.Weight, matrix bool) *weight {
	if s.err != nil {
		return nil
	}
	if w.Ref < 1 || w.Ref > len(s.e.weights) {
		s.fail("weight %d is not of this engine", w.Ref)
		return nil
	}
	p := &s.e.weights[w.Ref-1]
	if (p.segments != nil) != matrix || p.experts != nil {
		s.fail("weight %d [%d, %d] is used as what it isn't", w.Ref, w.Out, w.In)
		return nil
	}
	return p
}

// Embed implements nn.Ops.
func (s *step) Embed(w nn.Weight) nn.Tensor {
	p := s.weight(w, true)
	if p == nil {
		return nn.Tensor{}
	}
	if len(p.segments) != 1 {
		return s.fail("an embedding in %d parts", len(p.segments))
	}
	m, ids := &p.segments[0], s.ids()
	if !m.quantized() {
		return s.computed(allRows, s.g.Take(m.w, ids, 0), p.cols)
	}
	biases := mlx.Array{}
	if !m.biases.IsZero() {
		biases = s.g.Take(m.biases, ids, 0)
	}
	rows := s.g.Dequantize(s.g.Take(m.w, ids, 0), s.g.Take(m.scales, ids, 0), biases, m.how.Group, m.how.Bits, m.how.Mode, s.e.dtype)
	return s.computed(allRows, rows, p.cols)
}

// Linear implements nn.Ops.
func (s *step) Linear(x nn.Tensor, w, b nn.Weight) nn.Tensor {
	a, ok := s.array(x)
	p := s.weight(w, true)
	if !ok || p == nil {
		return nn.Tensor{}
	}
	if x.Cols != p.cols {
		return s.fail("a product of %d columns with a weight of %d", x.Cols, p.cols)
	}
	set := s.values[x.Ref-1].set
	if len(p.segments) == 1 && !b.Present() && s.takesFew(&p.segments[0], x.Rows, p.cols) {
		return s.put(value{set: set, cols: p.rows, factor: a, weight: &p.segments[0]})
	}
	var parts [4]mlx.Array
	out := parts[:0]
	for i := range p.segments {
		m := &p.segments[i]
		switch {
		case m.quantized() && x.Rows >= s.e.unpackAt:
			w := s.g.Dequantize(m.w, m.scales, m.biases, m.how.Group, m.how.Bits, m.how.Mode, s.e.dtype)
			out = append(out, s.g.Matmul(a, s.g.Transpose(w, 1, 0)))
		case m.quantized():
			out = append(out, s.g.QuantizedMatmul(a, m.w, m.scales, m.biases, true, m.how.Group, m.how.Bits, m.how.Mode))
		default:
			out = append(out, s.g.Matmul(a, m.transposed))
		}
	}
	y := out[0]
	if len(out) > 1 {
		y = s.g.Concatenate(out, 1)
	}
	if b.Present() {
		bias := s.weight(b, false)
		if bias == nil {
			return nn.Tensor{}
		}
		if bias.rows != p.rows {
			return s.fail("a bias of %d for %d columns", bias.rows, p.rows)
		}
		y = s.g.Add(y, bias.vector)
	}
	return s.computed(set, y, p.rows)
}

// RMSNorm implements nn.Ops. A norm of single heads, or of a part of a product, which may
// be its only head of keys, is only noted.
func (s *step) RMSNorm(x nn.Tensor, w nn.Weight, eps float32) nn.Tensor {
	v, p := s.value(x), s.weight(w, false)
	if v == nil || p == nil {
		return nn.Tensor{}
	}
	if p.rows == 0 || x.Cols%p.rows != 0 {
		return s.fail("a norm of %d weights on %d columns", p.rows, x.Cols)
	}
	set := v.set
	if p.rows < x.Cols || x.Cols < v.cols {
		return s.put(value{set: set, cols: x.Cols, src: x, headDim: p.rows, norm: p, eps: eps})
	}
	if y, ok := s.addNorm(v, x, p, eps); ok {
		return s.computed(set, y, x.Cols)
	}
	a, _ := s.array(x)
	return s.computed(set, s.g.RMSNorm(a, p.vector, eps), x.Cols)
}

// LayerNorm implements nn.Ops.
func (s *step) LayerNorm(x nn.Tensor, w, b nn.Weight, eps float32) nn.Tensor {
	a, ok := s.array(x)
	p := s.weight(w, false)
	if !ok || p == nil {
		return nn.Tensor{}
	}
	var bias mlx.Array
	if b.Present() {
		q := s.weight(b, false)
		if q == nil {
			return nn.Tensor{}
		}
		if q.rows != x.Cols {
			return s.fail("a norm's bias of %d for %d columns", q.rows, x.Cols)
		}
		bias = q.vector
	}
	if p.rows != x.Cols {
		return s.fail("a layer norm of %d weights on %d columns", p.rows, x.Cols)
	}
	return s.computed(s.values[x.Ref-1].set, s.g.LayerNorm(a, p.vector, bias, eps), x.Cols)
}

// Add implements nn.Ops. The sum is only noted: a norm may follow.
func (s *step) Add(a, b nn.Tensor) nn.Tensor {
	x, ok1 := s.array(a)
	y, ok2 := s.array(b)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	set := s.values[a.Ref-1].set
	if a.Cols != b.Cols || set != s.values[b.Ref-1].set {
		return s.fail("a sum of [%d, %d] and [%d, %d]", a.Rows, a.Cols, b.Rows, b.Cols)
	}
	return s.put(value{set: set, cols: a.Cols, sum: [2]mlx.Array{x, y}})
}

// Scale implements nn.Ops.
func (s *step) Scale(x nn.Tensor, f float32) nn.Tensor {
	a, ok := s.array(x)
	if !ok {
		return nn.Tensor{}
	}
	return s.computed(s.values[x.Ref-1].set, s.g.Multiply(a, s.g.Scalar(f, s.e.dtype)), x.Cols)
}

// ScaleByPosition implements nn.Ops. What it returns is no part of a product any more, which
// takes the attention that reads it off our own kernels.
func (s *step) ScaleByPosition(x nn.Tensor, slope float32, length int) nn.Tensor {
	a, ok := s.array(x)
	if !ok {
		return nn.Tensor{}
	}
	if s.values[x.Ref-1].set != allRows || length < 1 {
		return s.fail("a scale that grows by %g with every %d positions of %d rows", slope, length, x.Rows)
	}
	times := s.g.FloorDivide(s.positions(), s.g.FromInt32s([]int32{int32(length)}, 1))
	growth := s.g.Multiply(s.g.Log1p(s.g.AsType(times, mlx.Float32)), s.g.Scalar(slope, mlx.Float32))
	factor := s.g.AsType(s.g.Add(growth, s.g.Scalar(1, mlx.Float32)), s.e.dtype)
	return s.computed(allRows, s.g.Multiply(a, s.g.Reshape(factor, x.Rows, 1)), x.Cols)
}

// SoftCap implements nn.Ops.
func (s *step) SoftCap(x nn.Tensor, bound float32) nn.Tensor {
	a, ok := s.array(x)
	if !ok {
		return nn.Tensor{}
	}
	capped := s.g.Tanh(s.g.Multiply(a, s.g.Scalar(1/bound, s.e.dtype)))
	return s.computed(s.values[x.Ref-1].set, s.g.Multiply(capped, s.g.Scalar(bound, s.e.dtype)), x.Cols)
}

// Activate implements nn.Ops.
func (s *step) Activate(x nn.Tensor, act nn.Activation) nn.Tensor {
	a, ok := s.array(x)
	if !ok {
		return nn.Tensor{}
	}
	if int(act) >= len(s.e.gated) {
		return s.fail("activation %d", act)
	}
	return s.computed(s.values[x.Ref-1].set, s.e.gated[act].act(s.g, a), x.Cols)
}

// Gated implements nn.Ops.
func (s *step) Gated(x nn.Tensor, act nn.Activation) nn.Tensor {
	v := s.value(x)
	if v == nil {
		return nn.Tensor{}
	}
	if x.Cols%2 != 0 || int(act) >= len(s.e.gated) {
		return s.fail("gated activation %d of %d columns", act, x.Cols)
	}
	n := x.Cols / 2
	if v.weight != nil && v.array.IsZero() && x.Cols == v.cols && act == nn.SiLU {
		return s.computed(v.set, s.fewRows(v.factor, x.Rows, v.weight, true), n)
	}
	a, ok := s.array(x)
	if !ok {
		return nn.Tensor{}
	}
	gate := s.g.Slice(a, []int{0, 0}, []int{x.Rows, n})
	up := s.g.Slice(a, []int{0, n}, []int{x.Rows, 2 * n})
	return s.computed(s.values[x.Ref-1].set, s.e.gated[act].on(s.g, gate, up, s.recording), n)
}

// Slice implements nn.Ops. Nothing is copied.
func (s *step) Slice(x nn.Tensor, from, to int) nn.Tensor {
	if s.value(x) == nil {
		return nn.Tensor{}
	}
	if from < 0 || to < from || to > x.Cols {
		return s.fail("columns %d to %d of %d", from, to, x.Cols)
	}
	x.Off, x.Cols = x.Off+from, to-from
	return x
}

// Rope implements nn.Ops. The rotation is only noted.
func (s *step) Rope(x nn.Tensor, headDim int, r *nn.Rope) nn.Tensor {
	v := s.value(x)
	if v == nil {
		return nn.Tensor{}
	}
	if v.set != allRows || headDim < 1 || x.Cols%headDim != 0 || r.Dims > headDim || r.Dims != 2*len(r.InvFreq) {
		return s.fail("rotary positions of %d elements in heads of %d in %d columns", r.Dims, headDim, x.Cols)
	}
	return s.put(value{set: allRows, cols: x.Cols, src: x, headDim: headDim, rope: r})
}

// Wanted implements nn.Ops.
func (s *step) Wanted(x nn.Tensor) nn.Tensor {
	a, ok := s.array(x)
	if !ok {
		return nn.Tensor{}
	}
	if s.values[x.Ref-1].set != allRows {
		return x
	}
	switch n := len(s.Kept); {
	case n == 0:
		a = s.g.Slice(a, []int{0, 0}, []int{1, x.Cols})
	case n < len(s.Tokens): // else all rows are wanted, in order
		a = s.g.Take(a, s.g.FromInt32s(s.Kept, n), 0)
	}
	return s.computed(wantedRows, a, x.Cols)
}

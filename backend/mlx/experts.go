package mlx

import (
	"fmt"

	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/tensor"
)

// expertWeight is the matrices of a mixture's experts, all stored in one way.
type expertWeight struct {
	segment // w [count, rows, cols], or packed; transposed is [count, cols, rows]
	count   int
}

// Experts implements nn.Loader.
func (l *loader) Experts(parts [][]tensor.Tensor) (nn.Weight, error) {
	if len(parts) == 0 || len(parts[0]) == 0 {
		return nn.Weight{}, fmt.Errorf("a mixture of no experts in %s", l.c.Path())
	}
	var all []tensor.Tensor
	for _, p := range parts {
		all = append(all, p...)
	}
	w := weight{cols: all[0].Cols()}
	err := l.scoped(func(g *mlx.Scope) error {
		var made []segment
		rows := 0
		for _, t := range all {
			m, err := l.segments(g, t)
			if err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
			made = append(made, m...)
			rows += t.Rows()
		}
		for i := range made {
			if made[i].alike(&made[0]) {
				continue
			}
			// One product reads them all: those of a mixed kind become dense.
			for j := range made {
				l.unpack(g, &made[j])
			}
			break
		}
		if rows%len(parts) != 0 {
			return fmt.Errorf("%d rows of %d experts, the first of them %s", rows, len(parts), all[0])
		}
		w.rows = rows / len(parts)
		m := &expertWeight{segment: l.join(g, made), count: len(parts)}
		each := func(a mlx.Array) mlx.Array {
			if a.IsZero() {
				return a
			}
			return g.Reshape(a, m.count, w.rows, l.e.lib.Shape(a)[1])
		}
		m.w, m.scales, m.biases = each(m.w), each(m.scales), each(m.biases)
		if !m.quantized() {
			m.transposed = g.Transpose(m.w, 0, 2, 1)
		}
		m.rows, w.experts = w.rows, m
		arrays := m.arrays()
		if !g.Eval(arrays...) {
			return g.Err()
		}
		for _, a := range arrays {
			g.Keep(a)
		}
		return nil
	})
	if err != nil {
		return nn.Weight{}, err
	}
	return l.add(w, all), nil
}

// unpack makes a segment dense.
func (l *loader) unpack(g *mlx.Scope, m *segment) {
	if m.quantized() {
		m.w = g.Dequantize(m.w, m.scales, m.biases, m.how.Group, m.how.Bits, m.how.Mode, l.e.dtype)
		m.scales, m.biases, m.how = mlx.Array{}, mlx.Array{}, quantization{}
	}
	m.w = g.AsType(m.w, l.e.dtype)
}

// sortPairs is from how many pairs of a row and an expert on they are sorted by expert, so
// that each expert's matrix is read once.
const sortPairs = 64

// Experts implements nn.Ops. The choice is made on the device: a graph doesn't depend on
// it, and may be recorded.
func (s *step) Experts(x, logits nn.Tensor, m *nn.Experts) nn.Tensor {
	a, ok1 := s.array(x)
	l, ok2 := s.array(logits)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	up, down := s.expertsOf(m.Up, m.Count, x.Cols), s.expertsOf(m.Down, m.Count, m.Up.Out/2)
	if up == nil || down == nil {
		return nn.Tensor{}
	}
	set := s.values[x.Ref-1].set
	if m.Used < 1 || m.Used > m.Count || logits.Cols != m.Count || s.values[logits.Ref-1].set != set || up.rows%2 != 0 || int(m.Act) >= len(s.e.gated) && m.Act != nn.ClampedSwiGLU {
		return s.fail("%d of %d experts chosen by [%d, %d]", m.Used, m.Count, logits.Rows, logits.Cols)
	}
	chosen, shares := s.choose(l, x.Rows, m)
	if s.err != nil {
		return nn.Tensor{}
	}
	pairs, ffn := x.Rows*m.Used, up.rows/2
	sorted := pairs >= sortPairs
	index := s.g.Reshape(chosen, pairs)
	from := s.g.FloorDivide(s.g.Arange(0, float64(pairs), 1, mlx.Int32), s.g.FromInt32s([]int32{int32(m.Used)}, 1))
	var back mlx.Array
	if sorted {
		order := s.g.ArgSort(index, 0)
		back = s.g.ArgSort(order, 0)
		index, from = s.g.Take(index, order, 0), s.g.Take(from, order, 0)
	}
	y := s.g.Reshape(s.g.Take(a, from, 0), pairs, 1, x.Cols)
	y = s.mulExperts(y, up.experts, index, sorted)
	y = s.addBias(y, m.UpBias, index, m.Count, up.rows)
	gate := s.g.Slice(y, []int{0, 0, 0}, []int{pairs, 1, ffn})
	rest := s.g.Slice(y, []int{0, 0, ffn}, []int{pairs, 1, 2 * ffn})
	act := m.Act
	if act == nn.ClampedSwiGLU {
		act, gate, rest = nn.SiLU, s.clampGate(gate), s.clampUp(rest)
	}
	y = s.mulExperts(s.e.gated[act].on(s.g, gate, rest, s.recording), down.experts, index, sorted)
	y = s.g.Reshape(s.addBias(y, m.DownBias, index, m.Count, down.rows), pairs, down.rows)
	if sorted {
		y = s.g.Take(y, back, 0)
	}
	y = s.g.Multiply(s.g.Reshape(y, x.Rows, m.Used, down.rows), s.g.Reshape(s.g.AsType(shares, s.e.dtype), x.Rows, m.Used, 1))
	return s.computed(set, s.g.Sum(y, false, 1), down.rows)
}

// clampGate and clampUp change the halves so that SiLU(gate)·up is their ClampedSwiGLU.
func (s *step) clampGate(x mlx.Array) mlx.Array {
	x = s.g.Minimum(x, s.g.Scalar(nn.SwiGLULimit, s.e.dtype))
	return s.g.Multiply(x, s.g.Scalar(nn.SwiGLUSlope, s.e.dtype))
}

func (s *step) clampUp(x mlx.Array) mlx.Array {
	x = s.g.Maximum(s.g.Minimum(x, s.g.Scalar(nn.SwiGLULimit, s.e.dtype)), s.g.Scalar(-nn.SwiGLULimit, s.e.dtype))
	return s.g.Multiply(s.g.Add(x, s.g.Scalar(1, s.e.dtype)), s.g.Scalar(1/nn.SwiGLUSlope, s.e.dtype))
}

// addBias adds to each pair's row [pairs, 1, cols] its expert's bias, if there are any.
func (s *step) addBias(y mlx.Array, w nn.Weight, index mlx.Array, count, cols int) mlx.Array {
	if !w.Present() {
		return y
	}
	p := s.weight(w, false)
	if p == nil {
		return y
	}
	if p.rows != count*cols {
		s.fail("a bias of %d for %d experts of %d columns", p.rows, count, cols)
		return y
	}
	return s.g.Add(y, s.g.ExpandDims(s.g.Take(s.g.Reshape(p.vector, count, cols), index, 0), 1))
}

// expertsOf finds the matrices of a mixture and checks their number and width.
func (s *step) expertsOf(w nn.Weight, count, in int) *weight {
	if w.Ref < 1 || w.Ref > len(s.e.weights) {
		s.fail("weight %d is not of this engine", w.Ref)
		return nil
	}
	p := &s.e.weights[w.Ref-1]
	if p.experts == nil || p.experts.count != count || p.cols != in {
		s.fail("weight %d [%d, %d] is not that of %d experts on %d columns", w.Ref, w.Out, w.In, count, in)
		return nil
	}
	return p
}

// choose is the experts of each row, the best first, and their weights: [rows, used] both,
// the weights in float32.
func (s *step) choose(logits mlx.Array, rows int, m *nn.Experts) (chosen, shares mlx.Array) {
	scores := s.g.AsType(logits, mlx.Float32)
	if m.Scoring == nn.SigmoidScore {
		scores = s.g.Sigmoid(scores)
	} else {
		scores = s.g.Softmax(scores, 1, true)
	}
	ranked := scores
	if m.Correction.Present() {
		p := s.weight(m.Correction, false)
		if p == nil {
			return
		}
		if p.rows != m.Count {
			s.fail("a correction of %d for %d experts", p.rows, m.Count)
			return
		}
		ranked = s.g.Add(scores, s.g.AsType(p.vector, mlx.Float32))
	}
	chosen = s.g.Slice(s.g.ArgSort(s.g.Negative(ranked), 1), []int{0, 0}, []int{rows, m.Used})
	shares = s.g.TakeAlongAxis(scores, chosen, 1)
	if m.Normalize {
		shares = s.g.Divide(shares, s.g.Maximum(s.g.Sum(shares, true, 1), s.g.Scalar(leastShares, mlx.Float32)))
	}
	if m.Scale != 0 && m.Scale != 1 {
		shares = s.g.Multiply(shares, s.g.Scalar(m.Scale, mlx.Float32))
	}
	return chosen, shares
}

// leastShares keeps scores that are all zero from being divided by their sum.
const leastShares = 1e-20

// mulExperts is x [pairs, 1, cols] by the matrices that index [pairs] picks.
func (s *step) mulExperts(x mlx.Array, m *expertWeight, index mlx.Array, sorted bool) mlx.Array {
	if m.quantized() {
		return s.g.GatherQMM(x, m.w, m.scales, m.biases, mlx.Array{}, index, true, m.how.Group, m.how.Bits, m.how.Mode, sorted)
	}
	return s.g.GatherMM(x, m.transposed, mlx.Array{}, index, sorted)
}

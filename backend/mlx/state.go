package mlx

import (
	"math"

	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
)

// stateSlot is a sequence's state: of each layer the last inputs of its convolution and its
// matrices. Arrays are never changed: what shares a state shares them.
type stateSlot []layerState

type layerState struct{ conv, matrix mlx.Array }

// ReleaseState implements paging.StateStorage. Arrays are freed on MLX's thread, with the next
// step.
func (c *cache) ReleaseState(i int32) {
	for _, l := range c.slots[i] {
		c.garbage = append(c.garbage, l.conv, l.matrix)
	}
	c.slots[i] = nil
}

// sweep frees what was released.
func (c *cache) sweep() {
	c.e.lib.Free(c.garbage...)
	c.garbage = c.garbage[:0]
}

// state is a layer's in a slot; of an empty sequence there is none.
func (c *cache) state(i int32, layer int) layerState {
	if i < 0 {
		return layerState{}
	}
	return c.slots[i][layer]
}

// putState makes an array of the step a layer's part of a slot.
func (s *step) putState(slot int32, layer int, set func(l *layerState) *mlx.Array, a mlx.Array) {
	c := s.e.kv
	if c.slots[slot] == nil {
		c.slots[slot] = make(stateSlot, len(s.e.config.States))
	}
	a = s.g.Keep(a)
	*set(&c.slots[slot][layer]) = a
	s.carried = append(s.carried, a)
}

func conv(l *layerState) *mlx.Array   { return &l.conv }
func matrix(l *layerState) *mlx.Array { return &l.matrix }

// vectorOf finds a weight of n elements.
func (s *step) vectorOf(w nn.Weight, n int) (mlx.Array, bool) {
	p := s.weight(w, false)
	if p == nil {
		return mlx.Array{}, false
	}
	if p.rows != n {
		s.fail("%d weights, expected %d", p.rows, n)
		return mlx.Array{}, false
	}
	return p.vector, true
}

// Multiply implements nn.Ops.
func (s *step) Multiply(a, b nn.Tensor) nn.Tensor {
	x, ok1 := s.array(a)
	y, ok2 := s.array(b)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	set := s.values[a.Ref-1].set
	if a.Cols != b.Cols && b.Cols != 1 || set != s.values[b.Ref-1].set {
		return s.fail("a product of [%d, %d] and [%d, %d], element by element", a.Rows, a.Cols, b.Rows, b.Cols)
	}
	return s.computed(set, s.g.Multiply(x, y), a.Cols)
}

// rowsOf is rows from to to of a matrix of cols columns.
func (s *step) rowsOf(a mlx.Array, from, to, cols int) mlx.Array {
	return s.g.Slice(a, []int{from, 0}, []int{to, cols})
}

// carry computes what carries a state, span by span, each cut where its state is to be kept, and
// puts the rows together. f computes rows from to to, after a state that may be absent,
// and returns the state after them.
func (s *step) carry(layer int, set func(l *layerState) *mlx.Array, f func(from, to int, old mlx.Array) (y, next mlx.Array)) mlx.Array {
	s.generic = true // a recorded graph would go on from the same states again
	var parts []mlx.Array
	for i, seq := range s.Seqs {
		l := s.e.kv.state(seq.State(), layer)
		old, from, to := *set(&l), s.First[i], s.First[i+1]
		for _, mark := range seq.Marks() {
			end := s.First[i] + mark.Len - seq.Len
			y, next := f(from, end, old)
			s.putState(mark.Slot, layer, set, next)
			parts, old, from = append(parts, y), next, end
		}
		y, next := f(from, to, old)
		s.putState(seq.Next(), layer, set, next)
		parts = append(parts, y)
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return s.g.Concatenate(parts, 0)
}

// ShortConv implements nn.Ops.
func (s *step) ShortConv(x nn.Tensor, c *nn.ShortConv) nn.Tensor {
	a, ok := s.array(x)
	if !ok {
		return nn.Tensor{}
	}
	cols, before := x.Cols, c.Width-1
	if s.values[x.Ref-1].set != allRows || before < 1 || !s.e.config.KeepsConv(c.Layer, before*cols) {
		return s.fail("a convolution %+v of [%d, %d]", *c, x.Rows, cols)
	}
	taps, ok := s.vectorOf(c.Taps, c.Width*cols)
	if !ok {
		return nn.Tensor{}
	}
	taps = s.g.Reshape(taps, c.Width, cols)
	var bias mlx.Array
	if c.Bias.Present() {
		if bias, ok = s.vectorOf(c.Bias, cols); !ok {
			return nn.Tensor{}
		}
	}
	y := s.carry(c.Layer, conv, func(from, to int, old mlx.Array) (y, next mlx.Array) {
		if old.IsZero() {
			old = s.g.Zeros(s.e.dtype, before, cols)
		}
		n := to - from
		all := s.g.Concatenate([]mlx.Array{old, s.rowsOf(a, from, to, cols)}, 0)
		y = bias
		for i := range c.Width {
			part := s.g.Multiply(s.rowsOf(all, i, i+n, cols), s.rowsOf(taps, i, i+1, cols))
			if y.IsZero() {
				y = part
			} else {
				y = s.g.Add(y, part)
			}
		}
		return y, s.g.Copy(s.rowsOf(all, n, n+before, cols)) // else all would stay in memory
	})
	return s.computed(allRows, y, cols)
}

// scanChunk is how many rows of a scan are computed as a product of matrices.
const scanChunk = 64

// Scan implements nn.Ops, by the products of matrices of Mamba-2's paper: within a chunk, a
// row gets from each row before it what that has written, times what has been kept of it.
func (s *step) Scan(xbc, steps nn.Tensor, m *nn.SelectiveScan) nn.Tensor {
	a, ok1 := s.array(xbc)
	b, ok2 := s.array(steps)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	heads, dim, size := m.Heads, m.HeadDim, m.State
	inner := heads * dim
	if s.values[xbc.Ref-1].set != allRows || s.values[steps.Ref-1].set != allRows || xbc.Cols != inner+2*size || steps.Cols != heads || !s.e.config.KeepsMatrix(m.Layer, inner*size) {
		return s.fail("a scan %+v of [%d, %d] with [%d, %d] steps", *m, xbc.Rows, xbc.Cols, steps.Rows, steps.Cols)
	}
	decay, ok1 := s.vectorOf(m.Decay, heads)
	bias, ok2 := s.vectorOf(m.StepBias, heads)
	skip, ok3 := s.vectorOf(m.Skip, heads)
	if !ok1 || !ok2 || !ok3 {
		return nn.Tensor{}
	}
	g := s.g
	a = g.AsType(a, mlx.Float32)
	step := s.softplus(b, bias)
	decays := g.Multiply(step, g.AsType(decay, mlx.Float32)) // logarithms
	skip = g.Reshape(g.AsType(skip, mlx.Float32), heads, 1)

	chunk := func(from, to int, old mlx.Array) (y, next mlx.Array) {
		n := to - from
		cut := func(x mlx.Array, c0, c1 int) mlx.Array { return g.Slice(x, []int{from, c0}, []int{to, c1}) }
		x := g.Reshape(cut(a, 0, inner), n, heads, dim)
		in, out := cut(a, inner, inner+size), cut(a, inner+size, inner+2*size) // B and C
		xt := g.Transpose(x, 1, 0, 2)
		stepT := g.Transpose(cut(step, 0, heads), 1, 0)
		kept := g.Transpose(g.Cumsum(cut(decays, 0, heads), 0, false, true), 1, 0) // [heads, n]
		// What row i gets of row j.
		share := s.keptBetween(kept, heads, n)
		share = g.Multiply(g.Multiply(g.Matmul(out, g.Transpose(in, 1, 0)), share), g.Reshape(stepT, heads, 1, n))
		yt := g.Matmul(share, xt)
		last := g.Slice(kept, []int{0, n - 1}, []int{heads, n})
		written := g.Multiply(xt, g.Reshape(g.Multiply(g.Exp(g.Subtract(last, kept)), stepT), heads, n, 1))
		next = g.Matmul(g.Transpose(written, 0, 2, 1), in) // [heads, dim, size]
		if !old.IsZero() {
			yt = g.Add(yt, g.Multiply(g.Matmul(out, g.Transpose(old, 0, 2, 1)), g.Reshape(g.Exp(kept), heads, n, 1)))
			next = g.Add(next, g.Multiply(old, g.Reshape(g.Exp(last), heads, 1, 1)))
		}
		y = g.Add(g.Transpose(yt, 1, 0, 2), g.Multiply(x, skip))
		return g.Reshape(y, n, inner), next
	}
	y := s.carry(m.Layer, matrix, func(from, to int, old mlx.Array) (mlx.Array, mlx.Array) {
		return s.inChunks(from, to, scanChunk, old, chunk)
	})
	return s.computed(allRows, g.AsType(y, s.e.dtype), inner)
}

// inChunks computes rows from to to a number at a time.
func (s *step) inChunks(from, to, rows int, old mlx.Array, f func(from, to int, old mlx.Array) (y, next mlx.Array)) (mlx.Array, mlx.Array) {
	var parts []mlx.Array
	for ; from < to; from += rows {
		y, next := f(from, min(from+rows, to), old)
		parts, old = append(parts, y), next
	}
	if len(parts) == 1 {
		return parts[0], old
	}
	return s.g.Concatenate(parts, 0), old
}

// softplus is ln(1+e^(x+bias)) in float32.
func (s *step) softplus(x, bias mlx.Array) mlx.Array {
	x = s.g.Add(s.g.AsType(x, mlx.Float32), s.g.AsType(bias, mlx.Float32))
	return s.g.LogAddExp(x, s.g.Scalar(0, mlx.Float32))
}

// keptBetween is how much is kept of what row j has written when it is row i's turn, [heads, n, n];
// 0 where j comes after i. kept [heads, n] is the logarithm of what is kept from the start.
func (s *step) keptBetween(kept mlx.Array, heads, n int) mlx.Array {
	g := s.g
	between := g.Subtract(g.Reshape(kept, heads, n, 1), g.Reshape(kept, heads, 1, n))
	before := g.Greater(g.Tri(n, n, 0, mlx.Float32), g.Scalar(0, mlx.Float32))
	return g.Exp(g.Where(before, between, g.Scalar(float32(math.Inf(-1)), mlx.Float32)))
}

// deltaChunk is how many rows of a delta rule are computed as products of matrices. It is
// a power of 2.
const deltaChunk = 32

// DeltaRule implements nn.Ops. Within a chunk, what row i writes depends on what the rows before it
// have written: with A the part of that which they have in common, (I+A)⁻¹ of what
// they would write alone. A is strictly lower, so that its powers end, and the inverse is
// (I-A)(I+A²)(I+A⁴)….
func (s *step) DeltaRule(qkv, gates nn.Tensor, d *nn.DeltaRule) nn.Tensor {
	a, ok1 := s.array(qkv)
	b, ok2 := s.array(gates)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	heads, dim, size := d.Heads, d.Dim, d.KeyDim
	keys, width := d.KeyHeads*size, heads*dim
	if s.values[qkv.Ref-1].set != allRows || s.values[gates.Ref-1].set != allRows || d.KeyHeads < 1 || heads%d.KeyHeads != 0 ||
		qkv.Cols != 2*keys+width || gates.Cols != 2*heads || !s.e.config.KeepsMatrix(d.Layer, width*size) {
		return s.fail("a delta rule %+v of [%d, %d] with [%d, %d] gates", *d, qkv.Rows, qkv.Cols, gates.Rows, gates.Cols)
	}
	decay, ok1 := s.vectorOf(d.Decay, heads)
	bias, ok2 := s.vectorOf(d.StepBias, heads)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	g := s.g
	a, b = g.AsType(a, mlx.Float32), g.AsType(b, mlx.Float32)
	rows := qkv.Rows
	write := g.Sigmoid(s.rowsOf(b, 0, rows, heads))
	decays := g.Multiply(s.softplus(g.Slice(b, []int{0, heads}, []int{rows, 2 * heads}), bias), g.AsType(decay, mlx.Float32))
	// unit is rows of queries or keys of length 1, [heads, n, size].
	unit := func(from, to, column int, factor float32) mlx.Array {
		x := g.Reshape(g.Slice(a, []int{from, column}, []int{to, column + keys}), to-from, d.KeyHeads, size)
		norm := g.Rsqrt(g.Add(g.Sum(g.Square(x), true, 2), g.Scalar(d.Eps, mlx.Float32)))
		x = g.Multiply(g.Multiply(x, norm), g.Scalar(factor, mlx.Float32))
		return g.Transpose(g.Repeat(x, heads/d.KeyHeads, 1), 1, 0, 2)
	}
	chunk := func(from, to int, old mlx.Array) (y, next mlx.Array) {
		n := to - from
		q, k := unit(from, to, 0, float32(1/math.Sqrt(float64(size)))), unit(from, to, keys, 1)
		v := g.Transpose(g.Reshape(g.Slice(a, []int{from, 2 * keys}, []int{to, 2*keys + width}), n, heads, dim), 1, 0, 2)
		beta := g.Reshape(g.Transpose(s.rowsOf(write, from, to, heads), 1, 0), heads, n, 1)
		kept := g.Transpose(g.Cumsum(s.rowsOf(decays, from, to, heads), 0, false, true), 1, 0) // [heads, n]
		between := s.keptBetween(kept, heads, n)
		kt := g.Transpose(k, 0, 2, 1)
		share := g.Multiply(g.Multiply(g.Matmul(k, kt), between), beta)
		share = g.Tril(share, -1)
		fromStart := g.Reshape(g.Exp(kept), heads, n, 1)
		if !old.IsZero() { // [heads, dim, size]
			v = g.Subtract(v, g.Multiply(g.Matmul(k, g.Transpose(old, 0, 2, 1)), fromStart))
		}
		w := s.solveLower(share, g.Multiply(v, beta), n)
		yt := g.Matmul(g.Multiply(g.Matmul(q, kt), between), w)
		last := g.Slice(kept, []int{0, n - 1}, []int{heads, n})
		left := g.Multiply(w, g.Reshape(g.Exp(g.Subtract(last, kept)), heads, n, 1))
		next = g.Matmul(g.Transpose(left, 0, 2, 1), k)
		if !old.IsZero() {
			yt = g.Add(yt, g.Multiply(g.Matmul(q, g.Transpose(old, 0, 2, 1)), fromStart))
			next = g.Add(next, g.Multiply(old, g.Reshape(g.Exp(last), heads, 1, 1)))
		}
		return g.Reshape(g.Transpose(yt, 1, 0, 2), n, width), next
	}
	y := s.carry(d.Layer, matrix, func(from, to int, old mlx.Array) (mlx.Array, mlx.Array) {
		return s.inChunks(from, to, deltaChunk, old, chunk)
	})
	return s.computed(allRows, g.AsType(y, s.e.dtype), width)
}

// solveLower is (I+a)⁻¹·x, with a [heads, n, n] strictly lower.
func (s *step) solveLower(a, x mlx.Array, n int) mlx.Array {
	x = s.g.Subtract(x, s.g.Matmul(a, x))
	for power := 2; power < n; power *= 2 {
		a = s.g.Matmul(a, a)
		x = s.g.Add(x, s.g.Matmul(a, x))
	}
	return x
}

package mlx

import (
	"slices"

	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
)

// rowSet is the meaning of a tensor's rows.
type rowSet uint8

const (
	allRows    rowSet = iota // every token of the batch
	wantedRows               // those that Wanted kept
	logitRows                // those of them whose logits are wanted
)

// value is a result of the step, [rows of its set, cols]. What a kernel of ours may
// do together with what follows is only noted until somebody needs its elements.
type value struct {
	set   rowSet
	cols  int
	array mlx.Array // absent: a note

	// A note: the terms of a sum; a product of few rows; or a norm or rotation of
	// src.
	sum     [2]mlx.Array
	factor  mlx.Array
	weight  *segment
	src     nn.Tensor
	headDim int
	norm    *weight
	eps     float32
	rope    *nn.Rope
}

// computed is a value whose array exists.
func (s *step) computed(set rowSet, a mlx.Array, cols int) nn.Tensor {
	return s.put(value{set: set, array: a, cols: cols})
}

func (s *step) put(v value) nn.Tensor {
	s.values = append(s.values, v)
	return nn.Tensor{Ref: uint64(len(s.values)), Stride: v.cols, Rows: s.rows(v.set), Cols: v.cols}
}

// rows is the number of rows of a set.
func (s *step) rows(set rowSet) int {
	switch set {
	case wantedRows:
		// One stands in for none: MLX's products need a row. It is never computed.
		return max(len(s.Kept), 1)
	case logitRows:
		return len(s.Logits)
	}
	return len(s.Tokens)
}

// value finds a tensor that the model hands back.
func (s *step) value(t nn.Tensor) *value {
	if s.err != nil {
		return nil
	}
	if t.Ref == 0 || t.Ref > uint64(len(s.values)) {
		s.fail("a tensor that isn't of this step")
		return nil
	}
	v := &s.values[t.Ref-1]
	if t.Rows != s.rows(v.set) || t.Off < 0 || t.Cols < 0 || t.Off+t.Cols > v.cols {
		s.fail("a tensor %+v that views [%d, %d]", t, s.rows(v.set), v.cols)
		return nil
	}
	return v
}

// array is a tensor's elements, [rows, cols].
func (s *step) array(t nn.Tensor) (mlx.Array, bool) {
	v := s.value(t)
	if v == nil {
		return mlx.Array{}, false
	}
	a := s.whole(v)
	if t.Off != 0 || t.Cols != v.cols {
		s.start[0], s.start[1], s.stop[0], s.stop[1] = 0, t.Off, t.Rows, t.Off+t.Cols
		a = s.g.Slice(a, s.start[:], s.stop[:])
	}
	return a, s.err == nil
}

// whole computes a value, if it hasn't been.
func (s *step) whole(v *value) mlx.Array {
	if !v.array.IsZero() {
		return v.array
	}
	if !v.sum[0].IsZero() {
		v.array = s.g.Add(v.sum[0], v.sum[1])
		return v.array
	}
	if v.weight != nil {
		v.array = s.fewRows(v.factor, s.rows(v.set), v.weight, false)
		return v.array
	}
	src, ok := s.array(v.src)
	if !ok {
		return mlx.Array{}
	}
	rows, heads := v.src.Rows, v.cols/v.headDim
	if v.norm != nil {
		x := s.g.Reshape(src, rows, heads, v.headDim)
		v.array = s.g.Reshape(s.g.RMSNorm(x, v.norm.vector, v.eps), rows, v.cols)
		return v.array
	}
	// Each row is a batch entry of its own, of one position.
	x := s.g.Reshape(src, rows, heads, 1, v.headDim)
	if scale := v.rope.Scale; scale != 0 && scale != 1 {
		x = s.scaleHead(x, v.rope.Dims, scale)
	}
	v.array = s.g.Reshape(s.rotate(x, rows, heads, v.headDim, v.rope), rows, v.cols)
	return v.array
}

// rotate turns x [rows, heads, 1, head_dim] to the rows' positions.
func (s *step) rotate(x mlx.Array, rows, heads, headDim int, r *nn.Rope) mlx.Array {
	turn := func(x, positions mlx.Array) mlx.Array {
		return s.g.RopeAt(x, r.Dims, r.Style == nn.RopeInterleaved, 0, 1, positions, s.e.periods(r))
	}
	// With heads as small as those of test models, MLX 0.32 asks CUDA for thread
	// blocks deeper than the 64 that there can be: a layer of theirs is four heads.
	most := max(1, 64/((heads+3)/4))
	if !s.e.cuda() || r.Dims >= 32 || rows <= most {
		return turn(x, s.positions())
	}
	var parts []mlx.Array
	for from := 0; from < rows; from += most {
		to := min(from+most, rows)
		part := s.g.Slice(x, []int{from, 0, 0, 0}, []int{to, heads, 1, headDim})
		parts = append(parts, turn(part, s.g.Slice(s.positions(), []int{from}, []int{to})))
	}
	return s.g.Concatenate(parts, 0)
}

// scaleHead multiplies the first dims elements of each head, which are the last
// axis of x [rows, heads, 1, head_dim].
func (s *step) scaleHead(x mlx.Array, dims int, scale float32) mlx.Array {
	shape := s.lib.Shape(x)
	factor := s.g.Scalar(scale, s.e.dtype)
	if dims == shape[3] {
		return s.g.Multiply(x, factor)
	}
	stop := slices.Clone(shape)
	stop[3] = dims
	turned := s.g.Multiply(s.g.Slice(x, []int{0, 0, 0, 0}, stop), factor)
	return s.g.Concatenate([]mlx.Array{turned, s.g.Slice(x, []int{0, 0, 0, dims}, shape)}, 3)
}

// origin is where the columns of a head-wise tensor come from: columns of a
// computed value, through an optional norm and an optional rotation.
type origin struct {
	of   *value
	off  int
	norm *weight
	eps  float32
	rope *nn.Rope
}

// origin follows the notes of a tensor down. It fails on a rotation before a
// norm, and on two of a kind.
func (s *step) origin(t nn.Tensor, headDim int) (origin, bool) {
	var o origin
	off := 0
	for {
		v := s.value(t)
		if v == nil {
			return o, false
		}
		off += t.Off
		if v.src.Ref == 0 {
			s.whole(v)
			o.of, o.off = v, off
			return o, true
		}
		switch {
		case !v.array.IsZero(): // somebody needed it in between
			return o, false
		case v.headDim != headDim || off%headDim != 0:
			return o, false
		case v.rope != nil && o.rope == nil && o.norm == nil:
			o.rope = v.rope
		case v.norm != nil && o.norm == nil:
			o.norm, o.eps = v.norm, v.eps
		default:
			return o, false
		}
		t = v.src
	}
}

package mlx

// Operations that move elements about. A negative axis counts from the end.

// Reshape gives a's elements a shape of the same size; one dimension may be -1,
// to be found.
func (s *Scope) Reshape(a Array, shape ...int) Array { return s.withInts(fnReshape, a, shape) }

// Transpose permutes the dimensions: dimension i of the result is dimension
// axes[i] of a. Without axes it reverses them.
func (s *Scope) Transpose(a Array, axes ...int) Array {
	if len(axes) == 0 {
		return s.unary(fnTranspose, a)
	}
	return s.withInts(fnTransposeAxes, a, axes)
}

// SwapAxes exchanges two dimensions.
func (s *Scope) SwapAxes(a Array, axis1, axis2 int) Array {
	return s.with2Ints(fnSwapAxes, a, axis1, axis2)
}

// MoveAxis moves a dimension to another place.
func (s *Scope) MoveAxis(a Array, from, to int) Array { return s.with2Ints(fnMoveAxis, a, from, to) }

// ExpandDims inserts dimensions of size one, at these places of the result.
func (s *Scope) ExpandDims(a Array, axes ...int) Array {
	if len(axes) == 1 {
		return s.withInt(fnExpandDims, a, axes[0])
	}
	return s.withInts(fnExpandDimsAxes, a, axes)
}

// Squeeze removes dimensions of size one: these, or all if none is given.
func (s *Scope) Squeeze(a Array, axes ...int) Array {
	if len(axes) == 0 {
		return s.unary(fnSqueeze, a)
	}
	return s.withInts(fnSqueezeAxes, a, axes)
}

// Flatten makes one dimension of those from start to end, end included.
func (s *Scope) Flatten(a Array, start, end int) Array {
	return s.with2Ints(fnFlatten, a, start, end)
}

// Unflatten splits a dimension into several, of which one may be -1.
func (s *Scope) Unflatten(a Array, axis int, shape ...int) Array {
	p, n := s.ints(0, shape)
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5] = s.outPtr, a.ctx, cInt(axis), p, n, s.stream.ctx
	return s.call(fnUnflatten, 6, a)
}

// BroadcastTo repeats a, without copying, to a shape.
func (s *Scope) BroadcastTo(a Array, shape ...int) Array {
	return s.withInts(fnBroadcastTo, a, shape)
}

// Concatenate joins arrays along an existing axis.
func (s *Scope) Concatenate(arrays []Array, axis int) Array {
	return s.join(fnConcatenate, arrays, axis)
}

// Stack joins arrays of one shape along a new axis.
func (s *Scope) Stack(arrays []Array, axis int) Array { return s.join(fnStack, arrays, axis) }

func (s *Scope) join(f fn, arrays []Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	v := s.vector(f, arrays)
	if v == 0 {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3] = s.outPtr, v, cInt(axis), s.stream.ctx
	a := s.call(f, 4, arrays...)
	s.freeVector(v)
	return a
}

// Split cuts an axis into n equal parts.
func (s *Scope) Split(a Array, n, axis int) []Array {
	if s.err != nil {
		return make([]Array, max(n, 0))
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4] = s.outPtr, a.ctx, cInt(n), cInt(axis), s.stream.ctx
	return s.parts(fnSplit, 5, n, a)
}

// SplitAt cuts an axis before each of the indices, into len(indices)+1 parts.
func (s *Scope) SplitAt(a Array, indices []int, axis int) []Array {
	p, n := s.ints(0, indices)
	if s.err != nil {
		return make([]Array, len(indices)+1)
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5] = s.outPtr, a.ctx, p, n, cInt(axis), s.stream.ctx
	return s.parts(fnSplitSections, 6, len(indices)+1, a)
}

// parts is callMany that returns the promised number of arrays even if it fails,
// so that the caller may take them apart before looking at the error.
func (s *Scope) parts(f fn, n, count int, in ...Array) []Array {
	if out := s.callMany(f, n, in...); out != nil {
		return out
	}
	return make([]Array, max(count, 0))
}

// Repeat repeats every element n times along an axis.
func (s *Scope) Repeat(a Array, n, axis int) Array { return s.with2Ints(fnRepeat, a, n, axis) }

// Tile repeats the whole of a, counts[i] times along dimension i.
func (s *Scope) Tile(a Array, counts ...int) Array { return s.withInts(fnTile, a, counts) }

// Roll moves the elements along an axis by shift places, in a circle.
func (s *Scope) Roll(a Array, shift, axis int) Array {
	p, n := s.ints(0, []int{shift})
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5] = s.outPtr, a.ctx, p, n, cInt(axis), s.stream.ctx
	return s.call(fnRoll, 6, a)
}

// Pad adds low[i] elements before and high[i] after those of dimension axes[i],
// with the value of the scalar array.
func (s *Scope) Pad(a Array, axes, low, high []int, value Array) Array {
	p0, n0 := s.ints(0, axes)
	p1, n1 := s.ints(1, low)
	p2, n2 := s.ints(2, high)
	if s.err != nil {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7] = s.outPtr, a.ctx, p0, n0, p1, n1, p2, n2
	x[8], x[9], x[10] = value.ctx, s.cText("constant"), s.stream.ctx
	return s.call(fnPad, 11, a, value)
}

// Slice is the part of a from start (included) to stop (excluded) in every
// dimension.
func (s *Scope) Slice(a Array, start, stop []int) Array {
	return s.SliceStrided(a, start, stop, s.ones(len(start)))
}

// SliceStrided is Slice that takes every strides[i]-th element of dimension i.
func (s *Scope) SliceStrided(a Array, start, stop, strides []int) Array {
	p0, n0 := s.ints(0, start)
	p1, n1 := s.ints(1, stop)
	p2, n2 := s.ints(2, strides)
	if s.err != nil {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8] = s.outPtr, a.ctx, p0, n0, p1, n1, p2, n2, s.stream.ctx
	return s.call(fnSlice, 9, a)
}

// SliceUpdate is dst with the part from start to stop replaced by update. If dst
// is used nowhere else, its memory becomes the result's.
func (s *Scope) SliceUpdate(dst, update Array, start, stop []int) Array {
	p0, n0 := s.ints(0, start)
	p1, n1 := s.ints(1, stop)
	p2, n2 := s.ints(2, s.ones(len(start)))
	if s.err != nil {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9] = s.outPtr, dst.ctx, update.ctx, p0, n0, p1, n1, p2, n2, s.stream.ctx
	return s.call(fnSliceUpdate, 10, dst, update)
}

var oneStrides = [maxDims]int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}

// ones is a list of n ones.
func (s *Scope) ones(n int) []int {
	if n <= maxDims {
		return oneStrides[:n]
	}
	list := make([]int, n)
	for i := range list {
		list[i] = 1
	}
	return list
}

// SliceDynamic is the part of a of a given size that begins, in each of axes, at
// the element of the vector start; size names every dimension of a.
func (s *Scope) SliceDynamic(a, start Array, axes, size []int) Array {
	p0, n0 := s.ints(0, axes)
	p1, n1 := s.ints(1, size)
	if s.err != nil {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7] = s.outPtr, a.ctx, start.ctx, p0, n0, p1, n1, s.stream.ctx
	return s.call(fnSliceDynamic, 8, a, start)
}

// SliceUpdateDynamic is dst with update in place of the part that begins, in
// each of axes, at the element of the vector start.
func (s *Scope) SliceUpdateDynamic(dst, update, start Array, axes []int) Array {
	p, n := s.ints(0, axes)
	if s.err != nil {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6] = s.outPtr, dst.ctx, update.ctx, start.ctx, p, n, s.stream.ctx
	return s.call(fnSliceUpdateDynamic, 7, dst, update, start)
}

// Take picks slices of a along an axis: the dimension is replaced by those of
// indices.
func (s *Scope) Take(a, indices Array, axis int) Array { return s.indexed(fnTake, a, indices, axis) }

// TakeAlongAxis picks single elements along an axis: indices has a's dimensions,
// broadcast but for the axis, and its shape is the result's.
func (s *Scope) TakeAlongAxis(a, indices Array, axis int) Array {
	return s.indexed(fnTakeAlongAxis, a, indices, axis)
}

// PutAlongAxis is a with the elements that TakeAlongAxis would pick replaced by
// values. Which one stays if an index occurs twice is open.
func (s *Scope) PutAlongAxis(a, indices, values Array, axis int) Array {
	return s.putAlong(fnPutAlongAxis, a, indices, values, axis)
}

// ScatterAddAxis is PutAlongAxis that adds, and adds all that occur.
func (s *Scope) ScatterAddAxis(a, indices, values Array, axis int) Array {
	return s.putAlong(fnScatterAddAxis, a, indices, values, axis)
}

func (s *Scope) putAlong(f fn, a, indices, values Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5] = s.outPtr, a.ctx, indices.ctx, values.ctx, cInt(axis), s.stream.ctx
	return s.call(f, 6, a, indices, values)
}

// Gather picks blocks of a of the given size, one for each element of the
// (broadcast) indices, of which the i-th says where the block begins in
// dimension axes[i]. The result's shape is that of the indices followed by
// sizes.
func (s *Scope) Gather(a Array, indices []Array, axes, sizes []int) Array {
	p0, n0 := s.ints(0, axes)
	p1, n1 := s.ints(1, sizes)
	if s.err != nil {
		return Array{}
	}
	v := s.vector(fnGather, indices)
	if v == 0 {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7] = s.outPtr, a.ctx, v, p0, n0, p1, n1, s.stream.ctx
	out := s.call(fnGather, 8, a)
	s.freeVector(v)
	return out
}

// Scatter is a with blocks of updates in the places that Gather would take them
// from: updates has the indices' shape followed by a block size for every
// dimension of a. Which block stays if they overlap is open.
func (s *Scope) Scatter(a Array, indices []Array, updates Array, axes []int) Array {
	return s.scatter(fnScatter, a, indices, updates, axes)
}

// ScatterAdd is Scatter that adds to what is there.
func (s *Scope) ScatterAdd(a Array, indices []Array, updates Array, axes []int) Array {
	return s.scatter(fnScatterAdd, a, indices, updates, axes)
}

func (s *Scope) scatter(f fn, a Array, indices []Array, updates Array, axes []int) Array {
	p, n := s.ints(0, axes)
	if s.err != nil {
		return Array{}
	}
	v := s.vector(f, indices)
	if v == 0 {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6] = s.outPtr, a.ctx, v, updates.ctx, p, n, s.stream.ctx
	out := s.call(f, 7, a, updates)
	s.freeVector(v)
	return out
}

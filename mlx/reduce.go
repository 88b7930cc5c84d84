package mlx

// Reductions and orders. A reduction goes over the axes given, or over all if none
// is; keepDims leaves them with size one.

// Sum adds the elements.
func (s *Scope) Sum(a Array, keepDims bool, axes ...int) Array {
	return s.reduce(fnSum, fnSumAxes, a, keepDims, axes)
}

// Max takes the largest of the elements.
func (s *Scope) Max(a Array, keepDims bool, axes ...int) Array {
	return s.reduce(fnMax, fnMaxAxes, a, keepDims, axes)
}

// Min takes the smallest of the elements.
func (s *Scope) Min(a Array, keepDims bool, axes ...int) Array {
	return s.reduce(fnMin, fnMinAxes, a, keepDims, axes)
}

// Mean averages the elements.
func (s *Scope) Mean(a Array, keepDims bool, axes ...int) Array {
	return s.reduce(fnMean, fnMeanAxes, a, keepDims, axes)
}

// Prod multiplies the elements.
func (s *Scope) Prod(a Array, keepDims bool, axes ...int) Array {
	return s.reduce(fnProd, fnProdAxes, a, keepDims, axes)
}

// All says whether all are true of the elements.
func (s *Scope) All(a Array, keepDims bool, axes ...int) Array {
	return s.reduce(fnAll, fnAllAxes, a, keepDims, axes)
}

// Any says whether any is true of the elements.
func (s *Scope) Any(a Array, keepDims bool, axes ...int) Array {
	return s.reduce(fnAny, fnAnyAxes, a, keepDims, axes)
}

// LogSumExp takes log Σ eᵃ, without overflow, of the elements.
func (s *Scope) LogSumExp(a Array, keepDims bool, axes ...int) Array {
	return s.reduce(fnLogSumExp, fnLogSumExpAxes, a, keepDims, axes)
}

// Argmax is the index of the first largest element along an axis, as uint32.
func (s *Scope) Argmax(a Array, axis int, keepDims bool) Array {
	return s.with2Ints(fnArgmaxAxis, a, axis, int(boolArg(keepDims)))
}

// Argmin is the index of the first smallest element along an axis, as uint32.
func (s *Scope) Argmin(a Array, axis int, keepDims bool) Array {
	return s.with2Ints(fnArgminAxis, a, axis, int(boolArg(keepDims)))
}

// Softmax is eᵃ / Σ eᵃ along an axis, without overflow; precise sums in float32
// whatever the type.
func (s *Scope) Softmax(a Array, axis int, precise bool) Array {
	return s.with2Ints(fnSoftmaxAxis, a, axis, int(boolArg(precise)))
}

// Cumsum is the running sum along an axis, from the end if reverse; inclusive
// counts the element itself.
func (s *Scope) Cumsum(a Array, axis int, reverse, inclusive bool) Array {
	if s.err != nil {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5] = s.outPtr, a.ctx, cInt(axis), boolArg(reverse), boolArg(inclusive), s.stream.ctx
	if s.lib.fns[fnCumsumAxis] == 0 {
		return s.call(fnCumsum, 6, a)
	}
	x[5], x[6] = 0, s.stream.ctx // no type: the one of a
	return s.call(fnCumsumAxis, 7, a)
}

// Sort sorts along an axis, smallest first.
func (s *Scope) Sort(a Array, axis int) Array { return s.withInt(fnSort, a, axis) }

// ArgSort is the indices that sort along an axis, smallest first, as uint32.
func (s *Scope) ArgSort(a Array, axis int) Array { return s.withInt(fnArgSort, a, axis) }

// Partition orders along an axis only as far as that element kth is where
// sorting would put it, none before it is larger and none after it smaller.
func (s *Scope) Partition(a Array, kth, axis int) Array {
	return s.with2Ints(fnPartition, a, kth, axis)
}

// ArgPartition is the indices that partition along an axis, as uint32.
func (s *Scope) ArgPartition(a Array, kth, axis int) Array {
	return s.with2Ints(fnArgPartition, a, kth, axis)
}

// TopK is the k largest elements along an axis, in no particular order.
func (s *Scope) TopK(a Array, k, axis int) Array { return s.with2Ints(fnTopK, a, k, axis) }

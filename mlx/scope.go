package mlx

import (
	"errors"
	"fmt"
	"math"
	"unsafe"
)

// Array is a handle of an MLX array: a node of a graph, computed or not. It is
// a plain value, valid until what owns it (a [Scope], or who called
// [Scope.Keep]) frees it. The zero Array stands for an optional argument that is
// absent.
type Array struct{ ctx uintptr }

// IsZero says whether the array is absent.
func (a Array) IsZero() bool { return a.ctx == 0 }

// maxDims is the number of dimensions up to which shapes are passed without
// allocating.
const maxDims = 16

// Scope makes arrays on a stream and owns them. See the package comment. It
// must be used on the library's thread only.
type Scope struct {
	lib    *Library
	stream Stream
	err    error
	closed bool
	arrays []uintptr // owned

	// What C reads and writes during a call. Being part of a heap object it
	// doesn't move, and reusing it saves an allocation a call.

	args    [16]uintptr
	mixed   mixedCall
	out     uintptr // where a function puts its result
	outPtr  uintptr // address of out
	dims    [4][maxDims]int32
	large   [4][]int32 // for what dims can't hold
	text    [32]byte
	bits    [8]byte // a scalar
	handles []uintptr
	pinned  unsafe.Pointer // keeps an argument's memory on the heap and alive
}

// errClosed is the failure of a scope that is used after Close.
var errClosed = errors.New("mlx: scope is closed")

// NewScope makes a scope whose operations run on a stream. It must be called on
// the library's thread (in [Library.Do]); elsewhere the scope has failed from the
// start.
func (l *Library) NewScope(stream Stream) *Scope {
	s := &Scope{lib: l, stream: stream}
	s.outPtr = uintptr(unsafe.Pointer(&s.out))
	switch {
	case !l.onThread():
		s.err = errors.New("mlx: NewScope called outside Library.Do")
	case stream.ctx == 0:
		s.err = errors.New("mlx: NewScope needs a stream; make one with Library.NewStream")
	}
	return s
}

// Library is the library that the scope belongs to.
func (s *Scope) Library() *Library { return s.lib }

// Stream is the stream that the scope's operations run on.
func (s *Scope) Stream() Stream { return s.stream }

// Err is the scope's first failure: an [*Error] if MLX reported it.
func (s *Scope) Err() error { return s.err }

// Reset frees the scope's arrays and forgets its failure: it is as new.
func (s *Scope) Reset() {
	if s.closed {
		return
	}
	s.lib.freeAll(s.arrays)
	s.arrays = s.arrays[:0]
	s.err = nil
}

// Close frees the scope's arrays and ends it. Closing twice is harmless.
func (s *Scope) Close() {
	s.Reset()
	s.closed, s.err = true, errClosed
}

// Keep takes an array out of the scope, so that it outlives it, and returns it.
// It must then be freed with [Library.Free], or given to another scope with Own.
// It is cheapest for arrays made last.
func (s *Scope) Keep(a Array) Array {
	for i := len(s.arrays) - 1; i >= 0 && a.ctx != 0; i-- {
		if s.arrays[i] == a.ctx {
			s.arrays = append(s.arrays[:i], s.arrays[i+1:]...)
			break
		}
	}
	return a
}

// Own makes a kept array the scope's, which will free it, and returns it.
func (s *Scope) Own(a Array) Array {
	if a.ctx == 0 {
		return a
	}
	if s.closed {
		s.lib.Free(a)
		return Array{}
	}
	s.arrays = append(s.arrays, a.ctx)
	return a
}

// made counts an array that C made and gives it to the scope.
func (s *Scope) made(ctx uintptr) Array {
	s.lib.live.Add(1)
	s.arrays = append(s.arrays, ctx)
	return Array{ctx}
}

// call calls a function with the first n of s.args, of which the first is
// s.outPtr, and owns its result. in are the arrays to name if it fails.
func (s *Scope) call(f fn, n int, in ...Array) Array {
	s.out = 0
	if rc := callC(s.lib.fns[f], s.args[:n]...); int32(rc) != 0 {
		s.fail(f, in...)
		return Array{}
	}
	return s.made(s.out)
}

// callMixed is call for a function that takes floats: s.mixed holds the
// arguments, s.outPtr first.
func (s *Scope) callMixed(f fn, in ...Array) Array {
	s.out = 0
	s.mixed.fn = s.lib.fns[f]
	if rc := callMixed(&s.mixed); int32(rc) != 0 {
		s.fail(f, in...)
		return Array{}
	}
	return s.made(s.out)
}

// callMany is call for a function that returns a vector of arrays.
func (s *Scope) callMany(f fn, n int, in ...Array) []Array {
	s.out = 0
	if rc := callC(s.lib.fns[f], s.args[:n]...); int32(rc) != 0 {
		s.fail(f, in...)
		return nil
	}
	return s.unpack(s.out)
}

// unpack owns the arrays of a vector, and frees the vector.
func (s *Scope) unpack(vector uintptr) []Array {
	defer callC(s.lib.fns[fnVectorArrayFree], vector)
	n := int(callC(s.lib.fns[fnVectorArraySize], vector))
	arrays := make([]Array, n)
	for i := range arrays {
		s.out = 0
		if rc := callC(s.lib.fns[fnVectorArrayGet], s.outPtr, vector, uintptr(i)); int32(rc) != 0 {
			s.fail(fnVectorArrayGet)
			return nil
		}
		arrays[i] = s.made(s.out)
	}
	return arrays
}

// fail makes what MLX reported of a function the scope's failure.
func (s *Scope) fail(f fn, in ...Array) {
	op := opName(f)
	s.failWith(&Error{Op: op, Message: takeMessage(op)}, in...)
}

// failWith makes e, of the arrays in, the scope's failure.
func (s *Scope) failWith(e *Error, in ...Array) {
	for _, a := range in {
		if a.ctx != 0 {
			e.Shapes = append(e.Shapes, fmt.Sprintf("%v %s", s.lib.Shape(a), s.lib.DType(a)))
		}
	}
	s.err = e
}

// ints hands integers to C in the scope's buffer number slot, and returns their
// address and number. One that is no C int is the scope's failure.
func (s *Scope) ints(slot int, values []int) (address, n uintptr) {
	buf := s.dims[slot][:]
	if len(values) > maxDims {
		buf = make([]int32, len(values))
		s.large[slot] = buf
	}
	for i, v := range values {
		if int(int32(v)) != v && s.err == nil {
			s.err = fmt.Errorf("mlx: %d, a dimension or index, does not fit in 32 bits", v)
		}
		buf[i] = int32(v)
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(values))
}

// cText hands a short string to C in the scope's buffer.
func (s *Scope) cText(text string) uintptr {
	n := copy(s.text[:len(s.text)-1], text)
	s.text[n] = 0
	return uintptr(unsafe.Pointer(&s.text[0]))
}

// vector makes a C vector of arrays, to be freed by freeVector. It is 0 if that
// fails.
func (s *Scope) vector(f fn, arrays []Array) uintptr {
	s.handles = s.handles[:0]
	for _, a := range arrays {
		s.handles = append(s.handles, a.ctx)
	}
	v := callC(s.lib.fns[fnVectorArrayNewData], uintptr(unsafe.Pointer(unsafe.SliceData(s.handles))), uintptr(len(arrays)))
	if v == 0 {
		s.freeVector(v)
		s.fail(f, arrays...)
		return 0
	}
	return v
}

func (s *Scope) freeVector(v uintptr) {
	if v != 0 {
		callC(s.lib.fns[fnVectorArrayFree], v)
	}
}

// cString makes a C string on the heap.
func cString(text string) *byte {
	b := make([]byte, len(text)+1)
	copy(b, text)
	return &b[0]
}

// Eval computes arrays, and everything they depend on, and waits for them. It
// says whether the scope is free of failures. A GPU that lacks memory is such a
// failure ([ErrOutOfMemory]); on the CPU MLX doesn't look and the process dies, so
// what runs there must know its size beforehand.
func (s *Scope) Eval(arrays ...Array) bool { return s.eval(fnEval, arrays) }

// AsyncEval starts to compute arrays and does not wait: reading a value does.
// Failures of the device may thus show there.
func (s *Scope) AsyncEval(arrays ...Array) bool { return s.eval(fnAsyncEval, arrays) }

func (s *Scope) eval(f fn, arrays []Array) bool {
	if s.err != nil || len(arrays) == 0 {
		return s.err == nil
	}
	v := s.vector(f, arrays)
	if v == 0 {
		return false
	}
	rc := callC(s.lib.fns[f], v)
	s.freeVector(v)
	if int32(rc) != 0 {
		s.fail(f, arrays...)
	}
	return s.err == nil
}

// The shapes of calls that many operations share.

func (s *Scope) unary(f fn, a Array) Array {
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2] = s.outPtr, a.ctx, s.stream.ctx
	return s.call(f, 3, a)
}

func (s *Scope) binary(f fn, a, b Array) Array {
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3] = s.outPtr, a.ctx, b.ctx, s.stream.ctx
	return s.call(f, 4, a, b)
}

// withInt is an operation on one array with an integer (an axis, say).
func (s *Scope) withInt(f fn, a Array, n int) Array {
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3] = s.outPtr, a.ctx, cInt(n), s.stream.ctx
	return s.call(f, 4, a)
}

// with2Ints is an operation on one array with two integers.
func (s *Scope) with2Ints(f fn, a Array, n, m int) Array {
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4] = s.outPtr, a.ctx, cInt(n), cInt(m), s.stream.ctx
	return s.call(f, 5, a)
}

// withInts is an operation on one array with a list of integers (axes, a shape).
func (s *Scope) withInts(f fn, a Array, list []int) Array {
	p, n := s.ints(0, list)
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4] = s.outPtr, a.ctx, p, n, s.stream.ctx
	return s.call(f, 5, a)
}

// indexed is an operation on two arrays along an axis.
func (s *Scope) indexed(f fn, a, indices Array, axis int) Array {
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4] = s.outPtr, a.ctx, indices.ctx, cInt(axis), s.stream.ctx
	return s.call(f, 5, a, indices)
}

// reduce reduces over axes, or over all of them if none is given.
func (s *Scope) reduce(all, some fn, a Array, keepDims bool, axes []int) Array {
	if s.err != nil {
		return Array{}
	}
	if len(axes) == 0 {
		s.args[0], s.args[1], s.args[2], s.args[3] = s.outPtr, a.ctx, boolArg(keepDims), s.stream.ctx
		return s.call(all, 4, a)
	}
	p, n := s.ints(0, axes)
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5] = s.outPtr, a.ctx, p, n, boolArg(keepDims), s.stream.ctx
	return s.call(some, 6, a)
}

// cInt makes a C int of an axis or a count; what doesn't fit becomes one that
// MLX refuses.
func cInt(v int) uintptr {
	return uintptr(min(max(v, math.MinInt32), math.MaxInt32))
}

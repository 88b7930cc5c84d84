package mlx

import (
	"fmt"
	"unsafe"
)

// Reading evaluates the array and waits for it.

// Float32s is a's elements, which may be of any real type, in row order.
func (s *Scope) Float32s(a Array) []float32 { return s.AppendFloat32s(nil, a) }

// AppendFloat32s appends a's elements, which may be of any real type, to dst.
func (s *Scope) AppendFloat32s(dst []float32, a Array) []float32 {
	return appendElements(s, dst, a, Float32)
}

// Int32s is a's elements converted to int32, in row order.
func (s *Scope) Int32s(a Array) []int32 { return s.AppendInt32s(nil, a) }

// AppendInt32s appends a's elements converted to int32 to dst.
func (s *Scope) AppendInt32s(dst []int32, a Array) []int32 {
	return appendElements(s, dst, a, Int32)
}

// Uint32s is a's elements converted to uint32, in row order.
func (s *Scope) Uint32s(a Array) []uint32 { return s.AppendUint32s(nil, a) }

// AppendUint32s appends a's elements converted to uint32 to dst.
func (s *Scope) AppendUint32s(dst []uint32, a Array) []uint32 {
	return appendElements(s, dst, a, Uint32)
}

// Bytes is the memory of a's elements, in row order and the machine's byte order.
func (s *Scope) Bytes(a Array) []byte { return s.AppendBytes(nil, a) }

// AppendBytes appends the memory of a's elements to dst.
func (s *Scope) AppendBytes(dst []byte, a Array) []byte {
	p := s.read(a)
	if p == nil {
		return dst
	}
	return append(dst, unsafe.Slice((*byte)(p), s.lib.NBytes(a))...)
}

func appendElements[T float32 | int32 | uint32](s *Scope, dst []T, a Array, d DType) []T {
	if s.err != nil {
		return dst
	}
	converted := a
	if s.lib.DType(a) != d {
		converted = s.AsType(a, d)
	}
	p := s.read(converted)
	if p == nil {
		return dst
	}
	return append(dst, unsafe.Slice((*T)(p), s.lib.Size(a))...)
}

// read evaluates a and returns where its elements lie, rows contiguous; nil for
// an empty array or a failure. The scope owns what may have been made for it.
//
// An array that is contiguous already needs no operation, which would wait for all
// work that the stream was given since.
func (s *Scope) read(a Array) unsafe.Pointer {
	if !s.evaluated(a) || s.lib.Size(a) == 0 {
		return nil
	}
	s.out = 0
	if rc := callC(s.lib.fns[fnArrayIsRowContiguous], s.outPtr, a.ctx); int32(rc) != 0 {
		s.fail(fnArrayIsRowContiguous, a)
		return nil
	}
	if s.out&0xff == 0 {
		if a = s.Contiguous(a); !s.evaluated(a) {
			return nil
		}
	}
	// The accessors of the other types are the same, where they exist at all.
	p := s.lib.query(fnArrayDataUint8, a)
	if p == 0 {
		s.err = fmt.Errorf("mlx read of %v %s: no data", s.lib.Shape(a), s.lib.DType(a))
		return nil
	}
	return pointer(p)
}

// evaluated computes an array, if it hasn't been, and waits for it.
func (s *Scope) evaluated(a Array) bool {
	if s.err != nil {
		return false
	}
	if rc := s.lib.query(fnArrayEval, a); int32(rc) != 0 {
		s.fail(fnArrayEval, a)
		return false
	}
	return true
}

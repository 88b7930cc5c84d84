package mlx

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/inferflux/inferflux/tensor"
)

// FromBytes makes an array of a copy of data: the elements, rows contiguous, in
// the machine's byte order. len(data) must be what the shape and type need.
func (s *Scope) FromBytes(data []byte, d DType, shape ...int) Array {
	if !s.knows(d) {
		return Array{}
	}
	want := d.Size()
	for _, n := range shape {
		if n < 0 || n > 0 && want > math.MaxInt/n {
			s.err = fmt.Errorf("mlx: array of shape %v is impossible", shape)
			return Array{}
		}
		want *= n
	}
	if want != len(data) {
		s.err = fmt.Errorf("mlx: array of shape %v and type %s needs %d bytes, not %d", shape, d, want, len(data))
		return Array{}
	}
	return s.fromMemory(unsafe.Pointer(unsafe.SliceData(data)), d, shape)
}

// FromFloat32s makes a float32 array of a copy of data.
func (s *Scope) FromFloat32s(data []float32, shape ...int) Array {
	return fromSlice(s, data, Float32, shape)
}

// FromInt32s makes an int32 array of a copy of data.
func (s *Scope) FromInt32s(data []int32, shape ...int) Array {
	return fromSlice(s, data, Int32, shape)
}

// FromUint32s makes a uint32 array of a copy of data.
func (s *Scope) FromUint32s(data []uint32, shape ...int) Array {
	return fromSlice(s, data, Uint32, shape)
}

func fromSlice[T float32 | int32 | uint32](s *Scope, data []T, d DType, shape []int) Array {
	return s.FromBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), 4*len(data)), d, shape...)
}

// fromMemory copies memory that is known to be as large as the array.
func (s *Scope) fromMemory(data unsafe.Pointer, d DType, shape []int) Array {
	if data == nil {
		data = unsafe.Pointer(&s.bits) // of an empty array, never read
	}
	p, n := s.ints(0, shape)
	if s.err != nil {
		return Array{}
	}
	s.pinned = data
	ctx := callC(s.lib.fns[fnArrayNewData], uintptr(data), p, n, uintptr(d))
	s.pinned = nil
	if ctx == 0 {
		s.fail(fnArrayNewData)
		return Array{}
	}
	return s.made(ctx)
}

// Scalar makes an array without dimensions. The value is converted to the type:
// rounded to nearest for the floating-point ones, truncated for integers.
func (s *Scope) Scalar(v float32, d DType) Array {
	if !s.knows(d) {
		return Array{}
	}
	b := s.bits[:]
	switch d {
	case Bool:
		b[0] = byte(boolArg(v != 0))
	case Uint8, Int8:
		b[0] = byte(int64(v))
	case Uint16, Int16:
		binary.NativeEndian.PutUint16(b, uint16(int64(v)))
	case Uint32, Int32:
		binary.NativeEndian.PutUint32(b, uint32(int64(v)))
	case Uint64, Int64:
		binary.NativeEndian.PutUint64(b, uint64(int64(v)))
	case Float16:
		binary.NativeEndian.PutUint16(b, tensor.F32ToF16(v))
	case BFloat16:
		binary.NativeEndian.PutUint16(b, tensor.F32ToBF16(v))
	case Float32:
		binary.NativeEndian.PutUint32(b, math.Float32bits(v))
	case Float64:
		binary.NativeEndian.PutUint64(b, math.Float64bits(float64(v)))
	case Complex64:
		binary.NativeEndian.PutUint64(b, uint64(math.Float32bits(v)))
	}
	return s.fromMemory(unsafe.Pointer(&s.bits), d, nil)
}

// Zeros makes an array of zeros.
func (s *Scope) Zeros(d DType, shape ...int) Array {
	p, n := s.ints(0, shape)
	if !s.knows(d) {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4] = s.outPtr, p, n, uintptr(d), s.stream.ctx
	return s.call(fnZeros, 5)
}

// Full makes an array whose elements are all v.
func (s *Scope) Full(v float32, d DType, shape ...int) Array {
	value := s.Scalar(v, d)
	p, n := s.ints(0, shape)
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5] = s.outPtr, p, n, value.ctx, uintptr(d), s.stream.ctx
	return s.call(fnFull, 6)
}

// Arange makes the vector start, start+step, … up to but without stop.
func (s *Scope) Arange(start, stop, step float64, d DType) Array {
	if !s.knows(d) {
		return Array{}
	}
	m := &s.mixed
	m.ints[0], m.ints[1], m.ints[2] = s.outPtr, uintptr(d), s.stream.ctx
	m.floats[0], m.floats[1], m.floats[2] = math.Float64bits(start), math.Float64bits(stop), math.Float64bits(step)
	return s.callMixed(fnArange)
}

// Tri makes an [n, m] matrix with ones on and below the k-th diagonal (0 is the
// main one, positive ones lie above), and zeros elsewhere.
func (s *Scope) Tri(n, m, k int, d DType) Array {
	if !s.knows(d) {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5] = s.outPtr, cInt(n), cInt(m), cInt(k), uintptr(d), s.stream.ctx
	return s.call(fnTri, 6)
}

// Tril is a, [..., n, m], with zeros above the k-th diagonal.
func (s *Scope) Tril(a Array, k int) Array { return s.withInt(fnTril, a, k) }

// Triu is a, [..., n, m], with zeros below the k-th diagonal.
func (s *Scope) Triu(a Array, k int) Array { return s.withInt(fnTriu, a, k) }

// AsType converts the elements to a type.
func (s *Scope) AsType(a Array, d DType) Array {
	if !s.knows(d) {
		return Array{}
	}
	return s.withInt(fnAsType, a, int(d))
}

// View reads the bytes of the elements as elements of another type. Where the
// sizes differ the last dimension changes accordingly.
func (s *Scope) View(a Array, d DType) Array {
	if !s.knows(d) {
		return Array{}
	}
	return s.withInt(fnView, a, int(d))
}

// knows says whether the scope can go on with a type, which C does not check.
func (s *Scope) knows(d DType) bool {
	if s.err == nil && !d.known() {
		s.err = fmt.Errorf("mlx: there is no %s", d)
	}
	return s.err == nil
}

// Contiguous is a with rows contiguous in memory: a itself if it is so already.
func (s *Scope) Contiguous(a Array) Array { return s.withInt(fnContiguous, a, 0) }

// Copy is a copy of a.
func (s *Scope) Copy(a Array) Array { return s.unary(fnCopy, a) }

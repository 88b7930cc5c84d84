package simd

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/inferflux/inferflux/tensor"
)

// KVType is the element type of stored keys and values.
type KVType uint8

// The types.
const (
	KVF32 KVType = iota
	KVF16        // binary16
	KVQ8         // int8, with a binary16 scale for 32 elements: ggml's q8_0
)

// KVLayout is the form in which one head's keys and values of Tokens consecutive
// positions lie in memory: a block, first of keys, then of values.
//
// Keys lie in panels of 16 positions, a panel being [dims][16], where dims is
// HeadDim rounded up: just as [Matrix] keeps weights, so that one vector holds an
// element of 16 positions' keys and scores need no sum across lanes. Values are
// rows, [Tokens][dims]. With KVQ8 each panel of keys ends with its scales,
// [dims/32][16], and the values with theirs, [Tokens][dims/32].
//
// The elements beyond HeadDim must be zero: memory for blocks begins as zeros and
// is written by SetKey and SetValue alone.
type KVLayout struct {
	Type    KVType
	HeadDim int
	Tokens  int // a multiple of 16
}

const q8Block = 32 // elements that share a scale

// dims is HeadDim with its padding.
func (l KVLayout) dims() int {
	if l.Type == KVQ8 {
		return roundUp(l.HeadDim, q8Block)
	}
	return roundUp(l.HeadDim, lanes)
}

// elementBytes is the size of an element, scales aside.
func (l KVLayout) elementBytes() int { return [...]int{KVF32: 4, KVF16: 2, KVQ8: 1}[l.Type] }

// panelBytes is the size of 16 positions' keys, and of their values.
func (l KVLayout) panelBytes() int {
	n := lanes * l.dims()
	if l.Type == KVQ8 {
		return n + 2*n/q8Block
	}
	return n * l.elementBytes()
}

// Bytes is the size of a block, which must be aligned to 4 bytes.
func (l KVLayout) Bytes() int { return 2 * l.valuesAt() }

// valuesAt is where in a block its values begin.
func (l KVLayout) valuesAt() int { return l.Tokens / lanes * l.panelBytes() }

// SetKey stores the key x [HeadDim] of a block's position t. It works in the
// place of the position's value, so that is to be set after it.
func (l KVLayout) SetKey(block []byte, t int, x []float32) {
	panel, lane, dims := l.panel(block, t), t%lanes, l.dims()
	x = x[:l.HeadDim]
	switch l.Type {
	case KVF32:
		scatter(elements[float32](panel)[lane:], x)
	case KVF16:
		row := l.halves(block, t)
		ToF16(row, x)
		scatter(elements[uint16](panel)[lane:], row)
	case KVQ8:
		codes, scales := l.codes(block, t)
		active.attend.quantizeKV(codes, scales, x)
		scatter(elements[int8](panel)[lane:], codes)
		scatter(elements[uint16](panel[lanes*dims:])[lane:], scales)
	}
}

// scatter sets every 16th element of dst.
func scatter[T any](dst, src []T) {
	for i, v := range src {
		dst[lanes*i] = v
	}
}

// SetValue stores the value x [HeadDim] of a block's position t.
func (l KVLayout) SetValue(block []byte, t int, x []float32) {
	x = x[:l.HeadDim]
	switch l.Type {
	case KVF32:
		copy(elements[float32](block[l.valuesAt():])[t*l.dims():], x)
	case KVF16:
		ToF16(l.halves(block, t), x)
	case KVQ8:
		codes, scales := l.codes(block, t)
		active.attend.quantizeKV(codes, scales, x)
	}
}

// halves is the value of position t, without padding.
func (l KVLayout) halves(block []byte, t int) []uint16 {
	return elements[uint16](block[l.valuesAt():])[t*l.dims():][:l.HeadDim]
}

// codes are the value of position t, without padding, and its scales.
func (l KVLayout) codes(block []byte, t int) ([]int8, []uint16) {
	values, dims := block[l.valuesAt():], l.dims()
	scales := elements[uint16](values[l.Tokens*dims:])
	return elements[int8](values)[t*dims:][:l.HeadDim], scales[t*dims/q8Block:][:dims/q8Block]
}

// Key reads the key of position t into x [HeadDim], exactly.
func (l KVLayout) Key(x []float32, block []byte, t int) {
	panel, lane := l.panel(block, t), t%lanes
	for i := range x[:l.HeadDim] {
		switch at := lanes*i + lane; l.Type {
		case KVF32:
			x[i] = elements[float32](panel)[at]
		case KVF16:
			x[i] = tensor.F16ToF32(elements[uint16](panel)[at])
		case KVQ8:
			d := elements[uint16](panel[lanes*l.dims():])[i/q8Block*lanes+lane]
			x[i] = tensor.F16ToF32(d) * float32(int8(panel[at]))
		}
	}
}

// Value reads the value of position t into x [HeadDim], exactly.
func (l KVLayout) Value(x []float32, block []byte, t int) {
	x = x[:l.HeadDim]
	switch l.Type {
	case KVF32:
		copy(x, elements[float32](block[l.valuesAt():])[t*l.dims():])
	case KVF16:
		FromF16(x, l.halves(block, t))
	case KVQ8:
		codes, scales := l.codes(block, t)
		for i, c := range codes {
			x[i] = tensor.F16ToF32(scales[i/q8Block]) * float32(c)
		}
	}
}

func (l KVLayout) panel(block []byte, t int) []byte {
	if uint(t) >= uint(l.Tokens) {
		panic(fmt.Sprintf("simd: position %d of a block of %d", t, l.Tokens))
	}
	size := l.panelBytes()
	return block[t/lanes*size:][:size]
}

// quantizeKVPortable converts a row to KVQ8: in each block of 32, codes in units
// of a scale, the largest |x|/127 in binary16. The scale is at least binary16's
// least normal number, below which it would have few bits. So what was stored, read
// and stored again keeps its bits: 127·d is exact, and 127·d/127 rounds to d.
func quantizeKVPortable(codes []int8, scales []uint16, x []float32) {
	const least, most = 0x1p-14, 65504
	for b := 0; len(x) > 0; b++ {
		n := min(q8Block, len(x))
		top := uint32(0)
		for _, v := range x[:n] {
			top = max(top, math.Float32bits(v)&^(1<<31)) // a NaN is the largest of all
		}
		scales[b] = tensor.F32ToF16(min(max(math.Float32frombits(top)*(1.0/127), least), most))
		inverse := 1 / tensor.F16ToF32(scales[b])
		for i, v := range x[:n] {
			codes[i] = nearest(max(-127, min(v*inverse, 127)))
		}
		codes, x = codes[n:], x[n:]
	}
}

// elements views bytes, which must be aligned, as elements.
func elements[T int8 | uint16 | float32](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	size := int(unsafe.Sizeof(*new(T)))
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/size)
}

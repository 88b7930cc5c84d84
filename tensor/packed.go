package tensor

import (
	"fmt"
	"math/bits"
	"slices"
)

// Packed is how MLX quantized a matrix [..., out, in] (mlx.core.quantize): every
// Group neighbours of a row share a scale, and each element has a code of Bits
// bits.
//
// # Codes
//
// Tensor.Data holds the rows one after the other, each in·Bits/8 bytes, which are
// little-endian uint32 words in the file. As bytes the rule is the same for every
// width: a row is a stream of bits, bit j of byte k being the stream's bit 8k+j,
// and element i's code is bits i·Bits to (i+1)·Bits, lowest first. So codes of 3, 5
// and 6 bits cross the borders of bytes and words, and 8 codes always take Bits
// bytes.
//
// # Values
//
//	mode    bits           group       scales         element
//	affine  2 3 4 5 6 8    32 64 128   F32 F16 BF16   code·scale + bias
//	mxfp4   4              32          U8: E8M0       E2M1(code)·2^(scale-127)
//	mxfp8   8              32          U8: E8M0       E4M3(code)·2^(scale-127)
//	nvfp4   4              16          U8: E4M3       E2M1(code)·E4M3(scale)
//
// E2M1, E4M3 and E8M0 are the small floats of OCP's Microscaling Formats
// specification 1.0, with one exception that is MLX's: the scale 255, reserved for
// NaN, is infinity.
type Packed struct {
	// Mode is the name that MLX's functions know: the type's String.
	Mode        string
	Bits, Group int
	// Scales is [..., out, in/Group]; Biases are of the same shape, and only affine
	// has them: the zero Tensor stands for none.
	Scales, Biases Tensor
}

// String is the mode, width and group, such as "affine 4-bit/64".
func (p *Packed) String() string { return fmt.Sprintf("%s %d-bit/%d", p.Mode, p.Bits, p.Group) }

// packings are the widths and groups of each mode (mlx.core.quantize).
var packings = map[Type]struct{ bits, groups []int }{
	MLXAffine: {[]int{2, 3, 4, 5, 6, 8}, []int{32, 64, 128}},
	MLXMXFP4:  {[]int{4}, []int{32}},
	MLXMXFP8:  {[]int{8}, []int{32}},
	MLXNVFP4:  {[]int{4}, []int{16}},
}

// NewPacked joins the arrays in which MLX stores a quantized matrix. shape is that
// of the elements. It fails unless mode, bits and group are ones that MLX has and
// everything fits together, so that what it returns can be dequantized.
func NewPacked(name string, shape []int, data []byte, p Packed) (Tensor, error) {
	t := Tensor{Name: name, Shape: shape, Data: data, Packed: &p}
	for typ := range packings {
		if typ.String() == p.Mode {
			t.Type = typ
		}
	}
	if err := t.checkPacked(); err != nil {
		return Tensor{}, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// checkPacked proves that reading any row stays inside the arrays.
func (t Tensor) checkPacked() error {
	p := t.Packed
	allowed, ok := packings[t.Type]
	switch {
	case !ok || p == nil || p.Mode != t.Type.String():
		mode := t.Type.String()
		if p != nil {
			mode = p.Mode
		}
		return fmt.Errorf("quantization mode %q isn't known: affine, mxfp4, mxfp8 and nvfp4 are", mode)
	case !slices.Contains(allowed.bits, p.Bits):
		return fmt.Errorf("%s quantization to %d bits isn't known: it has %v", p.Mode, p.Bits, allowed.bits)
	case !slices.Contains(allowed.groups, p.Group):
		return fmt.Errorf("%s quantization in groups of %d isn't known: it has %v", p.Mode, p.Group, allowed.groups)
	case len(t.Shape) < 2:
		return fmt.Errorf("shape %v: only matrices are quantized", t.Shape)
	}
	cols := t.Cols()
	if cols <= 0 || cols%p.Group != 0 {
		return fmt.Errorf("rows of %d elements are not whole groups of %d", cols, p.Group)
	}
	// Checked one factor at a time, so that no product overflows.
	rows := 1
	for _, d := range t.Shape[:len(t.Shape)-1] {
		over, n := bits.Mul(uint(max(d, 0)), uint(rows))
		if d < 1 || over != 0 || n > uint(len(t.Data)) {
			return fmt.Errorf("shape %v doesn't fit %d bytes of codes", t.Shape, len(t.Data))
		}
		rows = int(n)
	}
	if len(t.Data)%rows != 0 || cols > len(t.Data)/rows*8/p.Bits || len(t.Data)/rows != cols*p.Bits/8 {
		return fmt.Errorf("shape %v doesn't fit %d bytes of %d-bit codes", t.Shape, len(t.Data), p.Bits)
	}
	if t.Type != MLXAffine {
		if p.Biases.Data != nil {
			return fmt.Errorf("%s quantization has no biases, but the matrix has", p.Mode)
		}
		return t.checkScales("scales", p.Scales, U8)
	}
	if err := t.checkScales("scales", p.Scales, F32, F16, BF16); err != nil {
		return err
	}
	return t.checkScales("biases", p.Biases, F32, F16, BF16)
}

// checkScales compares one of the arrays beside the codes with what they need.
func (t Tensor) checkScales(what string, s Tensor, types ...Type) error {
	if !slices.Contains(types, s.Type) {
		return fmt.Errorf("%s are stored as %s, expected one of %v", what, s.Type, types)
	}
	last, groups := len(t.Shape)-1, t.Cols()/t.Packed.Group
	if len(s.Shape) != last+1 || !slices.Equal(s.Shape[:last], t.Shape[:last]) || s.Shape[last] != groups {
		return fmt.Errorf("%s have the shape %v, expected %v", what, s.Shape, append(slices.Clone(t.Shape[:last]), groups))
	}
	// There are fewer than codes, so their number can't overflow.
	if _, size := s.Type.Block(); len(s.Data) != s.Elems()*size {
		return fmt.Errorf("%s take %d bytes, expected %d", what, len(s.Data), s.Elems()*size)
	}
	return nil
}

// Package repack turns stored tensors of GGUF types into the arrays that MLX's
// quantized operations take. It needs no MLX: it is arithmetic on bytes.
//
// # MLX's layouts
//
// "affine": w = q·scale + bias, with one scale and one bias for each group of
// 32, 64 or 128 neighbours in a row, and q unsigned in 2, 3, 4, 5, 6 or 8 bits.
// The q of a row are a stream of bits, the first in the lowest bits of the first
// uint32. "mxfp4": w = 2^(e-127)·level(q), in groups of 32, with the exponent e
// in a byte and q in a stream of nibbles; the levels are those of E2M1 in OCP's
// Microscaling Formats specification 1.0.
//
// # What becomes of a type
//
// Groups are of 32 everywhere.
//
//	GGUF              MLX             elements
//	Q4_0 Q4_1 Q4_K    affine 4 bits   the same
//	Q5_0 Q5_1 Q5_K    affine 5 bits   the same
//	Q8_0              affine 8 bits   the same
//	IQ4_NL IQ4_XS     affine 8 bits   the same
//	MXFP4             mxfp4           the same
//	Q6_K              affine 8 bits   rms error 0.22 of the quantization's own
//	Q3_K              affine 5 bits   rms error 0.19 of it
//	Q2_K              affine 4 bits   rms error 0.23 of it
//	F32 F16 BF16      dense           the same, as a view of the tensor's bytes
//	other             dense           float32
//
// The same means: computed in float32, to the last bit what [tensor.Dequantize]
// gives, but for the sign of zeros and for blocks with a scale that is not
// finite (an MXFP4 exponent of 255 included), which may become NaN throughout. The rest is
// rounded only when the caller narrows scales and biases to the type it computes
// in.
//
// Q2_K, Q3_K and Q6_K have a scale for every 16 elements, and MLX has no groups
// that small. They get two bits more instead, which makes room for both scales of
// a group of 32: the half with the larger scale keeps its values, the other's are
// rounded to a quarter of the larger step (Q2_K, whose halves have minima of their
// own too, is laid out anew between the group's ends). That adds about a fifth of
// the error that quantization made before, which makes 2 to 3 percent more
// altogether: measured on normal random numbers and on SmolLM2's weights as ggml
// quantizes them. The alternative, float16, is as good as exact but takes twice
// the bytes and more, and generating text is reading bytes.
package repack

import (
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/tensor"
)

// Modes of a [Format], as MLX names them.
const (
	Affine = "affine"
	MXFP4  = "mxfp4"
	Dense  = ""
)

// Format says how a tensor's elements are laid out for MLX.
type Format struct {
	Mode  string // Affine, MXFP4 or Dense
	Bits  int    // of one element; 0 if dense
	Group int    // elements that share a scale; 0 if dense
	// Exact says that the elements are those of the stored tensor; see the
	// package comment for the small print.
	Exact bool
	// Note says what is done, for a log: "Q6_K as affine 8-bit in groups of 32,
	// rms error 0.22 of the quantization's own".
	Note string
}

// Weight is a range of a tensor's rows in MLX's layout. Which arrays are set
// depends on Mode; the others are empty.
type Weight struct {
	Format
	Rows, Cols int

	// Packed is [Rows, Cols·Bits/32], for Affine and MXFP4.
	Packed []uint32
	// Scales and Biases are [Rows, Cols/Group], for Affine.
	Scales, Biases []float32
	// Scales8 is [Rows, Cols/Group], for MXFP4.
	Scales8 []uint8

	// Raw is the rows' own bytes, a view of the tensor's, when it is of type F32,
	// F16 or BF16. Every other Dense weight is in Dense, [Rows, Cols].
	Raw   []byte
	Dense []float32
}

// layout is how one type is repacked. fill takes whole blocks of the type and
// arrays of exactly their size.
type layout struct {
	mode string
	bits int
	rms  string // error, as a part of the quantization's own; empty if exact
	fill func(w *Weight, src []byte)
}

const group = 32

var layouts = map[tensor.Type]layout{
	tensor.Q4_0:   {Affine, 4, "", fillQ4_0},
	tensor.Q4_1:   {Affine, 4, "", fillQ4_1},
	tensor.Q5_0:   {Affine, 5, "", fillQ5_0},
	tensor.Q5_1:   {Affine, 5, "", fillQ5_1},
	tensor.Q8_0:   {Affine, 8, "", fillQ8_0},
	tensor.Q4_K:   {Affine, 4, "", fillQ4_K},
	tensor.Q5_K:   {Affine, 5, "", fillQ5_K},
	tensor.Q2_K:   {Affine, 4, "0.23", fillQ2_K},
	tensor.Q3_K:   {Affine, 5, "0.19", fillQ3_K},
	tensor.Q6_K:   {Affine, 8, "0.22", fillQ6_K},
	tensor.IQ4_NL: {Affine, 8, "", fillIQ4_NL},
	tensor.IQ4_XS: {Affine, 8, "", fillIQ4_XS},
	tensor.MXFP4:  {MXFP4, 4, "", fillMXFP4},
}

// FormatOf is the format that [Repack] gives tensors of a type. It fails for
// types whose values can't be read.
func FormatOf(t tensor.Type) (Format, error) {
	if l, ok := layouts[t]; ok {
		f := Format{Mode: l.mode, Bits: l.bits, Group: group, Exact: l.rms == ""}
		switch {
		case l.mode == MXFP4:
			f.Note = fmt.Sprintf("%s as mxfp4, exactly", t)
		case f.Exact:
			f.Note = fmt.Sprintf("%s as affine %d-bit in groups of %d, exactly", t, l.bits, group)
		default:
			f.Note = fmt.Sprintf("%s as affine %d-bit in groups of %d, rms error %s of the quantization's own", t, l.bits, group, l.rms)
		}
		return f, nil
	}
	switch {
	case isRaw(t):
		return Format{Exact: true, Note: fmt.Sprintf("%s as it is", t)}, nil
	case t.CanDequantize():
		return Format{Exact: true, Note: fmt.Sprintf("%s as float32", t)}, nil
	}
	return Format{}, fmt.Errorf("values of type %s can't be read: quantize the model to another type", t)
}

func isRaw(t tensor.Type) bool { return t == tensor.F32 || t == tensor.F16 || t == tensor.BF16 }

// Repack puts rows fromRow up to, not including, toRow of t into dst, whose
// arrays it reuses. Ranges of one tensor may be repacked at the same time, into
// weights of their own.
func Repack(t tensor.Tensor, fromRow, toRow int, dst *Weight) error {
	format, err := FormatOf(t.Type)
	if err != nil {
		return fmt.Errorf("repack %s: %w", t, err)
	}
	cols := t.Cols()
	rowBytes, err := t.Type.RowBytes(cols)
	if err != nil {
		return fmt.Errorf("repack %s: %w", t, err)
	}
	if fromRow < 0 || toRow < fromRow || toRow > t.Rows() {
		return fmt.Errorf("repack %s: rows %d to %d of %d", t, fromRow, toRow, t.Rows())
	}
	// In this order nothing overflows, whatever the shape says.
	blockElems, blockBytes := t.Type.Block()
	if cols > 0 && toRow > 0 && (cols/blockElems > len(t.Data)/blockBytes || toRow > len(t.Data)/rowBytes) {
		return fmt.Errorf("repack %s: %d rows are wanted, and the tensor has only %d bytes", t, toRow, len(t.Data))
	}
	src := t.Data[fromRow*rowBytes : toRow*rowBytes]
	rows := toRow - fromRow
	elems := rows * cols

	dst.Format, dst.Rows, dst.Cols = format, rows, cols
	packed, groups, bytes, dense := 0, 0, 0, 0
	switch {
	case format.Mode == Affine:
		packed, groups = elems/group*format.Bits, elems/group
	case format.Mode == MXFP4:
		packed, bytes = elems/group*format.Bits, elems/group
	case !isRaw(t.Type):
		dense = elems
	}
	dst.Packed = sized(dst.Packed, packed)
	dst.Scales = sized(dst.Scales, groups)
	dst.Biases = sized(dst.Biases, groups)
	dst.Scales8 = sized(dst.Scales8, bytes)
	dst.Dense = sized(dst.Dense, dense)
	dst.Raw = nil

	switch l, ok := layouts[t.Type]; {
	case ok:
		l.fill(dst, src)
	case isRaw(t.Type):
		dst.Raw = src
	default:
		if err := tensor.Dequantize(dst.Dense, t.Type, src); err != nil {
			return fmt.Errorf("repack %s: %w", t, err)
		}
	}
	return nil
}

// sized is s with length n; its elements are whatever they were.
func sized[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

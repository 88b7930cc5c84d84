package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Dequantize turns stored elements of type t into float32. src holds whole
// blocks and dst has room for exactly the elements in them: t.RowBytes(len(dst))
// == len(src). Both may span any number of rows.
//
// The result is what ggml's own dequantization gives, to the last bit: products
// and sums are rounded one after the other, never fused. F64 and I32 values that
// a float32 can't hold are rounded.
//
// It fails when t has no dequantization (see [Type.CanDequantize]) or when the
// lengths don't match; dst is then untouched.
func Dequantize(dst []float32, t Type, src []byte) error {
	if !t.CanDequantize() {
		return fmt.Errorf("dequantize: values of type %s can't be read", t)
	}
	want, err := t.RowBytes(len(dst))
	if err != nil {
		return fmt.Errorf("dequantize: %w", err)
	}
	if want != len(src) {
		return fmt.Errorf("dequantize: %d elements of type %s take %d bytes, got %d", len(dst), t, want, len(src))
	}
	dequantizers[t](dst, src)
	return nil
}

// CanDequantize reports whether [Dequantize] can read values of type t.
// [Tensor.CanDequantize] also knows the types that need scales from elsewhere.
func (t Type) CanDequantize() bool { return t < numTypes && dequantizers[t] != nil }

// Dequantize turns rows from up to, not including, to of any tensor whose values
// can be read into float32: dst has room for exactly their elements. GGUF's types
// are read as by [Dequantize]; MLX's as mlx.core.dequantize does in float32, to the
// last bit.
//
// Ranges of one tensor may be read at the same time. When it fails, dst is
// untouched.
func (t Tensor) Dequantize(dst []float32, from, to int) error {
	rows, cols := t.Rows(), t.Cols()
	if from < 0 || to < from || to > rows || len(dst) != (to-from)*cols {
		return fmt.Errorf("dequantize %s: rows %d to %d of %d into %d elements", t, from, to, rows, len(dst))
	}
	if t.Type.packed() {
		if err := t.checkPacked(); err != nil {
			return fmt.Errorf("dequantize %s: %w", t, err)
		}
		t.dequantizePacked(dst, from, to)
		return nil
	}
	size, err := t.Type.RowBytes(cols)
	if err == nil && size > 0 && to > len(t.Data)/size {
		err = fmt.Errorf("%d bytes hold %d rows", len(t.Data), len(t.Data)/size)
	}
	if err != nil {
		return fmt.Errorf("dequantize %s: %w", t, err)
	}
	if err := Dequantize(dst, t.Type, t.Data[from*size:to*size]); err != nil {
		return fmt.Errorf("%s: %w", t, err)
	}
	return nil
}

// CanDequantize reports whether [Tensor.Dequantize] can read the tensor's values.
func (t Tensor) CanDequantize() bool { return t.Packed != nil || t.Type.CanDequantize() }

// Each function reads whole blocks: len(src) decides how many, dst is as long.
var dequantizers = [numTypes]func(dst []float32, src []byte){
	F32: dequantizeF32, F16: dequantizeF16, BF16: dequantizeBF16, F64: dequantizeF64,
	I8: dequantizeI8, I16: dequantizeI16, I32: dequantizeI32,
	Q4_0: dequantizeQ4_0, Q4_1: dequantizeQ4_1, Q5_0: dequantizeQ5_0, Q5_1: dequantizeQ5_1,
	Q8_0: dequantizeQ8_0,
	Q2_K: dequantizeQ2_K, Q3_K: dequantizeQ3_K, Q4_K: dequantizeQ4_K, Q5_K: dequantizeQ5_K,
	Q6_K: dequantizeQ6_K, Q8_K: dequantizeQ8_K,
	IQ4_NL: dequantizeIQ4_NL, IQ4_XS: dequantizeIQ4_XS, MXFP4: dequantizeMXFP4,
}

var le = binary.LittleEndian

func dequantizeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
	}
}

func dequantizeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = F16ToF32(le.Uint16(src[2*i:]))
	}
}

func dequantizeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = BF16ToF32(le.Uint16(src[2*i:]))
	}
}

func dequantizeF64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
	}
}

func dequantizeI8(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int8(src[i]))
	}
}

func dequantizeI16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int16(le.Uint16(src[2*i:])))
	}
}

func dequantizeI32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(int32(le.Uint32(src[4*i:])))
	}
}

// Blocks of 32 with one scale d (binary16), in the types numbered _1 also a
// minimum m: x = d·q + m, or d·(q - middle). Low nibbles are elements 0 to 15,
// high nibbles 16 to 31.
//
// A conversion such as float32(d*q)+m looks idle but forbids the compiler to
// fuse the two operations, as it would on arm64.

// Q4_0: d, 16 bytes of nibbles.
func dequantizeQ4_0(dst []float32, src []byte) {
	for ; len(src) >= 18; src, dst = src[18:], dst[32:] {
		d := F16ToF32(le.Uint16(src))
		y := (*[32]float32)(dst)
		for i, q := range (*[16]byte)(src[2:]) {
			y[i] = d * float32(int32(q&15)-8)
			y[i+16] = d * float32(int32(q>>4)-8)
		}
	}
}

// Q4_1: d, m, 16 bytes of nibbles.
func dequantizeQ4_1(dst []float32, src []byte) {
	for ; len(src) >= 20; src, dst = src[20:], dst[32:] {
		d, m := F16ToF32(le.Uint16(src)), F16ToF32(le.Uint16(src[2:]))
		y := (*[32]float32)(dst)
		for i, q := range (*[16]byte)(src[4:]) {
			y[i] = float32(d*float32(int32(q&15))) + m
			y[i+16] = float32(d*float32(int32(q>>4))) + m
		}
	}
}

// Q5_0: d, the 32 fifth bits, 16 bytes of nibbles.
func dequantizeQ5_0(dst []float32, src []byte) {
	for ; len(src) >= 22; src, dst = src[22:], dst[32:] {
		d, high := F16ToF32(le.Uint16(src)), le.Uint32(src[2:])
		y := (*[32]float32)(dst)
		for i, q := range (*[16]byte)(src[6:]) {
			y[i] = d * float32(int32(uint32(q&15)|high>>i&1<<4)-16)
			y[i+16] = d * float32(int32(uint32(q>>4)|high>>(i+16)&1<<4)-16)
		}
	}
}

// Q5_1: d, m, the 32 fifth bits, 16 bytes of nibbles.
func dequantizeQ5_1(dst []float32, src []byte) {
	for ; len(src) >= 24; src, dst = src[24:], dst[32:] {
		d, m, high := F16ToF32(le.Uint16(src)), F16ToF32(le.Uint16(src[2:])), le.Uint32(src[4:])
		y := (*[32]float32)(dst)
		for i, q := range (*[16]byte)(src[8:]) {
			y[i] = float32(d*float32(int32(uint32(q&15)|high>>i&1<<4))) + m
			y[i+16] = float32(d*float32(int32(uint32(q>>4)|high>>(i+16)&1<<4))) + m
		}
	}
}

// Q8_0: d, 32 signed bytes.
func dequantizeQ8_0(dst []float32, src []byte) {
	for ; len(src) >= 34; src, dst = src[34:], dst[32:] {
		d := F16ToF32(le.Uint16(src))
		y := (*[32]float32)(dst)
		for i, q := range (*[32]byte)(src[2:]) {
			y[i] = d * float32(int8(q))
		}
	}
}

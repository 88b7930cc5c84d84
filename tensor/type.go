package tensor

import (
	"fmt"
	"math"
)

// Type is the element type or quantized block layout of a tensor.
type Type uint8

// The types of ggml's current file format (ggml.h, enum ggml_type), by their
// usual names, those that only safetensors and npz files have, and MLX's
// quantizations. Those for which [Type.CanDequantize] is false are recognised so
// that a file can be listed, but their values can't be read on their own.
const (
	Invalid Type = iota
	F32
	F16
	BF16
	F64
	I8
	I16
	I32
	I64
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q8_0
	Q8_1
	Q2_K
	Q3_K
	Q4_K
	Q5_K
	Q6_K
	Q8_K
	IQ1_S
	IQ1_M
	IQ2_XXS
	IQ2_XS
	IQ2_S
	IQ3_XXS
	IQ3_S
	IQ4_NL
	IQ4_XS
	TQ1_0
	TQ2_0
	MXFP4
	NVFP4
	Q1_0
	Q2_0

	Bool
	U8
	U16
	U32
	U64
	C64
	F8_E4M3
	F8_E5M2
	F8_E8M0
	F8_E4M3FNUZ
	F8_E5M2FNUZ
	F6_E2M3
	F6_E3M2
	F4

	// MLX's quantizations, by the mode names of its functions. A tensor of such a
	// type has a [Packed]; the type alone doesn't tell the size.
	MLXAffine
	MLXMXFP4
	MLXMXFP8
	MLXNVFP4
	numTypes
)

type typeInfo struct {
	name         string
	elems, bytes int // of one block
}

// Block sizes: ggml-common.h (block_* structs), ggml.c (type_traits).
var types = [numTypes]typeInfo{
	Invalid: {"invalid", 1, 0},
	F32:     {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2}, F64: {"F64", 1, 8},
	I8: {"I8", 1, 1}, I16: {"I16", 1, 2}, I32: {"I32", 1, 4}, I64: {"I64", 1, 8},
	Q4_0: {"Q4_0", 32, 18}, Q4_1: {"Q4_1", 32, 20}, Q5_0: {"Q5_0", 32, 22}, Q5_1: {"Q5_1", 32, 24},
	Q8_0: {"Q8_0", 32, 34}, Q8_1: {"Q8_1", 32, 36},
	Q2_K: {"Q2_K", 256, 84}, Q3_K: {"Q3_K", 256, 110}, Q4_K: {"Q4_K", 256, 144},
	Q5_K: {"Q5_K", 256, 176}, Q6_K: {"Q6_K", 256, 210}, Q8_K: {"Q8_K", 256, 292},
	IQ1_S: {"IQ1_S", 256, 50}, IQ1_M: {"IQ1_M", 256, 56},
	IQ2_XXS: {"IQ2_XXS", 256, 66}, IQ2_XS: {"IQ2_XS", 256, 74}, IQ2_S: {"IQ2_S", 256, 82},
	IQ3_XXS: {"IQ3_XXS", 256, 98}, IQ3_S: {"IQ3_S", 256, 110},
	IQ4_NL: {"IQ4_NL", 32, 18}, IQ4_XS: {"IQ4_XS", 256, 136},
	TQ1_0: {"TQ1_0", 256, 54}, TQ2_0: {"TQ2_0", 256, 66},
	MXFP4: {"MXFP4", 32, 17}, NVFP4: {"NVFP4", 64, 36}, Q1_0: {"Q1_0", 128, 18}, Q2_0: {"Q2_0", 64, 18},

	// safetensors' dtypes.
	Bool: {"BOOL", 1, 1}, U8: {"U8", 1, 1}, U16: {"U16", 1, 2}, U32: {"U32", 1, 4}, U64: {"U64", 1, 8}, C64: {"C64", 1, 8},
	F8_E4M3: {"F8_E4M3", 1, 1}, F8_E5M2: {"F8_E5M2", 1, 1}, F8_E8M0: {"F8_E8M0", 1, 1},
	F8_E4M3FNUZ: {"F8_E4M3FNUZ", 1, 1}, F8_E5M2FNUZ: {"F8_E5M2FNUZ", 1, 1},
	F6_E2M3: {"F6_E2M3", 4, 3}, F6_E3M2: {"F6_E3M2", 4, 3}, F4: {"F4", 2, 1},

	MLXAffine: {"affine", 1, 0}, MLXMXFP4: {"mxfp4", 1, 0}, MLXMXFP8: {"mxfp8", 1, 0}, MLXNVFP4: {"nvfp4", 1, 0},
}

// String is the type's usual name, such as "Q4_K".
func (t Type) String() string {
	if t < numTypes {
		return types[t].name
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// Block is the number of elements in one block and the bytes it takes; (1,
// size) for types that are not quantized, (1, 0) for MLX's, whose size depends on
// the tensor.
func (t Type) Block() (elems, bytes int) {
	if t >= numTypes {
		return 1, 0
	}
	return types[t].elems, types[t].bytes
}

// RowBytes is the size of a row of cols elements, or an error if cols is not a
// whole number of blocks.
func (t Type) RowBytes(cols int) (int, error) {
	e, b := t.Block()
	if b == 0 {
		return 0, fmt.Errorf("type %s has no known size", t)
	}
	if cols < 0 || cols%e != 0 {
		return 0, fmt.Errorf("a row of %d elements is not a whole number of %s blocks of %d", cols, t, e)
	}
	if cols/e > math.MaxInt/b {
		return 0, fmt.Errorf("a row of %d elements takes more bytes than can be counted", cols)
	}
	return cols / e * b, nil
}

// Quantized reports whether elements are stored in blocks or groups that share a
// scale.
func (t Type) Quantized() bool {
	switch t {
	case F6_E2M3, F6_E3M2, F4: // several elements to a byte, no scale
		return false
	}
	e, _ := t.Block()
	return e > 1 || t.packed()
}

// packed reports whether the type is one of MLX's, which need a [Packed].
func (t Type) packed() bool { return t >= MLXAffine && t <= MLXNVFP4 }

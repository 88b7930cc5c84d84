package gguf

import (
	"slices"

	"github.com/inferflux/inferflux/tensor"
)

// tensorTypes are the tensor types as files number them (ggml.h, enum
// ggml_type). Invalid stands for numbers that ggml gave up.
var tensorTypes = [...]tensor.Type{
	0: tensor.F32, 1: tensor.F16, 2: tensor.Q4_0, 3: tensor.Q4_1,
	6: tensor.Q5_0, 7: tensor.Q5_1, 8: tensor.Q8_0, 9: tensor.Q8_1,
	10: tensor.Q2_K, 11: tensor.Q3_K, 12: tensor.Q4_K, 13: tensor.Q5_K, 14: tensor.Q6_K, 15: tensor.Q8_K,
	16: tensor.IQ2_XXS, 17: tensor.IQ2_XS, 18: tensor.IQ3_XXS, 19: tensor.IQ1_S,
	20: tensor.IQ4_NL, 21: tensor.IQ3_S, 22: tensor.IQ2_S, 23: tensor.IQ4_XS,
	24: tensor.I8, 25: tensor.I16, 26: tensor.I32, 27: tensor.I64, 28: tensor.F64,
	29: tensor.IQ1_M, 30: tensor.BF16, 34: tensor.TQ1_0, 35: tensor.TQ2_0,
	39: tensor.MXFP4, 40: tensor.NVFP4, 41: tensor.Q1_0, 42: tensor.Q2_0,
}

// removedTypes are layouts that old files may still have. ggml now makes the
// repacked forms when it loads the plain ones.
var removedTypes = map[uint32]string{
	4: "Q4_2", 5: "Q4_3",
	31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
	36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
}

// tensorType translates a type's number; Invalid if it is not one.
func tensorType(n uint32) tensor.Type {
	if n < uint32(len(tensorTypes)) {
		return tensorTypes[n]
	}
	return tensor.Invalid
}

// typeNumber is the inverse; false for a type that files can't have.
func typeNumber(t tensor.Type) (uint32, bool) {
	n := slices.Index(tensorTypes[:], t)
	return uint32(n), n >= 0 && t != tensor.Invalid
}

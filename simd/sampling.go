package simd

import "math"

// The blocks of [BlockMax] and [BlockSumExp], in elements.
const (
	MaxBlock = 64
	SumBlock = 256
)

// BlockMax sets dst[i] to the largest element of a[i*MaxBlock:][:MaxBlock], the
// last block being what is left, or to minus infinity if there is none but NaN. It
// returns the number of blocks, which dst must have room for.
func BlockMax(dst, a []float32) int {
	n := (len(a) + MaxBlock - 1) / MaxBlock
	active.vector.blockMax(dst[:n], a)
	return n
}

// BlockSumExp sets dst[i] to the sum of exp((x-shift)·scale) over the elements x
// of a[i*SumBlock:][:SumBlock], the last block being what is left, whose
// exponent is at least -limit, which is at most 700; a NaN's is not. No exponent
// may be above 700. It computes in float64, each exponential to within 1e-11 of
// itself, and returns the number of blocks, which dst must have room for.
func BlockSumExp(dst []float64, a []float32, shift, scale, limit float64) int {
	n := (len(a) + SumBlock - 1) / SumBlock
	active.vector.blockSumExp(dst[:n], a, shift, scale, -limit)
	return n
}

func blockMaxPortable(dst, a []float32) {
	for i := range dst {
		top := float32(math.Inf(-1))
		for _, v := range a[i*MaxBlock : min((i+1)*MaxBlock, len(a))] {
			if v > top {
				top = v
			}
		}
		dst[i] = top
	}
}

func blockSumExpPortable(dst []float64, a []float32, shift, scale, least float64) {
	for i := range dst {
		sum := 0.0
		for _, v := range a[i*SumBlock : min((i+1)*SumBlock, len(a))] {
			if t := (float64(v) - shift) * scale; t >= least {
				sum += math.Exp(t)
			}
		}
		dst[i] = sum
	}
}

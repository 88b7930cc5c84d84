package simd

import (
	"math"

	"github.com/inferflux/inferflux/tensor"
)

// Element-wise operations. Slices of one call have the same length unless said
// otherwise; dst may be one of the others.

// vectorOps are a tier's kernels for them.
type vectorOps struct {
	add         func(dst, a, b []float32)
	addScaled   func(dst, a []float32, s float32)
	scale       func(dst, a []float32, s float32)
	scaleMul    func(dst, a, b []float32, s float32) // a·s·b
	dot         func(a, b []float32) float32
	max         func(a []float32) float32
	sumExp      func(a []float32, shift float32) float32
	siluMul     func(dst, gate, up []float32)
	geluTanhMul func(dst, gate, up []float32)
	rotateHalf  func(x, cos, sin []float32)
	rotatePairs func(x, cos, sin []float32)
	toF16       func(dst []uint16, src []float32)
	fromF16     func(dst []float32, src []uint16)
	blockMax    func(dst, a []float32)
	blockSumExp func(dst []float64, a []float32, shift, scale, least float64)
}

var portableVector = vectorOps{
	add: func(dst, a, b []float32) {
		for i := range dst {
			dst[i] = a[i] + b[i]
		}
	},
	addScaled: func(dst, a []float32, s float32) {
		for i := range dst {
			dst[i] = fma(a[i], s, dst[i])
		}
	},
	scale: func(dst, a []float32, s float32) {
		for i := range dst {
			dst[i] = a[i] * s
		}
	},
	scaleMul: func(dst, a, b []float32, s float32) {
		for i := range dst {
			dst[i] = a[i] * s * b[i]
		}
	},
	dot: func(a, b []float32) float32 {
		var sum [16]float32
		for ; len(a) >= len(sum); a, b = a[len(sum):], b[len(sum):] {
			x, y := (*[len(sum)]float32)(a), (*[len(sum)]float32)(b)
			for i := range sum {
				sum[i] += x[i] * y[i]
			}
		}
		for i := range a {
			sum[i] += a[i] * b[i]
		}
		return sumLanes(&sum)
	},
	max: func(a []float32) float32 {
		m := float32(math.Inf(-1))
		for _, v := range a {
			m = max(m, v)
		}
		return m
	},
	sumExp: func(a []float32, shift float32) float32 {
		var sum [16]float32
		for i, v := range a {
			sum[i%len(sum)] += exp(v - shift)
		}
		return sumLanes(&sum)
	},
	siluMul: func(dst, gate, up []float32) {
		for i, g := range gate {
			dst[i] = g / (1 + exp(-g)) * up[i]
		}
	},
	geluTanhMul: func(dst, gate, up []float32) {
		for i, g := range gate {
			dst[i] = g / (1 + exp(geluExponent(g))) * up[i]
		}
	},
	rotateHalf: func(x, cos, sin []float32) {
		lo, hi := x[:len(cos)], x[len(cos):]
		for i, c := range cos {
			rotate(&lo[i], &hi[i], c, sin[i])
		}
	},
	rotatePairs: func(x, cos, sin []float32) {
		for i, c := range cos {
			rotate(&x[2*i], &x[2*i+1], c, sin[i])
		}
	},
	toF16: func(dst []uint16, src []float32) {
		for i, v := range src {
			dst[i] = tensor.F32ToF16(v)
		}
	},
	fromF16: func(dst []float32, src []uint16) {
		for i, v := range src {
			dst[i] = tensor.F16ToF32(v)
		}
	},
	blockMax:    blockMaxPortable,
	blockSumExp: blockSumExpPortable,
}

func rotate(a, b *float32, cos, sin float32) { *a, *b = *a*cos-*b*sin, *b*cos+*a*sin }

// sumLanes adds 16 partial sums pairwise, as the vector kernels do.
func sumLanes(sum *[16]float32) float32 {
	for n := len(sum) / 2; n > 0; n /= 2 {
		for i := range n {
			sum[i] += sum[i+n]
		}
	}
	return sum[0]
}

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }

// geluExponent is -2u where gelu(x) = x/2·(1 + tanh u) = x/(1 + e^-2u) and
// u = √(2/π)·(x + 0.044715·x³) (Hendrycks and Gimpel, 2016).
func geluExponent(x float32) float32 {
	const k = -1.5957691216057308 // -2·√(2/π)
	return x * fma(x*x, 0.044715*k, k)
}

// Add sets dst to a + b.
func Add(dst, a, b []float32) { active.vector.add(dst, a[:len(dst)], b[:len(dst)]) }

// AddScaled adds s·a to dst.
func AddScaled(dst, a []float32, s float32) { active.vector.addScaled(dst, a[:len(dst)], s) }

// Scale sets dst to s·a.
func Scale(dst, a []float32, s float32) { active.vector.scale(dst, a[:len(dst)], s) }

// Dot is the inner product of a and b.
func Dot(a, b []float32) float32 { return active.vector.dot(a, b[:len(a)]) }

// Max is the largest element, or -Inf if there is none.
func Max(a []float32) float32 { return active.vector.max(a) }

// SumExp is the sum of exp(a - shift).
func SumExp(a []float32, shift float32) float32 { return active.vector.sumExp(a, shift) }

// RMSNorm sets dst to x/√(mean(x²) + eps), times w element by element (Zhang and
// Sennrich, 2019).
func RMSNorm(dst, x, w []float32, eps float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	mean := float64(Dot(x[:n], x[:n])) / float64(n)
	active.vector.scaleMul(dst, x[:n], w[:n], float32(1/math.Sqrt(mean+float64(eps))))
}

// SiLUMul sets dst to silu(gate)·up, where silu(x) = x/(1 + e^-x).
func SiLUMul(dst, gate, up []float32) {
	active.vector.siluMul(dst, gate[:len(dst)], up[:len(dst)])
}

// GELUTanhMul sets dst to gelu(gate)·up with the tanh approximation of gelu.
func GELUTanhMul(dst, gate, up []float32) {
	active.vector.geluTanhMul(dst, gate[:len(dst)], up[:len(dst)])
}

// GELUMul sets dst to gelu(gate)·up, where gelu(x) = x/2·(1 + erf(x/√2)).
func GELUMul(dst, gate, up []float32) {
	gate, up = gate[:len(dst)], up[:len(dst)]
	for i, g := range gate {
		dst[i] = float32(0.5*float64(g)*(1+math.Erf(float64(g)/math.Sqrt2))) * up[i]
	}
}

// RotateHalf rotates each pair (x[i], x[i+n]) by an angle given by cos[i] and
// sin[i], where n = len(cos) = len(x)/2: rotary positions as Hugging Face
// arranges them.
func RotateHalf(x, cos, sin []float32) {
	active.vector.rotateHalf(x[:2*len(cos)], cos, sin[:len(cos)])
}

// RotateInterleaved does the same for pairs (x[2i], x[2i+1]), as in the RoPE
// paper and GGUF files of Llama.
func RotateInterleaved(x, cos, sin []float32) {
	active.vector.rotatePairs(x[:2*len(cos)], cos, sin[:len(cos)])
}

// ToF16 converts to the bits of binary16, to nearest even.
func ToF16(dst []uint16, src []float32) { active.vector.toF16(dst, src[:len(dst)]) }

// FromF16 converts from the bits of binary16.
func FromF16(dst []float32, src []uint16) { active.vector.fromF16(dst, src[:len(dst)]) }

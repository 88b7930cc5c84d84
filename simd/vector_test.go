package simd_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

// vectorLengths have everything that a kernel for multiples of 16 can get wrong.
var vectorLengths = []int{0, 1, 7, 15, 16, 17, 32, 47, 64, 576}

// near reports whether got is within a relative error of want, or both are NaN.
func near(got float32, want, relative float64) bool {
	if math.IsNaN(want) {
		return got != got
	}
	return float64(got) == want || math.Abs(float64(got)-want) <= relative*math.Abs(want)+1e-37
}

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }
func geluTanh(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}
func gelu(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }

func TestElementwise(t *testing.T) {
	for name, c := range map[string]struct {
		run       func(dst, a, b []float32)
		want      func(dst, a, b float64) float64
		tolerance float64
	}{
		"Add":         {simd.Add, func(_, a, b float64) float64 { return a + b }, 1e-7},
		"AddScaled":   {func(dst, a, _ []float32) { simd.AddScaled(dst, a, 0.75) }, func(dst, a, _ float64) float64 { return dst + 0.75*a }, 1e-7},
		"Scale":       {func(dst, a, _ []float32) { simd.Scale(dst, a, 0.3) }, func(_, a, _ float64) float64 { return a * float64(float32(0.3)) }, 1e-7},
		"SiLUMul":     {simd.SiLUMul, func(_, a, b float64) float64 { return silu(a) * b }, 4e-7},
		"GELUTanhMul": {simd.GELUTanhMul, func(_, a, b float64) float64 { return geluTanh(a) * b }, 2e-6},
		"GELUMul":     {simd.GELUMul, func(_, a, b float64) float64 { return gelu(a) * b }, 4e-7},
	} {
		t.Run(name, func(t *testing.T) {
			forTiers(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(30, 0))
				for _, n := range vectorLengths {
					dst, a, b := randomVector(rng, n), randomVector(rng, n), randomVector(rng, n)
					if n > 20 {
						copy(a[3:], []float32{0, -4, 4, 1e-20, -1e-20, 3, -3})
					}
					got := append([]float32{}, dst...)
					c.run(got, a, b)
					for i := range n {
						want := c.want(float64(dst[i]), float64(a[i]), float64(b[i]))
						// Far to the left the functions differ in subnormal tails.
						if a[i] < -5 && math.Abs(want) < 1e-5 {
							if math.Abs(float64(got[i])-want) > 1e-6 {
								t.Fatalf("element %d of %d: f(%g)·%g = %g, want %g", i, n, a[i], b[i], got[i], want)
							}
							continue
						}
						if !near(got[i], want, c.tolerance) {
							t.Fatalf("element %d of %d: a %g, b %g: got %g, want %g", i, n, a[i], b[i], got[i], want)
						}
					}
				}
			})
		})
	}
}

// Activations that overflow must not become NaN where the function has a limit.
func TestActivationsAtTheEnds(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		gate, up := make([]float32, 17), make([]float32, 17)
		for i := range gate {
			gate[i], up[i] = []float32{-1e4, 1e4, -100, 100, -3e38, 1e38}[i%6], 1
		}
		for name, f := range map[string]func(dst, gate, up []float32){"silu": simd.SiLUMul, "gelu tanh": simd.GELUTanhMul, "gelu": simd.GELUMul} {
			dst := make([]float32, len(gate))
			f(dst, gate, up)
			for i, v := range dst {
				if want := max(gate[i], 0); !(math.Abs(float64(v-want)) <= 4) {
					t.Errorf("%s(%g) = %g", name, gate[i], v)
				}
			}
		}
	})
}

func TestReductions(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(31, 0))
		for _, n := range vectorLengths {
			a, b := randomVector(rng, n), randomVector(rng, n)
			dot, size, top, sum := 0.0, 0.0, math.Inf(-1), 0.0
			for i := range n {
				dot += float64(a[i]) * float64(b[i])
				size += math.Abs(float64(a[i]) * float64(b[i]))
				top = max(top, float64(a[i]))
				sum += math.Exp(float64(a[i]) - 3)
			}
			if got := simd.Dot(a, b); math.Abs(float64(got)-dot) > 1e-6*size {
				t.Errorf("Dot of %d: got %g, want %g", n, got, dot)
			}
			if got := simd.Max(a); float64(got) != top {
				t.Errorf("Max of %d: got %g, want %g", n, got, top)
			}
			if got := simd.SumExp(a, 3); !near(got, sum, 2e-6) {
				t.Errorf("SumExp of %d: got %g, want %g", n, got, sum)
			}
			dst := make([]float32, n)
			simd.RMSNorm(dst, a, b, 1e-5)
			square := 0.0
			for _, v := range a {
				square += float64(v) * float64(v)
			}
			for i, v := range dst {
				want := float64(a[i]) / math.Sqrt(square/float64(n)+1e-5) * float64(b[i])
				if !near(v, want, 1e-6) {
					t.Errorf("RMSNorm of %d, element %d: got %g, want %g", n, i, v, want)
				}
			}
		}
	})
}

// exp is the heart of the softmax: over its whole range, and to 0 at -Inf.
func TestExp(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		a := make([]float32, 16)
		for x := -87.0; x < 88; x += 0.0137 {
			for i := range a {
				a[i] = float32(math.Inf(-1))
			}
			a[5] = float32(x)
			if got, want := simd.SumExp(a, 0), math.Exp(float64(a[5])); !near(got, want, 2e-7) {
				t.Fatalf("exp(%g) = %g, want %g", a[5], got, want)
			}
		}
	})
}

func TestRotations(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(32, 0))
		for _, n := range vectorLengths {
			cos, sin := make([]float32, n), make([]float32, n)
			for i := range n {
				s, c := math.Sincos(rng.Float64() * 7)
				sin[i], cos[i] = float32(s), float32(c)
			}
			for _, half := range []bool{true, false} {
				x := randomVector(rng, 2*n)
				got := append([]float32{}, x...)
				if half {
					simd.RotateHalf(got, cos, sin)
				} else {
					simd.RotateInterleaved(got, cos, sin)
				}
				for i := range n {
					ia, ib := 2*i, 2*i+1
					if half {
						ia, ib = i, n+i
					}
					a, b, c, s := float64(x[ia]), float64(x[ib]), float64(cos[i]), float64(sin[i])
					bound := 3e-7 * (math.Abs(a) + math.Abs(b))
					if math.Abs(float64(got[ia])-(a*c-b*s)) > bound || math.Abs(float64(got[ib])-(b*c+a*s)) > bound {
						t.Fatalf("half %v, %d pairs, pair %d: got %g %g, want %g %g", half, n, i, got[ia], got[ib], a*c-b*s, b*c+a*s)
					}
				}
			}
		}
	})
}

func TestHalfConversions(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		all := make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		wide := make([]float32, len(all))
		simd.FromF16(wide, all)
		for i, v := range wide {
			if want := tensor.F16ToF32(uint16(i)); v != want && (v == v || want == want) {
				t.Fatalf("%#04x became %g, want %g", i, v, want)
			}
		}
		// Every value and what lies between neighbours.
		var x []float32
		for _, v := range wide[:0x7bff] {
			up := math.Nextafter32(v, 1e9)
			x = append(x, v, -v, up, v+(up-v)/2, v*1.0004883, v*1.0004882)
		}
		x = append(x, 65504, 65519, 65520, 1e9, float32(math.Inf(1)), -65520, 1e-9, 2.9e-8, 3e-8, 0.1, 0.2)
		narrow := make([]uint16, len(x))
		simd.ToF16(narrow, x)
		for i, h := range narrow {
			if want := tensor.F32ToF16(x[i]); h != want {
				t.Fatalf("%g became %#04x, want %#04x", x[i], h, want)
			}
		}
	})
}

func TestChooseTier(t *testing.T) {
	names := simd.Tiers()
	if got, err := simd.ChooseTier(""); got != names[len(names)-1] || err != nil {
		t.Errorf("by default: %s, %v", got, err)
	}
	for _, name := range names {
		if got, err := simd.ChooseTier(name); got != name || err != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if got, err := simd.ChooseTier("neon9"); got != names[len(names)-1] || err == nil {
		t.Errorf("unknown: %s, %v", got, err)
	}
}

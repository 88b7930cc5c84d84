package mlx_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// normal are n random numbers, the same in every run.
func normal(seed uint64, n int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// refMatmul is [n, k] by [k, m], in float64.
func refMatmul(a, b []float32, n, k, m int) []float32 {
	out := make([]float32, n*m)
	for i := range n {
		for j := range m {
			var sum float64
			for l := range k {
				sum += float64(a[i*k+l]) * float64(b[l*m+j])
			}
			out[i*m+j] = float32(sum)
		}
	}
	return out
}

func transposed(a []float32, n, m int) []float32 {
	out := make([]float32, n*m)
	for i := range n {
		for j := range m {
			out[j*n+i] = a[i*m+j]
		}
	}
	return out
}

func TestMatmul(t *testing.T) {
	a, b := normal(1, 2*3*4), normal(2, 2*4*5)
	batch := slices.Concat(refMatmul(a[:12], b[:20], 3, 4, 5), refMatmul(a[12:], b[20:], 3, 4, 5))
	crossed := slices.Concat(refMatmul(a[12:], b[:20], 3, 4, 5), refMatmul(a[:12], b[20:], 3, 4, 5))
	scaled := slices.Clone(batch[:15])
	for i := range scaled {
		scaled[i] = 2*scaled[i] + 0.5*float32(i%5)
	}
	runOps(t, []opTest{
		{"matmul", func(s *mlx.Scope) mlx.Array {
			return s.Matmul(s.FromFloat32s(a, 2, 3, 4), s.FromFloat32s(b, 2, 4, 5))
		}, []int{2, 3, 5}, batch},
		{"addmm", func(s *mlx.Scope) mlx.Array {
			return s.AddMM(grid(s, 5), s.FromFloat32s(a[:12], 3, 4), s.FromFloat32s(b[:20], 4, 5), 2, 0.5)
		}, []int{3, 5}, scaled},
		{"gather mm", func(s *mlx.Scope) mlx.Array {
			return s.GatherMM(s.FromFloat32s(a, 2, 3, 4), s.FromFloat32s(b, 2, 4, 5), uvec(s, 1, 0), uvec(s, 0, 1), true)
		}, []int{2, 3, 5}, crossed},
		{"gather mm in order", func(s *mlx.Scope) mlx.Array {
			return s.GatherMM(s.FromFloat32s(a, 2, 3, 4), s.FromFloat32s(b, 2, 4, 5), mlx.Array{}, mlx.Array{}, false)
		}, []int{2, 3, 5}, batch},
	})
}

// unpackAffine is what MLX's affine layout means: weight i of a row is the bits
// from i·bits on of the row's words taken as one little-endian number, times the
// group's scale plus its bias.
func unpackAffine(words []uint32, scales, biases []float32, rows, cols, group, bits int) []float32 {
	out := make([]float32, rows*cols)
	perRow := cols * bits / 32
	for r := range rows {
		for c := range cols {
			var q uint32
			for b := range bits {
				at := c*bits + b
				q |= words[r*perRow+at/32] >> (at % 32) & 1 << b
			}
			g := r*(cols/group) + c/group
			out[r*cols+c] = scales[g]*float32(q) + biases[g]
		}
	}
	return out
}

func TestQuantizeAffine(t *testing.T) {
	const rows, cols = 8, 128
	w, x := normal(3, rows*cols), normal(4, 3*cols)
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		for _, group := range []int{32, 64, 128} {
			t.Run(fmt.Sprintf("%d bits in groups of %d", bits, group), func(t *testing.T) {
				onLibrary(t, func(s *mlx.Scope) {
					q, scales, biases := s.Quantize(s.FromFloat32s(w, rows, cols), group, bits, "affine")
					if got, want := s.Library().Shape(q), []int{rows, cols * bits / 32}; !slices.Equal(got, want) {
						t.Fatalf("weights %v, want %v: %v", got, want, s.Err())
					}
					ref := unpackAffine(s.Uint32s(q), s.Float32s(scales), s.Float32s(biases), rows, cols, group, bits)
					compare(t, s.Float32s(s.Dequantize(q, scales, biases, group, bits, "affine", mlx.Float32)), ref, 1e-6)
					compare(t, s.Float32s(s.QuantizedMatmul(s.FromFloat32s(x, 3, cols), q, scales, biases, true, group, bits, "affine")),
						refMatmul(x, transposed(ref, rows, cols), 3, cols, rows), 1e-4)
					if d := s.Library().DType(s.Dequantize(q, scales, biases, group, bits, "affine", mlx.BFloat16)); d != mlx.BFloat16 {
						t.Errorf("asked for bfloat16, got %s", d)
					}
				})
			})
		}
	}
}

func TestQuantizeModes(t *testing.T) {
	const rows, cols = 4, 64
	w, x := normal(5, rows*cols), normal(6, 2*cols)
	for _, tt := range []struct {
		mode        string
		group, bits int
		worst       float64 // of the rounding, relative to the row's range
	}{
		{"mxfp4", 32, 4, 0.2}, {"mxfp8", 32, 8, 0.05}, {"nvfp4", 16, 4, 0.2}, {"affine", 64, 4, 0.1},
	} {
		for _, explicit := range []bool{true, false} { // or the mode's default
			group, bits := tt.group, tt.bits
			if !explicit {
				group, bits = 0, 0
			}
			t.Run(fmt.Sprintf("%s explicit %v", tt.mode, explicit), func(t *testing.T) {
				onLibrary(t, func(s *mlx.Scope) {
					q, scales, biases := s.Quantize(s.FromFloat32s(w, rows, cols), group, bits, tt.mode)
					if biases.IsZero() != (tt.mode != "affine") {
						t.Errorf("biases present: %v", !biases.IsZero())
					}
					d := s.Float32s(s.Dequantize(q, scales, biases, group, bits, tt.mode, mlx.Float32))
					if len(d) != len(w) {
						t.Fatal(s.Err())
					}
					for i := range d {
						if math.Abs(float64(d[i]-w[i])) > tt.worst*4 {
							t.Fatalf("weight %d is %v, was %v", i, d[i], w[i])
						}
					}
					compare(t, s.Float32s(s.QuantizedMatmul(s.FromFloat32s(x, 2, cols), q, scales, biases, true, group, bits, tt.mode)),
						refMatmul(x, transposed(d, rows, cols), 2, cols, rows), 1e-4)
				})
			})
		}
	}
}

func TestGatherQMM(t *testing.T) {
	const experts, rows, cols = 3, 4, 64
	w, x := normal(7, experts*rows*cols), normal(8, 2*cols)
	onLibrary(t, func(s *mlx.Scope) {
		q, scales, biases := s.Quantize(s.FromFloat32s(w, experts, rows, cols), 32, 4, "affine")
		d := s.Float32s(s.Dequantize(q, scales, biases, 32, 4, "affine", mlx.Float32))
		for _, sorted := range []bool{false, true} {
			out := s.GatherQMM(s.FromFloat32s(x, 2, 1, cols), q, scales, biases, mlx.Array{}, uvec(s, 0, 2), true, 32, 4, "affine", sorted)
			want := slices.Concat(
				refMatmul(x[:cols], transposed(d[:rows*cols], rows, cols), 1, cols, rows),
				refMatmul(x[cols:], transposed(d[2*rows*cols:], rows, cols), 1, cols, rows))
			if got := s.Library().Shape(out); !slices.Equal(got, []int{2, 1, rows}) {
				t.Errorf("shape %v", got)
			}
			compare(t, s.Float32s(out), want, 1e-4)
		}
	})
}

func TestNorms(t *testing.T) {
	const dim, eps = 8, 1e-3
	x, weight, bias := normal(9, 2*dim), normal(10, dim), normal(11, dim)
	rms, layer := make([]float32, 2*dim), make([]float32, 2*dim)
	for r := range 2 {
		var sum, squares float64
		for _, v := range x[r*dim:][:dim] {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		mean := sum / dim
		variance := squares/dim - mean*mean
		for i := range dim {
			v := float64(x[r*dim+i])
			rms[r*dim+i] = float32(v / math.Sqrt(squares/dim+eps) * float64(weight[i]))
			layer[r*dim+i] = float32((v-mean)/math.Sqrt(variance+eps)*float64(weight[i]) + float64(bias[i]))
		}
	}
	unweighted := slices.Clone(rms)
	for i := range unweighted {
		unweighted[i] /= weight[i%dim]
	}
	runOps(t, []opTest{
		{"rms norm", func(s *mlx.Scope) mlx.Array {
			return s.RMSNorm(s.FromFloat32s(x, 2, dim), s.FromFloat32s(weight, dim), eps)
		}, []int{2, dim}, rms},
		{"rms norm without weight", func(s *mlx.Scope) mlx.Array {
			return s.RMSNorm(s.FromFloat32s(x, 2, dim), mlx.Array{}, eps)
		}, []int{2, dim}, unweighted},
		{"layer norm", func(s *mlx.Scope) mlx.Array {
			return s.LayerNorm(s.FromFloat32s(x, 2, dim), s.FromFloat32s(weight, dim), s.FromFloat32s(bias, dim), eps)
		}, []int{2, dim}, layer},
	})
}

// refRope turns the first dims of each row of x [sequences, length, dim].
func refRope(x []float32, length, dim, dims int, traditional bool, frequency func(i int) float64, scale float64, offsets []int) []float32 {
	out := slices.Clone(x)
	for row := range len(x) / dim {
		position := float64(offsets[row/length]+row%length) * scale
		for i := range dims / 2 {
			a, b := i, i+dims/2
			if traditional {
				a, b = 2*i, 2*i+1
			}
			sin, cos := math.Sincos(position * frequency(i))
			u, v := float64(x[row*dim+a]), float64(x[row*dim+b])
			out[row*dim+a] = float32(u*cos - v*sin)
			out[row*dim+b] = float32(u*sin + v*cos)
		}
	}
	return out
}

func TestRope(t *testing.T) {
	const batch, length, dim = 2, 3, 16
	x := normal(12, batch*length*dim)
	periods := []float32{1, 4, 9, 16, 25, 36, 49, 64}
	for _, traditional := range []bool{false, true} {
		for _, dims := range []int{16, 8} {
			power := func(i int) float64 { return math.Pow(10000, -2*float64(i)/float64(dims)) }
			table := func(i int) float64 { return 1 / float64(periods[i]) }
			runOps(t, []opTest{
				{"base", func(s *mlx.Scope) mlx.Array {
					return s.Rope(s.FromFloat32s(x, batch, length, dim), dims, traditional, 10000, 0.5, 7, mlx.Array{})
				}, []int{batch, length, dim}, refRope(x, length, dim, dims, traditional, power, 0.5, []int{7, 7})},
				{"frequencies", func(s *mlx.Scope) mlx.Array {
					return s.Rope(s.FromFloat32s(x, batch, length, dim), dims, traditional, 0, 1, 3, s.FromFloat32s(periods[:dims/2], dims/2))
				}, []int{batch, length, dim}, refRope(x, length, dim, dims, traditional, table, 1, []int{3, 3})},
				{"offset in an array", func(s *mlx.Scope) mlx.Array {
					return s.RopeAt(s.FromFloat32s(x, batch, length, dim), dims, traditional, 10000, 1, iscalar(s, 5), mlx.Array{})
				}, []int{batch, length, dim}, refRope(x, length, dim, dims, traditional, power, 1, []int{5, 5})},
				{"an offset for each sequence", func(s *mlx.Scope) mlx.Array {
					y := s.Reshape(s.FromFloat32s(x, batch, length, dim), batch, 1, length, dim)
					return s.Squeeze(s.RopeAt(y, dims, traditional, 10000, 1, ivec(s, 2, 9), mlx.Array{}), 1)
				}, []int{batch, length, dim}, refRope(x, length, dim, dims, traditional, power, 1, []int{2, 9})},
			})
		}
	}
}

// refAttention is softmax(scale · q kᵀ + mask) v for one sequence. visible says
// whether a query sees a key; sink, if not nil, is a score without value a head.
func refAttention(q, k, v []float32, heads, kvHeads, n, length, dim int, scale float64, visible func(i, j int) bool, sinks []float32) []float32 {
	out := make([]float32, heads*n*dim)
	for h := range heads {
		kv := h / (heads / kvHeads)
		for i := range n {
			weights, sum := make([]float64, length), 0.0
			if sinks != nil {
				sum = math.Exp(float64(sinks[h]))
			}
			for j := range length {
				if !visible(i, j) {
					continue
				}
				var dot float64
				for d := range dim {
					dot += float64(q[(h*n+i)*dim+d]) * float64(k[(kv*length+j)*dim+d])
				}
				weights[j] = math.Exp(dot * scale)
				sum += weights[j]
			}
			for d := range dim {
				var o float64
				for j := range length {
					o += weights[j] * float64(v[(kv*length+j)*dim+d])
				}
				out[(h*n+i)*dim+d] = float32(o / sum)
			}
		}
	}
	return out
}

func TestScaledDotProductAttention(t *testing.T) {
	const heads, kvHeads, n, length, dim, scale = 4, 2, 3, 5, 8, 0.3
	q, k, v := normal(13, heads*n*dim), normal(14, kvHeads*length*dim), normal(15, kvHeads*length*dim)
	sinks := []float32{0.5, -1, 2, 0}
	all := func(_, _ int) bool { return true }
	causal := func(i, j int) bool { return j <= i+length-n }
	some := func(i, j int) bool { return (i+j)%2 == 0 }
	attend := func(s *mlx.Scope, mode string, mask, sinks mlx.Array) mlx.Array {
		return s.ScaledDotProductAttention(s.FromFloat32s(q, 1, heads, n, dim), s.FromFloat32s(k, 1, kvHeads, length, dim),
			s.FromFloat32s(v, 1, kvHeads, length, dim), scale, mode, mask, sinks)
	}
	shape := []int{1, heads, n, dim}
	ref := func(visible func(i, j int) bool, sinks []float32) []float32 {
		return refAttention(q, k, v, heads, kvHeads, n, length, dim, scale, visible, sinks)
	}
	added := make([]float32, n*length)
	allowed := make([]byte, n*length)
	for i := range n {
		for j := range length {
			if some(i, j) {
				allowed[i*length+j] = 1
			} else {
				added[i*length+j] = float32(math.Inf(-1))
			}
		}
	}
	runOps(t, []opTest{
		{"no mask", func(s *mlx.Scope) mlx.Array { return attend(s, "", mlx.Array{}, mlx.Array{}) }, shape, ref(all, nil)},
		{"causal", func(s *mlx.Scope) mlx.Array { return attend(s, "causal", mlx.Array{}, mlx.Array{}) }, shape, ref(causal, nil)},
		{"added mask", func(s *mlx.Scope) mlx.Array {
			return attend(s, "array", s.FromFloat32s(added, 1, 1, n, length), mlx.Array{})
		}, shape, ref(some, nil)},
		{"boolean mask", func(s *mlx.Scope) mlx.Array {
			return attend(s, "array", s.FromBytes(allowed, mlx.Bool, 1, 1, n, length), mlx.Array{})
		}, shape, ref(some, nil)},
		{"sinks", func(s *mlx.Scope) mlx.Array { return attend(s, "", mlx.Array{}, vec(s, sinks...)) }, shape, ref(all, sinks)},
	})
}

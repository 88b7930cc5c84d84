package mlx_test

import (
	"math"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// opTest is an operation and what it must give.
type opTest struct {
	name  string
	op    func(s *mlx.Scope) mlx.Array
	shape []int
	want  []float32
}

func runOps(t *testing.T, tests []opTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			onLibrary(t, func(s *mlx.Scope) {
				a := tt.op(s)
				if got := s.Library().Shape(a); !slices.Equal(got, tt.shape) {
					t.Errorf("shape %v, want %v (%v)", got, tt.shape, s.Err())
				}
				compare(t, s.Float32s(a), tt.want, 1e-5)
			})
		})
	}
}

// compare allows a difference relative to the larger of 1 and the value.
func compare(t testing.TB, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %d elements %v, want %d %v", len(got), got, len(want), want)
		return
	}
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if !(math.Abs(g-w) <= tolerance*max(1, math.Abs(w))) {
			t.Errorf("element %d is %v, want %v", i, g, w)
			return
		}
	}
}

func vec(s *mlx.Scope, v ...float32) mlx.Array  { return s.FromFloat32s(v, len(v)) }
func ivec(s *mlx.Scope, v ...int32) mlx.Array   { return s.FromInt32s(v, len(v)) }
func uvec(s *mlx.Scope, v ...uint32) mlx.Array  { return s.FromUint32s(v, len(v)) }
func scalar(s *mlx.Scope, v float32) mlx.Array  { return s.Scalar(v, mlx.Float32) }
func iscalar(s *mlx.Scope, v float32) mlx.Array { return s.Scalar(v, mlx.Int32) }

// grid is [0, 1, …] in a shape.
func grid(s *mlx.Scope, shape ...int) mlx.Array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return s.Reshape(s.Arange(0, float64(n), 1, mlx.Float32), shape...)
}

// upTo is 0 … n-1.
func upTo(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	return v
}

func TestCreate(t *testing.T) {
	runOps(t, []opTest{
		{"from float32s", func(s *mlx.Scope) mlx.Array { return s.FromFloat32s([]float32{1, 2, 3, 4, 5, 6}, 2, 3) }, []int{2, 3}, []float32{1, 2, 3, 4, 5, 6}},
		{"from int32s", func(s *mlx.Scope) mlx.Array { return s.FromInt32s([]int32{-1, 2}, 2) }, []int{2}, []float32{-1, 2}},
		{"from uint32s", func(s *mlx.Scope) mlx.Array { return s.FromUint32s([]uint32{1, 1 << 20}, 2) }, []int{2}, []float32{1, 1 << 20}},
		{"from bytes, bfloat16", func(s *mlx.Scope) mlx.Array { return s.FromBytes([]byte{0x80, 0x3f, 0x20, 0xc0}, mlx.BFloat16, 2) }, []int{2}, []float32{1, -2.5}},
		{"from bytes, float16", func(s *mlx.Scope) mlx.Array { return s.FromBytes([]byte{0x00, 0x3c, 0x00, 0xc1}, mlx.Float16, 2) }, []int{2}, []float32{1, -2.5}},
		{"from bytes, bool", func(s *mlx.Scope) mlx.Array { return s.FromBytes([]byte{1, 0, 1}, mlx.Bool, 3) }, []int{3}, []float32{1, 0, 1}},
		{"empty", func(s *mlx.Scope) mlx.Array { return s.FromFloat32s(nil, 2, 0, 3) }, []int{2, 0, 3}, nil},
		{"no dimensions", func(s *mlx.Scope) mlx.Array { return s.FromFloat32s([]float32{7}) }, nil, []float32{7}},
		{"zeros", func(s *mlx.Scope) mlx.Array { return s.Zeros(mlx.Float16, 2, 2) }, []int{2, 2}, []float32{0, 0, 0, 0}},
		{"full", func(s *mlx.Scope) mlx.Array { return s.Full(-1.5, mlx.BFloat16, 3) }, []int{3}, []float32{-1.5, -1.5, -1.5}},
		{"arange", func(s *mlx.Scope) mlx.Array { return s.Arange(1, 2, 0.25, mlx.Float32) }, []int{4}, []float32{1, 1.25, 1.5, 1.75}},
		{"tri", func(s *mlx.Scope) mlx.Array { return s.Tri(2, 3, 0, mlx.Float32) }, []int{2, 3}, []float32{1, 0, 0, 1, 1, 0}},
		{"tril", func(s *mlx.Scope) mlx.Array { return s.Tril(grid(s, 2, 3), -1) }, []int{2, 3}, []float32{0, 0, 0, 3, 0, 0}},
		{"triu", func(s *mlx.Scope) mlx.Array { return s.Triu(grid(s, 2, 3), 1) }, []int{2, 3}, []float32{0, 1, 2, 0, 0, 5}},
		{"as type", func(s *mlx.Scope) mlx.Array { return s.AsType(vec(s, 1.75, -1.75), mlx.Int32) }, []int{2}, []float32{1, -1}},
		{"view", func(s *mlx.Scope) mlx.Array { return s.View(vec(s, 1), mlx.Uint32) }, []int{1}, []float32{0x3f800000}},
		{"view of other size", func(s *mlx.Scope) mlx.Array { return s.View(vec(s, 1), mlx.Uint8) }, []int{4}, []float32{0, 0, 0x80, 0x3f}},
		{"contiguous", func(s *mlx.Scope) mlx.Array { return s.Contiguous(s.Transpose(grid(s, 2, 2))) }, []int{2, 2}, []float32{0, 2, 1, 3}},
		{"copy", func(s *mlx.Scope) mlx.Array { return s.Copy(vec(s, 1, 2)) }, []int{2}, []float32{1, 2}},
	})
}

func TestScalar(t *testing.T) {
	types := []mlx.DType{
		mlx.Bool, mlx.Uint8, mlx.Uint16, mlx.Uint32, mlx.Uint64, mlx.Int8, mlx.Int16, mlx.Int32, mlx.Int64,
		mlx.Float16, mlx.Float32, mlx.Float64, mlx.BFloat16, mlx.Complex64,
	}
	for _, d := range types {
		t.Run(d.String(), func(t *testing.T) {
			onLibrary(t, func(s *mlx.Scope) {
				for _, v := range []float32{0, 1, 100} {
					if d == mlx.Bool {
						v = min(v, 1)
					}
					a := s.Scalar(v, d)
					if got := s.Library().DType(a); got != d {
						t.Errorf("type %s", got)
					}
					if got := s.Library().NBytes(a); got != d.Size() {
						t.Errorf("%d bytes, want %d", got, d.Size())
					}
					compare(t, s.Float32s(a), []float32{v}, 0)
				}
			})
		})
	}
	onLibrary(t, func(s *mlx.Scope) {
		compare(t, s.Float32s(s.Scalar(-3, mlx.Int8)), []float32{-3}, 0)
		compare(t, s.Float32s(s.Scalar(float32(math.Inf(-1)), mlx.BFloat16)), []float32{float32(math.Inf(-1))}, 0)
	})
}

func TestShape(t *testing.T) {
	runOps(t, []opTest{
		{"reshape", func(s *mlx.Scope) mlx.Array { return s.Reshape(grid(s, 6), 2, -1) }, []int{2, 3}, upTo(6)},
		{"reshape to nothing", func(s *mlx.Scope) mlx.Array { return s.Reshape(grid(s, 1)) }, nil, upTo(1)},
		{"transpose", func(s *mlx.Scope) mlx.Array { return s.Transpose(grid(s, 2, 3)) }, []int{3, 2}, []float32{0, 3, 1, 4, 2, 5}},
		{"transpose axes", func(s *mlx.Scope) mlx.Array { return s.Transpose(grid(s, 1, 2, 3), 1, 2, 0) }, []int{2, 3, 1}, upTo(6)},
		{"swap axes", func(s *mlx.Scope) mlx.Array { return s.SwapAxes(grid(s, 2, 3), 0, -1) }, []int{3, 2}, []float32{0, 3, 1, 4, 2, 5}},
		{"move axis", func(s *mlx.Scope) mlx.Array { return s.MoveAxis(grid(s, 1, 2, 3), 0, 2) }, []int{2, 3, 1}, upTo(6)},
		{"expand dims", func(s *mlx.Scope) mlx.Array { return s.ExpandDims(grid(s, 2), -1) }, []int{2, 1}, upTo(2)},
		{"expand several dims", func(s *mlx.Scope) mlx.Array { return s.ExpandDims(grid(s, 2), 0, 2) }, []int{1, 2, 1}, upTo(2)},
		{"squeeze", func(s *mlx.Scope) mlx.Array { return s.Squeeze(grid(s, 1, 2, 1)) }, []int{2}, upTo(2)},
		{"squeeze axes", func(s *mlx.Scope) mlx.Array { return s.Squeeze(grid(s, 1, 2, 1), 0) }, []int{2, 1}, upTo(2)},
		{"flatten", func(s *mlx.Scope) mlx.Array { return s.Flatten(grid(s, 2, 2, 3), 1, -1) }, []int{2, 6}, upTo(12)},
		{"unflatten", func(s *mlx.Scope) mlx.Array { return s.Unflatten(grid(s, 2, 6), 1, 3, -1) }, []int{2, 3, 2}, upTo(12)},
		{"broadcast", func(s *mlx.Scope) mlx.Array { return s.BroadcastTo(grid(s, 2), 2, 2) }, []int{2, 2}, []float32{0, 1, 0, 1}},
		{"concatenate", func(s *mlx.Scope) mlx.Array {
			return s.Concatenate([]mlx.Array{grid(s, 2, 1), grid(s, 2, 2)}, 1)
		}, []int{2, 3}, []float32{0, 0, 1, 1, 2, 3}},
		{"stack", func(s *mlx.Scope) mlx.Array { return s.Stack([]mlx.Array{grid(s, 2), grid(s, 2)}, -1) }, []int{2, 2}, []float32{0, 0, 1, 1}},
		{"split", func(s *mlx.Scope) mlx.Array { return s.Split(grid(s, 2, 4), 2, 1)[1] }, []int{2, 2}, []float32{2, 3, 6, 7}},
		{"split at", func(s *mlx.Scope) mlx.Array { return s.SplitAt(grid(s, 5), []int{1, 4}, 0)[1] }, []int{3}, []float32{1, 2, 3}},
		{"repeat", func(s *mlx.Scope) mlx.Array { return s.Repeat(grid(s, 2), 2, 0) }, []int{4}, []float32{0, 0, 1, 1}},
		{"tile", func(s *mlx.Scope) mlx.Array { return s.Tile(grid(s, 2), 2) }, []int{4}, []float32{0, 1, 0, 1}},
		{"roll", func(s *mlx.Scope) mlx.Array { return s.Roll(grid(s, 4), -1, 0) }, []int{4}, []float32{1, 2, 3, 0}},
		{"pad", func(s *mlx.Scope) mlx.Array {
			return s.Pad(grid(s, 1, 2), []int{0, 1}, []int{0, 1}, []int{1, 0}, scalar(s, 9))
		}, []int{2, 3}, []float32{9, 0, 1, 9, 9, 9}},
		{"slice", func(s *mlx.Scope) mlx.Array { return s.Slice(grid(s, 3, 4), []int{1, 1}, []int{3, 3}) }, []int{2, 2}, []float32{5, 6, 9, 10}},
		{"slice with strides", func(s *mlx.Scope) mlx.Array {
			return s.SliceStrided(grid(s, 3, 4), []int{0, 0}, []int{3, 4}, []int{2, 3})
		}, []int{2, 2}, []float32{0, 3, 8, 11}},
		{"slice update", func(s *mlx.Scope) mlx.Array {
			return s.SliceUpdate(grid(s, 2, 3), s.Full(9, mlx.Float32, 2, 1), []int{0, 1}, []int{2, 2})
		}, []int{2, 3}, []float32{0, 9, 2, 3, 9, 5}},
		{"slice at an array", func(s *mlx.Scope) mlx.Array {
			return s.SliceDynamic(grid(s, 3, 4), ivec(s, 1, 2), []int{0, 1}, []int{2, 2})
		}, []int{2, 2}, []float32{6, 7, 10, 11}},
		{"slice update at an array", func(s *mlx.Scope) mlx.Array {
			return s.SliceUpdateDynamic(grid(s, 2, 3), s.Full(9, mlx.Float32, 2, 1), ivec(s, 2), []int{1})
		}, []int{2, 3}, []float32{0, 1, 9, 3, 4, 9}},
		{"take", func(s *mlx.Scope) mlx.Array { return s.Take(grid(s, 3, 2), ivec(s, 2, 0), 0) }, []int{2, 2}, []float32{4, 5, 0, 1}},
		{"take along axis", func(s *mlx.Scope) mlx.Array {
			return s.TakeAlongAxis(grid(s, 2, 3), s.FromInt32s([]int32{2, 0}, 2, 1), 1)
		}, []int{2, 1}, []float32{2, 3}},
		{"put along axis", func(s *mlx.Scope) mlx.Array {
			return s.PutAlongAxis(grid(s, 2, 2), s.FromInt32s([]int32{1, 0}, 2, 1), s.FromFloat32s([]float32{8, 9}, 2, 1), 1)
		}, []int{2, 2}, []float32{0, 8, 9, 3}},
		{"scatter add axis", func(s *mlx.Scope) mlx.Array {
			return s.ScatterAddAxis(grid(s, 2, 2), s.FromInt32s([]int32{1, 1, 0, 0}, 2, 2), s.Full(10, mlx.Float32, 2, 2), 1)
		}, []int{2, 2}, []float32{0, 21, 22, 3}},
		{"gather", func(s *mlx.Scope) mlx.Array {
			return s.Gather(grid(s, 3, 2), []mlx.Array{ivec(s, 2, 1)}, []int{0}, []int{1, 2})
		}, []int{2, 1, 2}, []float32{4, 5, 2, 3}},
		{"scatter", func(s *mlx.Scope) mlx.Array {
			return s.Scatter(grid(s, 3, 2), []mlx.Array{ivec(s, 2, 0)}, s.FromFloat32s([]float32{8, 8, 9, 9}, 2, 1, 2), []int{0})
		}, []int{3, 2}, []float32{9, 9, 2, 3, 8, 8}},
		{"scatter at two axes", func(s *mlx.Scope) mlx.Array {
			return s.Scatter(grid(s, 2, 2), []mlx.Array{ivec(s, 0, 1), ivec(s, 1, 0)}, s.FromFloat32s([]float32{8, 9}, 2, 1, 1), []int{0, 1})
		}, []int{2, 2}, []float32{0, 8, 9, 3}},
		{"scatter add", func(s *mlx.Scope) mlx.Array {
			return s.ScatterAdd(grid(s, 3), []mlx.Array{ivec(s, 1, 1)}, s.Full(10, mlx.Float32, 2, 1), []int{0})
		}, []int{3}, []float32{0, 21, 2}},
		{"many dimensions", func(s *mlx.Scope) mlx.Array {
			shape := make([]int, 20)
			for i := range shape {
				shape[i] = 1
			}
			shape[19] = 2
			return s.Slice(s.Reshape(grid(s, 2), shape...), make([]int, 20), shape)
		}, append(slices.Repeat([]int{1}, 19), 2), upTo(2)},
	})
}

func TestElementwise(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	unary := []struct {
		name string
		op   func(s *mlx.Scope, a mlx.Array) mlx.Array
		ref  func(float64) float64
	}{
		{"negative", (*mlx.Scope).Negative, func(x float64) float64 { return -x }},
		{"abs", (*mlx.Scope).Abs, math.Abs},
		{"exp", (*mlx.Scope).Exp, math.Exp},
		{"expm1", (*mlx.Scope).Expm1, math.Expm1},
		{"log", (*mlx.Scope).Log, math.Log},
		{"log1p", (*mlx.Scope).Log1p, math.Log1p},
		{"sigmoid", (*mlx.Scope).Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }},
		{"tanh", (*mlx.Scope).Tanh, math.Tanh},
		{"erf", (*mlx.Scope).Erf, math.Erf},
		{"sqrt", (*mlx.Scope).Sqrt, math.Sqrt},
		{"rsqrt", (*mlx.Scope).Rsqrt, func(x float64) float64 { return 1 / math.Sqrt(x) }},
		{"square", (*mlx.Scope).Square, func(x float64) float64 { return x * x }},
		{"reciprocal", (*mlx.Scope).Reciprocal, func(x float64) float64 { return 1 / x }},
		{"sin", (*mlx.Scope).Sin, math.Sin},
		{"cos", (*mlx.Scope).Cos, math.Cos},
		{"floor", (*mlx.Scope).Floor, math.Floor},
		{"ceil", (*mlx.Scope).Ceil, math.Ceil},
		{"sign", (*mlx.Scope).Sign, func(x float64) float64 {
			if x < 0 {
				return -1
			}
			return 1
		}},
	}
	in := []float32{-2.5, -0.5, 0.125, 1, 3.75}
	for _, tt := range unary {
		var want []float32
		for _, x := range in {
			want = append(want, float32(tt.ref(float64(x))))
		}
		runOps(t, []opTest{{tt.name, func(s *mlx.Scope) mlx.Array { return tt.op(s, vec(s, in...)) }, []int{5}, want}})
	}
	runOps(t, []opTest{
		{"add", func(s *mlx.Scope) mlx.Array { return s.Add(vec(s, 1, 2), scalar(s, 3)) }, []int{2}, []float32{4, 5}},
		{"add broadcast", func(s *mlx.Scope) mlx.Array { return s.Add(grid(s, 2, 1), grid(s, 2)) }, []int{2, 2}, []float32{0, 1, 1, 2}},
		{"subtract", func(s *mlx.Scope) mlx.Array { return s.Subtract(vec(s, 1, 2), scalar(s, 3)) }, []int{2}, []float32{-2, -1}},
		{"multiply", func(s *mlx.Scope) mlx.Array { return s.Multiply(vec(s, 1, 2), scalar(s, 3)) }, []int{2}, []float32{3, 6}},
		{"divide", func(s *mlx.Scope) mlx.Array { return s.Divide(ivec(s, 1, 3), iscalar(s, 2)) }, []int{2}, []float32{0.5, 1.5}},
		{"maximum", func(s *mlx.Scope) mlx.Array { return s.Maximum(vec(s, 1, nan), scalar(s, 3)) }, []int{2}, []float32{3, nan}},
		{"minimum", func(s *mlx.Scope) mlx.Array { return s.Minimum(vec(s, 1, 5), scalar(s, 3)) }, []int{2}, []float32{1, 3}},
		{"power", func(s *mlx.Scope) mlx.Array { return s.Power(vec(s, 2, 3), scalar(s, 3)) }, []int{2}, []float32{8, 27}},
		{"remainder", func(s *mlx.Scope) mlx.Array { return s.Remainder(ivec(s, 7, -7), iscalar(s, 3)) }, []int{2}, []float32{1, 2}},
		{"floor divide", func(s *mlx.Scope) mlx.Array { return s.FloorDivide(ivec(s, 7, 8), iscalar(s, 3)) }, []int{2}, []float32{2, 2}},
		{"logaddexp", func(s *mlx.Scope) mlx.Array { return s.LogAddExp(vec(s, 1000), vec(s, 1000)) }, []int{1}, []float32{1000 + math.Ln2}},
		{"equal", func(s *mlx.Scope) mlx.Array { return s.Equal(vec(s, 1, 2), vec(s, 1, 3)) }, []int{2}, []float32{1, 0}},
		{"not equal", func(s *mlx.Scope) mlx.Array { return s.NotEqual(vec(s, 1, 2), vec(s, 1, 3)) }, []int{2}, []float32{0, 1}},
		{"greater", func(s *mlx.Scope) mlx.Array { return s.Greater(vec(s, 1, 2, 3), scalar(s, 2)) }, []int{3}, []float32{0, 0, 1}},
		{"greater equal", func(s *mlx.Scope) mlx.Array { return s.GreaterEqual(vec(s, 1, 2, 3), scalar(s, 2)) }, []int{3}, []float32{0, 1, 1}},
		{"less", func(s *mlx.Scope) mlx.Array { return s.Less(vec(s, 1, 2, 3), scalar(s, 2)) }, []int{3}, []float32{1, 0, 0}},
		{"less equal", func(s *mlx.Scope) mlx.Array { return s.LessEqual(vec(s, 1, 2, 3), scalar(s, 2)) }, []int{3}, []float32{1, 1, 0}},
		{"logical and", func(s *mlx.Scope) mlx.Array { return s.LogicalAnd(vec(s, 0, 1, 1), vec(s, 0, 0, 1)) }, []int{3}, []float32{0, 0, 1}},
		{"logical or", func(s *mlx.Scope) mlx.Array { return s.LogicalOr(vec(s, 0, 1, 1), vec(s, 0, 0, 1)) }, []int{3}, []float32{0, 1, 1}},
		{"logical not", func(s *mlx.Scope) mlx.Array { return s.LogicalNot(vec(s, 0, 2)) }, []int{2}, []float32{1, 0}},
		{"bitwise and", func(s *mlx.Scope) mlx.Array { return s.BitwiseAnd(uvec(s, 12), uvec(s, 10)) }, []int{1}, []float32{8}},
		{"bitwise or", func(s *mlx.Scope) mlx.Array { return s.BitwiseOr(uvec(s, 12), uvec(s, 10)) }, []int{1}, []float32{14}},
		{"bitwise xor", func(s *mlx.Scope) mlx.Array { return s.BitwiseXor(uvec(s, 12), uvec(s, 10)) }, []int{1}, []float32{6}},
		{"left shift", func(s *mlx.Scope) mlx.Array { return s.LeftShift(uvec(s, 3), uvec(s, 2)) }, []int{1}, []float32{12}},
		{"right shift", func(s *mlx.Scope) mlx.Array { return s.RightShift(uvec(s, 12), uvec(s, 2)) }, []int{1}, []float32{3}},
		{"is nan", func(s *mlx.Scope) mlx.Array { return s.IsNaN(vec(s, 1, nan, inf)) }, []int{3}, []float32{0, 1, 0}},
		{"is inf", func(s *mlx.Scope) mlx.Array { return s.IsInf(vec(s, 1, nan, -inf)) }, []int{3}, []float32{0, 0, 1}},
		{"round", func(s *mlx.Scope) mlx.Array { return s.Round(vec(s, 0.5, 1.5, 1.2), 0) }, []int{3}, []float32{0, 2, 1}},
		{"clip", func(s *mlx.Scope) mlx.Array { return s.Clip(vec(s, -1, 0.5, 2), scalar(s, 0), scalar(s, 1)) }, []int{3}, []float32{0, 0.5, 1}},
		{"clip above only", func(s *mlx.Scope) mlx.Array { return s.Clip(vec(s, -1, 2), mlx.Array{}, scalar(s, 1)) }, []int{2}, []float32{-1, 1}},
		{"where", func(s *mlx.Scope) mlx.Array {
			return s.Where(s.Less(grid(s, 3), scalar(s, 1)), scalar(s, 7), grid(s, 3))
		}, []int{3}, []float32{7, 1, 2}},
	})
}

func TestReduce(t *testing.T) {
	runOps(t, []opTest{
		{"sum", func(s *mlx.Scope) mlx.Array { return s.Sum(grid(s, 2, 3), false) }, nil, []float32{15}},
		{"sum along axis", func(s *mlx.Scope) mlx.Array { return s.Sum(grid(s, 2, 3), true, -1) }, []int{2, 1}, []float32{3, 12}},
		{"sum along axes", func(s *mlx.Scope) mlx.Array { return s.Sum(grid(s, 2, 2, 2), false, 0, 2) }, []int{2}, []float32{10, 18}},
		{"max", func(s *mlx.Scope) mlx.Array { return s.Max(grid(s, 2, 3), false, 0) }, []int{3}, []float32{3, 4, 5}},
		{"max of all", func(s *mlx.Scope) mlx.Array { return s.Max(grid(s, 2, 3), false) }, nil, []float32{5}},
		{"min", func(s *mlx.Scope) mlx.Array { return s.Min(grid(s, 2, 3), false, 1) }, []int{2}, []float32{0, 3}},
		{"min of all", func(s *mlx.Scope) mlx.Array { return s.Min(grid(s, 2, 3), true) }, []int{1, 1}, []float32{0}},
		{"mean", func(s *mlx.Scope) mlx.Array { return s.Mean(grid(s, 2, 3), false, 1) }, []int{2}, []float32{1, 4}},
		{"mean of all", func(s *mlx.Scope) mlx.Array { return s.Mean(grid(s, 2, 3), false) }, nil, []float32{2.5}},
		{"prod", func(s *mlx.Scope) mlx.Array { return s.Prod(grid(s, 2, 3), false, 1) }, []int{2}, []float32{0, 60}},
		{"prod of all", func(s *mlx.Scope) mlx.Array { return s.Prod(vec(s, 2, 3), false) }, nil, []float32{6}},
		{"all", func(s *mlx.Scope) mlx.Array { return s.All(grid(s, 2, 3), false, 1) }, []int{2}, []float32{0, 1}},
		{"all of all", func(s *mlx.Scope) mlx.Array { return s.All(grid(s, 2, 3), false) }, nil, []float32{0}},
		{"any", func(s *mlx.Scope) mlx.Array { return s.Any(grid(s, 3, 1), false, 1) }, []int{3}, []float32{0, 1, 1}},
		{"any of all", func(s *mlx.Scope) mlx.Array { return s.Any(grid(s, 3, 1), false) }, nil, []float32{1}},
		{"logsumexp", func(s *mlx.Scope) mlx.Array { return s.LogSumExp(s.Full(1000, mlx.Float32, 2, 4), false, 1) }, []int{2}, []float32{1000 + 2*math.Ln2, 1000 + 2*math.Ln2}},
		{"logsumexp of all", func(s *mlx.Scope) mlx.Array { return s.LogSumExp(s.Zeros(mlx.Float32, 2, 4), false) }, nil, []float32{3 * math.Ln2}},
		{"argmax", func(s *mlx.Scope) mlx.Array {
			return s.Argmax(s.FromFloat32s([]float32{1, 5, 2, 9, 0, 9}, 2, 3), 1, false)
		}, []int{2}, []float32{1, 0}},
		{"argmin", func(s *mlx.Scope) mlx.Array {
			return s.Argmin(s.FromFloat32s([]float32{1, 5, 2, 9, 0, 9}, 2, 3), 1, true)
		}, []int{2, 1}, []float32{0, 1}},
		{"softmax", func(s *mlx.Scope) mlx.Array { return s.Softmax(vec(s, 0, math.Ln2, 1000*0), 0, true) }, []int{3}, []float32{0.25, 0.5, 0.25}},
		{"cumsum", func(s *mlx.Scope) mlx.Array { return s.Cumsum(grid(s, 2, 3), 1, false, true) }, []int{2, 3}, []float32{0, 1, 3, 3, 7, 12}},
		{"cumsum in reverse, without oneself", func(s *mlx.Scope) mlx.Array { return s.Cumsum(grid(s, 4), 0, true, false) }, []int{4}, []float32{6, 5, 3, 0}},
		{"sort", func(s *mlx.Scope) mlx.Array { return s.Sort(vec(s, 3, 1, 2), 0) }, []int{3}, []float32{1, 2, 3}},
		{"argsort", func(s *mlx.Scope) mlx.Array { return s.ArgSort(vec(s, 3, 1, 2), -1) }, []int{3}, []float32{1, 2, 0}},
		{"partition", func(s *mlx.Scope) mlx.Array {
			return s.Slice(s.Partition(vec(s, 3, 1, 4, 2), 1, 0), []int{1}, []int{2})
		}, []int{1}, []float32{2}},
		{"argpartition", func(s *mlx.Scope) mlx.Array {
			return s.Slice(s.ArgPartition(vec(s, 3, 1, 4, 2), 1, 0), []int{1}, []int{2})
		}, []int{1}, []float32{3}},
		{"topk", func(s *mlx.Scope) mlx.Array { return s.Sort(s.TopK(vec(s, 3, 1, 4, 2), 2, 0), 0) }, []int{2}, []float32{3, 4}},
	})
}

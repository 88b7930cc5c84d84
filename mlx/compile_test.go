package mlx_test

import (
	"math"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// compile compiles f, and frees it when the test ends.
func compile(t *testing.T, f func(s *mlx.Scope, in []mlx.Array) []mlx.Array, shapeless bool) *mlx.Compiled {
	t.Helper()
	c, err := library(t).Compile(f, shapeless)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Free)
	return c
}

func TestCompile(t *testing.T) {
	for _, shapeless := range []bool{false, true} {
		traced := 0
		c := compile(t, func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
			traced++
			gated := s.Multiply(in[0], s.Sigmoid(in[0]))
			return []mlx.Array{s.Multiply(gated, in[1]), s.Add(in[0], in[1])}
		}, shapeless)
		onLibrary(t, func(s *mlx.Scope) {
			for n := 2; n <= 4; n++ {
				for range 2 {
					x := s.Subtract(grid(s, n), scalar(s, 1))
					out := s.Call(c, x, s.Full(2, mlx.Float32, n))
					if len(out) != 2 {
						t.Fatalf("%d results: %v", len(out), s.Err())
					}
					var gated, sum []float32
					for i := range n {
						v := float64(i - 1)
						gated = append(gated, float32(2*v/(1+math.Exp(-v))))
						sum = append(sum, float32(v+2))
					}
					compare(t, s.Float32s(out[0]), gated, 1e-6)
					compare(t, s.Float32s(out[1]), sum, 0)
				}
			}
		})
		if want := map[bool]int{false: 3, true: 1}[shapeless]; traced != want {
			t.Errorf("shapeless %v: the function was called %d times, want %d", shapeless, traced, want)
		}
	}
}

func TestCompileFailures(t *testing.T) {
	bad := compile(t, func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
		return []mlx.Array{s.Matmul(in[0], in[0])}
	}, false)
	err := failing(t, func(s *mlx.Scope) { s.Call(bad, grid(s, 2, 3)) })
	if want := "mlx compiled function of [2 3] float32: mlx matmul of [2 3] float32 and [2 3] float32: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %q, want %q", err, want)
	}
	none := compile(t, func(*mlx.Scope, []mlx.Array) []mlx.Array { return []mlx.Array{{}} }, false)
	failing(t, func(s *mlx.Scope) { s.Call(none, grid(s, 2)) })
	failing(t, func(s *mlx.Scope) { s.Call(bad, mlx.Array{}) })

	boom := compile(t, func(*mlx.Scope, []mlx.Array) []mlx.Array { panic("boom") }, false)
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("recovered %v", v)
			}
		}()
		lib := library(t)
		lib.Do(func() {
			s := lib.NewScope(stream)
			defer s.Close()
			s.Call(boom, grid(s, 2))
		})
	}()
	freed := compile(t, func(_ *mlx.Scope, in []mlx.Array) []mlx.Array { return in }, false)
	freed.Free()
	failing(t, func(s *mlx.Scope) { s.Call(freed, grid(s, 2)) })
}

// TestCompileNested calls one compiled function while another is recorded.
func TestCompileNested(t *testing.T) {
	inner := compile(t, func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
		return []mlx.Array{s.Square(s.Add(in[0], in[0]))}
	}, true)
	outer := compile(t, func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
		return []mlx.Array{s.Negative(s.Call(inner, in...)[0])}
	}, true)
	onLibrary(t, func(s *mlx.Scope) {
		compare(t, s.Float32s(s.Call(outer, grid(s, 3))[0]), []float32{0, -4, -16}, 0)
	})
}

// TestCompileMany makes more functions than a process may have C callbacks.
func TestCompileMany(t *testing.T) {
	lib := library(t)
	before := lib.ActiveMemory()
	onLibrary(t, func(s *mlx.Scope) {
		for i := range 3000 {
			c, err := lib.Compile(func(s *mlx.Scope, in []mlx.Array) []mlx.Array {
				return []mlx.Array{s.Reshape(in[0], 2, 2)}
			}, false)
			if err != nil {
				t.Fatal(i, err)
			}
			s.Eval(s.Call(c, grid(s, 4))...)
			c.Free()
			c.Free()
			s.Reset()
		}
	})
	if n := lib.ActiveMemory(); n != before {
		t.Errorf("%d bytes active, %d before", n, before)
	}
}

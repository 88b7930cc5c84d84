package mlx_test

import (
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// BenchmarkOp measures what one operation costs the host, its being freed
// included: of integers only, and with a float argument.
func BenchmarkOp(b *testing.B) {
	for _, bench := range []struct {
		name string
		op   func(s *mlx.Scope, a, w mlx.Array)
	}{
		{"add", func(s *mlx.Scope, a, _ mlx.Array) { s.Add(a, a) }},
		{"matmul", func(s *mlx.Scope, a, w mlx.Array) { s.Matmul(a, w) }},
		{"reshape", func(s *mlx.Scope, a, _ mlx.Array) { s.Reshape(a, 4, -1) }},
		{"rms_norm", func(s *mlx.Scope, a, _ mlx.Array) { s.RMSNorm(a, mlx.Array{}, 1e-5) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			onLibrary(b, func(s *mlx.Scope) {
				a, w := s.Keep(s.Zeros(mlx.Float32, 8, 8)), s.Keep(s.Zeros(mlx.Float32, 8, 8))
				s.Eval(a, w)
				for i := range b.N {
					if i%1024 == 0 {
						s.Reset()
					}
					bench.op(s, a, w)
				}
				s.Library().Free(a, w)
			})
		})
	}
	b.Run("shape query", func(b *testing.B) {
		b.ReportAllocs()
		onLibrary(b, func(s *mlx.Scope) {
			a := s.Zeros(mlx.Float32, 8, 8)
			var shape []int
			for range b.N {
				shape = s.Library().AppendShape(shape[:0], a)
			}
		})
	})
	b.Run("do", func(b *testing.B) {
		lib := library(b)
		b.ReportAllocs()
		for range b.N {
			lib.Do(func() {})
		}
	})
}

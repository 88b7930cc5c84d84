package simd_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/simd"
)

// strangeRow is a row of logits with what may be in one.
func strangeRow(rng *rand.Rand, n int) []float32 {
	x := randomVector(rng, n)
	for i := range x {
		switch rng.IntN(40) {
		case 0:
			x[i] = float32(math.NaN())
		case 1:
			x[i] = float32(math.Inf(-1))
		case 2:
			x[i] = -math.MaxFloat32
		case 3:
			x[i] *= 100
		}
	}
	return x
}

var rowLengths = []int{0, 1, 63, 64, 65, 255, 256, 257, 1000, 5000}

func TestBlockMax(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(40, 0))
		for _, n := range rowLengths {
			x := strangeRow(rng, n)
			if n > 200 {
				for i := range simd.MaxBlock {
					x[simd.MaxBlock+i] = float32(math.NaN())
				}
				x[5] = float32(math.Inf(1))
			}
			got := make([]float32, n/simd.MaxBlock+1)
			blocks := simd.BlockMax(got, x)
			if want := (n + simd.MaxBlock - 1) / simd.MaxBlock; blocks != want {
				t.Fatalf("%d elements: %d blocks", n, blocks)
			}
			for b, g := range got[:blocks] {
				want := float32(math.Inf(-1))
				for _, v := range x[b*simd.MaxBlock : min(n, (b+1)*simd.MaxBlock)] {
					if v > want {
						want = v
					}
				}
				if g != want {
					t.Errorf("block %d of %d elements: %g, want %g", b, n, g, want)
				}
			}
		}
	})
}

func TestBlockSumExp(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(41, 0))
		for _, n := range rowLengths {
			for _, c := range []struct{ scale, limit float64 }{{1, 40}, {0.1, 40}, {7, 2.5}, {1, 700}} {
				x := strangeRow(rng, n)
				top := 0.0
				for _, v := range x {
					if v == v {
						top = max(top, float64(v))
					}
				}
				got := make([]float64, n/simd.SumBlock+1)
				for b, g := range got[:simd.BlockSumExp(got, x, top, c.scale, c.limit)] {
					want := 0.0
					for _, v := range x[b*simd.SumBlock : min(n, (b+1)*simd.SumBlock)] {
						if e := (float64(v) - top) * c.scale; e >= -c.limit {
							want += math.Exp(e)
						}
					}
					if !(math.Abs(g-want) <= 1e-11*want) {
						t.Errorf("%+v: block %d of %d elements: %g, want %g", c, b, n, g, want)
					}
				}
			}
		}
	})
}

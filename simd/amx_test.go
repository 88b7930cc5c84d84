package simd_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

// needAMX skips a test on machines without tiles.
func needAMX(t *testing.T) {
	if !slices.Contains(simd.Tiers(), "amx") {
		t.Skip("this machine has no AMX, or the kernel doesn't grant it")
	}
}

// Tiles give the bits that vectors give, for all types, any number of rows and of
// blocks, panels that aren't full, and rows from the middle of a tile on.
func TestTilesGiveTheBitsOfVectors(t *testing.T) {
	needAMX(t)
	multiply := func(tier string, m *simd.Matrix, x []float32, n, r0, r1 int) []float32 {
		defer simd.ForceTier(tier)()
		var a simd.Activations
		a.Reset(n, m.Cols())
		a.Set(0, n, x, m.Cols(), m.NeedsInt8(), m.NeedsFloat())
		stride := m.Rows() + 3
		dst := make([]float32, n*stride)
		for i := range dst {
			dst[i] = -7
		}
		m.Mul(dst, stride, &a, r0, r1, 0, m.Panels())
		return dst
	}
	for _, e := range allEncodings {
		t.Run(e.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(11, uint64(e.typ)))
			elems := 1
			if e.bits == 0 {
				elems, _ = e.typ.Block()
			}
			for _, size := range []struct{ rows, cols, n, r0, r1 int }{
				{16, 1, 16, 0, 16}, {48, 7, 17, 0, 17}, {64, 8, 31, 0, 31}, {80, 9, 32, 0, 32},
				{112, 18, 33, 0, 33}, {15, 3, 40, 0, 40}, {33, 16, 64, 0, 64}, {150, 8, 61, 0, 61},
				{33, 17, 64, 5, 61}, {64, 8, 64, 15, 31}, {70, 2, 90, 33, 49}, {20, 8, 20, 3, 19},
			} {
				cols := size.cols * max(elems, e.group, 32)
				m, err := simd.PackParts(e.random(rng, size.rows, cols))
				if err != nil {
					t.Fatal(err)
				}
				x := randomVector(rng, size.n*cols)
				want := multiply("avx512vnni", m, x, size.n, size.r0, size.r1)
				got := multiply("amx", m, x, size.n, size.r0, size.r1)
				if i := sameBits(got, want); i >= 0 {
					t.Fatalf("%+v: row %d output %d is %g, with vectors %g", size, i/(m.Rows()+3), i%(m.Rows()+3), got[i], want[i])
				}
			}
		})
	}
}

// Signals, collections and changes of thread in the midst of kernels leave the
// tiles of each thread as they are.
func TestTilesUnderPreemption(t *testing.T) {
	needAMX(t)
	defer simd.ForceTier("amx")()
	rng := rand.New(rand.NewPCG(12, 0))
	const rows, cols = 128, 1024
	var wg sync.WaitGroup
	var busy atomic.Int32
	for range 4 * runtime.GOMAXPROCS(0) {
		m, err := simd.PackParts(randomTensor(rng, tensor.Q4_0, 80, cols))
		if err != nil {
			t.Fatal(err)
		}
		x := randomVector(rng, rows*cols)
		_, want := product(m, x, rows)
		busy.Add(1)
		wg.Go(func() {
			defer busy.Add(-1)
			for range 20 {
				_, got := product(m, x, rows)
				if i := sameBits(got, want); i >= 0 {
					t.Errorf("output %d: %g, undisturbed %g", i, got[i], want[i])
					return
				}
			}
		})
	}
	for busy.Load() > 0 {
		runtime.GC()
	}
	wg.Wait()
}

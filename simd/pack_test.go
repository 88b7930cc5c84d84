package simd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

// TestPackedLayout compares panels with what format.go says of their layout, code
// by code.
func TestPackedLayout(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 0))
	for _, typ := range allTypes {
		for _, size := range [][2]int{{16, 256}, {37, 768}} {
			w := randomTensor(rng, typ, size[0], size[1])
			m, err := simd.PackParts(w)
			if err != nil {
				t.Fatal(err)
			}
			got, want := m.Panels0(), simd.ReferencePanels(w)
			if !bytes.Equal(got, want) {
				at := 0
				for got[at] == want[at] {
					at++
				}
				t.Errorf("%s %v: byte %d is %d, expected %d", typ, size, at, got[at], want[at])
			}
		}
	}
}

// TestStoredMultipliesAlike: a matrix that isn't packed gives the same bits.
func TestStoredMultipliesAlike(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		for _, e := range allEncodings {
			rng := rand.New(rand.NewPCG(22, uint64(e.typ)))
			const cols = 512
			// Parts that end within a panel, and one of another type.
			parts := []tensor.Tensor{
				e.random(rng, 70, cols), e.random(rng, 35, cols), randomTensor(rng, tensor.F16, 18, cols),
			}
			packed, err := simd.PackParts(parts...)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := simd.LayOut(parts...)
			if err != nil {
				t.Fatal(err)
			}
			if stored.Bytes() != packed.Bytes() || stored.Panels() != packed.Panels() {
				t.Fatalf("%s: %d bytes in %d panels, packed %d in %d", e, stored.Bytes(), stored.Panels(), packed.Bytes(), packed.Panels())
			}
			for _, n := range []int{1, 3, 8, 40} {
				x := randomVector(rng, n*cols)
				_, want := product(packed, x, n)
				_, got := product(stored, x, n)
				if !slices.Equal(got, want) {
					t.Fatalf("%s: a product with %d rows differs", e, n)
				}
			}
			want, got := make([]float32, cols), make([]float32, cols)
			for i := range packed.Rows() {
				packed.Row(want, i)
				stored.Row(got, i)
				if !slices.Equal(got, want) {
					t.Fatalf("%s: row %d differs", e, i)
				}
			}
		}
	})
}

// Columns that aren't whole chunks: what lies beyond them in memory that was used
// before must not count.
func TestStoredOddColumns(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 0))
	for _, typ := range []tensor.Type{tensor.F32, tensor.F16, tensor.BF16} {
		for _, cols := range []int{1, 6, 17, 100} {
			w := randomTensor(rng, typ, 150, cols)
			packed, err := simd.PackParts(w)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := simd.LayOut(w)
			if err != nil {
				t.Fatal(err)
			}
			x := randomVector(rng, 2*cols)
			_, want := product(packed, x, 2)
			if _, got := product(stored, x, 2); !slices.Equal(got, want) {
				t.Errorf("%s, %d columns: the products differ", typ, cols)
			}
		}
	}
}

// BenchmarkPack reports the GB/s of stored weights that one thread packs.
func BenchmarkPack(b *testing.B) {
	rng := rand.New(rand.NewPCG(24, 0))
	const rows, cols = 512, 2048
	for _, typ := range allTypes {
		w := randomTensor(rng, typ, rows, cols)
		m, err := simd.PackParts(w)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(typ), func(b *testing.B) {
			for b.Loop() {
				m.Repack(w)
			}
			b.ReportMetric(float64(len(w.Data)*b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
		})
	}
}

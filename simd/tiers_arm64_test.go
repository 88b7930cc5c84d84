package simd_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/simd"
)

// The tiers of NEON differ in how they sum integers, which is exact: their
// results have the same bits.
func TestTiersOfNEONSameBits(t *testing.T) {
	for _, typ := range allTypes {
		t.Run(typ.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(11, uint64(typ)))
			const cols, n = 768, 19
			m, err := simd.PackParts(randomTensor(rng, typ, 40, cols))
			if err != nil {
				t.Fatal(err)
			}
			x := randomVector(rng, n*cols)
			var want []float32
			for _, tier := range simd.Tiers() {
				if !strings.HasPrefix(tier, "neon") {
					continue
				}
				restore := simd.ForceTier(tier)
				_, got := product(m, x, n)
				restore()
				if want == nil {
					want = got
				}
				if i := sameBits(got, want); i >= 0 {
					t.Errorf("%s: output %d is %g, with the first tier %g", tier, i, got[i], want[i])
				}
			}
		})
	}
}

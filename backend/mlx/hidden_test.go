package mlx

import (
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/backendtest"
	"github.com/inferflux/inferflux/model/modeltest"
)

// TestHiddenEqualsReference is the promise of Embeddings on float weights.
func TestHiddenEqualsReference(t *testing.T) {
	b := testBackend(t)
	bound := 1e-4
	if b.config.Device != "cpu" {
		bound = 0.05 // in 16 bits
	}
	for _, name := range modeltest.Fixtures(t) {
		want := modeltest.Hidden(t, name)
		if want == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			e := loadEngine(t, b, modeltest.Open(t, name), backend.LoadOptions{KVType: "f32"})
			tokens, _ := modeltest.Reference(t, name)
			worst := backendtest.HiddenDeviation(t, e, tokens, want)
			if t.Logf("max |Δ| %.2e", worst); !(worst <= bound) {
				t.Errorf("max |Δ| of a hidden state is %g, expected at most %g", worst, bound)
			}
		})
	}
}

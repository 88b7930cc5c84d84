package cpu_test

import (
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/backendtest"
	"github.com/inferflux/inferflux/model/modeltest"
)

// TestHiddenEqualsReference is the promise of Embeddings on float weights.
func TestHiddenEqualsReference(t *testing.T) {
	known := 0
	for _, name := range modeltest.Fixtures(t) {
		want := modeltest.Hidden(t, name)
		if want == nil {
			continue
		}
		known++
		t.Run(name, func(t *testing.T) {
			e := loadEngine(t, modeltest.Open(t, name), backend.LoadOptions{KVType: "f32"})
			tokens, _ := modeltest.Reference(t, name)
			worst := backendtest.HiddenDeviation(t, e, tokens, want)
			if t.Logf("max |Δ| %.2e", worst); !(worst <= 1e-4) {
				t.Errorf("max |Δ| of a hidden state is %g, expected at most 1e-4", worst)
			}
		})
	}
	if known < 7 {
		t.Errorf("hidden states are known for %d models only", known)
	}
}

package cpu_test

import (
	"fmt"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/backendtest"
)

func TestContract(t *testing.T) {
	for _, name := range []string{"llama-gqa-tied", "mistral-window"} {
		for _, o := range []backend.LoadOptions{{Threads: 2, MaxBatchTokens: 256, KVTokens: 2048}, {Threads: 1, KVType: "f32", Context: 200}} {
			t.Run(fmt.Sprintf("%s/%d threads", name, o.Threads), func(t *testing.T) {
				backendtest.Run(t, func(t testing.TB) backend.Engine { return loadEngine(t, openFixture(t, name), o) }, backendtest.Options{})
			})
		}
	}
}

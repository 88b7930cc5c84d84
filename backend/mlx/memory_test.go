package mlx

import (
	"testing"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/model/modeltest"
)

// The memory is read without waiting for MLX's thread, holds at least the weights,
// and is less by them when the engine is closed.
func TestMemory(t *testing.T) {
	b := testBackend(t)
	c := modeltest.Open(t, "llama-gqa-tied")
	e, err := b.Load(t.Context(), c, backend.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lib, reporter := e.(*Engine).lib, e.(backend.MemoryReporter)
	busy, release := make(chan struct{}), make(chan struct{})
	go lib.Do(func() {
		close(busy)
		<-release
	})
	<-busy
	got := make(chan backend.DeviceMemory, 1)
	go func() { got <- reporter.Memory() }()
	var loaded backend.DeviceMemory
	select {
	case loaded = <-got:
	case <-time.After(10 * time.Second):
		t.Error("Memory waits for MLX's thread")
	}
	close(release)
	weights := 4 * uint64(e.Model().Parameters)
	if e.(*Engine).packed {
		weights = uint64(c.Size()) / 2
	}
	if loaded.Active < weights || loaded.Peak < loaded.Active {
		t.Errorf("with %d bytes of weights: %+v", weights, loaded)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if closed := reporter.Memory(); closed.Active+weights > loaded.Active || closed.Peak < loaded.Peak {
		t.Errorf("%+v after Close, %+v before", closed, loaded)
	}
}

package cpu_test

import (
	"cmp"
	"fmt"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/backendtest"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/model/modeltest"
)

func testContract(t *testing.T, open func(testing.TB) checkpoint.Checkpoint, o backend.LoadOptions) {
	c := open(t)
	backendtest.Run(t, func(t testing.TB) backend.Engine {
		t.Helper()
		e, err := cpu.Backend{}.Load(t.Context(), c, o)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}, backendtest.Options{})
}

func TestContract(t *testing.T) {
	for _, name := range []string{"llama-gqa-tied", "mistral-window"} {
		for _, o := range []backend.LoadOptions{
			{Threads: 2, MaxBatchTokens: 256, KVTokens: 2048}, {Threads: 1, KVType: "f32", Context: 200}, {Threads: 2, KVType: "q8_0", KVTokens: 2048},
			{Threads: 2, KVTokens: 2048, Repack: "never"},
		} {
			t.Run(fmt.Sprintf("%s/%d threads/kv %s/repack %s", name, o.Threads, cmp.Or(o.KVType, "auto"), cmp.Or(o.Repack, "auto")), func(t *testing.T) {
				testContract(t, func(t testing.TB) checkpoint.Checkpoint { return modeltest.Open(t, name+".gguf") }, o)
			})
		}
	}
	// Those that compute what llama doesn't.
	for _, name := range []string{"gemma2", "gemma3", "phi3-longrope", "olmo2", "smollm3", "starcoder2", "cohere2", "glm4", "ministral3", "qwen3moe", "mixtral", "glm4moe", "gpt-oss", "qwen2moe", "lfm2", "granitehybrid-moe", "qwen3next"} {
		t.Run(name, func(t *testing.T) {
			testContract(t, func(t testing.TB) checkpoint.Checkpoint { return modeltest.Open(t, name+".gguf") },
				backend.LoadOptions{Threads: 2, MaxBatchTokens: 256, KVTokens: 2048})
		})
	}
	// Experts whose weights are integers.
	t.Run("mlx/qwen3moe", func(t *testing.T) {
		testContract(t, func(t testing.TB) checkpoint.Checkpoint { return modeltest.Open(t, "mlx/qwen3moe") },
			backend.LoadOptions{Threads: 2, MaxBatchTokens: 256, KVTokens: 2048})
	})
}

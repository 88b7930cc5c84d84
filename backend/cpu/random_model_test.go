package cpu_test

import (
	"testing"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/tensor"
)

// openQuantized makes a llama of two layers whose weights are of many types.
func openQuantized(t testing.TB) checkpoint.Checkpoint {
	t.Helper()
	return modeltest.Random{
		Layers: 2, Hidden: 256, FFN: 256, Heads: 4, KVHeads: 2, HeadDim: 32, Vocab: 264, Context: 512, Embedding: tensor.Q8_0,
		Weights: []tensor.Type{
			tensor.Q4_1, tensor.Q4_1, tensor.Q6_K, tensor.Q4_0, tensor.Q4_K, tensor.Q4_K, tensor.Q6_K,
			tensor.Q8_0, tensor.F16, tensor.F32, tensor.Q5_1, tensor.Q4_1, tensor.Q4_1, tensor.Q4_1,
		},
	}.Open(t)
}

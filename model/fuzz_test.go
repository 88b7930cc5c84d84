package model_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/model/modeltest"
)

// FuzzHyperParameters sets several numbers of a file to anything: the model must
// load, with weights of the shapes that the file has, or be refused.
func FuzzHyperParameters(f *testing.F) {
	keys := []string{"llama.context_length", "llama.embedding_length", "llama.block_count", "llama.feed_forward_length",
		"llama.attention.head_count", "llama.attention.head_count_kv", "llama.attention.key_length", "llama.attention.value_length",
		"llama.attention.sliding_window", "llama.rope.dimension_count", "llama.rope.scaling.original_context_length", "llama.expert_count"}
	floats := []string{"llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base", "llama.rope.scaling.factor", "llama.rope.scaling.attn_factor",
		"llama.rope.scaling.yarn_beta_fast", "llama.rope.scaling.yarn_beta_slow"}
	f.Add(uint8(0), 1, uint8(5), 2, uint8(0), 1e-6, uint8(1), 1e4, "yarn", 100, 32)
	f.Add(uint8(6), 4, uint8(7), 4, uint8(2), 4.0, uint8(4), 1.0, "linear", 1, 1)
	f.Add(uint8(4), 0, uint8(1), -1, uint8(1), math.Inf(1), uint8(5), math.NaN(), "llama3", 0, 1<<40)
	f.Fuzz(func(t *testing.T, k1 uint8, v1 int, k2 uint8, v2 int, k3 uint8, v3 float64, k4 uint8, v4 float64, scaling string, rows, cols int) {
		c := tinyGGUF()
		c.meta[keys[int(k1)%len(keys)]] = v1
		c.meta[keys[int(k2)%len(keys)]] = v2
		c.meta[floats[int(k3)%len(floats)]] = v3
		c.meta[floats[int(k4)%len(floats)]] = v4
		c.meta["llama.rope.scaling.type"] = scaling
		if rows != 100 {
			c.tensors["token_embd.weight"] = []int{rows, cols}
		}
		r := &recorder{rows: 3, wanted: 1}
		m, err := model.Load(c, r)
		if err != nil {
			return
		}
		if out := m.Logits(ops{r}, m.Hidden(ops{r})); out.Cols != m.Config().Vocab {
			t.Errorf("%d logits for a vocabulary of %d", out.Cols, m.Config().Vocab)
		}
		for _, rope := range r.ropes {
			for i, f := range rope.InvFreq {
				if !(f >= 0) || math.IsInf(float64(f), 0) {
					t.Errorf("rotary frequency %d is %g", i, f)
				}
			}
		}
	})
}

// FuzzArchitectures sets two numbers of any of the tiny models to anything, or takes
// them away: as above.
func FuzzArchitectures(f *testing.F) {
	names := slices.DeleteFunc(modeltest.Fixtures(f), func(name string) bool { return strings.HasPrefix(name, "mlx/") })
	f.Add(uint8(0), uint8(1), 1, uint8(2), 1.0, uint8(0))
	f.Add(uint8(9), uint8(3), 0, uint8(9), math.NaN(), uint8(1))
	f.Add(uint8(20), uint8(7), -1, uint8(12), 1e30, uint8(2))
	f.Fuzz(func(t *testing.T, which, k1 uint8, v1 int, k2 uint8, v2 float64, how uint8) {
		c := copied(t, names[int(which)%len(names)])
		keys := slices.DeleteFunc(c.meta.Keys(), func(key string) bool { return strings.HasPrefix(key, "tokenizer.") })
		c.meta[keys[int(k1)%len(keys)]] = v1
		switch key := keys[int(k2)%len(keys)]; how % 3 {
		case 0:
			c.meta[key] = v2
		case 1:
			delete(c.meta, key)
		case 2:
			c.meta[key] = nil
		}
		r := &recorder{rows: 3, wanted: 1}
		m, err := model.Load(c, r)
		if err != nil {
			return
		}
		if out := m.Logits(ops{r}, m.Hidden(ops{r})); out.Cols != m.Config().Vocab {
			t.Errorf("%d logits for a vocabulary of %d", out.Cols, m.Config().Vocab)
		}
	})
}

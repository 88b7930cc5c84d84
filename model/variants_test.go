package model_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/nn"
)

// TestTying: what config.json says of the output layer has the last word.
func TestTying(t *testing.T) {
	for _, c := range []struct {
		tied   any // nil: it doesn't say
		output bool
		want   string // what computes the logits, or the error
	}{
		{nil, true, "linear 3 +0: 32 to 100"},
		{nil, false, "linear 1 +0: 32 to 100"},
		{true, true, "linear 1 +0: 32 to 100"}, // a copy is of no use
		{true, false, "linear 1 +0: 32 to 100"},
		{false, true, "linear 3 +0: 32 to 100"},
		{false, false, "lm_head.weight [100 32] is missing"},
		{"yes", true, "tie_word_embeddings is string, expected true or false"},
	} {
		f := tinyHF()
		if c.tied != nil {
			f.meta["tie_word_embeddings"] = c.tied
		}
		if !c.output {
			delete(f.tensors, "lm_head.weight")
		}
		if !strings.HasPrefix(c.want, "linear") {
			if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("tied %v, output %v: %v, expected %q", c.tied, c.output, err, c.want)
			}
			continue
		}
		if log := forward(t, f).log; log[len(log)-1] != c.want {
			t.Errorf("tied %v, output %v: %s, expected %s", c.tied, c.output, log[len(log)-1], c.want)
		}
	}
}

// TestDefaults holds what config.json leaves out to the defaults of transformers'
// LlamaConfig and MistralConfig.
func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		class string
		set   metadata
		want  string
	}{
		{"LlamaForCausalLM", nil, "Window:0}"},
		{"LlamaForCausalLM", metadata{"sliding_window": 16}, "Window:0}"}, // the class has none
		{"MistralForCausalLM", nil, "Window:4096}"},
		{"MistralForCausalLM", metadata{"sliding_window": nil}, "Window:0}"},
		{"MistralForCausalLM", metadata{"sliding_window": 16}, "Window:16}"},
	} {
		f := tinyHF()
		f.meta["architectures"] = []string{c.class}
		for _, key := range []string{"sliding_window", "rms_norm_eps", "rope_theta", "hidden_act"} {
			delete(f.meta, key)
		}
		for key, v := range c.set {
			f.meta[key] = v
		}
		r := forward(t, f)
		if log := strings.Join(r.log, "\n"); !strings.Contains(log, c.want) || !strings.Contains(log, "norm 4 eps 1e-06") || !strings.Contains(log, "KVHeads:2 HeadDim:8") {
			t.Errorf("%s with %v: %s", c.class, c.set, log)
		}
		if f := r.ropes[0].InvFreq[1]; math.Abs(float64(f)-0.1) > 1e-7 {
			t.Errorf("%s: the second frequency is %g", c.class, f)
		}
	}
	f := tinyHF()
	delete(f.meta, "num_key_value_heads")
	if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), "k_proj.weight has the shape [16 32], expected [32 32]") {
		t.Errorf("without num_key_value_heads every head has keys of its own: %v", err)
	}
}

// TestQwen3: heads are normalized between projection and rotation, in halves in
// both formats.
func TestQwen3(t *testing.T) {
	gguf, hf := tinyGGUF(), tinyHF()
	gguf.meta["general.architecture"] = "qwen3"
	for key, v := range maps.Clone(gguf.meta) {
		if rest, ok := strings.CutPrefix(key, "llama."); ok {
			gguf.meta["qwen3."+rest] = v
		}
	}
	hf.meta["architectures"] = []string{"Qwen3ForCausalLM"}
	hf.meta["sliding_window"], hf.meta["use_sliding_window"] = 4096, false
	for layer := range 2 {
		for _, x := range []string{"q", "k"} {
			gguf.tensors[fmt.Sprintf("blk.%d.attn_%s_norm.weight", layer, x)] = []int{8}
			hf.tensors[fmt.Sprintf("model.layers.%d.self_attn.%s_norm.weight", layer, x)] = []int{8}
		}
	}
	a, b := forward(t, gguf), forward(t, hf)
	if d := cmp.Diff(a.log, b.log); d != "" {
		t.Errorf("GGUF and Hugging Face differ: %s", d)
	}
	layer := []string{"norm 4 eps 1e-05", "linear 5 +0: 32 to 64", "norm 7 eps 1e-05", "norm 8 eps 1e-05",
		"attend {Layer:0 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:0}"}
	if d := cmp.Diff(layer, a.log[1:1+len(layer)]); d != "" {
		t.Errorf("the first layer: %s", d)
	}
	for _, r := range slices.Concat(a.ropes, b.ropes) {
		if r.Style != nn.RopeHalf {
			t.Errorf("rotated by style %d", r.Style)
		}
	}
	hf.meta["use_sliding_window"], hf.meta["max_window_layers"] = true, 1
	if log := strings.Join(forward(t, hf).log, "\n"); !strings.Contains(log, "Layer:0 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:0") ||
		!strings.Contains(log, "Layer:1 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:4096") {
		t.Errorf("with a window from the second layer on: %s", log)
	}
	delete(hf.tensors, "model.layers.1.self_attn.k_norm.weight")
	if _, err := model.Load(hf, &recorder{}); err == nil || !strings.Contains(err.Error(), "model.layers.1.self_attn.k_norm.weight [8] is missing") {
		t.Errorf("without a norm: %v", err)
	}
}

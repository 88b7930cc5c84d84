package model_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/model"
)

// TestMixtures: how rows choose their experts, and in which layers.
func TestMixtures(t *testing.T) {
	for _, c := range []struct {
		name    string
		set     metadata
		layers  int // that are mixtures
		choices string
	}{
		{"qwen3moe", nil, 2, "Scoring:0 Correction:{Ref:0 Out:0 In:0} Normalize:true Scale:0"},
		{"qwen3moe.gguf", nil, 2, "Normalize:true Scale:0"},
		{"qwen3moe", metadata{"norm_topk_prob": false}, 2, "Normalize:false Scale:0"},
		{"qwen3moe-dense", nil, 1, "Count:6 Used:2"},
		{"mixtral", nil, 2, "Count:4 Used:2"},
		{"mixtral.gguf", nil, 2, "Normalize:true Scale:0"},
		{"olmoe.gguf", nil, 2, "Normalize:false Scale:0"},
		{"mixtral-split.gguf", nil, 2, "Count:4 Used:2"},
		{"granitemoe", nil, 2, "Count:6 Used:3"},
		{"granitemoe.gguf", nil, 2, "Normalize:true Scale:0"},
		{"granitemoe-shared.gguf", nil, 2, "Count:6 Used:2"},
		{"glm4moe", nil, 1, "Normalize:true Scale:1.5"},
		{"glm4moe.gguf", nil, 1, "Scoring:1"},
		{"gpt-oss", nil, 2, "Act:4 Scoring:0 Correction:{Ref:0 Out:0 In:0} Normalize:true Scale:0"},
		{"gpt-oss.gguf", nil, 2, "Count:6 Used:2"},
		{"qwen2moe.gguf", nil, 2, "Normalize:false Scale:0"},
	} {
		f := copied(t, c.name)
		maps.Copy(f.meta, c.set)
		var found []string
		for _, line := range forward(t, f).log {
			if strings.HasPrefix(line, "experts ") {
				found = append(found, line)
			}
		}
		if len(found) != c.layers || !strings.Contains(strings.Join(found, ""), c.choices) {
			t.Errorf("%s with %v: %q, expected %d with %s", c.name, c.set, found, c.layers, c.choices)
		}
	}
}

// TestWrongMixtures: each wrong value gives an error that names it.
func TestWrongMixtures(t *testing.T) {
	for _, c := range []struct {
		name, key string
		value     any
		want      string
	}{
		{"qwen3moe.gguf", "qwen3moe.expert_used_count", 9, "qwen3moe.expert_used_count is 9, expected 1 to 8"},
		{"qwen3moe.gguf", "qwen3moe.expert_count", 0, "qwen3moe.expert_count is 0"},
		{"qwen3moe.gguf", "qwen3moe.expert_count", 7, "blk.0.ffn_gate_exps.weight has the shape [8 32 32], expected [7 32 32]"},
		{"qwen3moe.gguf", "qwen3moe.expert_feed_forward_length", 1 << 30, "qwen3moe.expert_feed_forward_length is"},
		{"mixtral", "num_local_experts", 5, "model.layers.0.block_sparse_moe.experts.4.w1.weight [32 32] is missing"},
		{"mixtral-split.gguf", "llama.expert_count", 5, "blk.0.ffn_gate.4.weight [32 32] is missing"},
		{"granitemoe-shared", "shared_intermediate_size", 0, "this architecture has no use for model.layers.0.shared_mlp.input_linear.weight"},
		{"granitemoe-shared.gguf", "granitemoe.expert_shared_feed_forward_length", 41, "blk.0.ffn_gate_shexp.weight has the shape [40 32], expected [41 32]"},
		{"olmoe", "clip_qkv", 8.0, "clip_qkv is set"},
		{"glm4moe", "n_group", 4, "n_group is 4: choosing among groups of experts is not supported"},
		{"glm4moe.gguf", "glm4moe.expert_gating_func", 1, "glm4moe.expert_gating_func is 1, expected 2"},
		{"gpt-oss", "swiglu_limit", 8.0, "swiglu_limit is 8, expected 7"},
		{"gpt-oss", "num_local_experts", 5, "model.layers.0.mlp.experts.gate_up_proj has the shape [6 32 64], expected [5 32 64]"},
		{"gpt-oss.gguf", "gpt-oss.expert_count", 5, "blk.0.ffn_gate_exps.weight has the shape"},
		{"glm4moe.gguf", "glm4moe.nextn_predict_layers", 2, "glm4moe.nextn_predict_layers is 2 of 2 layers"},
	} {
		f := copied(t, c.name)
		f.meta[c.key] = c.value
		if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s = %v: %v, expected %q", c.name, c.key, c.value, err, c.want)
		}
	}
}

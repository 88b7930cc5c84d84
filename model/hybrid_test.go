package model_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/nn"
)

// TestLayerStates: what each layer keeps of a sequence.
func TestLayerStates(t *testing.T) {
	conv := nn.LayerState{Kind: nn.Convolution, Conv: 2 * 32}
	mamba := nn.LayerState{Kind: nn.Recurrent, Conv: 3 * (64 + 2*16), Matrix: 4 * 16 * 16}
	delta := nn.LayerState{Kind: nn.Recurrent, Conv: 3 * (2*16 + 32), Matrix: 4 * 8 * 8}
	window := nn.LayerState{Kind: nn.SlidingWindow, Window: 12}
	full := nn.LayerState{}
	for name, want := range map[string][]nn.LayerState{
		"lfm2":          {conv, full, conv},
		"granitehybrid": {mamba, full, mamba},
		"qwen3next":     {delta, full, delta},
		"gemma2":        {window, full, window},
	} {
		for _, name := range []string{name, name + ".gguf"} {
			cfg, err := model.Inspect(copied(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, cfg.States); d != "" {
				t.Errorf("%s: %s", name, d)
			}
			numbers, n := cfg.KVLayers()
			elements := 2 * (want[0].Conv + want[0].Matrix)
			if wantNumbers := map[bool][]int{true: {0, 1, 2}, false: {-1, 0, -1}}[want[0].Attends()]; !slices.Equal(numbers, wantNumbers) || n != slices.Max(numbers)+1 || cfg.StateElements() != elements {
				t.Errorf("%s: layers %v keep keys and values, %d in all, and states have %d elements, expected %d", name, numbers, n, cfg.StateElements(), elements)
			}
		}
	}
	// As the first folders of LFM2 have it.
	f := copied(t, "lfm2")
	f.meta["layer_types"], f.meta["full_attn_idxs"] = nil, []int{0, 2}
	if cfg, err := model.Inspect(f); err != nil || cfg.States[0].Kind != nn.FullAttention || cfg.States[1].Kind != nn.Convolution {
		t.Errorf("by full_attn_idxs: %+v, %v", cfg.States, err)
	}
}

// TestHybrids: what the layers compute that keep states.
func TestHybrids(t *testing.T) {
	for _, c := range []struct {
		name string
		set  metadata
		want []string // of what is computed; with a "!", what isn't
	}{
		{"lfm2", nil, []string{"Width:3", "Bias:{Ref:0 Out:0 In:0}", "Layer:1 Heads:4"}},
		{"lfm2-bias", nil, []string{"Width:4", "Bias:{Ref:", "!Bias:{Ref:0", "32 to 96"}},
		{"granitehybrid", nil, []string{"scan {Layer:0 Heads:4 HeadDim:16 State:16", "scale by 12", "Scale:0.3 ", "scale by 2"}},
		{"granitehybrid-moe.gguf", nil, []string{"Count:6 Used:2", "Normalize:true", "scan {Layer:2"}},
		{"qwen3next", nil, []string{"delta rule {Layer:0 KeyHeads:2 KeyDim:8 Heads:4 Dim:8", "Normalize:true", "activation 3"}},
		{"qwen3next-dense", nil, []string{"KeyHeads:2 KeyDim:8 Heads:2 Dim:16", "Normalize:false"}},
		{"qwen3next", metadata{"layer_types": nil, "full_attention_interval": 2}, []string{"delta rule {Layer:2", "attend {Layer:1"}},
	} {
		f := copied(t, c.name)
		maps.Copy(f.meta, c.set)
		log := strings.Join(forward(t, f).log, "\n")
		for _, want := range c.want {
			want, isn := strings.CutPrefix(want, "!")
			if strings.Contains(log, want) == isn {
				t.Errorf("%s with %v: whether it computes %q is %t:\n%s", c.name, c.set, want, isn, log)
			}
		}
	}
	for name, ropes := range map[string]int{"granitehybrid": 0, "granitehybrid.gguf": 0, "granitehybrid-rope": 1, "lfm2": 2, "qwen3next": 2} {
		if got := len(forward(t, copied(t, name)).ropes); got != ropes {
			t.Errorf("%s: %d rotations, expected %d", name, got, ropes)
		}
	}
}

// TestWrongHybrids: each wrong value gives an error that names it.
func TestWrongHybrids(t *testing.T) {
	for _, c := range []struct {
		name, key string
		value     any
		want      string
	}{
		{"lfm2", "layer_types", []string{"conv", "full_attention"}, "layer_types has 2 entries for 3 layers"},
		{"lfm2", "layer_types", []string{"conv", "full_attention", "mamba"}, `layer_types has the entry "mamba", expected full_attention or conv`},
		{"lfm2", "layer_types", []string{"conv", "conv", "conv"}, "no layer attends"},
		{"lfm2", "layer_types", nil, "layer_types has 0 entries for 3 layers"},
		{"lfm2", "conv_L_cache", 1, "conv_L_cache is 1, expected 2 to 64"},
		{"lfm2", "conv_L_cache", 4, "conv.conv.weight has the shape [32 1 3], expected [32 1 4]"},
		{"lfm2-bias", "block_ffn_dim_multiplier", 65000.0, "block_ffn_dim_multiplier makes MLPs of"},
		{"lfm2.gguf", "lfm2.attention.head_count_kv", []int{0, 2}, "lfm2.attention.head_count_kv has 2 entries for 3 layers"},
		{"lfm2.gguf", "lfm2.attention.head_count_kv", []int{1, 2, 0}, "lfm2.attention.head_count_kv has the entry 2, expected the same number in all layers that attend"},
		{"lfm2.gguf", "lfm2.attention.head_count_kv", []int{0, 1 << 20, 0}, "lfm2.attention.head_count_kv has the entry 1048576"},
		{"lfm2.gguf", "lfm2.attention.head_count_kv", []int{0, 0, 0}, "no layer attends"},
		{"granitehybrid", "mamba_n_groups", 2, "mamba_n_groups is 2: state spaces with several groups are not supported"},
		{"granitehybrid", "mamba_n_heads", 5, "64 columns of a state space can't be shared by 5 heads"},
		{"granitehybrid.gguf", "granitehybrid.ssm.inner_size", nil, "granitehybrid.ssm.inner_size is missing"},
		{"granitehybrid.gguf", "granitehybrid.ssm.state_size", 8, "blk.0.ssm_conv1d.weight has the shape [96 4], expected [80 4]"},
		{"qwen3next", "attention_bias", true, "attention_bias is true"},
		{"qwen3next", "linear_num_value_heads", 3, "3 heads of values can't share 2 heads of keys evenly"},
		{"qwen3next", "linear_key_head_dim", 4, "in_proj_qkvz.weight has the shape [96 32], expected [80 32]"},
		{"qwen3next", "layer_types", []string{"linear_attention", "linear_attention", "linear_attention"}, "no layer attends"},
		{"qwen3next.gguf", "qwen3next.full_attention_interval", 0, "qwen3next.full_attention_interval is 0"},
		{"qwen3next.gguf", "qwen3next.full_attention_interval", 4, "no layer attends"},
		{"qwen3next.gguf", "qwen3next.ssm.inner_size", 33, "qwen3next.ssm.inner_size is 33, expected a multiple of 4 heads"},
	} {
		f := copied(t, c.name)
		f.meta[c.key] = c.value
		if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s = %v: %v, expected %q", c.name, c.key, c.value, err, c.want)
		}
	}
	for name, tensor := range map[string]string{
		"lfm2": "model.layers.2.conv.conv.weight", "granitehybrid.gguf": "blk.0.ssm_a", "qwen3next": "model.layers.0.linear_attn.in_proj_qkvz.weight", "qwen3next.gguf": "blk.0.ssm_ba.weight",
	} {
		f := copied(t, name)
		delete(f.tensors, tensor)
		if _, err := model.Load(f, &recorder{}); err == nil || strings.Count(err.Error(), tensor) != 1 || !strings.Contains(err.Error(), "is missing") {
			t.Errorf("%s without %s: %v", name, tensor, err)
		}
	}
}

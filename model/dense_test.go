package model_test

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/nn"
)

// copied is one of the tiny models in memory, so that a test can change it.
func copied(t *testing.T, name string) *fake {
	t.Helper()
	c := modeltest.Open(t, name)
	f := tinyGGUF()
	f.format, f.meta = c.Format(), metadata{}
	clear(f.tensors)
	md := c.Metadata()
	for _, key := range md.Keys() {
		v, _ := md.Value(key)
		if i, ok := md.Int(key); ok {
			v = i
		} else if x, ok := md.Float(key); ok {
			v = x
		} else if list, ok := md.Ints(key); ok {
			v = list
		} else if list, ok := md.Floats(key); ok {
			v = list
		}
		f.meta[key] = v
	}
	for _, e := range c.Tensors() {
		x, _ := c.Tensor(e.Name)
		f.tensors[e.Name], f.types[e.Name], f.data[e.Name] = x.Shape, x.Type, x.Data
	}
	return f
}

// TestFormatsOfAllAgree: each architecture computes the same from both forms of a model.
func TestFormatsOfAllAgree(t *testing.T) {
	fixtures, seen := modeltest.Fixtures(t), 0
	for _, name := range fixtures {
		if !slices.Contains(fixtures, name+".gguf") {
			continue
		}
		seen++
		file, folder := forward(t, copied(t, name+".gguf")), forward(t, copied(t, name))
		if d := cmp.Diff(file.log, folder.log); d != "" {
			t.Errorf("%s: GGUF and Hugging Face differ: %s", name, d)
		}
		if len(file.ropes) != len(folder.ropes) {
			t.Errorf("%s: %d and %d rotations", name, len(file.ropes), len(folder.ropes))
			continue
		}
		for i, a := range file.ropes {
			b := folder.ropes[i]
			if a.Dims != b.Dims || !near(a.InvFreq, b.InvFreq) || !near(a.LongInvFreq, b.LongInvFreq) || a.LongFrom != b.LongFrom {
				t.Errorf("%s: rotation %d: %+v from the GGUF file, %+v from the folder", name, i, a, b)
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d models have both forms", seen)
	}
}

func near(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Abs(float64(x-y)) <= 1e-6*math.Abs(float64(x)) })
}

// TestClassDefaults: what config.json leaves out is as the classes of transformers have
// it. "absent" takes a key away.
func TestClassDefaults(t *testing.T) {
	const absent = "absent"
	for _, c := range []struct {
		name string
		set  metadata
		want []string // of what is computed; with a "!", what isn't
	}{
		{"gemma2", metadata{"sliding_window": absent, "layer_types": absent, "query_pre_attn_scalar": absent, "attn_logit_softcapping": absent, "final_logit_softcapping": absent},
			[]string{"Layer:0 Heads:4 KVHeads:2 HeadDim:16 Scale:0.0625 SoftCap:50 Window:4096", "Layer:1 Heads:4 KVHeads:2 HeadDim:16 Scale:0.0625 SoftCap:50 Window:0", "Layer:2 Heads:4 KVHeads:2 HeadDim:16 Scale:0.0625 SoftCap:50 Window:4096", "cap at 30"}},
		{"gemma2", metadata{"attn_logit_softcapping": nil, "final_logit_softcapping": nil}, []string{"SoftCap:0", "!cap at"}},
		{"gemma3", metadata{"layer_types": absent}, []string{"Layer:4 Heads:4 KVHeads:2 HeadDim:16 Scale:0.25 SoftCap:0 Window:12", "Layer:5 Heads:4 KVHeads:2 HeadDim:16 Scale:0.25 SoftCap:0 Window:0", "!cap at"}},
		{"gemma3", metadata{"layer_types": absent, "sliding_window_pattern": 2}, []string{"Layer:1 Heads:4 KVHeads:2 HeadDim:16 Scale:0.25 SoftCap:0 Window:0", "Layer:4 Heads:4 KVHeads:2 HeadDim:16 Scale:0.25 SoftCap:0 Window:12"}},
		{"gemma", metadata{"tie_word_embeddings": absent}, []string{"scale by 5.656854"}},
		{"granite", metadata{"embedding_multiplier": absent, "residual_multiplier": absent, "attention_multiplier": absent, "logits_scaling": absent}, []string{"Scale:1 ", "!scale by"}},
		{"granite", nil, []string{"scale by 12", "scale by 0.22", "Scale:0.3 ", "scale by 2"}},
		{"command-r", metadata{"logit_scale": absent}, []string{"scale by 0.0625", "layer norm"}},
		{"cohere2", metadata{"sliding_window": absent, "layer_types": absent}, []string{"Layer:2 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:4096", "Layer:3 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:0"}},
		{"starcoder2", nil, []string{"activation 1", "Window:0"}},
		{"starcoder2", metadata{"sliding_window": 9}, []string{"Window:9"}},
		{"phi3-window", metadata{"sliding_window": nil}, []string{"Window:0"}},
		{"olmo3", metadata{"sliding_window": absent, "layer_types": absent}, []string{"Layer:2 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:4096", "Layer:3 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:0"}},
		{"ministral", metadata{"sliding_window": nil}, []string{"!Window:4096", "!Window:12"}},
		{"ministral", metadata{"sliding_window": absent, "layer_types": absent}, []string{"!Window:0", "Window:4096"}},
		{"smollm3", metadata{"use_sliding_window": true, "sliding_window": 7, "layer_types": absent}, []string{"Layer:2 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:0", "Layer:3 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:7"}},
		{"ministral3", nil, []string{"scale by position, 0.1 per e-fold of 16"}},
		{"ministral3", metadata{"rope_parameters.llama_4_scaling_beta": absent}, []string{"!scale by position"}},
	} {
		f := copied(t, c.name)
		maps.Copy(f.meta, c.set)
		maps.DeleteFunc(f.meta, func(_ string, v any) bool { return v == absent })
		log := strings.Join(forward(t, f).log, "\n")
		for _, want := range c.want {
			want, isn := strings.CutPrefix(want, "!")
			if strings.Contains(log, want) == isn {
				t.Errorf("%s with %v: whether it computes %q is %t:\n%s", c.name, c.set, want, isn, log)
			}
		}
	}
}

// TestRotatedLayers: which layers encode positions, and how.
func TestRotatedLayers(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   metadata
		ropes int // calls of one step
	}{
		{"smollm3", nil, 3},
		{"smollm3.gguf", nil, 3},
		{"smollm3", metadata{"no_rope_layers": []int{0, 1, 0, 0}}, 1},
		{"smollm3", metadata{"no_rope_layers": nil, "no_rope_layer_interval": 2}, 2},
		{"cohere2", nil, 3},
		{"cohere2.gguf", nil, 3},
		{"command-r", nil, 2},
		{"gemma3", nil, 14}, // queries and keys on their own
	} {
		f := copied(t, c.name)
		maps.Copy(f.meta, c.set)
		if got := len(forward(t, f).ropes); got != c.ropes {
			t.Errorf("%s with %v: %d rotations, expected %d", c.name, c.set, got, c.ropes)
		}
	}
	r := forward(t, copied(t, "gemma3.gguf"))
	if local, global := r.ropes[0], r.ropes[10]; local.InvFreq[0] != 1 || global.InvFreq[0] != 0.125 || local.InvFreq[1] < global.InvFreq[1] {
		t.Errorf("gemma3 rotates windows by %v, and all positions by %v", local.InvFreq, global.InvFreq)
	}
	for name, want := range map[string]struct {
		style nn.RopeStyle
		dims  int
	}{
		"glm4": {nn.RopeInterleaved, 8}, "glm4.gguf": {nn.RopeInterleaved, 8}, "command-r": {nn.RopeInterleaved, 8}, "cohere2.gguf": {nn.RopeInterleaved, 8},
		"granite": {nn.RopeHalf, 8}, "granite.gguf": {nn.RopeInterleaved, 8}, "smollm3.gguf": {nn.RopeInterleaved, 8}, "ministral3.gguf": {nn.RopeInterleaved, 16},
		"phi3-longrope": {nn.RopeHalf, 12}, "phi3-longrope.gguf": {nn.RopeHalf, 12}, "qwen2.gguf": {nn.RopeHalf, 8}, "olmo2.gguf": {nn.RopeHalf, 8}, "starcoder2.gguf": {nn.RopeHalf, 8},
	} {
		if r := forward(t, copied(t, name)).ropes[0]; r.Style != want.style || r.Dims != want.dims {
			t.Errorf("%s: style %d of %d elements, expected %d of %d", name, r.Style, r.Dims, want.style, want.dims)
		}
	}
}

// TestLongRope: the frequencies of an engine go by how long its sequences may be, and
// its KV is known by them.
func TestLongRope(t *testing.T) {
	for _, name := range []string{"phi3-longrope", "phi3-longrope.gguf"} {
		f := copied(t, name)
		r := forward(t, f).ropes[0]
		if r.LongFrom != 32 || math.Abs(float64(r.Scale)-1.2649110640673518) > 1e-6 {
			t.Errorf("%s: long from %d, scale %g", name, r.LongFrom, r.Scale)
		}
		if short, long := r.Frequencies(32), r.Frequencies(33); math.Abs(float64(short[5]/long[5])-6) > 1e-5 {
			t.Errorf("%s: frequencies %v up to 32 positions, %v past", name, short, long)
		}
		cfg, err := model.Inspect(f)
		if err != nil {
			t.Fatal(err)
		}
		if a, b, c := cfg.KVFingerprint("x", 16), cfg.KVFingerprint("x", 32), cfg.KVFingerprint("x", 33); a != "x" || b != a || c == b {
			t.Errorf("%s: KV is known as %q, %q and %q", name, a, b, c)
		}
	}
}

// TestWrongArchitectures: each wrong value gives an error that names it.
func TestWrongArchitectures(t *testing.T) {
	for _, c := range []struct {
		name, key string
		value     any
		want      string
	}{
		{"gemma2", "layer_types", []string{"full_attention"}, "layer_types has 1 entries for 3 layers"},
		{"gemma2", "layer_types", []string{"full_attention", "linear_attention", "full_attention"}, `layer_types has the entry "linear_attention"`},
		{"gemma2", "layer_types", 3, "layer_types is int, expected a list of strings"},
		{"gemma2", "hidden_activation", "relu", `hidden_activation is "relu", expected silu, gelu_pytorch_tanh or gelu`},
		{"gemma2", "query_pre_attn_scalar", 0, "query_pre_attn_scalar is 0"},
		{"gemma2", "attn_logit_softcapping", -1.0, "attn_logit_softcapping is -1"},
		{"gemma3", "use_bidirectional_attention", true, "use_bidirectional_attention is true: this is an encoder"},
		{"gemma3", "sliding_window_pattern", 0, "sliding_window_pattern is 0"},
		{"gemma3", "rope_parameters.sliding_attention.rope_type", "yarn", `rope_parameters.sliding_attention.rope_type is "yarn", expected default`},
		{"gemma3", "head_dim", 8, "has the shape"},
		{"smollm3", "no_rope_layers", []int{1, 0}, "no_rope_layers has 2 entries for 4 layers"},
		{"smollm3", "no_rope_layer_interval", 0, "no_rope_layer_interval is 0"},
		{"command-r", "use_qk_norm", true, "use_qk_norm is true"},
		{"granite", "logits_scaling", 0, "logits_scaling is 0"},
		{"granite.gguf", "granite.attention.scale", math.NaN(), "granite.attention.scale is NaN"},
		{"ministral3.gguf", "mistral3.rope.scaling.original_context_length", nil, "mistral3.rope.scaling.original_context_length is missing"},
		{"phi3-longrope", "rope_parameters.long_factor", []float64{1, 2}, "rope_parameters.long_factor is not a list of 6 positive numbers"},
		{"phi3-longrope", "rope_parameters.short_factor", []float64{1, 2, 3, 4, 5, 0}, "rope_parameters.short_factor is not a list of 6 positive numbers"},
		{"phi3-longrope", "rope_parameters.rope_type", "ntk", `rope_parameters.rope_type is "ntk", expected none, linear, dynamic, llama3, yarn, longrope or mrope`},
		{"starcoder2.gguf", "starcoder2.attention.layer_norm_epsilon", nil, "starcoder2.attention.layer_norm_epsilon is missing"},
		{"glm4.gguf", "glm4.rope.dimension_count", 0, "glm4.rope.dimension_count is 0"},
	} {
		f := copied(t, c.name)
		f.meta[c.key] = c.value
		if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s = %v: %v, expected %q", c.name, c.key, c.value, err, c.want)
		}
	}
	f := copied(t, "phi3-longrope.gguf")
	delete(f.tensors, "rope_factors_short.weight")
	if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), "rope_factors_short.weight [6] is missing") {
		t.Errorf("without short factors: %v", err)
	}
	f = copied(t, "olmo2")
	delete(f.tensors, "model.layers.1.post_feedforward_layernorm.weight")
	if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), "model.layers.1.post_feedforward_layernorm.weight [32] is missing") {
		t.Errorf("without a norm: %v", err)
	}
}

// TestTextPart: beside an encoder of images, text_config goes before what lies outside of
// it, and only the language model's tensors count.
func TestTextPart(t *testing.T) {
	f := copied(t, "gemma3-vision")
	f.meta["hidden_size"], f.meta["sliding_window"] = 7, 7 // of the whole: not the text's
	alone, err := model.Inspect(f)
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for name, shape := range f.tensors {
		if n := int64(1); strings.HasPrefix(name, "language_model.") {
			for _, d := range shape {
				n *= int64(d)
			}
			total += n
		}
	}
	if alone.Architecture != "gemma3" || alone.Hidden != 32 || alone.Vocab != 264 || alone.Parameters != total {
		t.Errorf("%+v, expected %d parameters", alone, total)
	}
	want := forward(t, f)
	// As newer folders name them.
	for name := range maps.Clone(f.tensors) {
		if rest, ok := strings.CutPrefix(name, "language_model.model."); ok {
			newer := "model.language_model." + rest
			f.tensors[newer], f.types[newer], f.data[newer] = f.tensors[name], f.types[name], f.data[name]
			delete(f.tensors, name)
		}
	}
	if d := cmp.Diff(want.log, forward(t, f).log); d != "" {
		t.Errorf("under other names: %s", d)
	}
	f.tensors["language_model.extra"] = []int{3}
	if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), "no use for language_model.extra") {
		t.Errorf("a tensor of no use: %v", err)
	}
}

// TestTextPartDefaults: what most folders of the larger Gemmas leave out of text_config.
func TestTextPartDefaults(t *testing.T) {
	f := copied(t, "gemma3-vision")
	for _, key := range []string{"num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings", "query_pre_attn_scalar", "layer_types", "rms_norm_eps"} {
		delete(f.meta, "text_config."+key)
	}
	for name := range f.tensors {
		switch {
		case !strings.HasPrefix(name, "language_model."):
		case strings.Contains(name, "q_proj"):
			f.tensors[name] = []int{2048, 32}
		case strings.Contains(name, "k_proj"), strings.Contains(name, "v_proj"):
			f.tensors[name] = []int{1024, 32}
		case strings.Contains(name, "o_proj"):
			f.tensors[name] = []int{32, 2048}
		case strings.Contains(name, "q_norm"), strings.Contains(name, "k_norm"):
			f.tensors[name] = []int{256}
		default:
			continue
		}
		f.data[name] = make([]byte, 2*f.tensors[name][0]*max(1, f.tensors[name][len(f.tensors[name])-1]))
	}
	if log := strings.Join(forward(t, f).log, "\n"); !strings.Contains(log, "Layer:0 Heads:8 KVHeads:4 HeadDim:256 Scale:0.0625 SoftCap:0 Window:12") {
		t.Error(log)
	}
	if cfg, err := model.Inspect(f); err != nil || cfg.Context != 1<<17 {
		t.Errorf("%+v, %v", cfg, err)
	}
}

// TestFusedProjections: queries, keys and values may lie in one tensor, or in three.
func TestFusedProjections(t *testing.T) {
	f := copied(t, "glm4.gguf")
	want := forward(t, f)
	for _, layer := range []string{"blk.0.", "blk.1."} {
		for _, x := range []string{"attn_q", "attn_k", "attn_v"} {
			delete(f.tensors, layer+x+".weight")
			delete(f.tensors, layer+x+".bias")
		}
		f.tensors[layer+"attn_qkv.weight"], f.tensors[layer+"attn_qkv.bias"] = []int{128, 32}, []int{128}
	}
	if d := cmp.Diff(want.log, forward(t, f).log); d != "" {
		t.Errorf("from one tensor: %s", d)
	}
	f = copied(t, "phi3-window")
	f.tensors["model.layers.0.self_attn.qkv_proj.weight"] = []int{63, 32}
	if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), "qkv_proj.weight has the shape [63 32], expected [64 32]") {
		t.Errorf("of another shape: %v", err)
	}
}

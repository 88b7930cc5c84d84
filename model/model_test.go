package model_test

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/tensor"
)

// TestInspectFolders: a Hugging Face folder describes the same model as the GGUF
// file made of it, and MLX's quantizations are named.
func TestInspectFolders(t *testing.T) {
	for _, name := range []string{"llama-gqa-tied", "qwen3"} {
		file, err := model.Inspect(modeltest.Open(t, name+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		folder, err := model.Inspect(modeltest.Open(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(file, folder); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	for name, want := range map[string]string{"llama-bf16": "BF16", "llama-f16": "F16", "mlx/affine-3-64": "affine 3-bit/64", "mlx/mixed": "affine 4-bit/64", "mlx/nvfp4": "nvfp4 4-bit/16"} {
		if got, err := model.Inspect(modeltest.Open(t, name)); err != nil || got.Quantization != want || got.Parameters < 20000 {
			t.Errorf("%s: %+v, %v; want %s", name, got, err, want)
		}
	}
}

func TestInspectFixtures(t *testing.T) {
	want := model.Config{Architecture: "llama", Vocab: 264, Context: 256, Layers: 2, Hidden: 32, Heads: 4, Quantization: "F32"}
	for name, change := range map[string]func(*model.Config){
		"llama-mha":         func(c *model.Config) { c.KVHeads, c.HeadDim, c.Parameters = 4, 8, 37536 },
		"llama-gqa-tied":    func(c *model.Config) { c.KVHeads, c.HeadDim, c.Parameters = 2, 8, 27040 },
		"llama3-rope":       func(c *model.Config) { c.KVHeads, c.HeadDim, c.Parameters = 1, 16, 39592 },
		"llama-linear-bias": func(c *model.Config) { c.KVHeads, c.HeadDim, c.Parameters = 2, 8, 35680 },
		"mistral-window":    func(c *model.Config) { c.KVHeads, c.HeadDim, c.Parameters = 2, 8, 35488 },
	} {
		c, err := gguf.Open("testdata/" + name + ".gguf")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want := want
		want.Name = name
		change(&want)
		got, err := model.Inspect(c)
		if err != nil {
			t.Fatal(err)
		}
		state := nn.LayerState{}
		if name == "mistral-window" {
			state = nn.LayerState{Kind: nn.SlidingWindow, Window: 16}
		}
		want.States = []nn.LayerState{state, state}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// forward loads a checkpoint and writes down what it computes.
func forward(t *testing.T, f *fake) *recorder {
	t.Helper()
	r := &recorder{rows: 5, wanted: 2}
	m, err := model.Load(f, r)
	if err != nil {
		t.Fatal(err)
	}
	if out := m.Logits(ops{r}, m.Hidden(ops{r})); out.Rows != 2 || out.Cols != m.Config().Vocab {
		t.Errorf("logits [%d, %d]", out.Rows, out.Cols)
	}
	return r
}

// A folder without the output layer, whose tensors have no prefix, as those of models that
// embed texts: the output layer is tied.
func TestWithoutPrefix(t *testing.T) {
	whole, bare := tinyHF(), tinyHF()
	delete(whole.tensors, "lm_head.weight")
	clear(bare.tensors)
	for name, shape := range whole.tensors {
		bare.tensors[strings.TrimPrefix(name, "model.")] = shape
	}
	if d := cmp.Diff(forward(t, whole).log, forward(t, bare).log); d != "" {
		t.Errorf("with prefix and without differ: %s", d)
	}
}

// The two namings give the same model, but for how pairs are rotated.
func TestFormatsAgree(t *testing.T) {
	a, b := forward(t, tinyGGUF()), forward(t, tinyHF())
	if d := cmp.Diff(a.log, b.log); d != "" {
		t.Errorf("GGUF and Hugging Face differ: %s", d)
	}
	if d := cmp.Diff(a.shapes, b.shapes); d != "" {
		t.Errorf("GGUF and Hugging Face load different weights: %s", d)
	}
	if a.ropes[0].Style != nn.RopeInterleaved || b.ropes[0].Style != nn.RopeHalf {
		t.Errorf("rotated by style %d and %d", a.ropes[0].Style, b.ropes[0].Style)
	}
	// One layer: queries, keys and values in one product, gate and up in another.
	layer := []string{"norm 4 eps 1e-05", "linear 5 +0: 32 to 64",
		"attend {Layer:0 Heads:4 KVHeads:2 HeadDim:8 Scale:0.35355338 SoftCap:0 Window:0}", "linear 6 +0: 32 to 32",
		"norm 7 eps 1e-05", "linear 8 +0: 32 to 128", "linear 9 +0: 64 to 32"}
	if d := cmp.Diff(layer, a.log[1:1+len(layer)]); d != "" {
		t.Errorf("the first layer: %s", d)
	}
}

func TestVariants(t *testing.T) {
	tied := tinyGGUF()
	delete(tied.tensors, "output.weight")
	r := forward(t, tied)
	if last := r.log[len(r.log)-1]; last != "linear 1 +0: 32 to 100" {
		t.Errorf("tied output: %s", last)
	}
	wide := tinyGGUF()
	wide.meta["llama.attention.key_length"], wide.meta["llama.attention.value_length"] = 16, 16
	wide.meta["llama.attention.sliding_window"] = 7
	for _, layer := range []string{"blk.0.", "blk.1."} {
		wide.tensors[layer+"attn_q.weight"], wide.tensors[layer+"attn_output.weight"] = []int{64, 32}, []int{32, 64}
		wide.tensors[layer+"attn_k.weight"], wide.tensors[layer+"attn_v.weight"] = []int{32, 32}, []int{32, 32}
		wide.tensors[layer+"attn_q.bias"], wide.tensors[layer+"attn_k.bias"], wide.tensors[layer+"attn_v.bias"] = []int{64}, []int{32}, []int{32}
		wide.tensors[layer+"attn_rot_embd"] = []int{8}
	}
	if log := strings.Join(forward(t, wide).log, "\n"); !strings.Contains(log, "HeadDim:16 Scale:0.25 SoftCap:0 Window:7") || !strings.Contains(log, "linear 5 +6: 32 to 128") {
		t.Errorf("wide heads, window and biases: %s", log)
	}
}

// TestRope holds the rotary frequencies to those that transformers 5.23 computes
// (modeling_rope_utils.ROPE_INIT_FUNCTIONS) for heads of 16.
func TestRope(t *testing.T) {
	heads16 := func(f *fake) *fake {
		for name, shape := range f.tensors {
			switch {
			case strings.Contains(name, "attn_q"), strings.Contains(name, "q_proj"):
				f.tensors[name] = []int{64, 32}
			case strings.Contains(name, "attn_output"), strings.Contains(name, "o_proj"):
				f.tensors[name] = []int{32, 64}
			case len(shape) == 2 && shape[0] == 16:
				f.tensors[name] = []int{32, 32}
			}
		}
		f.meta["llama.attention.key_length"], f.meta["head_dim"] = 16, 16
		return f
	}
	for _, c := range []struct {
		name  string
		f     *fake
		set   metadata
		scale float32
		want  []float32
	}{
		{"plain", tinyGGUF(), nil, 0, []float32{1, 0.31622776, 0.1, 0.031622775, 0.01, 0.0031622776, 0.001, 0.00031622776}},
		{"linear", tinyGGUF(), metadata{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4}, 0,
			[]float32{0.25, 0.079056941, 0.025, 0.0079056947, 0.0024999999, 0.00079056947, 0.00025000001, 7.9056947e-05}},
		{"linear, old key", tinyGGUF(), metadata{"llama.rope.scale_linear": 4.0}, 0,
			[]float32{0.25, 0.079056941, 0.025, 0.0079056947, 0.0024999999, 0.00079056947, 0.00025000001, 7.9056947e-05}},
		{"none", tinyGGUF(), metadata{"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4}, 0,
			[]float32{1, 0.31622776, 0.1, 0.031622775, 0.01, 0.0031622776, 0.001, 0.00031622776}},
		{"yarn", tinyGGUF(), metadata{"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4, "llama.rope.scaling.original_context_length": 64},
			1.138629436111989, []float32{1.0, 0.23717082, 0.049999997, 0.0079056947, 0.0024999999, 0.00079056947, 0.00025000001, 7.9056947e-05}},
		{"yarn, Hugging Face", tinyHF(), metadata{"rope_parameters.rope_type": "yarn", "rope_parameters.rope_theta": 1000000.0, "rope_parameters.factor": 4,
			"rope_parameters.original_max_position_embeddings": 4096, "rope_parameters.attention_factor": 1.5, "rope_parameters.beta_fast": 16, "rope_parameters.beta_slow": 2},
			1.5, []float32{1.0, 0.17782794, 0.031622779, 0.0035146333, 0.00025000001, 4.4456985e-05, 7.9056936e-06, 1.4058534e-06}},
		{"yarn with two mscales", tinyHF(), metadata{"rope_scaling.type": "yarn", "rope_theta": 1000000.0, "rope_scaling.factor": 4.0, "rope_scaling.original_max_position_embeddings": 4096,
			"rope_scaling.mscale": 1.0, "rope_scaling.mscale_all_dim": 0.5, "rope_scaling.beta_fast": 16, "rope_scaling.beta_slow": 2},
			1.0648216253695715, []float32{1.0, 0.17782794, 0.031622779, 0.0035146333, 0.00025000001, 4.4456985e-05, 7.9056936e-06, 1.4058534e-06}},
		{"llama3, Hugging Face", tinyHF(), metadata{"rope_scaling.rope_type": "llama3", "rope_theta": 500000.0, "rope_scaling.factor": 8.0, "rope_scaling.low_freq_factor": 1.0,
			"rope_scaling.high_freq_factor": 4.0, "rope_scaling.original_max_position_embeddings": 32},
			0, []float32{1.0, 0.024240345, 0.0047007538, 0.00091158313, 0.00017677668, 3.4281024e-05, 6.6478697e-06, 1.2891732e-06}},
	} {
		f := heads16(c.f)
		for key, v := range c.set {
			f.meta[key] = v
		}
		got := forward(t, f).ropes[0]
		if got.Dims != 16 || got.Scale != c.scale || len(got.InvFreq) != len(c.want) {
			t.Errorf("%s: %+v, expected a scale of %g", c.name, got, c.scale)
			continue
		}
		for i, v := range got.InvFreq {
			if math.Abs(float64(v/c.want[i])-1) > 1e-5 {
				t.Errorf("%s: frequency %d is %g, expected %g", c.name, i, v, c.want[i])
			}
		}
	}
}

func TestRopeFreqs(t *testing.T) {
	f := tinyGGUF()
	f.tensors["rope_freqs.weight"] = []int{4}
	set := func(v ...float32) {
		f.data["rope_freqs.weight"] = nil
		for _, x := range v {
			f.data["rope_freqs.weight"] = binary.LittleEndian.AppendUint32(f.data["rope_freqs.weight"], math.Float32bits(x))
		}
	}
	set(1, 2, 4, 8)
	if got := forward(t, f).ropes[0].InvFreq; math.Abs(float64(got[1])-0.05) > 1e-7 || got[0] != 1 {
		t.Errorf("divided frequencies: %v", got)
	}
	for _, bad := range []float32{0, -1, float32(math.NaN()), float32(math.Inf(1))} {
		set(1, bad, 4, 8)
		if _, err := model.Load(f, &recorder{}); err == nil || !strings.Contains(err.Error(), "rope_freqs.weight") {
			t.Errorf("a factor of %g: %v", bad, err)
		}
	}
}

func TestArchitecture(t *testing.T) {
	f := tinyGGUF()
	f.meta["general.architecture"] = "mamba"
	var unknown *model.UnknownArchitectureError
	if _, err := model.Inspect(f); !errors.As(err, &unknown) || unknown.Name != "mamba" || !slices.Contains(unknown.Known, "llama") {
		t.Errorf("Inspect: %v", err)
	}
	f = tinyHF()
	f.meta["architectures"] = []string{"MambaForCausalLM"}
	if _, err := model.Load(f, &recorder{}); !errors.As(err, &unknown) || !slices.Contains(unknown.Known, "MistralForCausalLM") {
		t.Errorf("Load: %v", err)
	}
	for _, c := range []struct{ format, name, nearest string }{
		{"gguf", "qwen2vl", "qwen2"}, {"gguf", "gemma3n", "gemma3"}, {"gguf", "lama", "llama"}, {"gguf", "phi2", "phi3"}, {"gguf", "", "glm4"},
		{"hf", "Qwen2VLForCausalLM", "Qwen2ForCausalLM"}, {"hf", "Gemma3nForConditionalGeneration", "Gemma3ForConditionalGeneration"}, {"hf", "MixForCausalLM", "MixtralForCausalLM"},
	} {
		f := tinyGGUF()
		f.meta["general.architecture"] = c.name
		if c.format == "hf" {
			f = tinyHF()
			f.meta["architectures"] = []string{c.name}
		}
		_, err := model.Inspect(f)
		if !errors.As(err, &unknown) || unknown.Nearest() != c.nearest {
			t.Errorf("%q: %v, expected the nearest to be %s", c.name, err, c.nearest)
			continue
		}
		for _, want := range []string{"tiny", strconv.Quote(c.name), c.nearest, "docs/Models.md", unknown.Where} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v doesn't say %s", err, want)
			}
		}
	}
	for _, f := range []*fake{tinyGGUF(), tinyHF()} {
		delete(f.meta, "general.architecture")
		delete(f.meta, "architectures")
		if _, err := model.Inspect(f); err == nil || !strings.Contains(err.Error(), "does not say what architecture") {
			t.Errorf("a checkpoint without an architecture: %v", err)
		}
	}
}

// TestHyperParameters: each wrong value gives an error that names its key, and
// several are reported together.
func TestHyperParameters(t *testing.T) {
	for _, c := range []struct {
		key   string
		value any // nil: the key is missing
		want  string
	}{
		{"llama.block_count", nil, "llama.block_count is missing"},
		{"llama.block_count", 0, "llama.block_count is 0"},
		{"llama.block_count", 1 << 40, "llama.block_count"},
		{"llama.block_count", "two", "llama.block_count is string"},
		{"llama.embedding_length", 0, "llama.embedding_length is 0"},
		{"llama.embedding_length", -32, "llama.embedding_length is -32"},
		{"llama.embedding_length", 33, "33 is not a multiple of 4 heads"},
		{"llama.attention.head_count", 0, "llama.attention.head_count is 0"},
		{"llama.attention.head_count", []int{4, 4}, "llama.attention.head_count is []int"},
		{"llama.attention.head_count_kv", 0, "llama.attention.head_count_kv is 0"},
		{"llama.attention.head_count_kv", 3, "4 attention heads can't share 3"},
		{"llama.attention.head_count_kv", 8, "llama.attention.head_count_kv is 8"},
		{"llama.attention.key_length", 7, "heads of 7"},
		{"llama.attention.key_length", 1 << 20, "llama.attention.key_length"},
		{"llama.attention.value_length", 16, "llama.attention.value_length is 16"},
		{"llama.attention.layer_norm_rms_epsilon", nil, "llama.attention.layer_norm_rms_epsilon is missing"},
		{"llama.attention.layer_norm_rms_epsilon", math.NaN(), "llama.attention.layer_norm_rms_epsilon is NaN"},
		{"llama.attention.sliding_window", -1, "llama.attention.sliding_window is -1"},
		{"llama.context_length", 0, "llama.context_length is 0"},
		{"llama.feed_forward_length", 1 << 30, "llama.feed_forward_length"},
		{"llama.rope.freq_base", 0.0, "llama.rope.freq_base is 0"},
		{"llama.rope.freq_base", math.Inf(1), "llama.rope.freq_base is +Inf"},
		{"llama.rope.dimension_count", 5, "llama.rope.dimension_count is 5"},
		{"llama.rope.dimension_count", 64, "llama.rope.dimension_count is 64"},
		{"llama.rope.scaling.type", "longrope", `llama.rope.scaling.type is "longrope"`},
		{"llama.rope.scaling.factor", 0.0, "llama.rope.scaling.factor is 0"},
		{"llama.expert_count", 8, "llama.expert_used_count is missing"},
	} {
		f := tinyGGUF()
		if f.meta[c.key] = c.value; c.value == nil {
			delete(f.meta, c.key)
		}
		_, err := model.Load(f, &recorder{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "tiny") {
			t.Errorf("%s = %v: %v, expected %q", c.key, c.value, err, c.want)
		}
	}
	f := tinyHF()
	f.meta["partial_rotary_factor"] = 0.4
	if _, err := model.Inspect(f); err == nil || !strings.Contains(err.Error(), "partial_rotary_factor is 0.4: of 8 elements of a head 3 would be rotated") {
		t.Errorf("heads of which an odd part is rotated: %v", err)
	}
	f = tinyGGUF()
	delete(f.meta, "llama.block_count")
	delete(f.meta, "llama.context_length")
	if _, err := model.Inspect(f); err == nil || !strings.Contains(err.Error(), "block_count") || !strings.Contains(err.Error(), "context_length") {
		t.Errorf("two missing keys: %v", err)
	}
}

// TestTensors: everything that is missing, misshapen or unreadable is listed in
// one error, and nothing is loaded.
func TestTensors(t *testing.T) {
	f := tinyGGUF()
	delete(f.tensors, "blk.1.attn_k.weight")
	delete(f.tensors, "output_norm.weight")
	f.tensors["blk.0.ffn_up.weight"] = []int{64, 33}
	f.types["blk.0.ffn_down.weight"] = tensor.IQ1_S
	f.tensors["blk.0.attn_q.bias"] = []int{32} // without those of k and v
	f.tensors["blk.0.attn_q_norm.weight"], f.tensors["vision"] = []int{8}, []int{8}
	r := &recorder{}
	_, err := model.Load(f, r)
	if err == nil {
		t.Fatal("a broken checkpoint was loaded")
	}
	for _, want := range []string{"tiny", "blk.1.attn_k.weight [16 32] is missing", "output_norm.weight [32] is missing",
		"blk.0.ffn_up.weight has the shape [64 33], expected [64 32]", "blk.0.ffn_down.weight is stored as IQ1_S", "blk.0.attn_k.bias [16] is missing",
		"no use for blk.0.attn_q_norm.weight, vision:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q doesn't contain %q", err, want)
		}
	}
	if len(r.shapes) > 0 {
		t.Errorf("%d weights were loaded before the check", len(r.shapes))
	}

	f = tinyGGUF()
	f.tensors["blk.0.attn_q_norm.weight"] = []int{8}
	if _, err := model.Load(f, r); err == nil || !strings.Contains(err.Error(), "no use for blk.0.attn_q_norm.weight") {
		t.Errorf("a tensor that nobody uses: %v", err)
	}
}

type brokenLoader struct{ recorder }

var errLoader = errors.New("out of memory")

func (brokenLoader) Linear(...tensor.Tensor) (nn.Weight, error) { return nn.Weight{}, errLoader }

func TestLoaderFails(t *testing.T) {
	if _, err := model.Load(tinyGGUF(), &brokenLoader{}); !errors.Is(err, errLoader) || strings.Count(err.Error(), errLoader.Error()) != 1 {
		t.Errorf("Load: %v, expected %v once", err, errLoader)
	}
}

// TestMeanPooling: what a GGUF file says of how texts become vectors.
func TestMeanPooling(t *testing.T) {
	for value, want := range map[int]bool{0: false, 1: true, 3: false, -1: false} {
		f := tinyGGUF()
		if value >= 0 {
			f.meta["llama.pooling_type"] = value
		}
		if cfg, err := model.Inspect(f); err != nil || cfg.MeanPooling != want {
			t.Errorf("pooling_type %d: %t, %v", value, cfg.MeanPooling, err)
		}
	}
}

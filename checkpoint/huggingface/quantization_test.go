package huggingface_test

import (
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/huggingface"
	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/tensor"
)

// TestMLXFixtures: what mlx-lm's converter wrote is joined as its configuration
// says.
func TestMLXFixtures(t *testing.T) {
	layer0 := func(c checkpoint.Checkpoint) string {
		var all []string
		for _, e := range c.Tensors() {
			if strings.HasSuffix(e.Name, ".scales") || strings.HasSuffix(e.Name, ".biases") {
				t.Errorf("%s is a tensor of its own", e.Name)
			}
			if n := int64(0); e.Bits > 0 {
				x, _ := c.Tensor(e.Name)
				for _, b := range e.Beside {
					n += b.Bytes
				}
				if x.Packed == nil || x.Packed.Bits != e.Bits || x.Packed.Group != e.Group || x.Bytes() != e.Bytes+n || e.Stored() != x.Bytes() || x.Encoding() != e.Encoding() {
					t.Errorf("%s is listed as %+v", x, e)
				}
			}
		}
		for _, name := range []string{"self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"} {
			x, _ := c.Tensor("model.layers.0." + name + ".weight")
			all = append(all, x.Encoding())
		}
		return strings.Join(all, ", ")
	}
	for name, want := range map[string]string{
		"affine-3-64": "affine 3-bit/64, affine 3-bit/64, affine 3-bit/64", "nvfp4": "nvfp4 4-bit/16, nvfp4 4-bit/16, nvfp4 4-bit/16",
		"mxfp8": "mxfp8 8-bit/32, mxfp8 8-bit/32, mxfp8 8-bit/32", "npz": "affine 4-bit/64, affine 4-bit/64, affine 4-bit/64",
		"mixed": "affine 4-bit/64, affine 8-bit/32, mxfp4 4-bit/32",
	} {
		if got := layer0(modeltest.Open(t, "mlx/"+name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if x, _ := modeltest.Open(t, "mlx/gpt-oss-openai").Tensor("model.layers.0.mlp.experts.down_proj"); x.String() != "model.layers.0.mlp.experts.down_proj [4 32 64] mxfp4 4-bit/32" {
		t.Errorf("OpenAI's blocks: %s", x)
	}
	if x, _ := modeltest.Open(t, "mlx/mixed").Tensor("model.layers.1.self_attn.o_proj.weight"); x.Type != tensor.BF16 {
		t.Errorf("the layer that wasn't quantized: %v", x)
	}
}

func TestQuantization(t *testing.T) {
	const twoWords = `"quantization": {"group_size": 32, "bits": 4}`
	quantized := func(change map[string]array) map[string]array {
		arrays := map[string]array{"l.q.weight": {"U32", []int{2, 8}, ""}, "l.q.scales": {"F16", []int{2, 2}, ""}, "l.q.biases": {"F16", []int{2, 2}, ""},
			"l.norm.weight": {"F32", []int{64}, ""}}
		for name, a := range change {
			if arrays[name] = a; a.dtype == "" {
				delete(arrays, name)
			}
		}
		return arrays
	}
	mx := map[string]array{"l.q.scales": {"U8", []int{2, 2}, ""}, "l.q.biases": {}}
	tests := []struct {
		name   string
		config string
		change map[string]array
		want   string // how l.q is stored, or what the error has
	}{
		{"mode left out", twoWords, nil, "l.q.weight [2 64] affine 4-bit/32"},
		{"all given", `"quantization": {"group_size": 32, "bits": 4, "mode": "affine"}`, nil, "l.q.weight [2 64] affine 4-bit/32"},
		{"the copy only", `"quantization_config": {"group_size": 32, "bits": 4}`, nil, "l.q.weight [2 64] affine 4-bit/32"},
		{"both", twoWords + `, "quantization_config": {"quant_method": "fp8"}`, nil, "l.q.weight [2 64] affine 4-bit/32"},
		{"defaults of a mode", `"quantization": {"mode": "mxfp4"}`, mx, "l.q.weight [2 64] mxfp4 4-bit/32"},
		{"nulls are defaults", `"quantization": {"mode": "mxfp4", "group_size": null, "bits": null}`, mx, "l.q.weight [2 64] mxfp4 4-bit/32"},
		{"its own", `"quantization": {"group_size": 64, "bits": 2, "l.q": {"group_size": 32, "bits": 4}}`, nil, "l.q.weight [2 64] affine 4-bit/32"},
		{"its own mode", `"quantization": {"group_size": 64, "bits": 2, "l.q": {"mode": "mxfp4"}}`, mx, "l.q.weight [2 64] mxfp4 4-bit/32"},
		{"true for the default", `"quantization": {"group_size": 32, "bits": 4, "l.q": true, "l.norm": false}`, nil, "l.q.weight [2 64] affine 4-bit/32"},
		{"other keys", `"quantization": {"group_size": 32, "bits": 4, "note": "x", "n": 1, "list": []}`, nil, "l.q.weight [2 64] affine 4-bit/32"},
		{"experts", twoWords, map[string]array{"l.q.weight": {"U32", []int{3, 2, 8}, ""}, "l.q.scales": {"F16", []int{3, 2, 2}, ""}, "l.q.biases": {"F16", []int{3, 2, 2}, ""}},
			"l.q.weight [3 2 64] affine 4-bit/32"},
		{"not quantized", `"hidden_size": 64`, map[string]array{"l.q.weight": {"F32", []int{2, 8}, ""}, "l.q.scales": {}, "l.q.biases": {}}, "l.q.weight [2 8] F32"},
		{"scales of something else", twoWords, map[string]array{"l.q.weight": {"F16", []int{2, 8}, ""}}, "l.q.weight [2 8] F16"},

		{"no word of it", `"hidden_size": 64`, nil, `tensor "l.q.weight": it has scales, but config.json says nothing of quantization`},
		{"said not to be", `"quantization": {"group_size": 32, "bits": 4, "l.q": false}`, nil, "says that it isn't quantized"},
		{"OpenAI's blocks of another size", `"quantization_config": {"quant_method": "mxfp4"}`,
			map[string]array{"l.up_blocks": {"U8", []int{2, 1, 8}, ""}, "l.up_scales": {"U8", []int{2, 1}, ""}}, `tensor "l.up_blocks": U8 of the shape [2 1 8] are not blocks of 16 bytes`},
		{"OpenAI's scales of another shape", `"quantization_config": {"quant_method": "mxfp4"}`,
			map[string]array{"l.up_blocks": {"U8", []int{2, 2, 16}, ""}, "l.up_scales": {"U8", []int{2, 1}, ""}}, `scales have the shape [2 1], expected [2 2]`},
		{"another program", `"quantization_config": {"quant_method": "gptq", "bits": 4}`, nil, `the model is quantized by "gptq", which isn't supported`},
		{"unknown mode", `"quantization": {"mode": "int3"}`, nil, `mode "int3" isn't known`},
		{"unknown mode of a layer", `"quantization": {"group_size": 32, "bits": 4, "l.q": {"mode": "int3"}}`, nil, `quantization of l.q: mode "int3" isn't known`},
		{"seven bits", `"quantization": {"group_size": 32, "bits": 7}`, nil, "to 7 bits isn't known"},
		{"negative bits", `"quantization": {"group_size": 32, "bits": -4}`, nil, "not a quantized matrix"},
		{"bits as text", `"quantization": {"group_size": 32, "bits": "4"}`, nil, "quantization: json"},
		{"not an object", `"quantization": 4`, nil, "quantization: json"},
		{"another group", `"quantization": {"group_size": 64, "bits": 4}`, nil, "scales have the shape [2 2], expected [2 1]"},
		{"no biases", twoWords, map[string]array{"l.q.biases": {}}, "biases are stored as invalid"},
		{"misshapen biases", twoWords, map[string]array{"l.q.biases": {"F16", []int{2, 1}, ""}}, "biases have the shape [2 1]"},
		{"float scales for mxfp4", `"quantization": {"mode": "mxfp4"}`, map[string]array{"l.q.biases": {}}, "scales are stored as F16"},
		{"a vector", twoWords, map[string]array{"l.q.weight": {"U32", []int{8}, ""}}, "not a quantized matrix"},
		{"two at once", twoWords, map[string]array{"l.q.biases": {}, "l.k.weight": {"U32", []int{2, 8}, ""}, "l.k.scales": {"F16", []int{1, 2}, ""}}, "l.k.weight"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"config.json": "{" + tt.config + "}", "model.safetensors": encode(t, quantized(tt.change))})
			c, err := huggingface.Open(dir)
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
					t.Errorf("error %q, want %q", err, tt.want)
				}
				if tt.name == "two at once" && !strings.Contains(err.Error(), "l.q.weight") {
					t.Errorf("%q names only one", err)
				}
				return
			}
			defer c.Close()
			x, _ := c.Tensor("l.q.weight")
			if x.String() != tt.want {
				t.Errorf("%s, want %s", x, tt.want)
			}
			c.Release(x)
			if err := x.Dequantize(make([]float32, x.Elems()), 0, x.Rows()); err != nil {
				t.Error(err)
			}
		})
	}
}

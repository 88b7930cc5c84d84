package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"qwen2"}, HuggingFace: []string{"Qwen2ForCausalLM"}, Define: defineQwen2,
		Models: "Qwen2, Qwen2.5: biases on queries, keys and values",
	})
}

var (
	keyUseWindow       = Key{"", "use_sliding_window"}
	keyMaxWindowLayers = Key{"", "max_window_layers"}
)

// defineQwen2 is Qwen2 and Qwen2.5 (arXiv:2407.10671, arXiv:2412.15115): the llama
// family, with biases on queries, keys and values.
func defineQwen2(p *Params) Definition {
	d := newDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.rotate(readRope(p, d.config, nn.RopeHalf))
	d.slideUpper(p)
	return d
}

// slideUpper reads the windows of Qwen's models: if they are used at all, which no
// published configuration does, only the layers from max_window_layers on have one.
// GGUF files don't know of them.
func (d *decoder) slideUpper(p *Params) {
	if !p.BoolOr(keyUseWindow, false) || p.Null(keyWindow) {
		return
	}
	from := p.IntOr(keyMaxWindowLayers, 28, 0, maxLayers)
	d.slide(p, p.IntOr(keyWindow, 4096, 1, maxContext), func(layer int) bool { return layer >= from })
}

package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF:        []string{"qwen3"},
		HuggingFace: []string{"Qwen3ForCausalLM"},
		Define:      func(p *Params) Definition { return defineQwen3(p) },
	})
}

var keyUseWindow = Key{"", "use_sliding_window"}

// defineQwen3 is Qwen3's dense models (arXiv:2505.09388): the llama family, with
// heads whose width is independent of the hidden size and whose queries and keys
// are normalized before they are rotated.
func defineQwen3(p *Params) *llamaDefinition {
	d := defineLlama(p)
	d.qkNorm = true
	if d.rope != nil {
		d.rope.Style = nn.RopeHalf // in GGUF files too: their rows aren't permuted
	}
	if p.BoolOr(keyUseWindow, false) {
		p.Fail("%s is true: sliding windows of qwen3 are not supported", p.name(keyUseWindow))
	}
	return d
}

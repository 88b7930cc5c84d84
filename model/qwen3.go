package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"qwen3"}, HuggingFace: []string{"Qwen3ForCausalLM"}, Define: defineQwen3,
		Models: "Qwen3: norms of queries and keys",
	})
}

// defineQwen3 is Qwen3's dense models (arXiv:2505.09388): the llama family, with
// heads whose width is independent of the hidden size and whose queries and keys
// are normalized before they are rotated.
func defineQwen3(p *Params) Definition {
	d := newDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.qkNorm = qkNormHead
	d.rotate(readRope(p, d.config, nn.RopeHalf))
	d.slideUpper(p)
	return d
}

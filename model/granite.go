package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"granite"}, HuggingFace: []string{"GraniteForCausalLM"}, Define: defineGranite,
		Models: "Granite 3, dense: factors for embeddings, residuals, scores and logits",
	})
}

// defineGranite is the dense models of Granite 3 (arXiv:2408.13359): the llama family
// with factors for embeddings, residuals, scores and logits.
func defineGranite(p *Params) Definition {
	d := newDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.rotate(readRope(p, d.config, nn.RopeInterleaved))
	d.readGraniteScales(p)
	return d
}

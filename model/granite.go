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
	d.embeddingScale = readScale(p, Key{"%s.embedding_scale", "embedding_multiplier"}, 1)
	d.residualScale = readScale(p, Key{"%s.residual_scale", "residual_multiplier"}, 1)
	d.scale = readScale(p, Key{"%s.attention.scale", "attention_multiplier"}, 1)
	d.logitScale = 1 / float32(p.FloatOr(Key{"%s.logit_scale", "logits_scaling"}, 1, 1e-6, maxScale))
	return d
}

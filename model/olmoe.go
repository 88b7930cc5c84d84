package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"olmoe"}, HuggingFace: []string{"OlmoeForCausalLM"}, Define: defineOLMoE,
		Models: "OLMoE: mixtures of experts, norms of all heads of queries and keys together",
	})
}

// defineOLMoE is OLMoE (arXiv:2409.02060): the llama family, with norms of all heads of
// queries and keys together, and mixtures of experts whose weights don't sum to 1.
func defineOLMoE(p *Params) Definition {
	d := readDecoder(p)
	d.readEps(p, keyEps, 1e-5)
	d.readAct(p, keyAct, "silu")
	d.qkNorm = qkNormAll
	d.rotate(readRope(p, d.config, nn.RopeHalf))
	p.Default(keyExpertsUsed, 8)
	if clip := (Key{"%s.attention.clamp_kqv", "clip_qkv"}); p.Has(clip) {
		p.Fail("%s is set: queries, keys and values can't be clipped", p.name(clip))
	}
	d.readMixture(p, mixtureNames(), countKey(p, keyNumExperts, 64), d.ffn, everyLayer)
	d.mixture.normalize = p.BoolOr(keyNormTopK, false)
	return d
}

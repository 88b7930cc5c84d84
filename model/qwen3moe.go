package model

import (
	"slices"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF: []string{"qwen3moe"}, HuggingFace: []string{"Qwen3MoeForCausalLM"}, Define: defineQwen3MoE,
		Models: "Qwen3-30B-A3B, Qwen3-235B-A22B, Qwen3-Coder: Qwen3 with mixtures of experts",
	})
}

var (
	keyNumExperts = Key{"%s.expert_count", "num_experts"}
	keyExpertFFN  = Key{"%s.expert_feed_forward_length", "moe_intermediate_size"}
	keyNormTopK   = Key{"", "norm_topk_prob"}
	keySparseStep = Key{"", "decoder_sparse_step"}
	keyDenseList  = Key{"", "mlp_only_layers"}
)

// defineQwen3MoE is Qwen3's mixtures of experts (arXiv:2505.09388): Qwen3, with a softmax
// over all experts, whose chosen weights sum to 1. GGUF files, which don't say so, are
// only of such models.
func defineQwen3MoE(p *Params) Definition {
	d := readDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.qkNorm = qkNormHead
	d.rotate(readRope(p, d.config, nn.RopeHalf))
	d.slideUpper(p)
	p.Default(keyExpertsUsed, 8)
	p.Default(keyExpertFFN, 768)
	d.readSparse(p, mixtureNames(), 128)
	d.mixture.normalize = p.BoolOr(keyNormTopK, p.Format() == checkpoint.GGUF)
	return d
}

// readSparse reads the mixtures of Qwen's models, which most layers have; count is the
// class's number of experts.
func (d *decoder) readSparse(p *Params, names mixture, count int) {
	step, dense := p.IntOr(keySparseStep, 1, 1, maxLayers), p.Ints(keyDenseList)
	d.readMixture(p, names, countKey(p, keyNumExperts, count), p.Int(keyExpertFFN, 1, maxWidth), func(layer int) bool {
		return (layer+1)%step == 0 && !slices.Contains(dense, layer)
	})
}

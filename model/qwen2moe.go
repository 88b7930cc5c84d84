package model

import (
	"slices"

	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF: []string{"qwen2moe"}, HuggingFace: []string{"Qwen2MoeForCausalLM"}, Define: defineQwen2MoE,
		Models: "Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B: Qwen2 with mixtures of experts beside a shared one with a gate",
	})
}

var keySharedExpert = Key{"%s.expert_shared_feed_forward_length", "shared_expert_intermediate_size"}

// defineQwen2MoE is Qwen2's mixtures of experts (arXiv:2407.10671): Qwen2, with a softmax over
// all experts, beside one that all tokens have, times a gate.
func defineQwen2MoE(p *Params) Definition {
	d := readDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.rotate(readRope(p, d.config, nn.RopeHalf))
	d.slideUpper(p)
	p.Default(keyExpertsUsed, 4)
	p.Default(keyExpertFFN, 1408)
	m := mixtureNames()
	m.shareWithGate(p, 5632)
	m.normalize = p.BoolOr(keyNormTopK, false)
	step, dense := p.IntOr(keySparseStep, 1, 1, maxLayers), p.Ints(keyDenseList)
	d.readMixture(p, m, countKey(p, keyNumExperts, 60), p.Int(keyExpertFFN, 1, maxWidth), func(layer int) bool {
		return (layer+1)%step == 0 && !slices.Contains(dense, layer)
	})
	return d
}

// shareWithGate reads Qwen's expert that all rows have, whose result is multiplied by a gate's.
func (m *mixture) shareWithGate(p *Params, ffn int) {
	const shared = "model.layers.%d.mlp.shared_expert"
	m.sharedGate = Name{"blk.%d.ffn_gate_shexp.weight", shared + ".gate_proj.weight"}
	m.sharedUp = Name{"blk.%d.ffn_up_shexp.weight", shared + ".up_proj.weight"}
	m.sharedDown = Name{"blk.%d.ffn_down_shexp.weight", shared + ".down_proj.weight"}
	m.sharedRouter = Name{"blk.%d.ffn_gate_inp_shexp.weight", shared + "_gate.weight"}
	m.sharedFFN = p.IntOr(keySharedExpert, ffn, 1, maxWidth)
}

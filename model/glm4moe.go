package model

import (
	"fmt"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF: []string{"glm4moe"}, HuggingFace: []string{"Glm4MoeForCausalLM"}, Define: defineGLM4MoE,
		Models: "GLM-4.5, GLM-4.6: mixtures of experts chosen by sigmoids, beside one that all tokens have",
	})
}

var (
	keyRoutedExperts = Key{"%s.expert_count", "n_routed_experts"}
	keySharedExperts = Key{"%s.expert_shared_count", "n_shared_experts"}
	keyRoutedScale   = Key{"%s.expert_weights_scale", "routed_scaling_factor"}
	keyRoutedNorm    = Key{"%s.expert_weights_norm", "norm_topk_prob"}
	keyDenseLayers   = Key{"%s.leading_dense_block_count", "first_k_dense_replace"}
	keyExpertGating  = Key{"%s.expert_gating_func", ""}
	keyExpertGroups  = Key{"%s.expert_group_count", "n_group"}
	keyNextLayers    = Key{"%s.nextn_predict_layers", "num_nextn_predict_layers"}
)

// gatingSigmoid is what GGUF files call nn.SigmoidScore.
const gatingSigmoid = 2

// defineGLM4MoE is GLM-4.5 (arXiv:2508.06471): half of each head rotated, some sizes with
// norms of queries and keys, dense layers first, and then mixtures whose experts are
// chosen by sigmoids and a correction, beside a shared one. The layers that predict
// further tokens are left out.
func defineGLM4MoE(p *Params) Definition {
	d := readDecoder(p)
	d.readEps(p, keyEps, 1e-5)
	d.readAct(p, keyAct, "silu")
	d.names.qNorm, d.names.kNorm = Name{"blk.%d.attn_q_norm", "model.layers.%d.self_attn.q_norm"}, Name{"blk.%d.attn_k_norm", "model.layers.%d.self_attn.k_norm"}
	d.names.mlpNorm = Name{"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm"}
	if _, ok := p.c.Tensor(d.names.qNorm.weight().in(p.Format(), 0)); ok || p.BoolOr(keyUseQKNorm, false) {
		d.qkNorm = qkNormHead
	}
	d.leaveOutNext(p)
	d.rotate(ropeParams{p, ropeObjects}.read(d.config, nn.RopeHalf, 0.5, 10000))
	if f := p.IntOr(keyExpertGating, gatingSigmoid, 0, 1<<10); f != gatingSigmoid {
		p.Fail("%s is %d, expected %d, sigmoids", p.name(keyExpertGating), f, gatingSigmoid)
	}
	if n := p.IntOr(keyExpertGroups, 1, 0, maxExperts); n > 1 {
		p.Fail("%s is %d: choosing among groups of experts is not supported", p.name(keyExpertGroups), n)
	}
	m := mixtureNames()
	m.scoring = nn.SigmoidScore
	m.correction = Name{"blk.%d.exp_probs_b.bias", "model.layers.%d.mlp.gate.e_score_correction_bias"}
	m.sharedGate = Name{"blk.%d.ffn_gate_shexp.weight", "model.layers.%d.mlp.shared_experts.gate_proj.weight"}
	m.sharedUp = Name{"blk.%d.ffn_up_shexp.weight", "model.layers.%d.mlp.shared_experts.up_proj.weight"}
	m.sharedDown = Name{"blk.%d.ffn_down_shexp.weight", "model.layers.%d.mlp.shared_experts.down_proj.weight"}
	m.normalize = p.BoolOr(keyRoutedNorm, true)
	m.scale = readScale(p, keyRoutedScale, 1)
	p.Default(keyExpertsUsed, 8)
	p.Default(keyExpertFFN, 1408)
	ffn, dense := p.Int(keyExpertFFN, 1, maxWidth), p.IntOr(keyDenseLayers, 1, 0, maxLayers)
	m.sharedFFN = min(ffn*p.IntOr(keySharedExperts, 1, 0, maxExperts), maxWidth)
	d.readMixture(p, m, countKey(p, keyRoutedExperts, 128), ffn, func(layer int) bool { return layer >= dense })
	return d
}

// leaveOutNext marks the layers that predict tokens after the next one as of no use. GGUF
// files count them among the layers.
func (d *decoder) leaveOutNext(p *Params) {
	n := p.IntOr(keyNextLayers, 0, 0, maxLayers)
	if p.Format() == checkpoint.GGUF {
		if n >= d.config.Layers {
			p.Fail("%s is %d of %d layers", p.name(keyNextLayers), n, d.config.Layers)
			return
		}
		d.config.Layers -= n
		d.layers = d.layers[:d.config.Layers]
	}
	for i := range n {
		layer := d.config.Layers + i
		d.unused = append(d.unused, fmt.Sprintf("blk.%d.*", layer), fmt.Sprintf("model.layers.%d.*", layer))
	}
}

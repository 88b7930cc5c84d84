package model

import (
	"strings"

	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF: []string{"granitemoe"}, HuggingFace: []string{"GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"}, Define: defineGraniteMoE,
		Models: "Granite 3 with mixtures of experts (1B-A400M, 3B-A800M), alone or beside a shared one",
	})
}

// defineGraniteMoE is the mixtures of experts of Granite 3 (arXiv:2408.13359): its dense
// models, with experts for MLPs, and in some one that all tokens have. GGUF files call both
// the same.
func defineGraniteMoE(p *Params) Definition {
	p.Default(keyFFN, 11008)
	p.Default(keyExperts, 8)
	p.Default(keyExpertsUsed, 2)
	d := readDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.rotate(readRope(p, d.config, nn.RopeInterleaved))
	d.readGraniteScales(p)
	d.mixGranite(p, d.ffn, p.IntOr(keySharedFFN, 0, 0, maxWidth))
	return d
}

// mixGranite makes every layer's MLP a mixture of experts of ffn columns, beside one of shared
// columns, if there are any.
func (d *decoder) mixGranite(p *Params, ffn, shared int) {
	const block = "block_sparse_moe"
	d.readMixture(p, mixture{
		router: Name{"blk.%d.ffn_gate_inp.weight", "model.layers.%d." + block + ".router.layer.weight"},
		gate:   expertNames("ffn_gate_exps", block, "gate_proj", ""),
		up:     expertNames("ffn_up_exps", block, "up_proj", ""),
		gateUp: ExpertPart{Stacked: Name{"", "model.layers.%d." + block + ".input_linear.weight"}},
		down:   expertNames("ffn_down_exps", block, "down_proj", ""),
		// A softmax over the logits of those chosen.
		normalize:  true,
		sharedGate: Name{"blk.%d.ffn_gate_shexp.weight", "model.layers.%d.shared_mlp.gate_proj.weight"},
		sharedUp:   Name{"blk.%d.ffn_up_shexp.weight", "model.layers.%d.shared_mlp.up_proj.weight"},
		sharedDown: Name{"blk.%d.ffn_down_shexp.weight", "model.layers.%d.shared_mlp.output_linear.weight"},
		sharedBoth: Name{"", "model.layers.%d.shared_mlp.input_linear.weight"},
		sharedFFN:  shared,
	}, keyExperts, ffn, everyLayer)
	for _, n := range []*ExpertPart{&d.mixture.gate, &d.mixture.up, &d.mixture.down} {
		n.Each = Name{}
	}
	if _, stacked := p.c.Tensor("model.layers.0." + block + ".output_linear.weight"); stacked {
		d.mixture.down.Stacked.HF = strings.Replace(d.mixture.gateUp.Stacked.HF, "input", "output", 1)
	}
}

package model

import (
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

// maxExperts bounds the experts of a layer.
const maxExperts = 1 << 12

var keyExpertsUsed = Key{"%s.expert_used_count", "num_experts_per_tok"}

// mixture is the hyper-parameters of the layers whose MLP is a mixture of experts, and the
// names of their tensors.
type mixture struct {
	router         Name
	gate, up, down ExpertPart // without rows
	gateUp         ExpertPart // gate and up in one tensor, if the checkpoint has it
	count, used    int
	ffn            int // of an expert
	scoring        nn.Scoring
	normalize      bool
	scale          float32 // of the experts' weights; 0 means 1
	correction     Name    // of the scores; empty: none
	routerBias     Name    // empty: none
	// Of the experts; without names there are none.
	gateBias, upBias, downBias ExpertPart

	// Of the expert that all rows have; without rows there is none.
	sharedGate, sharedUp, sharedDown Name
	sharedBoth                       Name // gate and up in one tensor, if the checkpoint has it
	sharedFFN                        int
	sharedRouter                     Name // of its gate; empty: it has none
}

// expertNames are the names of an expert's matrix: stacked in GGUF files and in folders made
// by mlx-lm, on its own in those of transformers. block is what the layer's mixture is
// called there, and each and stacked the matrix.
func expertNames(gguf, block, stacked, each string) ExpertPart {
	return ExpertPart{
		Stacked: Name{"blk.%d." + gguf + ".weight", "model.layers.%d." + block + ".switch_mlp." + stacked + ".weight"},
		Each:    Name{"", "model.layers.%d." + block + ".experts.%e." + each + ".weight"},
	}
}

// mixtureNames are the names of a mixture whose matrices transformers calls gate_proj,
// up_proj and down_proj.
func mixtureNames() mixture {
	return mixture{
		router: Name{"blk.%d.ffn_gate_inp.weight", "model.layers.%d.mlp.gate.weight"},
		gate:   expertNames("ffn_gate_exps", "mlp", "gate_proj", "gate_proj"),
		up:     expertNames("ffn_up_exps", "mlp", "up_proj", "up_proj"),
		down:   expertNames("ffn_down_exps", "mlp", "down_proj", "down_proj"),
	}
}

// readMixture reads what all mixtures have, and makes the layers sparse that it is said of.
func (d *decoder) readMixture(p *Params, names mixture, experts Key, ffn int, sparse func(layer int) bool) {
	m := names
	m.count = p.Int(experts, 1, maxExperts)
	m.used = p.Int(keyExpertsUsed, 1, m.count)
	m.ffn = ffn
	d.mixture = m
	d.config.Experts, d.config.ExpertsUsed = m.count, m.used
	for i := range d.layers {
		d.layers[i].sparse = sparse(i)
	}
}

// countKey is what the number of experts is called: k, or, as transformers writes it for
// some classes, num_local_experts. def is the class's default.
func countKey(p *Params, k Key, def int) Key {
	if p.Format() == checkpoint.HuggingFace && p.Has(keyExperts) {
		return keyExperts
	}
	p.Default(k, def)
	return k
}

// bind asks for the present layer's weights.
func (m *mixture) bind(w *Weights, hidden int, act nn.Activation) *nn.MixtureOfExperts {
	gate, up, down := m.gate, m.up, m.down
	gate.Rows, up.Rows, down.Rows = m.ffn, m.ffn, hidden
	first := []ExpertPart{gate, up}
	if w.Has(m.gateUp.Stacked) {
		first = []ExpertPart{{Stacked: m.gateUp.Stacked, Rows: 2 * m.ffn}}
	}
	made := &nn.MixtureOfExperts{
		Router: w.Linear(hidden, Part{m.router, m.count}),
		Experts: nn.Experts{
			Count: m.count, Used: m.used, Act: act, Scoring: m.scoring, Normalize: m.normalize, Scale: m.scale,
			Up:   w.Experts(m.count, hidden, first...),
			Down: w.Experts(m.count, m.ffn, down),
		},
	}
	if m.routerBias != (Name{}) {
		made.Bias = w.Vector(Part{m.routerBias, m.count})
	}
	if m.downBias.Stacked != (Name{}) {
		gate, up, down := m.gateBias, m.upBias, m.downBias
		gate.Rows, up.Rows, down.Rows = m.ffn, m.ffn, hidden
		made.Experts.UpBias, made.Experts.DownBias = w.ExpertBias(m.count, gate, up), w.ExpertBias(m.count, down)
	}
	if m.correction != (Name{}) {
		made.Experts.Correction = w.Vector(Part{m.correction, m.count})
	}
	if m.sharedFFN > 0 {
		first := []Part{{m.sharedGate, m.sharedFFN}, {m.sharedUp, m.sharedFFN}}
		if w.Has(m.sharedBoth) {
			first = []Part{{m.sharedBoth, 2 * m.sharedFFN}}
		}
		made.Shared = &nn.MLP{
			Gated: true, Act: act,
			Up:   w.Linear(hidden, first...),
			Down: w.Linear(m.sharedFFN, Part{m.sharedDown, hidden}),
		}
		if m.sharedRouter != (Name{}) {
			made.SharedGate = w.Row(m.sharedRouter, hidden)
		}
	}
	return made
}

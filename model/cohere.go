package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"command-r"}, HuggingFace: []string{"CohereForCausalLM"}, Define: func(p *Params) Definition { return defineCohere(p) },
		Models: "Command R: attention beside the MLP, layer norms without bias, scaled logits (not Command R+ of April 2024)",
	})
	Register(Architecture{
		GGUF: []string{"cohere2"}, HuggingFace: []string{"Cohere2ForCausalLM"}, Define: defineCohere2,
		Models: "Command R7B, Command A: as Command R, with a window in three layers of four, and no positions in the fourth",
	})
}

var (
	keyLayerNormEps = Key{"%s.attention.layer_norm_epsilon", "layer_norm_eps"}
	keyUseQKNorm    = Key{"", "use_qk_norm"}
)

// defineCohere is Command R: attention and the MLP read the same layer norm, which
// has no bias, rotary pairs lie side by side, and logits are scaled.
func defineCohere(p *Params) *decoder {
	d := newDecoder(p)
	d.readEps(p, keyLayerNormEps, 1e-5)
	d.readAct(p, keyAct, "silu")
	d.layerNorm, d.parallel = true, true
	d.names.mlpNorm = Name{}
	d.logitScale = readScale(p, keyLogitScale, 0.0625)
	if p.BoolOr(keyUseQKNorm, false) {
		p.Fail("%s is true: the norms of Command R+'s queries and keys are not supported", p.name(keyUseQKNorm))
	}
	d.rotate(ropeParams{p, ropeObjects}.read(d.config, nn.RopeInterleaved, 1, 10000))
	return d
}

// defineCohere2 is Command R7B and Command A (arXiv:2504.00698): windows in three
// layers of four; the fourth doesn't encode positions.
func defineCohere2(p *Params) Definition {
	d := defineCohere(p)
	d.slide(p, p.IntOr(keyWindow, 4096, 1, maxContext), allBut(p.IntOr(keyPattern, 4, 1, maxLayers)))
	for i := range d.layers {
		if d.layers[i].window == 0 {
			d.layers[i].rope = nil
		}
	}
	return d
}

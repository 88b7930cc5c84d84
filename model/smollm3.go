package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"smollm3"}, HuggingFace: []string{"SmolLM3ForCausalLM"}, Define: defineSmolLM3,
		Models: "SmolLM3: every fourth layer without positions",
	})
}

var (
	keyRopeLayers     = Key{"", "no_rope_layers"} // where it is 1, there is one
	keyNoRopeInterval = Key{"", "no_rope_layer_interval"}
)

// defineSmolLM3 is SmolLM3: the llama family, every fourth of whose layers doesn't
// encode positions (arXiv:2501.18795).
func defineSmolLM3(p *Params) Definition {
	p.Default(keyKVHeads, 4)
	d := newDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.rotate(readRope(p, d.config, nn.RopeInterleaved))
	rotated := allBut(p.IntOr(keyNoRopeInterval, 4, 1, maxLayers))
	if list := p.Ints(keyRopeLayers); len(list) == len(d.layers) {
		rotated = func(layer int) bool { return list[layer] != 0 }
	} else if len(list) > 0 {
		p.Fail("%s has %d entries for %d layers", p.name(keyRopeLayers), len(list), len(d.layers))
	}
	if p.BoolOr(keyUseWindow, false) && p.Has(keyWindow) {
		d.slide(p, p.Int(keyWindow, 1, maxContext), func(layer int) bool { return !rotated(layer) })
	}
	for i := range d.layers {
		if !rotated(i) {
			d.layers[i].rope = nil
		}
	}
	return d
}

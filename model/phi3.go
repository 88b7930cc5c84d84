package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"phi3"}, HuggingFace: []string{"Phi3ForCausalLM"}, Define: definePhi3,
		Models: "Phi-3, Phi-3.5, Phi-4, and their mini models: fused projections, LongRoPE on part of a head, a window in some",
	})
}

// definePhi3 is Phi-3, Phi-3.5 and Phi-4, their mini models included
// (arXiv:2404.14219, arXiv:2412.08905, arXiv:2503.01743): the llama family with the
// projections of a layer stored as two, LongRoPE, and a window in some models.
func definePhi3(p *Params) Definition {
	d := newDecoder(p)
	d.readEps(p, keyEps, 1e-5)
	d.readAct(p, keyAct, "silu")
	d.names.qkv = Name{"blk.%d.attn_qkv", "model.layers.%d.self_attn.qkv_proj"}
	d.names.gate, d.names.up = Name{}, Name{}
	d.names.gateUp = Name{"blk.%d.ffn_up", "model.layers.%d.mlp.gate_up_proj"}
	d.rotate(readRope(p, d.config, nn.RopeHalf))
	if window := p.IntOr(keyWindow, 0, 0, maxContext); window > 0 {
		d.slide(p, window, everyLayer)
	}
	return d
}

package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"starcoder2"}, HuggingFace: []string{"Starcoder2ForCausalLM"}, Define: defineStarcoder2,
		Models: "StarCoder2: layer norms, biases, an MLP without gate",
	})
}

// defineStarcoder2 is StarCoder2 (arXiv:2402.19173): layer norms, biases everywhere,
// and an MLP of two projections. Its window, in config.json, is missing from GGUF
// files, which so see the whole context.
func defineStarcoder2(p *Params) Definition {
	d := newDecoder(p)
	d.readEps(p, Key{"%s.attention.layer_norm_epsilon", "norm_epsilon"}, 1e-5)
	d.readAct(p, keyAct, "gelu_pytorch_tanh")
	d.layerNorm = true
	d.names.gate = Name{}
	d.names.up.HF = "model.layers.%d.mlp.c_fc"
	d.names.down.HF = "model.layers.%d.mlp.c_proj"
	d.rotate(readRope(p, d.config, nn.RopeHalf))
	if window := p.IntOr(keyWindow, 0, 0, maxContext); window > 0 {
		d.slide(p, window, everyLayer)
	}
	return d
}

package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"glm4"}, HuggingFace: []string{"Glm4ForCausalLM"}, Define: defineGLM4,
		Models: "GLM-4 of April 2025, GLM-Z1: half of each head rotated, four norms a layer",
	})
}

// defineGLM4 is GLM-4 of April 2025, GLM-Z1 included: norms before and after attention
// and MLP, and half of each head rotated, in pairs that lie side by side.
func defineGLM4(p *Params) Definition {
	p.Default(keyHeadDim, 128)
	d := newDecoder(p)
	d.readEps(p, keyEps, 1.5625e-7)
	d.readAct(p, keyAct, "silu")
	d.names.attnPost = Name{"blk.%d.post_attention_norm", "model.layers.%d.post_self_attn_layernorm"}
	d.names.mlpPost = Name{"blk.%d.post_ffw_norm", "model.layers.%d.post_mlp_layernorm"}
	d.names.qkv = Name{"blk.%d.attn_qkv", ""} // of some GGUF files
	d.names.gate, d.names.up = Name{}, Name{}
	d.names.gateUp = Name{"blk.%d.ffn_up", "model.layers.%d.mlp.gate_up_proj"}
	d.rotate(ropeParams{p, ropeObjects}.read(d.config, nn.RopeInterleaved, 0.5, 10000))
	return d
}

package model

import "github.com/inferflux/inferflux/nn"

func init() {
	Register(Architecture{
		GGUF: []string{"olmo2"}, HuggingFace: []string{"Olmo2ForCausalLM", classOlmo3}, Define: defineOlmo2,
		Models: "OLMo 2: norms after attention and MLP, and of queries and keys as a whole; OLMo 3: a window in three layers of four",
	})
}

const classOlmo3 = "Olmo3ForCausalLM"

// defineOlmo2 is OLMo 2 (arXiv:2501.00656), whose norms come after attention and MLP,
// and of queries and keys as a whole; and OLMo 3, in which three layers of four have a
// window, and only the others a scaled rotary embedding. GGUF files call both olmo2.
func defineOlmo2(p *Params) Definition {
	d := newDecoder(p)
	d.readEps(p, keyEps, 1e-5)
	d.readAct(p, keyAct, "silu")
	d.qkNorm = qkNormAll
	d.names.attnNorm, d.names.mlpNorm = Name{}, Name{}
	d.names.attnPost = Name{"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm"}
	d.names.mlpPost = Name{"blk.%d.post_ffw_norm", "model.layers.%d.post_feedforward_layernorm"}
	window := 0
	if p.arch == classOlmo3 {
		window = 4096
	}
	if window = p.IntOr(keyWindow, window, 0, maxContext); window > 0 {
		d.slide(p, window, allBut(4))
		d.rotateByWindow(p, nn.RopeHalf, 10000, keyRopeBase, 10000)
	} else {
		d.rotate(readRope(p, d.config, nn.RopeHalf))
	}
	return d
}

package model

const classMixtral = "MixtralForCausalLM"

// mixMixtral makes of Mistral what Mixtral is (arXiv:2401.04088): in all layers, rows choose
// two of eight experts. A softmax over the chosen ones' logits is that over all of them,
// normalized. GGUF files of before April 2024 have one tensor for each expert's matrix.
func (d *decoder) mixMixtral(p *Params) {
	const block = "block_sparse_moe"
	p.Default(keyExperts, 8)
	p.Default(keyExpertsUsed, 2)
	d.readMixture(p, mixture{
		router: Name{"blk.%d.ffn_gate_inp.weight", "model.layers.%d." + block + ".gate.weight"},
		gate:   expertNames("ffn_gate_exps", block, "gate_proj", "w1"),
		up:     expertNames("ffn_up_exps", block, "up_proj", "w3"),
		down:   expertNames("ffn_down_exps", block, "down_proj", "w2"),
	}, keyExperts, d.ffn, everyLayer)
	d.mixture.gate.Each.GGUF = "blk.%d.ffn_gate.%e.weight"
	d.mixture.up.Each.GGUF = "blk.%d.ffn_up.%e.weight"
	d.mixture.down.Each.GGUF = "blk.%d.ffn_down.%e.weight"
	d.mixture.normalize = true
}

package model

// names are the stems of the tensors' names that an architecture has; an empty one
// means that it has no such tensor. The weight and the bias of each are found
// under it.
type names struct {
	outputNorm Name

	attnNorm, attnPost Name // norms of what attention reads, and of what it adds
	q, k, v            Name
	qkv                Name // all three in one tensor, if the checkpoint has it
	qNorm, kNorm       Name
	attnOut            Name

	mlpNorm, mlpPost Name
	gate, up         Name // without a gate, the MLP has none, or only gateUp
	gateUp           Name // both in one tensor, if the checkpoint has it
	down             Name
}

func (n Name) weight() Name { return n.with(".weight") }
func (n Name) bias() Name   { return n.with(".bias") }

// with adds an ending to the names that there are.
func (n Name) with(end string) Name {
	if n.GGUF != "" {
		n.GGUF += end
	}
	if n.HF != "" {
		n.HF += end
	}
	return n
}

var (
	nameEmbedding = Name{"token_embd.weight", "model.embed_tokens.weight"}
	nameOutput    = Name{"output.weight", "lm_head.weight"}
	nameRopeFreqs = Name{"rope_freqs.weight", ""}
	nameRopeLong  = Name{"rope_factors_long.weight", ""}
	nameRopeShort = Name{"rope_factors_short.weight", ""}
)

// llamaNames are those of the llama family, from which others differ in few.
var llamaNames = names{
	outputNorm: Name{"output_norm", "model.norm"},
	attnNorm:   Name{"blk.%d.attn_norm", "model.layers.%d.input_layernorm"},
	q:          Name{"blk.%d.attn_q", "model.layers.%d.self_attn.q_proj"},
	k:          Name{"blk.%d.attn_k", "model.layers.%d.self_attn.k_proj"},
	v:          Name{"blk.%d.attn_v", "model.layers.%d.self_attn.v_proj"},
	qNorm:      Name{"blk.%d.attn_q_norm", "model.layers.%d.self_attn.q_norm"},
	kNorm:      Name{"blk.%d.attn_k_norm", "model.layers.%d.self_attn.k_norm"},
	attnOut:    Name{"blk.%d.attn_output", "model.layers.%d.self_attn.o_proj"},
	mlpNorm:    Name{"blk.%d.ffn_norm", "model.layers.%d.post_attention_layernorm"},
	gate:       Name{"blk.%d.ffn_gate", "model.layers.%d.mlp.gate_proj"},
	up:         Name{"blk.%d.ffn_up", "model.layers.%d.mlp.up_proj"},
	down:       Name{"blk.%d.ffn_down", "model.layers.%d.mlp.down_proj"},
}

package model

import (
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF: []string{"lfm2"}, HuggingFace: []string{"Lfm2ForCausalLM"}, Define: defineLFM2,
		Models: "LFM2: gated short convolutions beside attention",
	})
}

var (
	keyConvWidth    = Key{"%s.shortconv.l_cache", "conv_L_cache"}
	keyNormEps      = Key{"%s.attention.layer_norm_rms_epsilon", "norm_eps"}
	keyBlockFFN     = Key{"", "block_ff_dim"}
	keyFFNAdjusted  = Key{"", "block_auto_adjust_ff_dim"}
	keyFFNFactor    = Key{"", "block_ffn_dim_multiplier"}
	keyFFNMultiple  = Key{"", "block_multiple_of"}
	keyTieEmbedding = Key{"", "tie_embedding"}
	keyAttnLayers   = Key{"", "full_attn_idxs"}
)

// maxTaps bounds the width of short convolutions.
const maxTaps = 1 << 6

// defineLFM2 is LFM2 (arXiv:2511.23404): most layers have a gated short convolution in the
// place of attention, which has norms of queries and keys in the others.
func defineLFM2(p *Params) Definition {
	p.Default(keyFFN, 12288)
	d := newDecoder(p)
	d.readEps(p, keyNormEps, 1e-5)
	d.qkNorm = qkNormHead
	d.rotate(ropeParams{p, ropeObjects}.read(d.config, nn.RopeHalf, 1, 1e6))
	d.names = lfm2Names
	if p.Format() == checkpoint.HuggingFace {
		d.ffn = adjustedFFN(p, p.IntOr(keyBlockFFN, d.ffn, 1, maxWidth))
		d.tied = tiedAlways // by the class's default
		if !p.BoolOr(keyTied, p.BoolOr(keyTieEmbedding, true)) {
			d.tied = tiedNever
		}
	}
	width := p.IntOr(keyConvWidth, 3, 2, maxTaps)
	for i, attends := range d.attends(p, "conv") {
		if !attends {
			d.layers[i].state = nn.LayerState{Kind: nn.Convolution, Conv: (width - 1) * d.config.Hidden}
			d.layers[i].mixer = func(w *Weights) nn.Mixer { return bindGatedConv(w, i, d.config.Hidden, width) }
		}
	}
	return d
}

var lfm2Names = names{
	outputNorm: Name{"token_embd_norm", "model.embedding_norm"},
	attnNorm:   Name{"blk.%d.attn_norm", "model.layers.%d.operator_norm"},
	q:          llamaNames.q,
	k:          llamaNames.k,
	v:          llamaNames.v,
	qNorm:      Name{"blk.%d.attn_q_norm", "model.layers.%d.self_attn.q_layernorm"},
	kNorm:      Name{"blk.%d.attn_k_norm", "model.layers.%d.self_attn.k_layernorm"},
	attnOut:    Name{"blk.%d.attn_output", "model.layers.%d.self_attn.out_proj"},
	mlpNorm:    Name{"blk.%d.ffn_norm", "model.layers.%d.ffn_norm"},
	gate:       Name{"blk.%d.ffn_gate", "model.layers.%d.feed_forward.w1"},
	up:         Name{"blk.%d.ffn_up", "model.layers.%d.feed_forward.w3"},
	down:       Name{"blk.%d.ffn_down", "model.layers.%d.feed_forward.w2"},
}

// adjustedFFN is the width of MLPs that config.json gives as that of one without a gate.
func adjustedFFN(p *Params, ffn int) int {
	if !p.BoolOr(keyFFNAdjusted, true) {
		return ffn
	}
	if ffn = 2 * ffn / 3; p.Null(keyFFNFactor) {
		return ffn
	}
	ffn = int(float64(ffn) * p.FloatOr(keyFFNFactor, 1, 0, maxScale))
	multiple := p.IntOr(keyFFNMultiple, 256, 1, maxWidth)
	ffn = (ffn + multiple - 1) / multiple * multiple
	if ffn < 1 || ffn > maxWidth {
		p.Fail("%s makes MLPs of %d rows", p.name(keyFFNFactor), ffn)
		return 1
	}
	return ffn
}

func bindGatedConv(w *Weights, layer, hidden, width int) nn.Mixer {
	in := Name{"blk.%d.shortconv.in_proj", "model.layers.%d.conv.in_proj"}
	taps := Name{"blk.%d.shortconv.conv", "model.layers.%d.conv.conv"}
	out := Name{"blk.%d.shortconv.out_proj", "model.layers.%d.conv.out_proj"}
	m := &nn.GatedConv{Conv: nn.ShortConv{
		Layer: layer, Width: width,
		Taps: w.Taps(taps.weight(), hidden, width), Bias: w.Bias(Part{taps.bias(), hidden}),
	}}
	m.In, m.InBias = linear(w, hidden, stacked{in, 3 * hidden})
	m.Out, m.OutBias = linear(w, hidden, stacked{out, hidden})
	return m
}

package model

import (
	"math"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF: []string{"granitehybrid"}, HuggingFace: []string{"GraniteMoeHybridForCausalLM"}, Define: defineGraniteHybrid,
		Models: "Granite 4: Mamba-2 beside attention without positions, dense or with experts beside a shared one",
	})
}

var (
	keySSMConv    = Key{"%s.ssm.conv_kernel", "mamba_d_conv"}
	keySSMState   = Key{"%s.ssm.state_size", "mamba_d_state"}
	keySSMGroups  = Key{"%s.ssm.group_count", "mamba_n_groups"}
	keySSMHeads   = Key{"%s.ssm.time_step_rank", "mamba_n_heads"}
	keySSMInner   = Key{"%s.ssm.inner_size", ""}
	keySSMExpand  = Key{"", "mamba_expand"}
	keySharedFFN  = Key{"%s.expert_shared_feed_forward_length", "shared_intermediate_size"}
	keyUsesRope   = Key{"%s.rope.scaling.finetuned", ""}
	keyPositions  = Key{"", "position_embedding_type"}
	keyEmbedScale = Key{"%s.embedding_scale", "embedding_multiplier"}
)

// defineGraniteHybrid is Granite 4: Granite 3's factors, Mamba-2 in the place of attention in
// most layers, no positions in the others, and an MLP beside the experts, or alone.
func defineGraniteHybrid(p *Params) Definition {
	p.Default(keyFFN, 11008)
	d := readDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.readGraniteScales(p)
	if p.BoolOr(keyUsesRope, false) || p.StringOr(keyPositions, "nope") == "rope" {
		d.rotate(readRope(p, d.config, nn.RopeInterleaved))
	}
	ffn := d.ffn
	if p.Format() == checkpoint.HuggingFace {
		d.ffn = p.IntOr(keySharedFFN, 1024, 1, maxWidth)
	}
	d.names.gateUp = Name{"", "model.layers.%d.shared_mlp.input_linear"}
	if _, split := p.c.Tensor("model.layers.0.mlp.down_proj.weight"); !split {
		d.names.down.HF = "model.layers.%d.shared_mlp.output_linear"
	}
	if p.IntOr(keyExperts, 0, 0, maxExperts) > 0 {
		d.mixGranite(p, ffn, p.IntOr(keySharedFFN, 1024, 1, maxWidth))
	}
	m := d.readMamba(p)
	for i, attends := range d.attends(p, "mamba", "linear_attention") {
		if !attends {
			d.layers[i].state = nn.LayerState{Kind: nn.Recurrent, Conv: (m.width - 1) * (m.inner() + 2*m.state), Matrix: m.inner() * m.state}
			d.layers[i].mixer = func(w *Weights) nn.Mixer { return m.bind(w, d, i) }
		}
	}
	return d
}

// readGraniteScales reads the factors of Granite's models.
func (d *decoder) readGraniteScales(p *Params) {
	d.embeddingScale = readScale(p, keyEmbedScale, 1)
	d.residualScale = readScale(p, Key{"%s.residual_scale", "residual_multiplier"}, 1)
	d.scale = readScale(p, Key{"%s.attention.scale", "attention_multiplier"}, 1)
	d.logitScale = 1 / float32(p.FloatOr(Key{"%s.logit_scale", "logits_scaling"}, 1, 1e-6, maxScale))
}

// mamba is the hyper-parameters of layers of Mamba-2.
type mamba struct{ heads, headDim, state, width int }

func (m *mamba) inner() int { return m.heads * m.headDim }

func (d *decoder) readMamba(p *Params) *mamba {
	const maxState = 1 << 12
	p.Default(keySSMHeads, 128)
	p.Default(keySSMState, 256)
	p.Default(keySSMConv, 4)
	m := &mamba{heads: p.Int(keySSMHeads, 1, maxHeads), state: p.Int(keySSMState, 1, maxState), width: p.Int(keySSMConv, 2, maxTaps)}
	inner := p.IntOr(keySSMExpand, 2, 1, 1<<8) * d.config.Hidden
	if p.Format() == checkpoint.GGUF {
		inner = p.Int(keySSMInner, 1, maxWidth)
	}
	if m.headDim = inner / m.heads; inner%m.heads != 0 || m.headDim > maxHeadDim || inner > maxWidth {
		p.Fail("%d columns of a state space can't be shared by %d heads", inner, m.heads)
		m.headDim = 1
	}
	if n := p.IntOr(keySSMGroups, 1, 1, maxHeads); n != 1 {
		p.Fail("%s is %d: state spaces with several groups are not supported", p.name(keySSMGroups), n)
	}
	return m
}

func (m *mamba) bind(w *Weights, d *decoder, layer int) nn.Mixer {
	name := func(gguf, hf string) Name { return Name{"blk.%d." + gguf, "model.layers.%d.mamba." + hf} }
	in, conv, out := name("ssm_in", "in_proj"), name("ssm_conv1d", "conv1d"), name("ssm_out", "out_proj")
	wide := m.inner() + 2*m.state
	same := func(v float32) float32 { return v }
	decay := same // stored as it is used, in GGUF files
	if w.c.Format() == checkpoint.HuggingFace {
		decay = func(v float32) float32 { return float32(-math.Exp(float64(v))) }
	}
	mixer := &nn.Mamba2{
		Act: d.act,
		Conv: nn.ShortConv{
			Layer: layer, Width: m.width,
			Taps: w.Taps(conv.weight(), wide, m.width), Bias: w.Bias(Part{conv.bias(), wide}),
		},
		Scan: nn.SelectiveScan{
			Layer: layer, Heads: m.heads, HeadDim: m.headDim, State: m.state,
			Decay:    w.Mapped(decay, Part{name("ssm_a", "A_log"), m.heads}),
			Skip:     w.Mapped(same, Part{name("ssm_d", "D"), m.heads}),
			StepBias: w.Mapped(same, Part{name("ssm_dt.bias", "dt_bias"), m.heads}),
		},
		Norm: nn.Norm{Weight: w.Mapped(same, Part{name("ssm_norm.weight", "norm.weight"), m.inner()}), Eps: d.eps},
	}
	mixer.In, mixer.InBias = linear(w, d.config.Hidden, stacked{in, m.inner() + wide + m.heads})
	mixer.Out, mixer.OutBias = linear(w, m.inner(), stacked{out, d.config.Hidden})
	return mixer
}

package model

import (
	"math"
	"slices"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF: []string{"qwen3next"}, HuggingFace: []string{"Qwen3NextForCausalLM"}, Define: defineQwen3Next,
		Models: "Qwen3-Next: gated delta nets beside gated attention, mixtures of experts beside a shared one with a gate",
	})
}

var (
	keyDeltaConv     = Key{"%s.ssm.conv_kernel", "linear_conv_kernel_dim"}
	keyDeltaKeyDim   = Key{"%s.ssm.state_size", "linear_key_head_dim"}
	keyDeltaKeyHeads = Key{"%s.ssm.group_count", "linear_num_key_heads"}
	keyDeltaHeads    = Key{"%s.ssm.time_step_rank", "linear_num_value_heads"}
	keyDeltaInner    = Key{"%s.ssm.inner_size", ""}
	keyDeltaDim      = Key{"", "linear_value_head_dim"}
	keyInterval      = Key{"%s.full_attention_interval", "full_attention_interval"}
	keyAttnBias      = Key{"", "attention_bias"}
)

// defineQwen3Next is Qwen3-Next: in three layers of four a gated delta net in the place of
// attention, which has a gate of its own and rotates a quarter of each head in the others.
func defineQwen3Next(p *Params) Definition {
	p.Default(keyFFN, 5632)
	p.Default(keyHeadDim, 256)
	d := readDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.readAct(p, keyAct, "silu")
	d.qkNorm = qkNormHead
	d.names.mlpNorm.GGUF = "blk.%d.post_attention_norm"
	d.unused = append(d.unused, "mtp.*")
	if _, converted := p.c.Tensor("model.layers.0.mlp.switch_mlp.gate_proj.weight"); p.Format() == checkpoint.HuggingFace && !converted {
		d.normShift = 1 // mlx-lm adds it when it converts
	}
	if p.BoolOr(keyAttnBias, false) {
		p.Fail("%s is true: biases of gated attention are not supported", p.name(keyAttnBias))
	}
	d.rotate(ropeParams{p, ropeObjects}.read(d.config, nn.RopeHalf, 0.25, 10000))

	p.Default(keyExpertsUsed, 10)
	p.Default(keyExpertFFN, 512)
	m := mixtureNames()
	m.shareWithGate(p, 512)
	m.normalize = p.BoolOr(keyNormTopK, true)
	step, dense := p.IntOr(keySparseStep, 1, 1, maxLayers), p.Ints(keyDenseList)
	d.readMixture(p, m, countKey(p, keyNumExperts, 512), p.Int(keyExpertFFN, 1, maxWidth), func(layer int) bool {
		return (layer+1)%step == 0 && !slices.Contains(dense, layer)
	})

	n := d.readDeltaNet(p)
	recurrent := allBut(p.IntOr(keyInterval, 4, 1, maxLayers))
	if p.Format() == checkpoint.HuggingFace && len(p.Strings(keyLayerTypes)) > 0 {
		attends := d.attends(p, "linear_attention")
		recurrent = func(layer int) bool { return !attends[layer] }
	}
	for i := range d.layers {
		if recurrent(i) {
			d.layers[i].state = nn.LayerState{Kind: nn.Recurrent, Conv: (n.width - 1) * n.wide(), Matrix: n.inner() * n.keyDim}
			d.layers[i].mixer = func(w *Weights) nn.Mixer { return n.bind(w, d, i) }
		} else {
			d.layers[i].mixer = func(w *Weights) nn.Mixer { return d.gatedAttention(w, i) }
		}
	}
	if !slices.ContainsFunc(d.layers, func(l decoderLayer) bool { return l.state.Attends() }) {
		p.Fail("no layer attends: models of recurrences alone are not supported")
	}
	return d
}

// gatedAttention binds a layer of attention whose gate lies beside the queries, head by head.
func (d *decoder) gatedAttention(w *Weights, layer int) nn.Mixer {
	c, n := d.config, &d.names
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	var queries, gates []rowRange
	for h := range c.Heads {
		at := 2 * h * c.HeadDim
		queries = append(queries, rowRange{n.q.weight(), 2 * q, at, at + c.HeadDim})
		gates = append(gates, rowRange{n.q.weight(), 2 * q, at + c.HeadDim, at + 2*c.HeadDim})
	}
	queries = append(queries, rowRange{n.k.weight(), kv, 0, kv}, rowRange{n.v.weight(), kv, 0, kv})
	return &nn.GatedAttention{
		SelfAttention: nn.SelfAttention{
			QKV: w.LinearRows(c.Hidden, queries...), Out: w.Linear(q, Part{n.attnOut.weight(), c.Hidden}), Rope: d.layers[layer].rope,
			QNorm: w.Shifted(d.normShift, Part{n.qNorm.weight(), c.HeadDim}), KNorm: w.Shifted(d.normShift, Part{n.kNorm.weight(), c.HeadDim}), NormEps: d.eps,
			Attention: nn.Attention{Layer: layer, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Scale: d.scale},
		},
		Gate: w.LinearRows(c.Hidden, gates...),
	}
}

// deltaNet is the hyper-parameters of gated delta nets.
type deltaNet struct{ keyHeads, keyDim, heads, dim, width int }

func (n *deltaNet) keys() int  { return n.keyHeads * n.keyDim }
func (n *deltaNet) inner() int { return n.heads * n.dim }
func (n *deltaNet) wide() int  { return 2*n.keys() + n.inner() }

func (d *decoder) readDeltaNet(p *Params) *deltaNet {
	for k, v := range map[Key]int{keyDeltaConv: 4, keyDeltaKeyDim: 128, keyDeltaKeyHeads: 16, keyDeltaHeads: 32, keyDeltaDim: 128} {
		p.Default(k, v)
	}
	n := &deltaNet{
		width: p.Int(keyDeltaConv, 2, maxTaps), keyDim: p.Int(keyDeltaKeyDim, 1, maxHeadDim),
		keyHeads: p.Int(keyDeltaKeyHeads, 1, maxHeads), heads: p.Int(keyDeltaHeads, 1, maxHeads),
	}
	if n.heads%n.keyHeads != 0 {
		p.Fail("%d heads of values can't share %d heads of keys evenly", n.heads, n.keyHeads)
		n.heads = n.keyHeads
	}
	if p.Format() == checkpoint.HuggingFace {
		n.dim = p.Int(keyDeltaDim, 1, maxHeadDim)
	} else if inner := p.Int(keyDeltaInner, 1, maxWidth); inner%n.heads != 0 {
		p.Fail("%s is %d, expected a multiple of %d heads", p.name(keyDeltaInner), inner, n.heads)
	} else {
		n.dim = inner / n.heads
	}
	if n.wide() > maxWidth || n.dim > maxHeadDim {
		p.Fail("a delta net of %d columns, with heads of %d", n.wide(), n.dim)
	}
	return n
}

func (n *deltaNet) bind(w *Weights, d *decoder, layer int) nn.Mixer {
	name := func(gguf, hf string) Name { return Name{"blk.%d." + gguf, "model.layers.%d.linear_attn." + hf} }
	same := func(v float32) float32 { return v }
	decay := same // stored as it is used, in GGUF files
	if w.c.Format() == checkpoint.HuggingFace {
		decay = func(v float32) float32 { return float32(-math.Exp(float64(v))) }
	}
	m := &nn.GatedDeltaNet{
		Act:  d.act,
		In:   w.LinearRows(d.config.Hidden, n.rows(w.c.Format())...),
		Conv: nn.ShortConv{Layer: layer, Width: n.width, Taps: w.Taps(name("ssm_conv1d.weight", "conv1d.weight"), n.wide(), n.width)},
		Rule: nn.DeltaRule{
			Layer: layer, KeyHeads: n.keyHeads, KeyDim: n.keyDim, Heads: n.heads, Dim: n.dim, Eps: 1e-6,
			Decay:    w.Mapped(decay, Part{name("ssm_a", "A_log"), n.heads}),
			StepBias: w.Mapped(same, Part{name("ssm_dt.bias", "dt_bias"), n.heads}),
		},
		Norm: nn.Norm{Weight: w.Mapped(same, Part{name("ssm_norm.weight", "norm.weight"), n.dim}), Eps: d.eps},
	}
	m.Out = w.Linear(n.inner(), Part{name("ssm_out.weight", "out_proj.weight"), d.config.Hidden})
	return m
}

// rows are those of GatedDeltaNet.In, where they are stored: for each head of keys together, in
// GGUF files only those of what is written and what is forgotten.
func (n *deltaNet) rows(f checkpoint.Format) []rowRange {
	mixed := Name{"", "model.layers.%d.linear_attn.in_proj_qkvz.weight"}
	betaAlpha := Name{"blk.%d.ssm_ba.weight", "model.layers.%d.linear_attn.in_proj_ba.weight"}
	share := n.heads / n.keyHeads // of a head of keys
	var out []rowRange
	// each takes of every group of a tensor the rows from one on.
	each := func(name Name, group, from, rows int) {
		for h := range n.keyHeads {
			at := h*group + from
			out = append(out, rowRange{name, n.keyHeads * group, at, at + rows})
		}
	}
	if f == checkpoint.GGUF {
		out = append(out, rowRange{Name{GGUF: "blk.%d.attn_qkv.weight"}, n.wide(), 0, n.wide()}, rowRange{Name{GGUF: "blk.%d.attn_gate.weight"}, n.inner(), 0, n.inner()})
	} else {
		group := 2*n.keyDim + 2*share*n.dim
		each(mixed, group, 0, n.keyDim)
		each(mixed, group, n.keyDim, n.keyDim)
		each(mixed, group, 2*n.keyDim, share*n.dim)
		each(mixed, group, 2*n.keyDim+share*n.dim, share*n.dim)
	}
	each(betaAlpha, 2*share, 0, share)
	each(betaAlpha, 2*share, share, share)
	return out
}

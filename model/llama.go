package model

import (
	"math"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF:        []string{"llama"},
		HuggingFace: []string{"LlamaForCausalLM", classMistral},
		Define:      func(p *Params) Definition { return defineLlama(p) },
	})
}

const classMistral = "MistralForCausalLM"

// Bounds on what a file may claim: far above any model there is, low enough
// that products of two of them can't overflow.
const (
	maxLayers  = 1 << 10
	maxWidth   = 1 << 20
	maxHeads   = 1 << 12
	maxHeadDim = 1 << 10
	maxVocab   = 1 << 24
	maxContext = 1 << 26
)

var (
	keyContext  = Key{"%s.context_length", "max_position_embeddings"}
	keyHidden   = Key{"%s.embedding_length", "hidden_size"}
	keyLayers   = Key{"%s.block_count", "num_hidden_layers"}
	keyFFN      = Key{"%s.feed_forward_length", "intermediate_size"}
	keyHeads    = Key{"%s.attention.head_count", "num_attention_heads"}
	keyKVHeads  = Key{"%s.attention.head_count_kv", "num_key_value_heads"}
	keyHeadDim  = Key{"%s.attention.key_length", "head_dim"}
	keyValueDim = Key{"%s.attention.value_length", ""}
	keyEps      = Key{"%s.attention.layer_norm_rms_epsilon", "rms_norm_eps"}
	keyWindow   = Key{"%s.attention.sliding_window", "sliding_window"}
	keyExperts  = Key{"%s.expert_count", "num_local_experts"}
	keyAct      = Key{"", "hidden_act"}
	keyTied     = Key{"", "tie_word_embeddings"}
)

var (
	nameEmbedding  = Name{"token_embd.weight", "model.embed_tokens.weight"}
	nameOutput     = Name{"output.weight", "lm_head.weight"}
	nameOutputNorm = Name{"output_norm.weight", "model.norm.weight"}
	nameRopeFreqs  = Name{"rope_freqs.weight", ""}

	nameQNorm    = Name{"blk.%d.attn_q_norm.weight", "model.layers.%d.self_attn.q_norm.weight"}
	nameKNorm    = Name{"blk.%d.attn_k_norm.weight", "model.layers.%d.self_attn.k_norm.weight"}
	nameAttnNorm = Name{"blk.%d.attn_norm.weight", "model.layers.%d.input_layernorm.weight"}
	nameQ        = Name{"blk.%d.attn_q.weight", "model.layers.%d.self_attn.q_proj.weight"}
	nameK        = Name{"blk.%d.attn_k.weight", "model.layers.%d.self_attn.k_proj.weight"}
	nameV        = Name{"blk.%d.attn_v.weight", "model.layers.%d.self_attn.v_proj.weight"}
	nameAttnOut  = Name{"blk.%d.attn_output.weight", "model.layers.%d.self_attn.o_proj.weight"}
	nameFFNNorm  = Name{"blk.%d.ffn_norm.weight", "model.layers.%d.post_attention_layernorm.weight"}
	nameGate     = Name{"blk.%d.ffn_gate.weight", "model.layers.%d.mlp.gate_proj.weight"}
	nameUp       = Name{"blk.%d.ffn_up.weight", "model.layers.%d.mlp.up_proj.weight"}
	nameDown     = Name{"blk.%d.ffn_down.weight", "model.layers.%d.mlp.down_proj.weight"}

	nameQBias       = Name{"blk.%d.attn_q.bias", "model.layers.%d.self_attn.q_proj.bias"}
	nameKBias       = Name{"blk.%d.attn_k.bias", "model.layers.%d.self_attn.k_proj.bias"}
	nameVBias       = Name{"blk.%d.attn_v.bias", "model.layers.%d.self_attn.v_proj.bias"}
	nameAttnOutBias = Name{"blk.%d.attn_output.bias", "model.layers.%d.self_attn.o_proj.bias"}
	nameGateBias    = Name{"blk.%d.ffn_gate.bias", "model.layers.%d.mlp.gate_proj.bias"}
	nameUpBias      = Name{"blk.%d.ffn_up.bias", "model.layers.%d.mlp.up_proj.bias"}
	nameDownBias    = Name{"blk.%d.ffn_down.bias", "model.layers.%d.mlp.down_proj.bias"}
)

// llamaDefinition is the hyper-parameters of the llama family: Llama 1 to 3.x,
// Mistral, SmolLM2 and the many models built like them. Pre-norm decoder layers
// of grouped-query attention with rotary positions and a SiLU-gated MLP, RMS
// norms, an output layer of its own or tied to the embedding. Where config.json
// leaves a key out, transformers' default holds.
type llamaDefinition struct {
	config Config
	ffn    int
	window int
	eps    float32
	rope   *nn.Rope
	qkNorm bool // each head's query and key are normalized before rotation
	tied   tying
}

// tying says whether the output layer is the embedding.
type tying uint8

const (
	tiedIfAlone tying = iota // if the checkpoint has no other
	tiedAlways
	tiedNever
)

func defineLlama(p *Params) *llamaDefinition {
	d := &llamaDefinition{
		config: Config{
			Vocab:   p.Rows(nameEmbedding, 1, maxVocab),
			Context: p.Int(keyContext, 1, maxContext),
			Layers:  p.Int(keyLayers, 1, maxLayers),
			Hidden:  p.Int(keyHidden, 1, maxWidth),
			Heads:   p.Int(keyHeads, 1, maxHeads),
		},
		ffn: p.Int(keyFFN, 1, maxWidth),
	}
	c := &d.config
	c.KVHeads = p.IntOr(keyKVHeads, c.Heads, 1, c.Heads)
	if p.Format() == checkpoint.GGUF {
		d.eps = float32(p.Float(keyEps, 0, 1))
		d.window = p.IntOr(keyWindow, 0, 0, maxContext)
	} else {
		d.eps = float32(p.FloatOr(keyEps, 1e-6, 0, 1))
		d.tied = readTying(p)
	}
	if p.arch == classMistral && !p.Null(keyWindow) {
		// Only Mistral's class has a window, and null means none.
		d.window = p.IntOr(keyWindow, 4096, 0, maxContext)
	}
	if c.Heads%c.KVHeads != 0 {
		p.Fail("%d attention heads can't share %d key-value heads evenly", c.Heads, c.KVHeads)
	}
	if !p.Has(keyHeadDim) && c.Hidden%c.Heads != 0 {
		p.Fail("%s is missing, and %s %d is not a multiple of %d heads", p.name(keyHeadDim), p.name(keyHidden), c.Hidden, c.Heads)
	}
	c.HeadDim = p.IntOr(keyHeadDim, max(c.Hidden/c.Heads, 1), 2, maxHeadDim)
	if c.HeadDim%2 != 0 || c.HeadDim > maxHeadDim {
		p.Fail("heads of %d elements: expected an even number up to %d", c.HeadDim, maxHeadDim)
		return d
	}
	if v := p.IntOr(keyValueDim, c.HeadDim, 1, maxHeadDim); v != c.HeadDim {
		p.Fail("%s is %d, expected %d, as for keys", p.name(keyValueDim), v, c.HeadDim)
	}
	if n := p.IntOr(keyExperts, 0, 0, maxHeads); n > 0 {
		p.Fail("%s is %d: mixtures of experts are not supported", p.name(keyExperts), n)
	}
	if act := p.StringOr(keyAct, "silu"); act != "silu" {
		p.Fail("%s is %q, expected silu", p.name(keyAct), act)
	}
	d.rope = readRope(p, c.HeadDim, c.Context)
	return d
}

// readTying reads tie_word_embeddings. Checkpoints whose configuration doesn't say
// are tied if they bring no output layer.
func readTying(p *Params) tying {
	switch {
	case !p.Has(keyTied):
		return tiedIfAlone
	case p.BoolOr(keyTied, false):
		return tiedAlways
	}
	return tiedNever
}

// Config implements Definition.
func (d *llamaDefinition) Config() Config { return d.config }

// Bind implements Definition.
func (d *llamaDefinition) Bind(w *Weights) Model {
	c := d.config
	// Rotary frequencies that older converters left in, computed here.
	w.Ignore("blk.*.attn_rot_embd", "model.layers.*.self_attn.rotary_emb.inv_freq")
	m := &llama{config: c, eps: d.eps, layers: make([]llamaLayer, c.Layers)}
	m.embedding = w.Embedding(c.Hidden, Part{nameEmbedding, c.Vocab})
	m.norm = w.Vector(Part{nameOutputNorm, c.Hidden})
	switch {
	case d.tied == tiedAlways:
		// Some checkpoints bring a copy.
		w.Ignore(nameOutput.in(w.c.Format(), 0))
		m.output = m.embedding
	case d.tied == tiedIfAlone && !w.Has(nameOutput):
		m.output = m.embedding
	default:
		m.output = w.Linear(c.Hidden, Part{nameOutput, c.Vocab})
	}
	rope := d.scaledRope(w)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for i := range m.layers {
		w.Layer(i)
		l := &m.layers[i]
		*l = llamaLayer{
			attnNorm: w.Vector(Part{nameAttnNorm, c.Hidden}),
			attn: nn.SelfAttention{
				QKV:     w.Linear(c.Hidden, Part{nameQ, q}, Part{nameK, kv}, Part{nameV, kv}),
				QKVBias: w.Bias(Part{nameQBias, q}, Part{nameKBias, kv}, Part{nameVBias, kv}),
				Out:     w.Linear(q, Part{nameAttnOut, c.Hidden}),
				OutBias: w.Bias(Part{nameAttnOutBias, c.Hidden}),
				Rope:    rope,
				Attention: nn.Attention{
					Layer: i, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
					Scale: float32(1 / math.Sqrt(float64(c.HeadDim))), Window: d.window,
				},
			},
			mlpNorm: w.Vector(Part{nameFFNNorm, c.Hidden}),
			mlp: nn.GatedMLP{
				GateUp:     w.Linear(c.Hidden, Part{nameGate, d.ffn}, Part{nameUp, d.ffn}),
				GateUpBias: w.Bias(Part{nameGateBias, d.ffn}, Part{nameUpBias, d.ffn}),
				Down:       w.Linear(d.ffn, Part{nameDown, c.Hidden}),
				DownBias:   w.Bias(Part{nameDownBias, c.Hidden}),
				Act:        nn.SiLU,
			},
		}
		if d.qkNorm {
			l.attn.QNorm, l.attn.KNorm = w.Vector(Part{nameQNorm, c.HeadDim}), w.Vector(Part{nameKNorm, c.HeadDim})
			l.attn.NormEps = d.eps
		}
	}
	return m
}

// scaledRope divides the frequencies by those of rope_freqs.weight, in which
// GGUF files store Llama 3's scaling.
func (d *llamaDefinition) scaledRope(w *Weights) *nn.Rope {
	if nameRopeFreqs.in(w.c.Format(), 0) == "" || !w.Has(nameRopeFreqs) {
		return d.rope
	}
	r := *d.rope
	r.InvFreq = make([]float32, len(d.rope.InvFreq))
	for i, f := range w.Floats(Part{nameRopeFreqs, len(r.InvFreq)}) {
		r.InvFreq[i] = d.rope.InvFreq[i] / f
	}
	return &r
}

// llama is a loaded model of the family.
type llama struct {
	config    Config
	eps       float32
	embedding nn.Weight
	layers    []llamaLayer
	norm      nn.Weight
	output    nn.Weight
}

type llamaLayer struct {
	attnNorm nn.Weight
	attn     nn.SelfAttention
	mlpNorm  nn.Weight
	mlp      nn.GatedMLP
}

// Config implements Model.
func (m *llama) Config() Config { return m.config }

// Forward implements Model.
func (m *llama) Forward(ops nn.Ops) nn.Tensor {
	x := ops.Embed(m.embedding)
	for i := range m.layers {
		l := &m.layers[i]
		y := l.attn.Mix(ops, ops.RMSNorm(x, l.attnNorm, m.eps))
		if i == len(m.layers)-1 {
			// Past the last attention no row needs another: only those whose
			// logits are wanted go on.
			x, y = ops.Wanted(x), ops.Wanted(y)
		}
		x = ops.Add(x, l.attn.Project(ops, y))
		x = ops.Add(x, l.mlp.Forward(ops, ops.RMSNorm(x, l.mlpNorm, m.eps)))
	}
	return ops.Linear(ops.RMSNorm(x, m.norm, m.eps), m.output, nn.Weight{})
}

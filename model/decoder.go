package model

import (
	"math"
	"slices"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

// Bounds on what a file may claim: far above any model there is, low enough
// that products of two of them can't overflow.
const (
	maxLayers  = 1 << 10
	maxWidth   = 1 << 20
	maxHeads   = 1 << 12
	maxHeadDim = 1 << 10
	maxVocab   = 1 << 24
	maxContext = 1 << 26
	maxScale   = 1 << 16
)

var (
	keyContext    = Key{"%s.context_length", "max_position_embeddings"}
	keyHidden     = Key{"%s.embedding_length", "hidden_size"}
	keyLayers     = Key{"%s.block_count", "num_hidden_layers"}
	keyFFN        = Key{"%s.feed_forward_length", "intermediate_size"}
	keyHeads      = Key{"%s.attention.head_count", "num_attention_heads"}
	keyKVHeads    = Key{"%s.attention.head_count_kv", "num_key_value_heads"}
	keyHeadDim    = Key{"%s.attention.key_length", "head_dim"}
	keyValueDim   = Key{"%s.attention.value_length", ""}
	keyEps        = Key{"%s.attention.layer_norm_rms_epsilon", "rms_norm_eps"}
	keyWindow     = Key{"%s.attention.sliding_window", "sliding_window"}
	keyLayerTypes = Key{"", "layer_types"}
	keyExperts    = Key{"%s.expert_count", "num_local_experts"}
	keyAct        = Key{"", "hidden_act"}
	keyTied       = Key{"", "tie_word_embeddings"}
	keyLogitScale = Key{"%s.logit_scale", "logit_scale"}
)

// decoder is the hyper-parameters of a decoder-only transformer with a dense MLP, as
// nn.Layer composes it: what an architecture of this kind is made of beside its
// tensors' names. newDecoder reads what all of them have in common and leaves the
// rest as it is in the llama family: pre-norm layers of grouped-query attention with
// rotary positions in all layers and a SiLU-gated MLP, RMS norms, an output layer of
// its own or tied to the embedding. An architecture's own file changes what it has
// otherwise.
type decoder struct {
	config Config
	names  names
	tied   tying
	ffn    int
	act    nn.Activation
	layers []decoderLayer

	mixture mixture  // of the sparse layers
	unused  []string // patterns of tensors that are of no use

	eps       float32
	layerNorm bool    // norms subtract the mean
	normShift float32 // is added to stored norms' weights
	qkNorm    qkNorm
	parallel  bool // attention and MLP read the same
	sinks     Name // of attention; empty: none

	scale       float32 // of attention's scores
	scoreCap    float32 // of attention's scores; 0: none
	querySlope  float32 // see nn.SelfAttention
	queryLength int

	embeddingScale, residualScale, logitScale float32 // 0 means 1
	logitCap                                  float32 // 0: none
}

// decoderLayer is what may differ between layers.
type decoderLayer struct {
	window int      // positions that a query sees; 0: all
	rope   *nn.Rope // nil: positions aren't encoded
	sparse bool     // the MLP is a mixture of experts
	// mixer binds what takes the place of attention, and state is what that keeps; nil: it is attention.
	mixer func(w *Weights) nn.Mixer
	state nn.LayerState
}

// tying says whether the output layer is the embedding.
type tying uint8

const (
	tiedIfAlone tying = iota // if the checkpoint has no other
	tiedAlways
	tiedNever
)

// qkNorm says what of queries and keys is normalized before they are rotated.
type qkNorm uint8

const (
	qkNormNone qkNorm = iota
	qkNormHead        // each head
	qkNormAll         // all heads of a row together
)

// newDecoder reads the shape of a model. Scores are scaled by 1/√(head dimension).
func newDecoder(p *Params) *decoder {
	if n := p.IntOr(keyExperts, 0, 0, maxExperts); n > 0 {
		p.Fail("%s is %d: this architecture has no mixtures of experts", p.name(keyExperts), n)
	}
	return readDecoder(p)
}

// readDecoder is newDecoder for an architecture that may have mixtures of experts.
func readDecoder(p *Params) *decoder {
	d := &decoder{
		names: llamaNames,
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
	c.KVHeads = readKVHeads(p, c.Heads)
	if c.Heads%c.KVHeads != 0 {
		p.Fail("%d attention heads can't share %d key-value heads evenly", c.Heads, c.KVHeads)
	}
	headDim := p.defaultInt(keyHeadDim, c.Hidden/c.Heads)
	if !p.Has(keyHeadDim) && headDim == c.Hidden/c.Heads && c.Hidden%c.Heads != 0 {
		p.Fail("%s is missing, and %s %d is not a multiple of %d heads", p.name(keyHeadDim), p.name(keyHidden), c.Hidden, c.Heads)
	}
	c.HeadDim = p.IntOr(keyHeadDim, max(headDim, 1), 2, maxHeadDim)
	if c.HeadDim%2 != 0 || c.HeadDim > maxHeadDim {
		p.Fail("heads of %d elements: expected an even number up to %d", c.HeadDim, maxHeadDim)
		c.HeadDim = 2
	}
	if v := p.IntOr(keyValueDim, c.HeadDim, 1, maxHeadDim); v != c.HeadDim {
		p.Fail("%s is %d, expected %d, as for keys", p.name(keyValueDim), v, c.HeadDim)
	}
	if p.Format() == checkpoint.HuggingFace {
		d.tied = readTying(p)
	}
	d.scale = float32(1 / math.Sqrt(float64(c.HeadDim)))
	d.layers = make([]decoderLayer, c.Layers)
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

// readEps reads what is added to variances. A GGUF file must say it; config.json may
// leave it to the class's default.
func (d *decoder) readEps(p *Params, k Key, def float64) {
	if p.Format() == checkpoint.GGUF {
		d.eps = float32(p.Float(k, 0, 1))
	} else {
		d.eps = float32(p.FloatOr(k, def, 0, 1))
	}
}

// activations are those that config.json may name.
var activations = map[string]nn.Activation{"silu": nn.SiLU, "swish": nn.SiLU, "gelu_pytorch_tanh": nn.GELUTanh, "gelu": nn.GELU}

// readAct reads the activation, which GGUF files don't name; def is the class's.
func (d *decoder) readAct(p *Params, k Key, def string) {
	name := p.StringOr(k, def)
	act, ok := activations[name]
	if !ok {
		p.Fail("%s is %q, expected silu, gelu_pytorch_tanh or gelu", p.name(k), name)
	}
	d.act = act
}

// readScale reads a factor of the model, 1 if it isn't there.
func readScale(p *Params, k Key, def float64) float32 {
	return float32(p.FloatOr(k, def, -maxScale, maxScale))
}

// rotate gives every layer the same rotary embedding.
func (d *decoder) rotate(r *nn.Rope) {
	if r != nil {
		d.config.LongFrom = r.LongFrom
	}
	for i := range d.layers {
		d.layers[i].rope = r
	}
}

// slide gives the layers that local says a sliding window. What config.json says of
// the layers goes before.
func (d *decoder) slide(p *Params, window int, local func(layer int) bool) {
	const sliding, full = "sliding_attention", "full_attention"
	types := p.Strings(keyLayerTypes)
	if len(types) > 0 && len(types) != len(d.layers) {
		p.Fail("%s has %d entries for %d layers", p.name(keyLayerTypes), len(types), len(d.layers))
		types = nil
	}
	if i := slices.IndexFunc(types, func(s string) bool { return s != sliding && s != full }); i >= 0 {
		p.Fail("%s has the entry %q, expected %s or %s", p.name(keyLayerTypes), types[i], full, sliding)
	}
	for i := range d.layers {
		if len(types) > 0 && types[i] == sliding || len(types) == 0 && local(i) {
			d.layers[i].window = window
		}
	}
}

// everyLayer and allBut say of which layers something holds.
func everyLayer(int) bool { return true }

// allBut is all layers but every n-th; n is at least 1.
func allBut(n int) func(layer int) bool { return func(layer int) bool { return (layer+1)%n != 0 } }

// Config implements Definition.
func (d *decoder) Config() Config {
	c := d.config
	c.States = make([]nn.LayerState, len(d.layers))
	for i, l := range d.layers {
		switch {
		case l.mixer != nil:
			c.States[i] = l.state
		case l.window > 0:
			c.States[i] = nn.LayerState{Kind: nn.SlidingWindow, Window: l.window}
		}
	}
	return c
}

// Bind implements Definition.
func (d *decoder) Bind(w *Weights) Model {
	c, n := d.config, &d.names
	// Rotary frequencies that older converters left in, computed here.
	w.Ignore("blk.*.attn_rot_embd", "model.layers.*.self_attn.rotary_emb.inv_freq")
	w.Ignore(d.unused...)
	m := &transformer{config: c, embeddingScale: d.embeddingScale, logitScale: d.logitScale, logitCap: d.logitCap, layers: make([]nn.Layer, c.Layers)}
	m.embedding = w.Embedding(c.Hidden, Part{nameEmbedding, c.Vocab})
	m.norm = d.norm(w, n.outputNorm)
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
	ropes := map[*nn.Rope]*nn.Rope{}
	for i := range m.layers {
		w.Layer(i)
		l := &m.layers[i]
		*l = nn.Layer{
			AttentionNorm: d.norm(w, n.attnNorm),
			Attention:     d.attention(w, i),
			Mixer:         d.layers[i].bindMixer(w),
			AttentionPost: d.norm(w, n.attnPost),
			MLPNorm:       d.norm(w, n.mlpNorm),
			MLPPost:       d.norm(w, n.mlpPost),
			Residual:      d.residualScale,
			Parallel:      d.parallel,
		}
		if d.layers[i].sparse {
			l.Mixture = d.mixture.bind(w, c.Hidden, d.act)
		} else {
			l.MLP = d.mlp(w)
		}
		if r := d.layers[i].rope; r != nil && l.Mixer == nil {
			if ropes[r] == nil {
				ropes[r] = storedRope(w, r)
			}
			l.Attention.Rope = ropes[r]
		}
	}
	return m
}

func (d *decoder) norm(w *Weights, n Name) nn.Norm {
	if n == (Name{}) {
		return nn.Norm{}
	}
	norm := nn.Norm{Weight: w.Shifted(d.normShift, Part{n.weight(), d.config.Hidden}), Eps: d.eps, Mean: d.layerNorm}
	if d.layerNorm {
		norm.Bias = w.Bias(Part{n.bias(), d.config.Hidden})
	}
	return norm
}

// bindMixer is what takes the place of attention, if something does.
func (l *decoderLayer) bindMixer(w *Weights) nn.Mixer {
	if l.mixer == nil {
		return nil
	}
	return l.mixer(w)
}

// attention is zero in a layer that has something else in its place.
func (d *decoder) attention(w *Weights, layer int) nn.SelfAttention {
	if d.layers[layer].mixer != nil {
		return nn.SelfAttention{}
	}
	c, n := d.config, &d.names
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	parts := []stacked{{n.q, q}, {n.k, kv}, {n.v, kv}}
	if w.Has(n.qkv.weight()) {
		parts = []stacked{{n.qkv, q + 2*kv}}
	}
	a := nn.SelfAttention{
		QuerySlope: d.querySlope, QueryLength: d.queryLength,
		Attention: nn.Attention{
			Layer: layer, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
			Scale: d.scale, SoftCap: d.scoreCap, Window: d.layers[layer].window,
		},
	}
	if d.sinks != (Name{}) {
		a.Attention.Sinks = w.Vector(Part{d.sinks, c.Heads})
	}
	a.QKV, a.QKVBias = linear(w, c.Hidden, parts...)
	a.Out, a.OutBias = linear(w, q, stacked{n.attnOut, c.Hidden})
	if d.qkNorm != qkNormNone {
		qn, kn := c.HeadDim, c.HeadDim
		if d.qkNorm == qkNormAll {
			qn, kn = q, kv
		}
		a.QNorm, a.KNorm = w.Shifted(d.normShift, Part{n.qNorm.weight(), qn}), w.Shifted(d.normShift, Part{n.kNorm.weight(), kn})
		a.NormEps = d.eps
	}
	return a
}

func (d *decoder) mlp(w *Weights) nn.MLP {
	n := &d.names
	m := nn.MLP{Gated: true, Act: d.act}
	parts := []stacked{{n.gate, d.ffn}, {n.up, d.ffn}}
	switch {
	case n.gate == (Name{}) && n.gateUp == (Name{}):
		m.Gated, parts = false, parts[1:]
	case n.gate == (Name{}) || w.Has(n.gateUp.weight()):
		parts = []stacked{{n.gateUp, 2 * d.ffn}}
	}
	m.Up, m.UpBias = linear(w, d.config.Hidden, parts...)
	m.Down, m.DownBias = linear(w, d.ffn, stacked{n.down, d.config.Hidden})
	return m
}

// stacked is a projection that is one of several in a product: the stem of its
// name, and its rows.
type stacked struct {
	name Name
	rows int
}

// linear is the product of all of them with the same input, and its bias, if the
// checkpoint has one.
func linear(w *Weights, in int, parts ...stacked) (weight, bias nn.Weight) {
	var ws, bs []Part
	for _, p := range parts {
		ws, bs = append(ws, Part{p.name.weight(), p.rows}), append(bs, Part{p.name.bias(), p.rows})
	}
	return w.Linear(in, ws...), w.Bias(bs...)
}

// transformer is a loaded decoder.
type transformer struct {
	config                     Config
	embedding                  nn.Weight
	embeddingScale, logitScale float32 // 0 means 1
	logitCap                   float32 // 0: none
	layers                     []nn.Layer
	norm                       nn.Norm
	output                     nn.Weight
}

// Config implements Model.
func (m *transformer) Config() Config { return m.config }

// Hidden implements Model.
func (m *transformer) Hidden(ops nn.Ops) nn.Tensor {
	x := ops.Embed(m.embedding)
	if m.embeddingScale != 0 && m.embeddingScale != 1 {
		x = ops.Scale(x, m.embeddingScale)
	}
	for i := range m.layers {
		x = m.layers[i].Forward(ops, x, i == len(m.layers)-1)
	}
	return m.norm.Forward(ops, x)
}

// Logits implements Model.
func (m *transformer) Logits(ops nn.Ops, hidden nn.Tensor) nn.Tensor {
	y := ops.Linear(hidden, m.output, nn.Weight{})
	if m.logitScale != 0 && m.logitScale != 1 {
		y = ops.Scale(y, m.logitScale)
	}
	if m.logitCap != 0 {
		y = ops.SoftCap(y, m.logitCap)
	}
	return y
}

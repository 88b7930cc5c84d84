package model

import (
	"math"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

func init() {
	Register(Architecture{
		GGUF: []string{"gemma"}, HuggingFace: []string{"GemmaForCausalLM"}, Define: func(p *Params) Definition { return defineGemma(p) },
		Models: "Gemma 1: scaled embeddings, GELU",
	})
	Register(Architecture{
		GGUF: []string{"gemma2"}, HuggingFace: []string{"Gemma2ForCausalLM"}, Define: defineGemma2,
		Models: "Gemma 2: scores and logits bounded softly, a window in every other layer, four norms a layer",
	})
	Register(Architecture{
		GGUF: []string{"gemma3"}, HuggingFace: []string{"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"}, Define: defineGemma3,
		Models: "Gemma 3, the text part of the larger ones: a window and a rotary embedding of its own in five layers of six, norms of queries and keys, four norms a layer",
	})
}

var (
	keyHiddenAct     = Key{"", "hidden_activation"}
	keyQueryScalar   = Key{"", "query_pre_attn_scalar"}
	keyScoreCap      = Key{"%s.attn_logit_softcapping", "attn_logit_softcapping"}
	keyLogitCap      = Key{"%s.final_logit_softcapping", "final_logit_softcapping"}
	keyPattern       = Key{"", "sliding_window_pattern"}
	keyBidirectional = Key{"", "use_bidirectional_attention"}
	keyLocalBase     = Key{"", "rope_local_base_freq"}
)

// defineGemma is what all Gemmas have in common, which is Gemma 1 (arXiv:2403.08295):
// embeddings scaled by the root of their width, norms that folders store less one, a
// GELU-gated MLP, and an output layer tied to the embedding.
func defineGemma(p *Params) *decoder {
	p.Default(keyHeadDim, 256)
	d := newDecoder(p)
	d.readEps(p, keyEps, 1e-6)
	d.act = nn.GELUTanh // the first configurations say gelu and mean this one
	if p.Has(keyHiddenAct) {
		d.readAct(p, keyHiddenAct, "gelu_pytorch_tanh")
	}
	d.embeddingScale = float32(math.Sqrt(float64(d.config.Hidden)))
	if p.Format() == checkpoint.HuggingFace {
		d.normShift = 1
		if !p.Has(keyTied) {
			d.tied = tiedAlways
		}
	}
	if p.BoolOr(keyBidirectional, false) {
		p.Fail("%s is true: this is an encoder, not a language model", p.name(keyBidirectional))
	}
	d.rotate(readRope(p, d.config, nn.RopeHalf))
	return d
}

// postNorms adds norms of what attention and the MLP add.
func (d *decoder) postNorms() {
	d.names.attnPost = Name{"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm"}
	d.names.mlpNorm.HF = "model.layers.%d.pre_feedforward_layernorm"
	d.names.mlpPost = Name{"blk.%d.post_ffw_norm", "model.layers.%d.post_feedforward_layernorm"}
}

// scaleQueries reads the number by whose root queries are divided. GGUF files don't
// have it: it is the width of a head but for the largest model, known by its layers.
func (d *decoder) scaleQueries(p *Params, layersOfLargest int) {
	scalar := 256.0
	if p.Format() == checkpoint.GGUF {
		scalar = float64(d.config.HeadDim)
		if d.config.Layers == layersOfLargest {
			scalar = float64(d.config.Hidden) / float64(d.config.Heads)
		}
	}
	d.scale = float32(1 / math.Sqrt(p.FloatOr(keyQueryScalar, scalar, 1, maxScale)))
}

// defineGemma2 is Gemma 2 (arXiv:2408.00118): windows in every other layer, norms
// before and after, scores and logits bounded softly.
func defineGemma2(p *Params) Definition {
	const layersOf27B = 46
	p.Default(keyHeads, 8)
	p.Default(keyKVHeads, 4)
	d := defineGemma(p)
	d.postNorms()
	d.scaleQueries(p, layersOf27B)
	d.scoreCap, d.logitCap = readCap(p, keyScoreCap, 50), readCap(p, keyLogitCap, 30)
	d.slide(p, p.IntOr(keyWindow, 4096, 1, maxContext), allBut(2))
	return d
}

// readCap reads a bound; null means none.
func readCap(p *Params, k Key, def float64) float32 {
	if p.Null(k) {
		return 0
	}
	return float32(p.FloatOr(k, def, 0, maxScale))
}

// defineGemma3 is the text models of Gemma 3 (arXiv:2503.19786): windows in five
// layers of six, which have a rotary embedding of their own; queries and keys are
// normalized, and nothing is bounded.
func defineGemma3(p *Params) Definition {
	const layersOf27B = 62
	p.Default(keyHeads, 8)
	p.Default(keyKVHeads, 4)
	p.Default(keyContext, 1<<17)
	d := defineGemma(p)
	d.postNorms()
	d.qkNorm = qkNormHead
	d.scaleQueries(p, layersOf27B)
	d.scoreCap, d.logitCap = readCap(p, keyScoreCap, 0), readCap(p, keyLogitCap, 0)
	d.slide(p, p.IntOr(keyWindow, 4096, 1, maxContext), allBut(p.IntOr(keyPattern, 6, 1, maxLayers)))
	d.rotateByWindow(p, nn.RopeHalf, 1e6, keyLocalBase, 1e4)
	return d
}

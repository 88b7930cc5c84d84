package model

import (
	"math"

	"github.com/inferflux/inferflux/nn"
)

// archGPTOSS is what GGUF files call it.
const archGPTOSS = "gpt-oss"

func init() {
	Register(Architecture{
		GGUF: []string{archGPTOSS}, HuggingFace: []string{"GptOssForCausalLM"}, Define: defineGPTOSS,
		Models: "gpt-oss: mixtures of experts in every layer, windows in every other one, attention sinks",
	})
}

var (
	keySwiGLULimit = Key{"", "swiglu_limit"}
	keySwiGLUSlope = Key{"", "swiglu_alpha"}
)

// defineGPTOSS is OpenAI's gpt-oss (arXiv:2508.10925): a softmax over the experts that are
// chosen, whose gated activation is cut off; biases everywhere; a sink beside every head's scores; a
// sliding window in every other layer, from the first on.
func defineGPTOSS(p *Params) Definition {
	p.Default(keyHeadDim, 64)
	p.Default(keyWindow, 128)
	d := readDecoder(p)
	d.readEps(p, keyEps, 1e-5)
	d.act = nn.ClampedSwiGLU
	for _, c := range []struct {
		key  Key
		want float64
	}{{keySwiGLULimit, nn.SwiGLULimit}, {keySwiGLUSlope, nn.SwiGLUSlope}} {
		if v := p.FloatOr(c.key, c.want, 0, 1e6); math.Abs(v-c.want) > 1e-6 {
			p.Fail("%s is %g, expected %g", p.name(c.key), v, c.want)
		}
	}
	d.names.mlpNorm = Name{"blk.%d.post_attention_norm", "model.layers.%d.post_attention_layernorm"}
	d.sinks = Name{"blk.%d.attn_sinks.weight", "model.layers.%d.self_attn.sinks"}
	d.rotate(ropeParams{p, ropeObjects}.read(d.config, nn.RopeHalf, 1, 150000))
	d.slide(p, p.Int(keyWindow, 1, maxContext), func(layer int) bool { return layer%2 == 0 })

	// Folders have gate and up in the columns of one tensor, by turns, unless mlx-lm made them.
	part := func(gguf, mlx, both string, from, every int) (weight, bias ExpertPart) {
		const block = "model.layers.%d.mlp.experts."
		weight = ExpertPart{
			Stacked: Name{"blk.%d." + gguf + ".weight", block + mlx + ".weight"},
			Columns: Name{"", block + both}, From: from, Every: every,
		}
		bias = ExpertPart{
			Stacked: Name{"blk.%d." + gguf + ".bias", block + mlx + ".bias"},
			Columns: Name{"", block + both + "_bias"}, From: from, Every: every,
		}
		return weight, bias
	}
	m := mixture{
		router:     Name{"blk.%d.ffn_gate_inp.weight", "model.layers.%d.mlp.router.weight"},
		routerBias: Name{"blk.%d.ffn_gate_inp.bias", "model.layers.%d.mlp.router.bias"},
		normalize:  true,
	}
	m.gate, m.gateBias = part("ffn_gate_exps", "gate_proj", "gate_up_proj", 0, 2)
	m.up, m.upBias = part("ffn_up_exps", "up_proj", "gate_up_proj", 1, 2)
	m.down, m.downBias = part("ffn_down_exps", "down_proj", "down_proj", 0, 1)
	p.Default(keyExperts, 128)
	p.Default(keyExpertsUsed, 4)
	d.readMixture(p, m, keyExperts, p.IntOr(Key{keyExpertFFN.GGUF, ""}, d.ffn, 1, maxWidth), everyLayer)
	return d
}

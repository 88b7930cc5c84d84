package model

import (
	"math"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

var (
	keyRopeDims        = Key{"%s.rope.dimension_count", ""}
	keyRopeBase        = Key{"%s.rope.freq_base", "rope_theta"}
	keyRopeBaseNested  = Key{"", "rope_parameters.rope_theta"}
	keyRopeScale       = Key{"%s.rope.scale_linear", ""} // files from before rope.scaling.*
	keyScalingType     = Key{"%s.rope.scaling.type", "rope_scaling.rope_type"}
	keyScalingTypeOld  = Key{"", "rope_scaling.type"}
	keyScalingNested   = Key{"", "rope_parameters.rope_type"}
	keyScalingFactor   = Key{"%s.rope.scaling.factor", "rope_scaling.factor"}
	keyScalingOriginal = Key{"%s.rope.scaling.original_context_length", "rope_scaling.original_max_position_embeddings"}
	keyScalingMscale   = Key{"%s.rope.scaling.attn_factor", "rope_scaling.attention_factor"}
	keyMscale          = Key{"", "rope_scaling.mscale"}
	keyMscaleAllDim    = Key{"", "rope_scaling.mscale_all_dim"}
	keyPartial         = Key{"", "partial_rotary_factor"}
	keyPartialNested   = Key{"", "rope_parameters.partial_rotary_factor"}
	keyYarnFast        = Key{"%s.rope.scaling.yarn_beta_fast", "rope_scaling.beta_fast"}
	keyYarnSlow        = Key{"%s.rope.scaling.yarn_beta_slow", "rope_scaling.beta_slow"}
	keyLowFreq         = Key{"", "rope_scaling.low_freq_factor"}
	keyHighFreq        = Key{"", "rope_scaling.high_freq_factor"}
)

// nested moves a key of the older "rope_scaling" object of config.json to the
// newer "rope_parameters".
func nested(p *Params, k Key) Key {
	const old = "rope_scaling."
	if newer := (Key{k.GGUF, "rope_parameters." + k.HF[min(len(old), len(k.HF)):]}); k.HF != "" && p.Has(newer) {
		return newer
	}
	return k
}

// readRope reads a rotary embedding for heads of headDim elements, trained for
// context positions: plain (RoFormer, arXiv:2104.09864), linear (position
// interpolation, arXiv:2306.15595), llama3 (as in Meta's Llama 3.1) or YaRN
// (arXiv:2309.00071).
func readRope(p *Params, headDim, context int) *nn.Rope {
	dims := p.IntOr(keyRopeDims, headDim, 2, headDim)
	if dims%2 != 0 {
		p.Fail("%s is %d, expected an even number", p.name(keyRopeDims), dims)
		return nil
	}
	for _, k := range []Key{keyPartial, keyPartialNested} {
		if part := p.FloatOr(k, 1, 0, 1); part != 1 {
			p.Fail("%s is %g: heads that are rotated in part are not supported", p.name(k), part)
		}
	}
	baseKey := keyRopeBase
	if p.Has(keyRopeBaseNested) {
		baseKey = keyRopeBaseNested
	}
	base := p.FloatOr(baseKey, 10000, 1, 1e12)
	r := &nn.Rope{Style: nn.RopeInterleaved, Dims: dims, InvFreq: make([]float32, dims/2)}
	if p.Format() == checkpoint.HuggingFace {
		r.Style = nn.RopeHalf
	}
	freq := make([]float64, dims/2)
	for i := range freq {
		freq[i] = math.Pow(base, -float64(2*i)/float64(dims))
	}
	kindKey := keyScalingType
	for _, k := range []Key{keyScalingTypeOld, keyScalingNested} {
		if p.Has(k) {
			kindKey = k
		}
	}
	factor := func() float64 {
		k := nested(p, keyScalingFactor)
		if !p.Has(k) && p.Has(keyRopeScale) {
			k = keyRopeScale
		}
		return p.FloatOr(k, 1, 1, 1e6)
	}
	original := p.IntOr(nested(p, keyScalingOriginal), context, 1, maxContext)
	switch kind := p.StringOr(kindKey, ""); kind {
	case "", "linear":
		// A file without a type but with a factor means linear scaling.
		f := factor()
		for i := range freq {
			freq[i] /= f
		}
	case "none", "default":
	case "llama3":
		scaleLlama3(freq, factor(), p.FloatOr(nested(p, keyLowFreq), 1, 1e-3, 1e6), p.FloatOr(nested(p, keyHighFreq), 4, 1e-3, 1e6), float64(original))
	case "yarn":
		f := factor()
		scaleYarn(freq, f, base, p.FloatOr(nested(p, keyYarnFast), 32, 1e-3, 1e6), p.FloatOr(nested(p, keyYarnSlow), 1, 1e-3, 1e6), float64(original))
		// GGUF's attn_factor multiplies the paper's mscale, the attention_factor of
		// config.json replaces it.
		scale := yarnScale(f, 1)
		if given := p.FloatOr(nested(p, keyScalingMscale), 1, 1e-3, 1e3); p.Format() == checkpoint.GGUF {
			scale *= given
		} else if p.Has(nested(p, keyScalingMscale)) {
			scale = given
		} else if p.Has(nested(p, keyMscale)) && p.Has(nested(p, keyMscaleAllDim)) {
			scale = yarnScale(f, p.FloatOr(nested(p, keyMscale), 1, 1e-3, 1e3)) / yarnScale(f, p.FloatOr(nested(p, keyMscaleAllDim), 1, 1e-3, 1e3))
		}
		r.Scale = float32(scale)
	default:
		p.Fail("%s is %q, expected none, linear, llama3 or yarn", p.name(kindKey), kind)
	}
	for i, f := range freq {
		r.InvFreq[i] = float32(f)
	}
	return r
}

// scaleLlama3 divides the frequencies whose wave is longer than original/low
// positions by factor, leaves those shorter than original/high alone, and
// blends those in between (Llama 3.1's reference code).
func scaleLlama3(freq []float64, factor, low, high, original float64) {
	for i, f := range freq {
		wave := 2 * math.Pi / f
		switch {
		case wave < original/high:
		case wave > original/low || high <= low:
			freq[i] = f / factor
		default:
			smooth := (original/wave - low) / (high - low)
			freq[i] = (1-smooth)*f/factor + smooth*f
		}
	}
}

// yarnScale is the paper's mscale (section 3.4), whose slope some models change.
func yarnScale(factor, slope float64) float64 { return 0.1*slope*math.Log(factor) + 1 }

// scaleYarn blends from the plain frequency (pairs that turn more than fast
// times within the original context) to the interpolated one (less than slow
// times): YaRN, section 3.2.
func scaleYarn(freq []float64, factor, base, fast, slow, original float64) {
	dims := float64(2 * len(freq))
	// pair is the index of the pair that turns the given number of times.
	pair := func(turns float64) float64 {
		return dims * math.Log(original/(turns*2*math.Pi)) / (2 * math.Log(base))
	}
	low, high := max(math.Floor(pair(fast)), 0), min(math.Ceil(pair(slow)), dims-1)
	if high <= low {
		high = low + 0.001
	}
	for i, f := range freq {
		ramp := min(max((float64(i)-low)/(high-low), 0), 1)
		freq[i] = f*(1-ramp) + f/factor*ramp
	}
}

package model

import (
	"math"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

// The parameters of a rotary embedding. In config.json they are fields of an object
// (see ropeParams); those here lie outside of it.
var (
	keyRopeDims     = Key{"%s.rope.dimension_count", ""}
	keyRopeBase     = Key{"%s.rope.freq_base", "rope_theta"}
	keyRopeScale    = Key{"%s.rope.scale_linear", ""} // files from before rope.scaling.*
	keyYarnLog      = Key{"%s.rope.scaling.yarn_log_multiplier", ""}
	keyRopePartial  = Key{"", "partial_rotary_factor"}
	keyRopeOriginal = Key{"", "original_max_position_embeddings"}
)

// ropeParams reads a rotary embedding's parameters. In config.json they are fields
// of one of several objects, the first that has them: newer files have
// "rope_parameters", older ones "rope_scaling"; where layers differ, there is one of
// each kind of layer.
type ropeParams struct {
	*Params
	objects []string
}

var ropeObjects = []string{"rope_parameters.", "rope_scaling."}

// key is where a field is, in either format.
func (r ropeParams) key(gguf, field string) Key {
	k := Key{GGUF: gguf}
	if field == "" {
		return k
	}
	for _, o := range r.objects {
		k.HF = o + field
		if r.Has(k) {
			break
		}
	}
	return k
}

// or is k if the checkpoint has it, else other.
func (r ropeParams) or(k, other Key) Key {
	if r.Has(k) {
		return k
	}
	return other
}

// readRope reads the rotary embedding of all layers. In GGUF files, pairs are
// rotated in the given style, and so they are in those folders whose classes do it so
// too; the llama family's, which are stored for the other, call it RopeInterleaved
// here.
func readRope(p *Params, c Config, style nn.RopeStyle) *nn.Rope {
	if p.Format() == checkpoint.HuggingFace {
		style = nn.RopeHalf
	}
	return ropeParams{p, ropeObjects}.read(c, style, 1, 10000)
}

// rotateByWindow gives the layers that see all positions the rotary embedding that the
// checkpoint describes, with its scaling, and those with a window a plain one. Folders
// from before rope_parameters have its base under old.
func (d *decoder) rotateByWindow(p *Params, style nn.RopeStyle, base float64, old Key, local float64) {
	far := ropeParams{p, []string{"rope_parameters.full_attention.", "rope_scaling."}}.read(d.config, style, 1, base)
	near := ropeParams{p, []string{"rope_parameters.sliding_attention."}}
	if kind := near.key("", "rope_type"); near.StringOr(kind, "default") != "default" {
		near.Fail("%s is %q, expected default", near.name(kind), near.StringOr(kind, ""))
	}
	local = near.FloatOr(near.or(near.key("%s.rope.freq_base_swa", keyRopeBase.HF), old), local, 1, 1e12)
	plain := &nn.Rope{Style: style, Dims: d.config.HeadDim, InvFreq: divided[float32](frequencies(d.config.HeadDim, local), nil)}
	for i := range d.layers {
		if d.layers[i].rope = far; d.layers[i].window > 0 {
			d.layers[i].rope = plain
		}
	}
}

// frequencies are those of the pairs of dims elements.
func frequencies(dims int, base float64) []float64 {
	freq := make([]float64, dims/2)
	for i := range freq {
		freq[i] = math.Pow(base, -float64(2*i)/float64(dims))
	}
	return freq
}

// read reads a rotary embedding: plain (RoFormer, arXiv:2104.09864), of a part of each
// head, linear (position interpolation, arXiv:2306.15595), llama3 (as in Meta's Llama
// 3.1), YaRN (arXiv:2309.00071) or LongRoPE (arXiv:2402.13753).
//
// Dynamic scaling changes nothing within the context that config.json states, past
// which no engine goes; and so do the sections of multi-section embeddings for text,
// where all of them count the same positions.
func (r ropeParams) read(c Config, style nn.RopeStyle, partial, base float64) *nn.Rope {
	partial = r.FloatOr(r.or(r.key("", keyRopePartial.HF), keyRopePartial), partial, 0, 1)
	dims := r.IntOr(keyRopeDims, int(float64(c.HeadDim)*partial), 1, c.HeadDim)
	if dims%2 != 0 || dims == 0 {
		if r.Format() == checkpoint.GGUF {
			r.Fail("%s is %d, expected an even number", r.name(keyRopeDims), dims)
		} else {
			r.Fail("%s is %g: of %d elements of a head %d would be rotated, expected an even number", keyRopePartial.HF, partial, c.HeadDim, dims)
		}
		return nil
	}
	base = r.FloatOr(r.or(r.key("%s.rope.freq_base", keyRopeBase.HF), keyRopeBase), base, 1, 1e12)
	rope := &nn.Rope{Style: style, Dims: dims}
	freq := frequencies(dims, base)
	factorKey := r.or(r.key("%s.rope.scaling.factor", "factor"), keyRopeScale)
	factor := r.FloatOr(factorKey, 1, 1, 1e6)
	original := r.IntOr(r.or(r.key("%s.rope.scaling.original_context_length", keyRopeOriginal.HF), keyRopeOriginal), c.Context, 1, maxContext)
	attnFactor := r.key("%s.rope.scaling.attn_factor", "attention_factor")
	number := func(gguf, field string, def float64) float64 { return r.FloatOr(r.key(gguf, field), def, 1e-3, 1e6) }

	// In a GGUF file the factors of LongRoPE are tensors (see storedRope), brought
	// without naming the type.
	_, long := r.c.Tensor(nameRopeLong.GGUF)
	kindKey := r.or(r.key("%s.rope.scaling.type", "rope_type"), r.key("", "type"))
	kind := r.StringOr(kindKey, "")
	switch {
	case kind == "" && (r.Format() == checkpoint.GGUF || r.Has(factorKey)), kind == "linear":
		// A file without a type but with a factor means linear scaling.
		for i := range freq {
			freq[i] /= factor
		}
	case kind == "", kind == "none", kind == "default", kind == "dynamic", kind == "mrope":
	case kind == "llama3":
		scaleLlama3(freq, factor, number("", "low_freq_factor", 1), number("", "high_freq_factor", 4), float64(original))
	case kind == "yarn":
		if !r.Has(factorKey) {
			factor = max(float64(c.Context)/float64(original), 1)
		}
		// gpt-oss's GGUF files don't say so.
		whole := r.BoolOr(r.key("", "truncate"), r.arch != archGPTOSS)
		scaleYarn(freq, factor, base, whole, number("%s.rope.scaling.yarn_beta_fast", "beta_fast", 32), number("%s.rope.scaling.yarn_beta_slow", "beta_slow", 1), float64(original))
		rope.Scale = float32(r.yarnScale(factor, attnFactor))
	case kind == "longrope", kind == "su":
		if !r.Has(factorKey) {
			factor = float64(c.Context) / float64(original)
		}
		scale := 1.0
		if factor > 1 && original > 1 {
			scale = math.Sqrt(1 + math.Log(factor)/math.Log(float64(original)))
		}
		rope.Scale = float32(r.FloatOr(attnFactor, scale, 1e-3, 1e3))
		if r.Format() == checkpoint.HuggingFace {
			rope.LongFrom = original
			rope.LongInvFreq = divided(freq, r.Floats(r.key("", "long_factor"), len(freq)))
			rope.InvFreq = divided(freq, r.Floats(r.key("", "short_factor"), len(freq)))
			return rope
		}
		if !long {
			r.Fail("%s is %q, but there is no tensor %s", r.name(kindKey), kind, nameRopeLong.GGUF)
		}
	default:
		r.Fail("%s is %q, expected none, linear, dynamic, llama3, yarn, longrope or mrope", r.name(kindKey), kind)
	}
	rope.InvFreq = divided[float32](freq, nil)
	if r.Format() == checkpoint.GGUF {
		if long {
			rope.LongFrom = original
		}
		if rope.Scale == 0 && r.Has(attnFactor) {
			rope.Scale = float32(r.FloatOr(attnFactor, 1, 1e-3, 1e3))
		}
	}
	return rope
}

// storedRope divides the frequencies by the factors that GGUF files store as tensors:
// rope_freqs.weight for Llama 3's scaling, rope_factors_* for LongRoPE.
func storedRope(w *Weights, r *nn.Rope) *nn.Rope {
	n, stored := len(r.InvFreq), *r
	by := func(name Name) []float32 {
		freq := make([]float32, n)
		for i, f := range w.Floats(Part{name, n}) {
			freq[i] = r.InvFreq[i] / f
		}
		return freq
	}
	switch {
	case w.c.Format() != checkpoint.GGUF:
		return r
	case w.Has(nameRopeLong) || w.Has(nameRopeShort):
		stored.LongInvFreq, stored.InvFreq = by(nameRopeLong), by(nameRopeShort)
	case w.Has(nameRopeFreqs):
		stored.InvFreq = by(nameRopeFreqs)
	}
	return &stored
}

// yarnScale is what YaRN multiplies rotated elements by. GGUF's attn_factor
// multiplies the paper's, the attention_factor of config.json replaces it.
func (r ropeParams) yarnScale(factor float64, attnFactor Key) float64 {
	const least, most = 1e-3, 1e3
	mscale, all := r.key("", "mscale"), r.key("", "mscale_all_dim")
	given := r.FloatOr(attnFactor, 1, least, most)
	switch {
	case r.Format() == checkpoint.GGUF:
		return yarnScale(factor, 1) / yarnScale(factor, r.FloatOr(keyYarnLog, 0, 0, most)) * given
	case r.Has(attnFactor):
		return given
	case r.Has(mscale) && r.Has(all):
		return yarnScale(factor, r.FloatOr(mscale, 1, least, most)) / yarnScale(factor, r.FloatOr(all, 1, least, most))
	}
	return yarnScale(factor, 1)
}

// divided is freq divided by the factors, if there are any.
func divided[T float32 | float64](freq []float64, factors []T) []float32 {
	out := make([]float32, len(freq))
	for i, f := range freq {
		if len(factors) == len(freq) {
			f /= float64(factors[i])
		}
		out[i] = float32(f)
	}
	return out
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
// times): YaRN, section 3.2. The bounds in between are rounded to whole pairs, or not.
func scaleYarn(freq []float64, factor, base float64, whole bool, fast, slow, original float64) {
	dims := float64(2 * len(freq))
	// pair is the index of the pair that turns the given number of times.
	pair := func(turns float64) float64 {
		return dims * math.Log(original/(turns*2*math.Pi)) / (2 * math.Log(base))
	}
	low, high := pair(fast), pair(slow)
	if whole {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, dims-1)
	if high <= low {
		high = low + 0.001
	}
	for i, f := range freq {
		ramp := min(max((float64(i)-low)/(high-low), 0), 1)
		freq[i] = f*(1-ramp) + f/factor*ramp
	}
}

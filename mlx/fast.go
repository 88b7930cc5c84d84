package mlx

// Operations that MLX has fused kernels for.

// RMSNorm is weight · x / √(mean(x²) + eps), the mean over the last dimension.
// Zhang and Sennrich, 2019. weight, [dim], may be absent.
func (s *Scope) RMSNorm(x, weight Array, eps float32) Array {
	if s.err != nil {
		return Array{}
	}
	m := &s.mixed
	m.ints[0], m.ints[1], m.ints[2], m.ints[3] = s.outPtr, x.ctx, weight.ctx, s.stream.ctx
	m.floats[0] = float32Bits(eps)
	return s.callMixed(fnRMSNorm, x, weight)
}

// LayerNorm is weight · (x - mean) / √(variance + eps) + bias, over the last
// dimension. Ba et al., 2016. weight and bias, [dim], may be absent.
func (s *Scope) LayerNorm(x, weight, bias Array, eps float32) Array {
	if s.err != nil {
		return Array{}
	}
	m := &s.mixed
	m.ints[0], m.ints[1], m.ints[2], m.ints[3], m.ints[4] = s.outPtr, x.ctx, weight.ctx, bias.ctx, s.stream.ctx
	m.floats[0] = float32Bits(eps)
	return s.callMixed(fnLayerNorm, x, weight, bias)
}

// Rope applies rotary position embeddings (Su et al., 2021) to the first dims of
// the last dimension of x, [..., length, dim], whose first position is offset.
// traditional turns neighbours (2i, 2i+1); otherwise i turns with i+dims/2. Pair
// i turns by position · scale · base^(-2i/dims). In place of base (then 0) freqs,
// float32 [dims/2], may give the reciprocals of the pairs' frequencies.
func (s *Scope) Rope(x Array, dims int, traditional bool, base, scale float32, offset int, freqs Array) Array {
	if s.err != nil {
		return Array{}
	}
	s.ropeArgs(x, dims, traditional, base, scale, cInt(offset), freqs)
	return s.callMixed(fnRope, x, freqs)
}

// RopeAt is Rope with the offset in an array: an int32 scalar, or a vector with
// one for each sequence, x being [batch, ..., length, dim].
func (s *Scope) RopeAt(x Array, dims int, traditional bool, base, scale float32, offsets, freqs Array) Array {
	if s.err != nil {
		return Array{}
	}
	s.ropeArgs(x, dims, traditional, base, scale, offsets.ctx, freqs)
	return s.callMixed(fnRopeDynamic, x, offsets, freqs)
}

func (s *Scope) ropeArgs(x Array, dims int, traditional bool, base, scale float32, offset uintptr, freqs Array) {
	m := &s.mixed
	m.ints[0], m.ints[1], m.ints[2], m.ints[3], m.ints[4] = s.outPtr, x.ctx, cInt(dims), boolArg(traditional), optionalFloat(base)
	m.ints[5], m.ints[6], m.ints[7] = offset, freqs.ctx, s.stream.ctx
	m.floats[0] = float32Bits(scale)
}

// ScaledDotProductAttention is softmax(scale · q kᵀ + mask) v, for q [batch,
// heads, n, dim], k and v [batch, kvHeads, length, dim]; heads is a multiple of
// kvHeads. maskMode is "" (none), "causal" (the last query sees all keys) or
// "array": mask is added to the scores, or, if of bool, true where a key counts;
// it is broadcast to [batch, heads, n, length]. sinks, [heads], are scores of a
// key without value; they may be absent.
func (s *Scope) ScaledDotProductAttention(q, k, v Array, scale float32, maskMode string, mask, sinks Array) Array {
	if s.err != nil {
		return Array{}
	}
	m := &s.mixed
	m.ints[0], m.ints[1], m.ints[2], m.ints[3], m.ints[4] = s.outPtr, q.ctx, k.ctx, v.ctx, s.cText(maskMode)
	m.ints[5], m.ints[6] = mask.ctx, sinks.ctx
	if s.lib.version.atLeast(0, 32, 2) {
		m.ints[7], m.ints[8] = 0, s.stream.ctx // not forced to be fused
	} else {
		m.ints[7] = s.stream.ctx
	}
	m.floats[0] = float32Bits(scale)
	return s.callMixed(fnScaledDotProductAttention, q, k, v, mask, sinks)
}

package nn

// Norm normalizes rows. The zero Norm leaves them as they are.
type Norm struct {
	Weight, Bias Weight // [cols]; Bias only with Mean
	Eps          float32
	Mean         bool // the mean is subtracted: a layer norm, not an RMS norm
}

// Forward is [n, cols] to [n, cols].
func (m *Norm) Forward(ops Ops, x Tensor) Tensor {
	switch {
	case !m.Weight.Present():
		return x
	case m.Mean:
		return ops.LayerNorm(x, m.Weight, m.Bias, m.Eps)
	}
	return ops.RMSNorm(x, m.Weight, m.Eps)
}

// SelfAttention is the attention half of a transformer layer: one fused
// projection to queries, keys and values, rotary positions, attention over the
// sequence's KV, and the output projection.
type SelfAttention struct {
	// QKV is [(Heads + 2·KVHeads)·HeadDim, hidden]: the rows of q, then k, then v.
	QKV, QKVBias Weight
	// QNorm and KNorm are RMS norms before the rotation, both or neither: of each
	// head if they are [HeadDim] (Qwen3), of all heads together if they are
	// [Heads·HeadDim] and [KVHeads·HeadDim] (OLMo 2).
	QNorm, KNorm Weight
	NormEps      float32 // theirs
	Out, OutBias Weight
	Rope         *Rope // nil: positions aren't encoded
	// Queries at position p are multiplied by 1 + QuerySlope·ln(1 + ⌊p/QueryLength⌋)
	// (Llama 4's attention temperature) unless QuerySlope is 0.
	QuerySlope  float32
	QueryLength int
	Attention   Attention
}

// Mix turns x [n, hidden], already normalized, into what the heads gather,
// [n, Heads·HeadDim]. Project must follow.
func (s *SelfAttention) Mix(ops Ops, x Tensor) Tensor {
	a := &s.Attention
	q, kv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	qkv := ops.Linear(x, s.QKV, s.QKVBias)
	v := ops.Slice(qkv, q+kv, q+2*kv)
	if s.Rope != nil && !s.QNorm.Present() && s.QuerySlope == 0 {
		// Queries and keys lie side by side and turn alike: one call serves both.
		qk := ops.Rope(ops.Slice(qkv, 0, q+kv), a.HeadDim, s.Rope)
		return ops.Attend(ops.Slice(qk, 0, q), ops.Slice(qk, q, q+kv), v, *a)
	}
	qs, ks := ops.Slice(qkv, 0, q), ops.Slice(qkv, q, q+kv)
	if s.QNorm.Present() {
		qs, ks = ops.RMSNorm(qs, s.QNorm, s.NormEps), ops.RMSNorm(ks, s.KNorm, s.NormEps)
	}
	if s.Rope != nil {
		qs, ks = ops.Rope(qs, a.HeadDim, s.Rope), ops.Rope(ks, a.HeadDim, s.Rope)
	}
	if s.QuerySlope != 0 {
		qs = ops.ScaleByPosition(qs, s.QuerySlope, s.QueryLength)
	}
	return ops.Attend(qs, ks, v, *a)
}

// Project is the output projection, [n, Heads·HeadDim] to [n, hidden].
func (s *SelfAttention) Project(ops Ops, y Tensor) Tensor { return ops.Linear(y, s.Out, s.OutBias) }

// MLP is the feed-forward half: down(act(gate(x))·up(x)), or down(act(up(x))) if it
// has no gate.
type MLP struct {
	// Up is [2·ffn, hidden], the rows of the gate, then those of up; or [ffn, hidden]
	// without a gate.
	Up, UpBias     Weight
	Down, DownBias Weight
	Gated          bool
	Act            Activation
}

// Forward is [n, hidden] to [n, hidden].
func (m *MLP) Forward(ops Ops, x Tensor) Tensor {
	y := ops.Linear(x, m.Up, m.UpBias)
	if m.Gated {
		y = ops.Gated(y, m.Act)
	} else {
		y = ops.Activate(y, m.Act)
	}
	return ops.Linear(y, m.Down, m.DownBias)
}

// Layer is a transformer layer. Norms that a model doesn't have are zero.
type Layer struct {
	AttentionNorm Norm // of what attention reads
	Attention     SelfAttention
	Mixer         Mixer // takes the place of Attention; nil: there is none
	AttentionPost Norm  // of what attention adds
	MLPNorm       Norm  // of what the MLP reads
	MLP           MLP
	Mixture       *MixtureOfExperts // takes the place of MLP; nil: there is none
	MLPPost       Norm              // of what the MLP adds
	Residual      float32           // multiplies what either adds; 0 means 1
	// Parallel: attention and the MLP read the same, AttentionNorm of x, and both
	// are added to x.
	Parallel bool
}

// Forward is [n, hidden] to [n, hidden]; if the layer is the last, only of the
// wanted rows, since past the last attention no row needs another.
func (l *Layer) Forward(ops Ops, x Tensor, last bool) Tensor {
	h := l.AttentionNorm.Forward(ops, x)
	mixer := l.Mixer
	if mixer == nil {
		mixer = &l.Attention
	}
	y := mixer.Mix(ops, h)
	if last {
		y = ops.Wanted(y)
		if l.Parallel {
			h = ops.Wanted(h)
		}
		x = ops.Wanted(x)
	}
	y = l.AttentionPost.Forward(ops, mixer.Project(ops, y))
	if l.Parallel {
		y = ops.Add(y, l.feedForward(ops, h))
		return ops.Add(x, l.scaled(ops, y))
	}
	x = ops.Add(x, l.scaled(ops, y))
	y = l.MLPPost.Forward(ops, l.feedForward(ops, l.MLPNorm.Forward(ops, x)))
	return ops.Add(x, l.scaled(ops, y))
}

func (l *Layer) feedForward(ops Ops, x Tensor) Tensor {
	if l.Mixture != nil {
		return l.Mixture.Forward(ops, x)
	}
	return l.MLP.Forward(ops, x)
}

func (l *Layer) scaled(ops Ops, y Tensor) Tensor {
	if l.Residual == 0 || l.Residual == 1 {
		return y
	}
	return ops.Scale(y, l.Residual)
}

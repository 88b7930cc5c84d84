package nn

// SelfAttention is the attention half of a transformer layer: one fused
// projection to queries, keys and values, rotary positions, attention over the
// sequence's KV, and the output projection.
type SelfAttention struct {
	// QKV is [(Heads + 2·KVHeads)·HeadDim, hidden]: the rows of q, then k, then v.
	QKV, QKVBias Weight
	// QNorm and KNorm, [HeadDim], are the RMS norms of each head's query and key
	// before they are rotated (Qwen3); both are there or neither.
	QNorm, KNorm Weight
	NormEps      float32 // theirs
	Out, OutBias Weight
	Rope         *Rope
	Attention    Attention
}

// Mix turns x [n, hidden], already normalized, into what the heads gather,
// [n, Heads·HeadDim]. Project must follow.
func (s *SelfAttention) Mix(ops Ops, x Tensor) Tensor {
	a := &s.Attention
	q, kv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	qkv := ops.Linear(x, s.QKV, s.QKVBias)
	if s.QNorm.Present() {
		qs := ops.Rope(ops.RMSNorm(ops.Slice(qkv, 0, q), s.QNorm, s.NormEps), a.HeadDim, s.Rope)
		ks := ops.Rope(ops.RMSNorm(ops.Slice(qkv, q, q+kv), s.KNorm, s.NormEps), a.HeadDim, s.Rope)
		return ops.Attend(qs, ks, ops.Slice(qkv, q+kv, q+2*kv), *a)
	}
	// Queries and keys lie side by side and turn alike: one call serves both.
	qk := ops.Rope(ops.Slice(qkv, 0, q+kv), a.HeadDim, s.Rope)
	return ops.Attend(ops.Slice(qk, 0, q), ops.Slice(qk, q, q+kv), ops.Slice(qkv, q+kv, q+2*kv), *a)
}

// Project is the output projection, [n, Heads·HeadDim] to [n, hidden].
func (s *SelfAttention) Project(ops Ops, y Tensor) Tensor { return ops.Linear(y, s.Out, s.OutBias) }

// GatedMLP is the feed-forward half: down(act(gate(x))·up(x)).
type GatedMLP struct {
	// GateUp is [2·ffn, hidden]: the rows of the gate, then those of up.
	GateUp, GateUpBias Weight
	Down, DownBias     Weight
	Act                Activation
}

// Forward is [n, hidden] to [n, hidden].
func (m *GatedMLP) Forward(ops Ops, x Tensor) Tensor {
	return ops.Linear(ops.Gated(ops.Linear(x, m.GateUp, m.GateUpBias), m.Act), m.Down, m.DownBias)
}

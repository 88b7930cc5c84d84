package nn

// StateKind says what a layer keeps of a sequence.
type StateKind uint8

// The kinds.
const (
	// FullAttention keeps the keys and values of all positions.
	FullAttention StateKind = iota
	// SlidingWindow keeps keys and values, and sees only the last of them.
	SlidingWindow
	// Convolution keeps the last inputs of a short convolution.
	Convolution
	// Recurrent keeps a matrix for each head, and the last inputs of the short
	// convolution before it.
	Recurrent
)

// String is how the documentation calls the kind.
func (k StateKind) String() string {
	return [...]string{"full attention", "sliding window", "convolution", "recurrent"}[k]
}

// LayerState is what a layer keeps of a sequence. Keys and values grow with the
// sequence, and it can be shortened to any length. What the other kinds keep has the same size
// at any length, and is of that length alone: an engine goes back to an earlier one only
// where it has kept what there was.
type LayerState struct {
	Kind   StateKind
	Window int // positions that a SlidingWindow sees
	// Conv and Matrix are the elements, in float32, of a convolution's last inputs and
	// of a recurrence.
	Conv, Matrix int
}

// Attends reports whether the layer keeps keys and values.
func (s LayerState) Attends() bool { return s.Kind == FullAttention || s.Kind == SlidingWindow }

// StateOps are the operations that carry a state from one row of a sequence to the
// next, and what goes with them. Before a sequence's first row the state is zero.
type StateOps interface {
	// Multiply is a·b, element by element; if b has one column, that is of every column of
	// a. It may reuse a's storage, or the part of it
	// that a views: a must not be used afterwards.
	Multiply(a, b Tensor) Tensor
	// ShortConv is, for each column, the weighted sum of the row's element and of those
	// of the rows before it in its sequence: [n, cols] to [n, cols].
	ShortConv(x Tensor, c *ShortConv) Tensor
	// Scan is a selective state space. xbc [n, Heads·HeadDim + 2·State] is x, B and C
	// side by side, steps [n, Heads] the time steps. The result is [n, Heads·HeadDim].
	Scan(xbc, steps Tensor, s *SelectiveScan) Tensor
	// DeltaRule is a gated delta net. qkv [n, 2·KeyHeads·KeyDim + Heads·Dim] is queries, keys
	// and values side by side, gates [n, 2·Heads] how much is written and how much is
	// forgotten. The result is [n, Heads·Dim].
	DeltaRule(qkv, gates Tensor, d *DeltaRule) Tensor
}

// ShortConv describes a causal convolution of each column on its own: y[t] = Σ_i
// Taps[i]·x[t-Width+1+i] (+ Bias).
type ShortConv struct {
	Layer, Width int
	Taps         Weight // [Width·cols]: those of the oldest row first
	Bias         Weight // [cols], or absent
}

// SelectiveScan describes the recurrence of Mamba-2 (arXiv:2405.21060) with one group of B
// and C. With Δ = softplus(step + StepBias), each head's matrix S [HeadDim, State] becomes
// exp(Δ·Decay)·S + Δ·x⊗B, and gives y = S·C + Skip·x.
type SelectiveScan struct {
	Layer, Heads, HeadDim, State int
	Decay, Skip, StepBias        Weight // [Heads]; Decay is negative
}

// DeltaRule describes the recurrence of a gated delta net (arXiv:2412.06464). Heads of values share
// those of queries and keys, which are divided by their Euclidean norm, evenly and in order. With β =
// σ(gates[:, :Heads]) and α = exp(Decay·softplus(gates[:, Heads:] + StepBias)), each head's matrix S
// [Dim, KeyDim] becomes α·S + β·(v - α·S·k)⊗k, and gives y = S·q/√KeyDim.
type DeltaRule struct {
	Layer, KeyHeads, KeyDim, Heads, Dim int
	Decay, StepBias                     Weight  // [Heads]; Decay is negative
	Eps                                 float32 // added to the squares of norms
}

// Mixer is the half of a layer that looks at other rows than its own, as SelfAttention
// is one.
type Mixer interface {
	// Mix turns x [n, hidden], already normalized, into what Project takes.
	Mix(ops Ops, x Tensor) Tensor
	// Project returns to [n, hidden].
	Project(ops Ops, y Tensor) Tensor
}

var (
	_ Mixer = (*SelfAttention)(nil)
	_ Mixer = (*GatedConv)(nil)
	_ Mixer = (*Mamba2)(nil)
	_ Mixer = (*GatedAttention)(nil)
	_ Mixer = (*GatedDeltaNet)(nil)
)

// GatedConv is LFM2's mixer (arXiv:2511.23404): a short convolution between two gates.
type GatedConv struct {
	In, InBias   Weight // [3·cols, hidden]: the gate before, the gate after, what is gated
	Conv         ShortConv
	Out, OutBias Weight // [hidden, cols]
}

// Mix implements Mixer.
func (m *GatedConv) Mix(ops Ops, x Tensor) Tensor {
	y := ops.Linear(x, m.In, m.InBias)
	n := m.In.Out / 3
	before, after := ops.Slice(y, 0, n), ops.Slice(y, n, 2*n)
	return ops.Multiply(ops.ShortConv(ops.Multiply(before, ops.Slice(y, 2*n, 3*n)), &m.Conv), after)
}

// Project implements Mixer.
func (m *GatedConv) Project(ops Ops, y Tensor) Tensor { return ops.Linear(y, m.Out, m.OutBias) }

// Mamba2 is the mixer of arXiv:2405.21060: a short convolution, a selective scan, and
// a norm of what comes of it, times a gate.
type Mamba2 struct {
	// In is [2·inner + 2·State + Heads, hidden], inner being Heads·HeadDim: the gate; x, B
	// and C; the time steps.
	In, InBias   Weight
	Conv         ShortConv // of inner + 2·State columns
	Act          Activation
	Scan         SelectiveScan
	Norm         Norm   // of inner columns
	Out, OutBias Weight // [hidden, inner]
}

// Mix implements Mixer.
func (m *Mamba2) Mix(ops Ops, x Tensor) Tensor {
	y := ops.Linear(x, m.In, m.InBias)
	inner := m.Scan.Heads * m.Scan.HeadDim
	wide := inner + 2*m.Scan.State
	xbc := ops.Activate(ops.ShortConv(ops.Slice(y, inner, inner+wide), &m.Conv), m.Act)
	out := ops.Scan(xbc, ops.Slice(y, inner+wide, inner+wide+m.Scan.Heads), &m.Scan)
	return m.Norm.Forward(ops, ops.Multiply(out, ops.Activate(ops.Slice(y, 0, inner), m.Act)))
}

// Project implements Mixer.
func (m *Mamba2) Project(ops Ops, y Tensor) Tensor { return ops.Linear(y, m.Out, m.OutBias) }

// GatedAttention is attention whose output is multiplied by σ of a projection of what it reads.
type GatedAttention struct {
	SelfAttention
	Gate Weight // [Heads·HeadDim, hidden]
}

// Mix implements Mixer.
func (m *GatedAttention) Mix(ops Ops, x Tensor) Tensor {
	gate := ops.Activate(ops.Linear(x, m.Gate, Weight{}), Sigmoid)
	return ops.Multiply(m.SelfAttention.Mix(ops, x), gate)
}

// GatedDeltaNet is the mixer of arXiv:2412.06464: a short convolution, the gated delta rule, and
// a norm of each head, times a gate.
type GatedDeltaNet struct {
	// In is, of hidden columns, the rows of queries, keys and values; of the gate, as many as those
	// of values; and of how much each head writes and how much it forgets.
	In   Weight
	Conv ShortConv // of queries, keys and values
	Act  Activation
	Rule DeltaRule
	Norm Norm   // of Rule.Dim
	Out  Weight // [hidden, Rule.Heads·Rule.Dim]
}

// Mix implements Mixer.
func (m *GatedDeltaNet) Mix(ops Ops, x Tensor) Tensor {
	r := &m.Rule
	y := ops.Linear(x, m.In, Weight{})
	width := r.Heads * r.Dim
	wide := 2*r.KeyHeads*r.KeyDim + width
	qkv := ops.Activate(ops.ShortConv(ops.Slice(y, 0, wide), &m.Conv), m.Act)
	out := m.Norm.Forward(ops, ops.DeltaRule(qkv, ops.Slice(y, wide+width, wide+width+2*r.Heads), r))
	return ops.Multiply(out, ops.Activate(ops.Slice(y, wide, wide+width), m.Act))
}

// Project implements Mixer.
func (m *GatedDeltaNet) Project(ops Ops, y Tensor) Tensor { return ops.Linear(y, m.Out, Weight{}) }

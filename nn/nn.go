// Package nn is the operations a transformer is made of, as one interface,
// [Ops], and the blocks composed from them. Architectures (package model) are
// written once against it; each backend implements it. Nothing here knows a
// device.
//
// # How a step runs
//
// An engine gets a batch: spans of tokens of several sequences. It lays the
// spans' tokens one under the other as the rows of one activation matrix, binds
// an Ops to that step (row i has a token id, a sequence and a position) and
// calls the model's Forward. Every operation works on whole rows; only
// [Ops.Rope], [Ops.Attend] and those of [StateOps] look at positions and sequences. At the end
// [Ops.Wanted] keeps the rows whose logits somebody asked for.
//
// # Lifetimes
//
// A [Tensor] is a handle to a device value of the current step and dies with
// it. A [Weight] is a handle to something loaded and lives as long as the
// engine. Both are plain values, so that a step needs no allocation.
//
// Operations report failure by making the step fail: after an error every
// further operation does nothing and returns a zero Tensor, and the engine
// returns the first error when the step ends. Model code needs no error checks.
package nn

// Tensor is a matrix of activations, [Rows, Cols], float-valued, on the
// backend's device. Ref, Off and Stride belong to the backend that made it.
type Tensor struct {
	Ref        uint64
	Off        int // column offset of a view into Ref
	Stride     int // elements from one row of Ref to the next
	Rows, Cols int
}

// Weight is a loaded parameter: a matrix [Out, In], or a vector (In == 0). The
// zero Weight stands for an optional parameter that the model doesn't have.
type Weight struct {
	Ref     int // 1-based index into the backend's table
	Out, In int
}

// Present reports whether the weight exists.
func (w Weight) Present() bool { return w.Ref != 0 }

// Activation is the function of an MLP.
type Activation uint8

// The activations.
const (
	SiLU     Activation = iota // x·σ(x)
	GELUTanh                   // the tanh approximation of GELU
	GELU                       // with the error function
	Sigmoid                    // σ(x)
	// ClampedSwiGLU is gpt-oss's, for Experts only: with gate and up cut to at most
	// SwiGLULimit, up to at least minus that too, gate·σ(SwiGLUSlope·gate)·(up + 1).
	ClampedSwiGLU
)

// The constants of ClampedSwiGLU.
const (
	SwiGLULimit = 7
	SwiGLUSlope = 1.702
)

// RopeStyle says which pairs of a head's elements are rotated together.
type RopeStyle uint8

// The styles.
const (
	// RopeHalf pairs element i with i+d/2 (Hugging Face checkpoints, "neox").
	RopeHalf RopeStyle = iota
	// RopeInterleaved pairs 2i with 2i+1 (GGUF files of the llama family,
	// whose q and k rows were permuted for it).
	RopeInterleaved
)

// Rope describes a rotary position embedding (RoFormer, arXiv:2104.09864) of
// the first Dims elements of each head. Pair i turns by position·InvFreq[i].
// Scaling variants (linear, llama3, YaRN, LongRoPE) are folded into the frequencies
// and Scale by the model when it is loaded.
type Rope struct {
	Style   RopeStyle
	Dims    int
	InvFreq []float32 // Dims/2
	Scale   float32   // multiplies the rotated elements (YaRN's mscale); 0 means 1
	// LongInvFreq, [Dims/2], take the place of InvFreq in an engine whose sequences
	// may be longer than LongFrom positions (LongRoPE, arXiv:2402.13753). Absent:
	// there is one set of frequencies.
	LongInvFreq []float32
	LongFrom    int
}

// Frequencies are those for an engine whose sequences have up to context positions.
// They are the same for all of its sequences, short or long: keys that were rotated
// once, and may be shared, can't change when a sequence grows.
func (r *Rope) Frequencies(context int) []float32 {
	if r.LongInvFreq != nil && context > r.LongFrom {
		return r.LongInvFreq
	}
	return r.InvFreq
}

// Attention describes scaled dot-product attention of one layer.
type Attention struct {
	Layer          int // whose KV
	Heads, KVHeads int
	HeadDim        int
	Scale          float32
	SoftCap        float32 // logits become cap·tanh(x/cap); 0: off
	Window         int     // a query sees its last Window positions, itself included; 0: all
	// Sinks [Heads], if present, are scores that each query of a head has beside those of
	// its positions: they take part in the softmax, and have no value (arXiv:2309.17453).
	Sinks Weight
}

// Ops is one step on one backend. The rows of every full-height tensor are the
// batch's tokens in order.
type Ops interface {
	StateOps

	// Embed looks the step's token ids up in w [vocab, hidden].
	Embed(w Weight) Tensor
	// Linear is x·wᵀ (+ b when present): [n, In] to [n, Out].
	Linear(x Tensor, w, b Weight) Tensor
	// RMSNorm divides each group of len(w) elements by its root mean square
	// (plus eps under the root) and multiplies by w. With Cols == len(w) that is
	// the usual norm of a row, with a multiple of it the norm of each head.
	RMSNorm(x Tensor, w Weight, eps float32) Tensor
	// LayerNorm subtracts each row's mean, divides by the standard deviation (eps
	// added to the variance), multiplies by w [Cols] and adds b [Cols] when present
	// (arXiv:1607.06450).
	LayerNorm(x Tensor, w, b Weight, eps float32) Tensor
	// Add is a + b. It may reuse a's storage: a must not be used afterwards.
	Add(a, b Tensor) Tensor
	// Scale is x·s. It may reuse x's storage.
	Scale(x Tensor, s float32) Tensor
	// ScaleByPosition multiplies each row by 1 + slope·ln(1 + ⌊position/length⌋). It
	// may reuse x's storage, or the part of it that x views.
	ScaleByPosition(x Tensor, slope float32, length int) Tensor
	// SoftCap is bound·tanh(x/bound). It may reuse x's storage.
	SoftCap(x Tensor, bound float32) Tensor
	// Activate is act(x). It may reuse x's storage.
	Activate(x Tensor, act Activation) Tensor
	// Gated is act(x[:, :n])·x[:, n:], for a fused gate-and-up projection.
	Gated(x Tensor, act Activation) Tensor
	// Slice is columns [from, to) of x, without copying where possible.
	Slice(x Tensor, from, to int) Tensor
	// Rope rotates every head (Cols/headDim of them) of each row to the row's
	// position. It may reuse x's storage, or the part of it that x views.
	Rope(x Tensor, headDim int, r *Rope) Tensor
	// Attend appends k and v [n, KVHeads·HeadDim] to the layer's KV at the rows'
	// positions, then lets q [n, Heads·HeadDim] attend to all positions of its
	// own sequence up to its own. The result is [n, Heads·HeadDim].
	Attend(q, k, v Tensor, a Attention) Tensor
	// Experts lets each row of x [n, hidden] be worked on by the experts that its row
	// of logits [n, Count] chooses. Only experts that some row chooses are touched. A
	// row's result doesn't depend on what the others choose.
	Experts(x, logits Tensor, m *Experts) Tensor
	// Wanted keeps the rows whose logits the batch asks for. It may be none:
	// the model then still returns what Linear makes of zero rows.
	Wanted(x Tensor) Tensor
}

package nn

// Scoring says how a router's logits become the weights of the experts chosen.
type Scoring uint8

// The scorings.
const (
	SoftmaxScore Scoring = iota // softmax over all experts
	SigmoidScore                // σ of each logit (DeepSeek-V3, arXiv:2412.19437)
)

// Experts describes a layer of routed experts: each row is worked on by the Used
// experts with the highest scores, and gets the sum of what they return, weighted by
// their scores. Of experts with equal scores those with the lower numbers go first.
type Experts struct {
	Count, Used int
	// Up is, for each expert, [2·ffn, hidden]: the rows of its gate, then those of up.
	// Down is [hidden, ffn] for each. Both were made by Loader.Experts.
	Up, Down Weight
	// UpBias [Count·2·ffn] and DownBias [Count·hidden], if present, are added to what an
	// expert's matrices give.
	UpBias, DownBias Weight
	Act              Activation
	Scoring          Scoring
	// Correction [Count], if present, is added to the scores for the choice, not to
	// the weights.
	Correction Weight
	// Normalize has the weights of a row's experts divided by their sum.
	Normalize bool
	Scale     float32 // multiplies the weights; 0 means 1
}

// MixtureOfExperts is the feed-forward half of a layer in which each row has the
// experts that a router chooses (arXiv:1701.06538), and, in some models, one that
// all rows have.
type MixtureOfExperts struct {
	Router  Weight // [Experts.Count, hidden]
	Bias    Weight // [Experts.Count] of the router, or absent
	Experts Experts
	Shared  *MLP // nil: none
	// SharedGate [1, hidden], if present, gives what σ of multiplies Shared's result by.
	SharedGate Weight
}

// Forward is [n, hidden] to [n, hidden].
func (m *MixtureOfExperts) Forward(ops Ops, x Tensor) Tensor {
	y := ops.Experts(x, ops.Linear(x, m.Router, m.Bias), &m.Experts)
	if m.Shared != nil {
		shared := m.Shared.Forward(ops, x)
		if m.SharedGate.Present() {
			shared = ops.Multiply(shared, ops.Activate(ops.Linear(x, m.SharedGate, Weight{}), Sigmoid))
		}
		y = ops.Add(y, shared)
	}
	return y
}

package sample

// Draw is the choice of one token as plain data, for an engine that samples on
// its own device. [Sampler.Draw] makes it; what the device chose goes back with
// [Sampler.Accept]. Applied as the package comment says, in exact arithmetic, it
// gives the token that [Sampler.Sample] gives: the draw is by inverse transform,
// in order of token ids, at the place Uniform of the total weight.
type Draw struct {
	Temperature float64 // below 1e-5: the largest logit wins
	TopK        int     // 0: off
	TopP        float64 // 1: off
	MinP        float64 // 0: off
	Uniform     float64 // in [0, 1): where to draw
	// Edits change logits before anything else, each token at most once.
	Edits []Edit
	// Mask allows tokens as in Sample; nil allows all.
	Mask []uint32
	// Banned tokens can't be chosen; the maker has seen to it that another can.
	Banned []int32
	// Logprobs is the number of alternatives to report; negative: report nothing.
	Logprobs int
}

// Edit changes the logit x of a token to x/Divide if it is positive and x·Divide
// otherwise, plus Add.
type Edit struct {
	Token  int32
	Divide float32 // 1: no change
	Add    float32
}

package sample

// Draw is the choice of one token as plain data, for an engine that samples on
// its own device. [Sampler.Draw] makes it; what the device chose goes back with
// [Sampler.Accept]. A [Chooser] carries it out on the host and is what a device
// is measured by.
//
// Carried out in the order of the package comment, it means, for a row x:
//
//  1. each Edit is applied to the logit of its token;
//  2. NaN, tokens that Mask doesn't allow and those in Banned count as minus
//     infinity, plus infinity as the largest float32;
//  3. if Temperature is below 1e-5, the largest logit wins, the lowest id among
//     equals; nothing else below matters then;
//  4. TopK, TopP and MinP leave the tokens K; the weight of each is
//     exp((x-max)/Temperature), and at an edge with equal logits the lowest ids
//     stay;
//  5. the weights of K are added up in ascending order of token ids: the token
//     whose weight takes the sum above Uniform times the total is chosen.
//
// In exact arithmetic every device chooses the same token. In floating point two
// may differ where Uniform, or an edge of TopP or MinP, falls between two tokens
// to within the rounding of the weights. A row in which every logit is NaN or
// minus infinity after step 2 has nothing to choose: [ErrNoToken].
//
// Log-probabilities are those of the row before step 1.
type Draw struct {
	Temperature float64 // below 1e-5: the largest logit wins
	TopK        int     // 0: off
	TopP        float64 // 1: off
	MinP        float64 // 0: off
	Uniform     float64 // in [0, 1): where to draw
	// Edits change logits before anything else: tokens of the vocabulary, each at
	// most once.
	Edits []Edit
	// Mask allows tokens as in Sample; nil allows all.
	Mask []uint32
	// Banned tokens, all of the vocabulary, can't be chosen; the maker has seen to
	// it that Mask allows another.
	Banned []int32
	// Logprobs is the number of alternatives to report; negative: report nothing,
	// not even the chosen token's.
	Logprobs int
	// Shape, if set, has a Chooser choose in ways that a device doesn't know: who has
	// one there gives the row's logits to the host.
	Shape *Shape
}

// Edit changes the logit x of a token to x/Divide if it is positive and x·Divide
// otherwise, plus Add. What was finite before is cut to float32's finite range.
type Edit struct {
	Token  int32
	Divide float32 // above 0; 1: no change
	Add    float32
}

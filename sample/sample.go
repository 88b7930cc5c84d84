// Package sample turns a row of logits into a token. A [Sampler] belongs to one
// request: it holds the request's parameters, its random stream and the history
// that penalties look at. Same parameters, same seed, same logits: same tokens,
// whatever else runs beside it.
//
// # On the host and on a device
//
// The choice of one token is data, a [Draw]: the sampler makes it, and whoever
// has the logits carries it out. An engine may do so on its device; a [Chooser]
// does it here. [Sampler.Sample] is for those who have the row at hand:
//
//	draw := sampler.Draw(nil, nil)
//	choice, err := chooser.Choose(&draw, logits) // or a device, elsewhere, later
//	sampler.Accept(choice.Token)
//
// # Order of operations
//
// For every token, the row goes through this, in this order:
//
//  1. repetition penalty, over the prompt and the answer so far;
//  2. frequency and presence penalties, over the answer so far;
//  3. logit bias;
//  4. the mask of allowed tokens, then the banned tokens: neither can be drawn;
//  5. temperature 0: the largest logit wins, the lowest id among equals;
//     otherwise the logits are divided by the temperature;
//  6. top-k: the k largest logits stay;
//  7. top-p: of those, the fewest that together hold p of their probability;
//  8. min-p: of those, the ones at least min-p times as likely as the best;
//  9. one token is drawn from what is left, by its softmax: the weights are added
//     up in the order of ids until they pass a random part of their total.
//
// Ties at the edge of top-k and top-p go to the lowest id. This is the order of
// transformers and of vLLM (which applies min-p before top-k; the result differs
// only where top-p is given too).
//
// # Log-probabilities
//
// They are the model's own: the log-softmax of the row as it came in, before any
// of the steps above, accumulated in float64.
//
// # Cost
//
// Whole rows are read by the kernels of package simd only: one pass for the largest
// logit of each block of 64, and, where the probability of all counts, one for the
// sums of weights of each block of 256. Greedy needs the first. The first also
// shows which few blocks hold the k best, and tokens near enough to the best for
// top-p; a flat row takes longer. Thresholds are found in a histogram of what is
// left, so nothing the size of the vocabulary is ever sorted, save rows made of
// equal logits. Nothing is allocated in steady state but [Choice.Top].
//
// Weights are computed in float64 to within 1e-10 of themselves, not in the same
// way on every processor: a draw that falls that close to the border between two
// tokens may go to either.
package sample

import (
	"fmt"
	"math"
)

// Params are a request's sampling parameters. The zero value is not valid: start
// from [Defaults].
type Params struct {
	Temperature       float64 // 0: greedy
	TopK              int     // 0: off
	TopP              float64 // 1: off
	MinP              float64 // 0: off
	RepetitionPenalty float64 // 1: off; as in CTRL (arXiv:1909.05858), prompt included
	PresencePenalty   float64 // 0: off; as in OpenAI's API, generated tokens only
	FrequencyPenalty  float64 // 0: off; likewise
	LogitBias         map[int32]float64
	Seed              *uint64 // nil: a fresh random stream
	// Logprobs is the number of top alternatives to report beside the chosen
	// token's own log-probability; negative: report nothing.
	Logprobs int
}

// Defaults are OpenAI's: temperature 1, nothing else.
func Defaults() Params {
	return Params{Temperature: 1, TopP: 1, RepetitionPenalty: 1, Logprobs: -1}
}

// TokenLogprob is a token and its natural log-probability under the model's
// distribution: the softmax of the raw logits, before temperature, penalties,
// bias and truncation (as vLLM reports it by default). It is never below
// [MinLogprob].
type TokenLogprob struct {
	Token   int32
	Logprob float32
}

// MinLogprob stands for the logarithm of zero, which JSON can't carry. The value
// is OpenAI's.
const MinLogprob = -9999

// Choice is a sampled token.
type Choice struct {
	TokenLogprob
	// Top are the most likely tokens, best first; nil unless asked for.
	Top []TokenLogprob
}

// ParamError says which parameter is not acceptable and why. Param is the name
// the HTTP API gives it.
type ParamError struct {
	Param  string
	Reason string
}

func (e *ParamError) Error() string { return e.Param + ": " + e.Reason }

// Validate reports the first parameter that is out of its range, as a
// [*ParamError].
func (p Params) Validate() error {
	for _, c := range []struct {
		name  string
		value float64
		ok    bool
		want  string
	}{
		{"temperature", p.Temperature, p.Temperature >= 0, "0 or more"},
		{"top_k", float64(p.TopK), p.TopK >= 0, "0 (off) or more"},
		{"top_p", p.TopP, p.TopP > 0 && p.TopP <= 1, "above 0 and at most 1"},
		{"min_p", p.MinP, p.MinP >= 0 && p.MinP <= 1, "between 0 and 1"},
		{"repetition_penalty", p.RepetitionPenalty, p.RepetitionPenalty > 0, "above 0"},
		{"presence_penalty", p.PresencePenalty, math.Abs(p.PresencePenalty) <= 2, "between -2 and 2"},
		{"frequency_penalty", p.FrequencyPenalty, math.Abs(p.FrequencyPenalty) <= 2, "between -2 and 2"},
	} {
		if !c.ok || math.IsInf(c.value, 0) {
			return &ParamError{c.name, fmt.Sprintf("%v is out of range: it must be a number %s", c.value, c.want)}
		}
	}
	for token, bias := range p.LogitBias {
		if !(math.Abs(bias) <= 100) {
			return &ParamError{"logit_bias", fmt.Sprintf("the bias %v of token %d is out of range: it must be a number between -100 and 100", bias, token)}
		}
	}
	return nil
}

// validateVocab checks what depends on the model.
func (p Params) validateVocab(vocab int) error {
	for token := range p.LogitBias {
		if token < 0 || int(token) >= vocab {
			return &ParamError{"logit_bias", fmt.Sprintf("token %d does not exist: the model's tokens are 0 to %d", token, vocab-1)}
		}
	}
	return nil
}

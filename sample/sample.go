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
//  2. frequency and presence penalties, over the answer so far; logit bias; DRY;
//  3. words that must not be said: their last tokens are banned;
//  4. the mask of allowed tokens, then the banned tokens: neither can be drawn;
//  5. temperature 0: the largest logit wins, the lowest id among equals;
//     otherwise the logits are divided by the temperature;
//  6. top-k: the k largest logits stay;
//  7. top-p: of those, the fewest that together hold p of their probability;
//  8. min-p: of those, the ones at least min-p times as likely as the best;
//  9. one token is drawn from what is left, by its softmax: the weights are added
//     up in the order of ids until they pass a random part of their total.
//
// Rarer ways to truncate, a temperature that depends on the row, and Mirostat have
// their places in it too: a [Shape] says which. They are for the host only.
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
	"slices"
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
	// PenaltyWindow is how many tokens back the three penalties look; 0: over all.
	PenaltyWindow int
	LogitBias     map[int32]float64
	// BadWords can't be said: token sequences whose last token is banned where the
	// answer ends with the others.
	BadWords [][]int32

	// Steps of a Shape, which says what they do.
	TopNSigma                     float64 // 0: off
	TypicalP                      float64 // 1: off
	XTCProbability, XTCThreshold  float64 // 0: off
	DynamicRange, DynamicExponent float64 // 0: off
	Mirostat                      int     // 0: off; 1 or 2
	MirostatTau, MirostatEta      float64 // target in bits, and how fast it is approached

	// DRY makes repetitions of sequences less likely, see Sampler.dry.
	DRYMultiplier    float64 // 0: off
	DRYBase          float64
	DRYAllowedLength int            // tokens; at least 1
	DRYWindow        int            // tokens to look back over; 0: 8192, which is the most
	DRYBreakers      map[int32]bool // tokens that repetitions don't reach over

	Seed *uint64 // nil: a fresh random stream
	// Logprobs is the number of top alternatives to report beside the chosen
	// token's own log-probability; negative: report nothing.
	Logprobs int
}

// Defaults are OpenAI's: temperature 1, nothing else.
func Defaults() Params {
	return Params{
		Temperature: 1, TopP: 1, RepetitionPenalty: 1, Logprobs: -1, TypicalP: 1, XTCThreshold: 0.1, DynamicExponent: 1,
		MirostatTau: 5, MirostatEta: 0.1, DRYBase: 1.75, DRYAllowedLength: 2,
	}
}

// needsShape reports whether a draw takes more than a device knows.
func (p *Params) needsShape() bool {
	return p.TopNSigma > 0 || p.TypicalP < 1 || p.XTCProbability > 0 || p.DynamicRange > 0 || p.Mirostat > 0
}

func (p *Params) shape() Shape {
	return Shape{
		TopNSigma: p.TopNSigma, TypicalP: p.TypicalP, XTCProbability: p.XTCProbability, XTCThreshold: p.XTCThreshold,
		DynamicRange: p.DynamicRange, DynamicExponent: p.DynamicExponent, Mirostat: p.Mirostat, Mu: 2 * p.MirostatTau,
	}
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
		{"repeat_last_n", float64(p.PenaltyWindow), p.PenaltyWindow >= 0, "0 (all) or more"},
		{"top_n_sigma", p.TopNSigma, p.TopNSigma >= 0, "0 (off) or more"},
		{"typical_p", p.TypicalP, p.TypicalP > 0 && p.TypicalP <= 1, "above 0 and at most 1"},
		{"xtc_probability", p.XTCProbability, p.XTCProbability >= 0 && p.XTCProbability <= 1, "between 0 and 1"},
		{"xtc_threshold", p.XTCThreshold, p.XTCThreshold > 0 && p.XTCThreshold <= 1, "above 0 and at most 1"},
		{"dynatemp_range", p.DynamicRange, p.DynamicRange >= 0, "0 (off) or more"},
		{"dynatemp_exponent", p.DynamicExponent, p.DynamicExponent > 0, "above 0"},
		{"mirostat", float64(p.Mirostat), p.Mirostat >= 0 && p.Mirostat <= 2, "0 (off), 1 or 2"},
		{"mirostat_tau", p.MirostatTau, p.MirostatTau > 0, "above 0"},
		{"mirostat_eta", p.MirostatEta, p.MirostatEta > 0 && p.MirostatEta <= 1, "above 0 and at most 1"},
		{"dry_multiplier", p.DRYMultiplier, p.DRYMultiplier >= 0, "0 (off) or more"},
		{"dry_base", p.DRYBase, p.DRYBase >= 1, "1 or more"},
		{"dry_allowed_length", float64(p.DRYAllowedLength), p.DRYAllowedLength >= 1, "1 or more"},
		{"dry_penalty_last_n", float64(p.DRYWindow), p.DRYWindow >= 0, "0 (all) or more"},
	} {
		if !c.ok || math.IsInf(c.value, 0) {
			return &ParamError{c.name, fmt.Sprintf("%v is out of range: it must be a number %s", c.value, c.want)}
		}
	}
	if p.Mirostat > 0 && (p.TopK > 0 || p.TopP < 1 || p.MinP > 0 || p.TopNSigma > 0 || p.TypicalP < 1 || p.XTCProbability > 0 || p.DynamicRange > 0) {
		return &ParamError{"mirostat", "it takes the place of all other truncations: leave out top_k, top_p, min_p, top_n_sigma, typical_p, xtc_probability and dynatemp_range"}
	}
	if slices.ContainsFunc(p.BadWords, func(w []int32) bool { return len(w) == 0 }) {
		return &ParamError{"bad_words", "a word is empty"}
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
	for _, w := range p.BadWords {
		for _, token := range w {
			if token < 0 || int(token) >= vocab {
				return &ParamError{"bad_words", fmt.Sprintf("token %d does not exist: the model's tokens are 0 to %d", token, vocab-1)}
			}
		}
	}
	for token := range p.LogitBias {
		if token < 0 || int(token) >= vocab {
			return &ParamError{"logit_bias", fmt.Sprintf("token %d does not exist: the model's tokens are 0 to %d", token, vocab-1)}
		}
	}
	return nil
}

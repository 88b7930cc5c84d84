// Package sample turns a row of logits into a token. A [Sampler] belongs to one
// request: it holds the request's parameters, its random stream and the history
// that penalties look at. Same parameters, same seed, same logits: same tokens.
package sample

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
// bias and truncation (as vLLM reports it by default).
type TokenLogprob struct {
	Token   int32
	Logprob float32
}

// Choice is a sampled token.
type Choice struct {
	TokenLogprob
	// Top are the most likely tokens, best first; nil unless asked for.
	Top []TokenLogprob
}

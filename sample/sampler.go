package sample

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
)

// ErrNoToken is returned when no token can be chosen: every logit that the mask
// allows is NaN or minus infinity. It is an error and not a token of last resort
// because it means that the model's arithmetic, the file or the mask is broken,
// and an answer that goes on regardless would hide that.
var ErrNoToken = errors.New("no token can be chosen: every allowed logit is NaN or minus infinity")

// greedyBelow is the temperature under which drawing is the same as taking the
// best, as in vLLM: dividing by less would only overflow.
const greedyBelow = 1e-5

// A Sampler chooses the tokens of one request. It is not safe for concurrent use.
type Sampler struct {
	params  Params
	random  *rand.PCG
	bias    []biased
	history history

	raw    []float32 // the row before it was changed; only when logprobs are asked for
	saved  []float32 // logits of banned tokens
	blocks []float64 // draw's partial sums
	trunc  *truncation
}

type biased struct {
	token int32
	bias  float64
}

// New makes the sampler of one request to a model with vocab tokens. It fails
// with a [*ParamError] when p is not valid for that model.
func New(p Params, vocab int) (*Sampler, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if err := p.validateVocab(vocab); err != nil {
		return nil, err
	}
	var seed uint64
	if p.Seed != nil {
		seed = *p.Seed
	} else {
		seed = rand.Uint64()
	}
	s := &Sampler{params: p, random: rand.NewPCG(seed, streamID)}
	for token, bias := range p.LogitBias {
		s.bias = append(s.bias, biased{token, bias})
	}
	if p.TopK > 0 || p.TopP < 1 {
		s.trunc = new(truncation)
	}
	return s, nil
}

// streamID is the second half of the generator's seed. Changing it changes every
// seeded answer.
const streamID = 0x9e3779b97f4a7c15

// Prompt tells the sampler the request's prompt, which the repetition penalty
// counts as said. It may be called more than once, with consecutive parts.
func (s *Sampler) Prompt(tokens []int32) {
	if s.params.RepetitionPenalty == 1 {
		return
	}
	for _, t := range tokens {
		s.history.add(t, 0)
	}
}

// Sample chooses a token by its logits, one for each entry of the vocabulary, and
// records it in the history. It overwrites logits.
//
// A nil mask allows every token; otherwise bit i%32 of mask[i/32] allows token i,
// and what lies beyond the mask's end is not allowed. The tokens in banned can't
// be chosen either (stop tokens before a minimum length, say), unless the mask
// leaves nothing else: a grammar that can only end then ends.
//
// NaN counts as minus infinity, plus infinity as the largest float32.
func (s *Sampler) Sample(logits []float32, mask []uint32, banned []int32) (Choice, error) {
	if s.params.Logprobs >= 0 {
		s.raw = append(s.raw[:0], logits...)
	}
	s.penalize(logits)
	for _, b := range s.bias {
		if int(b.token) < len(logits) {
			logits[b.token] = clamp(float64(logits[b.token]) + b.bias)
		}
	}
	if mask != nil {
		applyMask(logits, mask)
	}
	s.saved = s.saved[:0]
	for _, t := range banned {
		if t >= 0 && int(t) < len(logits) {
			s.saved = append(s.saved, logits[t])
			logits[t] = negInf
		}
	}

	best := argmax(logits)
	if best < 0 && len(s.saved) > 0 {
		// Backwards, so that a token that is banned twice gets its logit back.
		n := len(s.saved)
		for i := len(banned) - 1; i >= 0; i-- {
			if t := banned[i]; t >= 0 && int(t) < len(logits) {
				n--
				logits[t] = s.saved[n]
			}
		}
		best = argmax(logits)
	}
	if best < 0 {
		return Choice{}, ErrNoToken
	}

	token := int32(best)
	if s.params.Temperature >= greedyBelow {
		token = s.draw(logits, float64(logits[best]))
	}
	if s.params.RepetitionPenalty != 1 || s.params.PresencePenalty != 0 || s.params.FrequencyPenalty != 0 {
		s.history.add(token, 1)
	}
	choice := Choice{TokenLogprob: TokenLogprob{Token: token}}
	if s.params.Logprobs >= 0 {
		choice = logprobs(s.raw, token, s.params.Logprobs)
	}
	return choice, nil
}

// penalize applies the repetition penalty of CTRL (a positive logit is divided, a
// negative one multiplied), then OpenAI's: x -= frequency*count + presence*[count>0].
func (s *Sampler) penalize(logits []float32) {
	p := &s.params
	for i, t := range s.history.tokens {
		if t < 0 || int(t) >= len(logits) {
			continue
		}
		x := float64(logits[t])
		if x > 0 {
			x /= p.RepetitionPenalty
		} else {
			x *= p.RepetitionPenalty
		}
		if n := s.history.counts[i]; n > 0 {
			x -= p.FrequencyPenalty*float64(n) + p.PresencePenalty
		}
		logits[t] = clamp(x)
	}
}

// history is the set of tokens said so far, and how often each was generated.
type history struct {
	index  map[int32]int
	tokens []int32
	counts []int
}

func (h *history) add(token int32, times int) {
	i, seen := h.index[token]
	if !seen {
		if h.index == nil {
			h.index = make(map[int32]int)
		}
		i = len(h.tokens)
		h.index[token] = i
		h.tokens = append(h.tokens, token)
		h.counts = append(h.counts, 0)
	}
	h.counts[i] += times
}

var negInf = float32(math.Inf(-1))

// clamp keeps a finite logit finite: a penalty may push it past float32's range.
func clamp(x float64) float32 {
	if math.IsInf(x, 0) {
		return float32(x)
	}
	return float32(max(-math.MaxFloat32, min(x, math.MaxFloat32)))
}

// applyMask sets the logits of tokens that mask doesn't allow to minus infinity.
func applyMask(logits []float32, mask []uint32) {
	for start := 0; start < len(logits); start += 32 {
		var word uint32
		if start/32 < len(mask) {
			word = mask[start/32]
		}
		if word == math.MaxUint32 {
			continue
		}
		for i := range logits[start:min(start+32, len(logits))] {
			if word>>i&1 == 0 {
				logits[start+i] = negInf
			}
		}
	}
}

// argmax returns the index of the largest logit, the first among equals; -1 when
// every logit is NaN or minus infinity. Plus infinity is replaced in place by the
// largest float32.
func argmax(logits []float32) int {
	best, top := -1, negInf
	for i, x := range logits {
		if x > top {
			best, top = i, x
		}
	}
	if top > math.MaxFloat32 {
		for i, x := range logits {
			if x > math.MaxFloat32 {
				logits[i] = math.MaxFloat32
			}
		}
		return slices.Index(logits, math.MaxFloat32)
	}
	return best
}

package sample

import (
	"cmp"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// A Sampler makes the draws of one request: it holds the request's parameters,
// its random stream and the history that penalties look at. It is not safe for
// concurrent use.
//
// [Sampler.Sample] chooses a token from a row of logits. Where the logits are on
// a device, [Sampler.Draw] says what to do there, and [Sampler.Accept] records
// what came of it; Sample is the two with a [Chooser] in between.
type Sampler struct {
	params  Params
	vocab   int
	chooser Chooser

	// random is ahead of accepted by the draws that wait for their tokens.
	random, accepted rand.PCG

	// edits are what bias and penalties do to logits now: first those of biased
	// tokens, by id, then those of others as they were said.
	edits  []Edit
	biased int
	said   map[int32]said

	history history
	shape   Shape   // of the params, if they need one; Mu changes
	now     []Edit  // of a draw with DRY
	matches []int   // of dry
	banned  []int32 // of forbidden
}

// said is what penalties need to know about a token of the prompt or the answer.
type said struct {
	edit          int // its place in edits
	spoken, times int // times that it was said, and that it was generated
	bias          float64
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
	s := &Sampler{params: p, vocab: vocab, random: *rand.NewPCG(seed, streamID), biased: len(p.LogitBias)}
	s.accepted = s.random
	s.params.LogitBias = nil // it is the caller's
	s.shape = s.params.shape()
	for token, bias := range p.LogitBias {
		s.edits = append(s.edits, Edit{Token: token, Divide: 1, Add: float32(bias)})
	}
	slices.SortFunc(s.edits, func(a, b Edit) int { return cmp.Compare(a.Token, b.Token) })
	return s, nil
}

// streamID is the second half of the generator's seed. Changing it changes every
// seeded answer.
const streamID = 0x9e3779b97f4a7c15

// Prompt tells the sampler the request's prompt, which the repetition penalty
// counts as said. It may be called more than once, with consecutive parts.
func (s *Sampler) Prompt(tokens []int32) {
	if s.params.RepetitionPenalty == 1 && !s.params.keepsHistory() {
		return
	}
	for _, t := range tokens {
		s.say(t, false)
	}
}

// Sample chooses a token by its logits, one for each entry of the vocabulary, and
// records it in the history. It overwrites logits.
//
// A nil mask allows every token; otherwise bit i%32 of mask[i/32] allows token i,
// and what lies beyond the mask's end is not allowed. The tokens in banned can't
// be chosen either (stop tokens before a minimum length, say), unless the mask
// allows nothing else: a grammar that can only end then ends.
//
// NaN counts as minus infinity, plus infinity as the largest float32.
func (s *Sampler) Sample(logits []float32, mask []uint32, banned []int32) (Choice, error) {
	d := s.Draw(mask, banned)
	c, err := s.chooser.Choose(&d, logits)
	if err != nil {
		return Choice{}, err
	}
	s.Accept(c.Token)
	return c, nil
}

// Draw says how the next token is to be chosen; mask and banned are as for
// [Sampler.Sample]. Unless it is greedy it takes one number of the random stream.
//
// A second draw may be made before the first one's token is known if the sampler
// is [Sampler.Memoryless]. The draw's Edits are the sampler's own, and stay as
// they are until Accept or Prompt; Mask and Banned are the caller's.
func (s *Sampler) Draw(mask []uint32, banned []int32) Draw {
	p := &s.params
	d := Draw{
		Temperature: p.Temperature, TopK: p.TopK, TopP: p.TopP, MinP: p.MinP,
		Edits: s.edits, Mask: mask, Banned: s.effective(s.forbidden(banned), mask), Logprobs: p.Logprobs,
	}
	if p.DRYMultiplier > 0 {
		s.now = s.dry(append(s.now[:0], s.edits...))
		d.Edits = s.now
	}
	if p.Temperature >= greedyBelow {
		d.Uniform = uniform(&s.random)
		if p.needsShape() {
			d.Shape = &s.shape
			if p.XTCProbability > 0 {
				s.shape.XTCUniform = uniform(&s.random)
			}
		}
	}
	return d
}

// Accept records the token that came of the oldest draw that waits for one.
func (s *Sampler) Accept(token int32) {
	if p := &s.params; p.Temperature >= greedyBelow {
		s.accepted.Uint64()
		if p.XTCProbability > 0 {
			s.accepted.Uint64()
		}
		if p.Mirostat > 0 {
			s.shape.Mu -= p.MirostatEta * (s.shape.Surprise - p.MirostatTau)
		}
	}
	if !s.forgetful() {
		s.say(token, true)
	}
}

// uniform is a number in [0, 1).
func uniform(r *rand.PCG) float64 { return float64(r.Uint64()>>11) * 0x1p-53 }

// Rewind forgets the draws whose tokens weren't accepted: the next one takes the
// random number of the first of them again.
func (s *Sampler) Rewind() { s.random = s.accepted }

// Memoryless reports whether the next draw is the same whatever token came last: no
// penalty looks at the history, and a device can carry it out.
func (s *Sampler) Memoryless() bool {
	return s.forgetful() && !(s.params.Temperature >= greedyBelow && s.params.needsShape())
}

// forgetful reports whether nothing looks at what was said.
func (s *Sampler) forgetful() bool {
	p := &s.params
	return p.RepetitionPenalty == 1 && p.PresencePenalty == 0 && p.FrequencyPenalty == 0 && !p.keepsHistory()
}

// say takes note of a token that was said, and maybe generated.
func (s *Sampler) say(token int32, generated bool) {
	if token < 0 || int(token) >= s.vocab {
		return
	}
	if s.params.keepsHistory() {
		if left, gone, wasGenerated := s.record(token, generated); gone {
			s.count(left, -1, wasGenerated)
		}
	}
	if p := &s.params; p.RepetitionPenalty != 1 || generated && (p.PresencePenalty != 0 || p.FrequencyPenalty != 0) {
		s.count(token, 1, generated)
	}
}

// count updates what penalties do to a token that was said once more, or, with -1,
// has left their window. They are the repetition penalty of CTRL (a positive logit is
// divided, a negative one multiplied), then OpenAI's: frequency·count +
// presence·[count>0] is taken off.
func (s *Sampler) count(token int32, by int, generated bool) {
	if _, known := s.said[token]; by < 0 && !known {
		return // penalties don't look at it
	}
	p := &s.params
	t, known := s.said[token]
	if !known {
		if s.said == nil {
			s.said = make(map[int32]said)
		}
		t.edit, known = slices.BinarySearchFunc(s.edits[:s.biased], token, func(e Edit, t int32) int { return cmp.Compare(e.Token, t) })
		if !known {
			t.edit = len(s.edits)
			s.edits = append(s.edits, Edit{Token: token})
		}
		t.bias = float64(s.edits[t.edit].Add)
	}
	t.spoken += by
	if generated {
		t.times += by
	}
	s.said[token] = t
	add := t.bias
	if t.times > 0 {
		add -= p.FrequencyPenalty*float64(t.times) + p.PresencePenalty
	}
	s.edits[t.edit].Divide = 1
	if t.spoken > 0 {
		s.edits[t.edit].Divide = float32(max(smallestNormal, min(p.RepetitionPenalty, math.MaxFloat32)))
	}
	s.edits[t.edit].Add = clamp(add)
}

// smallestNormal is the smallest float32 that no device takes for zero.
const smallestNormal = 0x1p-126

// effective is what banned means beside mask: tokens of the vocabulary, and none
// at all if they are all that mask allows.
func (s *Sampler) effective(banned []int32, mask []uint32) []int32 {
	foreign := func(t int32) bool { return t < 0 || int(t) >= s.vocab }
	if slices.ContainsFunc(banned, foreign) {
		banned = slices.DeleteFunc(slices.Clone(banned), foreign)
	}
	if len(banned) == 0 || mask == nil && len(banned) < s.vocab {
		return banned
	}
	left := 0 // tokens allowed and not banned
	for i := range (s.vocab + 31) / 32 {
		word := uint32(math.MaxUint32)
		if mask != nil {
			if i >= len(mask) {
				break
			}
			word = mask[i]
		}
		if rest := s.vocab - 32*i; rest < 32 {
			word &= 1<<rest - 1
		}
		if left += bits.OnesCount32(word); left > len(banned) {
			return banned // most often after a word or two
		}
	}
	for i, t := range banned {
		allowed := mask == nil || int(t)/32 < len(mask) && mask[t/32]>>(t%32)&1 == 1
		if allowed && !slices.Contains(banned[:i], t) {
			left--
		}
	}
	if left == 0 {
		return nil
	}
	return banned
}

package scheduler

import (
	"math/bits"
	"time"
)

// pace knows what steps cost, from those that were run: steps without prompts, by how many
// tokens they compute, and each token of a prompt beside them.
type pace struct {
	plain [12]cost // by the length of the number of tokens in bits
	steps int
	token float64 // seconds; 0: not known yet
}

// cost is what steps of about the same size have cost lately.
type cost struct {
	tokens, seconds float64
	step            int // the last of them
}

const (
	leastPrefill  = 8                     // tokens of prompts in any step
	firstPrefill  = 64                    // while nothing is known
	leastTarget   = 10 * time.Millisecond // what a step may take if nothing else is said
	targetDecodes = 2.4                   // or so many times one without prompts
	// A cost that wasn't seen for so many steps is forgotten, so that it is tried again.
	costForgotten = 256
	// marginal is what a further token is taken to cost, as a part of a step, while
	// nothing is known: little, so that it is tried.
	marginal = 1.0 / 16
)

// mix has what was measured last count for a quarter.
func mix(old *float64, new float64) {
	if *old == 0 {
		*old = new
	}
	*old += (new - *old) / 4
}

// add takes note of a step.
func (p *pace) add(s Step) {
	took := s.Duration.Seconds()
	p.steps++
	switch {
	case s.PrefillTokens == 0 && s.DecodeTokens > 0:
		c := &p.plain[min(bits.Len(uint(s.DecodeTokens)), len(p.plain)-1)]
		if p.steps-c.step > costForgotten {
			*c = cost{}
		}
		mix(&c.tokens, float64(s.DecodeTokens))
		mix(&c.seconds, took)
		c.step = p.steps
	case s.PrefillTokens >= leastPrefill/2:
		decode := p.decode(s.DecodeTokens)
		if s.DecodeTokens > 0 && decode == 0 { // nothing is known: all tokens cost the same
			decode = took * float64(s.DecodeTokens) / float64(s.DecodeTokens+s.PrefillTokens)
		}
		mix(&p.token, (took-decode)/float64(s.PrefillTokens))
	}
}

// decode is what a step without prompts costs that computes n tokens, in seconds; 0: not
// known yet.
func (p *pace) decode(n int) float64 {
	if n == 0 {
		return 0
	}
	var below, above *cost // the nearest that are known
	for i := range p.plain {
		c := &p.plain[i]
		if c.seconds == 0 || p.steps-c.step > costForgotten {
			continue
		}
		if c.tokens <= float64(n) {
			below = c
		} else if above == nil {
			above = c
		}
	}
	switch {
	case below == nil && above == nil:
		return 0
	case below == nil:
		return above.seconds
	case above == nil:
		return below.seconds * (1 + marginal*(float64(n)-below.tokens))
	}
	part := (float64(n) - below.tokens) / (above.tokens - below.tokens)
	return below.seconds + part*max(0, above.seconds-below.seconds)
}

// tokens is how many of prompts may be computed in a step beside so many of generating
// sequences.
func (p *pace) tokens(target time.Duration, decoding int) int {
	if p.token == 0 {
		return firstPrefill
	}
	decode := p.decode(decoding)
	seconds := target.Seconds()
	if target == 0 {
		seconds = max(leastTarget.Seconds(), targetDecodes*decode)
	}
	return int(max(leastPrefill, min((seconds-decode)/max(p.token, 1e-9), 1<<30)))
}

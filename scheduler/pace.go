package scheduler

import "time"

// pace knows what steps cost, from those that were run: a step without prompts, and
// each token of a prompt beside it.
type pace struct {
	decode, token float64 // seconds; 0: not known yet
}

const (
	leastPrefill  = 16                    // tokens of prompts in any step
	firstPrefill  = 64                    // while nothing is known
	leastTarget   = 10 * time.Millisecond // what a step may take if nothing else is said
	targetDecodes = 2.4                   // or so many times one without prompts
)

// add takes note of a step. What was measured last counts for a quarter.
func (p *pace) add(s Step) {
	took := s.Duration.Seconds()
	mix := func(old *float64, new float64) {
		if *old == 0 {
			*old = new
		}
		*old += (new - *old) / 4
	}
	switch {
	case s.PrefillTokens == 0 && s.DecodeTokens > 0:
		mix(&p.decode, took)
	case s.PrefillTokens >= leastPrefill/2:
		rest := took
		if s.DecodeTokens > 0 {
			rest -= p.decode
		}
		mix(&p.token, max(rest, 0)/float64(s.PrefillTokens))
	}
}

// tokens is how many of prompts may be computed in a step beside generating sequences.
func (p *pace) tokens(target time.Duration) int {
	if p.token == 0 {
		return firstPrefill
	}
	seconds := target.Seconds()
	if target == 0 {
		seconds = max(leastTarget.Seconds(), targetDecodes*p.decode)
	}
	return int(max(leastPrefill, min((seconds-p.decode)/p.token, 1<<30)))
}

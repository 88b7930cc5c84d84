package draft

import (
	"cmp"
	"math"
	"slices"
)

// Rate is how often guessed tokens were right, if all before them were. Old guesses
// count for less and less. The zero value knows nothing yet.
type Rate struct{ right, tried float64 }

// memory is about how many guesses count.
const memory = 32

// Add takes note of a guess: its first tokens were right, and the one after them, unless
// it ended there, was wrong.
func (r *Rate) Add(right int, wrong bool) {
	for range right {
		r.add(1)
	}
	if wrong {
		r.add(0)
	}
}

func (r *Rate) add(v float64) {
	r.right += v - r.right/memory
	r.tried += 1 - r.tried/memory
}

// Mean is the part of tokens that was right. Until something is known it is close to a prior.
func (r Rate) Mean(prior float64) float64 {
	const weight = 4
	return (r.right + weight*prior) / (r.tried + weight)
}

// Candidate is a sequence for which tokens could be guessed.
type Candidate struct {
	Right float64 // the probability of each token, if those before it are right
	Most  int     // tokens
	Take  int     // set by Choose: how many should be
}

// Choose decides how many tokens to guess for each sequence, so that the most tokens come
// out per time of a step. It would take plain tokens without any guess; seconds(n, depth)
// is how long it takes with n guessed tokens, depth of one sequence at most. The number of guesses
// is limited.
func Choose(candidates []Candidate, plain, limit int, seconds func(n, depth int) float64) {
	type token struct {
		of    int
		depth int
		gain  float64
	}
	var all []token
	for i := range candidates {
		c := &candidates[i]
		c.Take = 0
		gain := 1.0
		for d := range c.Most {
			gain *= c.Right
			if gain < 0.02 {
				break
			}
			all = append(all, token{i, d + 1, gain})
		}
	}
	slices.SortStableFunc(all, func(a, b token) int { return cmp.Compare(b.gain, a.gain) })
	all = all[:min(len(all), max(limit, 0))]

	best, count := float64(plain)/seconds(0, 0), 0
	tokens, depth := float64(plain), 0
	for n, t := range all {
		tokens += t.gain
		depth = max(depth, t.depth)
		if rate := tokens / seconds(n+1, depth); rate > best && !math.IsInf(rate, 0) {
			best, count = rate, n+1
		}
	}
	for _, t := range all[:count] {
		candidates[t.of].Take = t.depth
	}
}

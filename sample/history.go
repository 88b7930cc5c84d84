package sample

import (
	"math"
	"slices"
)

// history is the last tokens of prompt and answer, for what looks at their order:
// penalties over a window, DRY, and words that must not be said.
type history struct {
	tokens    []int32
	generated int // of tokens, those of the answer: the last
}

// keepsHistory reports whether the order of tokens matters.
func (p *Params) keepsHistory() bool {
	return p.PenaltyWindow > 0 || p.DRYMultiplier > 0 || slices.ContainsFunc(p.BadWords, func(w []int32) bool { return len(w) > 1 })
}

// mostHistory bounds what DRY looks back over, and with it the time of a draw.
const mostHistory = 1 << 13

// record appends a token to the history. It returns the token that leaves the window
// of penalties by it, if one does.
func (s *Sampler) record(token int32, generated bool) (left int32, gone, wasGenerated bool) {
	h := &s.history
	h.tokens = append(h.tokens, token)
	if generated {
		h.generated++
	}
	if w := s.params.PenaltyWindow; w > 0 && len(h.tokens) > w {
		at := len(h.tokens) - 1 - w
		left, gone, wasGenerated = h.tokens[at], true, at >= len(h.tokens)-h.generated
	}
	if len(h.tokens) >= 2*max(mostHistory, s.params.PenaltyWindow+1) {
		h.tokens = slices.Delete(h.tokens, 0, len(h.tokens)/2)
		h.generated = min(h.generated, len(h.tokens))
	}
	return left, gone, wasGenerated
}

// dry adds DRY's penalties to edits: a token that would go on with a repetition of at
// least DRYAllowedLength tokens loses DRYMultiplier·DRYBase^(length-DRYAllowedLength),
// by the longest. A repetition doesn't reach over a token of DRYBreakers.
// (github.com/oobabooga/text-generation-webui, pull request 5677.)
func (s *Sampler) dry(edits []Edit) []Edit {
	p := &s.params
	h := s.history.tokens
	window := mostHistory
	if p.DRYWindow > 0 {
		window = min(window, p.DRYWindow)
	}
	h = h[max(0, len(h)-window):]
	if len(h) < 2 {
		return edits
	}
	s.matches = suffixMatches(s.matches[:0], h, p.DRYBreakers)
	longest := map[int32]int{}
	for i, n := range s.matches {
		if next := h[i+1]; n >= p.DRYAllowedLength && n > longest[next] {
			longest[next] = n
		}
	}
	for i := range edits {
		if n := longest[edits[i].Token]; n > 0 {
			edits[i].Add = clamp(float64(edits[i].Add) - p.dryPenalty(n))
			delete(longest, edits[i].Token)
		}
	}
	first := len(edits)
	for token, n := range longest {
		edits = append(edits, Edit{Token: token, Divide: 1, Add: clamp(-p.dryPenalty(n))})
	}
	slices.SortFunc(edits[first:], func(a, b Edit) int { return int(a.Token) - int(b.Token) })
	return edits
}

func (p *Params) dryPenalty(n int) float64 {
	return min(math.MaxFloat32, p.DRYMultiplier*math.Pow(p.DRYBase, float64(n-p.DRYAllowedLength)))
}

// suffixMatches sets, for each i but the last, how many tokens up to i are the same as
// those up to the end, by the Z algorithm on the reversed text. A breaker ends a match.
func suffixMatches(z []int, h []int32, breakers map[int32]bool) []int {
	n := len(h)
	limit := 0 // of a match: up to the last breaker
	for limit < n && !breakers[h[n-1-limit]] {
		limit++
	}
	at := func(i int) int32 { return h[n-1-i] } // the reversed text
	z = slices.Grow(z, n)[:n]
	clear(z)
	left, right := 0, 0
	for i := 1; i < n; i++ {
		if i < right {
			z[i] = min(right-i, z[i-left])
		}
		for i+z[i] < n && at(z[i]) == at(i+z[i]) {
			z[i]++
		}
		if i+z[i] > right {
			left, right = i, i+z[i]
		}
	}
	// Back in the order of the text, without the end itself.
	z = z[1:]
	slices.Reverse(z)
	for i := range z {
		z[i] = min(z[i], limit)
	}
	return z
}

// forbidden adds to banned the tokens that would complete a word of BadWords. Only
// what was generated counts as its beginning.
func (s *Sampler) forbidden(banned []int32) []int32 {
	if len(s.params.BadWords) == 0 {
		return banned
	}
	said := s.history.tokens[len(s.history.tokens)-s.history.generated:]
	s.banned = append(s.banned[:0], banned...)
	for _, w := range s.params.BadWords {
		begin := w[:len(w)-1]
		if len(begin) <= len(said) && slices.Equal(said[len(said)-len(begin):], begin) {
			s.banned = append(s.banned, w[len(w)-1])
		}
	}
	return s.banned
}

package kvstore

import "time"

// cost is what was measured of a model.
type cost struct {
	load    [tiers]rate // bytes: reading, verifying and importing
	prefill rate        // tokens
	refused int         // answers in a row that computing is cheaper
}

const (
	// decay is how much of what was observed remains with each new observation.
	decay = 0.8
	// retry is after how many refusals a load is tried again: what isn't done isn't
	// measured, and a disk that was slow once needn't stay so.
	retry = 64
)

// rate is an amount by time: the ratio of two sums that forget, so that a long
// observation weighs more than a short one.
type rate struct{ amount, seconds float64 }

func (r *rate) observe(amount float64, d time.Duration) {
	if amount <= 0 || d <= 0 {
		return
	}
	r.amount = decay*r.amount + amount
	r.seconds = decay*r.seconds + d.Seconds()
}

// time is how long an amount takes, and whether that was measured.
func (r *rate) time(amount float64) (float64, bool) {
	return amount * r.seconds / r.amount, r.amount > 0
}

func (s *Store) cost(model string) *cost {
	c := s.costs[model]
	if c == nil {
		c = &cost{}
		s.costs[model] = c
	}
	return c
}

// ObservePrefill tells that a model computed so many tokens of prompts in d.
// (What Load takes is observed by Load.)
func (s *Store) ObservePrefill(model string, tokens int, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cost(model).prefill.observe(float64(tokens), d)
}

// Cheaper is whether loading an entry takes less time than computing the tokens that
// it matched, by what was measured of its model. Until both were measured, and
// once in a while thereafter, the answer is yes, so that they are.
func (s *Store) Cheaper(e Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cost(e.Scope.Model)
	load, okLoad := c.load[e.Where].time(float64(e.Bytes))
	compute, okCompute := c.prefill.time(float64(e.Matched))
	if !okLoad || !okCompute || load < compute || c.refused >= retry {
		c.refused = 0
		return true
	}
	c.refused++
	return false
}

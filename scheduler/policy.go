package scheduler

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// tooMany reports whether a client has as many requests waiting as it may.
func (s *Scheduler) tooMany(client string) bool {
	if s.opts.ClientQueue <= 0 {
		return false
	}
	n := 0
	for _, q := range s.waiting {
		if q.req.Client == client {
			n++
		}
	}
	return n >= s.opts.ClientQueue
}

// nextWaiting is who is to be let in next, or nil: by the policy, then by who has least
// running, then by arrival. Those that wait for what another one is computing are passed
// over, and those whose client has enough running.
func (s *Scheduler) nextWaiting() *Sequence {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return nil
	}
	running := map[string]int{}
	for _, q := range s.running {
		running[q.req.Client]++
	}
	now := time.Now()
	var best *Sequence
	var first [2]int
	for _, q := range s.waiting {
		n := running[q.req.Client]
		if s.opts.ClientRunning > 0 && n >= s.opts.ClientRunning || s.awaits(q) {
			continue
		}
		order := [2]int{s.rank(q, now), n}
		if best == nil || cmp.Or(cmp.Compare(order[0], first[0]), cmp.Compare(order[1], first[1])) < 0 {
			best, first = q, order
		}
	}
	return best
}

// rank is a request's place by the policy: the lowest is first.
func (s *Scheduler) rank(q *Sequence, now time.Time) int {
	aged := int(now.Sub(q.timings.Queued) / aging)
	switch s.opts.Policy {
	case ByPriority:
		return q.req.Priority - aged
	case LongestPrefix:
		if aged > 0 || s.held == nil {
			return -1<<30 - aged
		}
		return -s.held.Held(q.req.Tenant, q.req.Prompt)
	}
	return 0
}

// makeWay has a running request give way to one of a better priority: of those with the
// worst, the one that was let in last, but none that has been here for so long that it
// would be next again. It reports whether there may be room now.
func (s *Scheduler) makeWay(ctx context.Context, q *Sequence) bool {
	if s.opts.Policy != ByPriority {
		return false
	}
	var victim *Sequence
	now := time.Now()
	for _, r := range s.running {
		if r.req.Priority > q.req.Priority && s.rank(r, now) > s.rank(q, now) && (victim == nil || r.req.Priority >= victim.req.Priority) {
			victim = r
		}
	}
	if victim == nil {
		return false
	}
	// Its tokens under way must be known first.
	for len(s.underway) > 0 && s.broken == nil {
		s.read(ctx)
	}
	if s.broken == nil && !victim.over {
		s.preempt(victim)
	}
	return s.broken == nil
}

// preempt sends a running request, of which nothing is under way, back to the queue.
func (s *Scheduler) preempt(q *Sequence) {
	if q.generated > 0 {
		q.feed = slices.Concat(q.req.Prompt, q.answer)
	}
	if err := s.release(q, true); err != nil {
		s.broken = err
		return
	}
	usage := s.kv.Usage()
	q.mu.Lock()
	q.timings.Preempted++
	q.mu.Unlock()
	s.mu.Lock()
	s.running = slices.DeleteFunc(s.running, func(r *Sequence) bool { return r == q })
	s.waiting = append([]*Sequence{q}, s.waiting...)
	q.admitted, q.pos = false, 0
	s.usage, s.prefixes = usage, s.prefixStats()
	s.totals.Preempted++
	s.mu.Unlock()
	s.opts.Observer.Preempted()
}

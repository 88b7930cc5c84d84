package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
)

// lookedAt is how many of those that wait are looked at for one that may be let in.
const lookedAt = 32

// admit gives waiting requests KV, in order of arrival, as long as it lasts. The
// first that doesn't fit holds up those behind it.
func (s *Scheduler) admit() {
	for s.broken == nil && len(s.running) < s.opts.MaxRunning {
		q := s.nextWaiting()
		if q == nil {
			return
		}
		kv, cached, err := s.reserve(q)
		if errors.Is(err, backend.ErrKVFull) && len(s.running) > 0 {
			return // there will be room when one of them ends
		}
		if isFatal(err) {
			s.broken = fmt.Errorf("reserve kv for %d tokens: %w", q.room(), err)
			return
		}
		if err != nil {
			s.end(q, Event{Err: fmt.Errorf("reserve kv for %d tokens: %w", q.room(), err)})
			continue
		}
		q.kv, q.pos, q.served = kv, cached, s.formed
		usage := s.kv.Usage()
		now := time.Now()
		q.mu.Lock()
		q.timings.Started, q.timings.CachedTokens = now, cached
		q.mu.Unlock()
		s.mu.Lock()
		s.waiting = slices.DeleteFunc(s.waiting, func(w *Sequence) bool { return w == q })
		s.running, q.admitted = append(s.running, q), true
		s.usage = usage
		s.prefixes = s.prefixStats()
		s.totals.CachedTokens += uint64(cached)
		s.mu.Unlock()
		s.opts.Observer.Admitted(now.Sub(q.timings.Queued), cached)
	}
}

// nextWaiting is the first in the queue that needn't wait for what another one is
// computing, or nil.
func (s *Scheduler) nextWaiting() *Sequence {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.waiting[:min(lookedAt, len(s.waiting))] {
		if !s.awaits(q) {
			return q
		}
	}
	return nil
}

// reserve makes the sequence of a request, with as much of its prompt as is held.
func (s *Scheduler) reserve(q *Sequence) (kv backend.SeqID, cached int, err error) {
	for {
		src, n := s.lookup(q)
		if n > 0 {
			kv, err = s.kv.Fork(src, n, q.room())
		} else {
			kv, err = s.kv.Reserve(q.room())
		}
		if !errors.Is(err, backend.ErrKVFull) || !s.mayFit(q, n) {
			return kv, n, err
		}
		// What is held gives way.
		if ok, e := s.held.Evict(); e != nil {
			return 0, 0, fmt.Errorf("%w: %w", backend.ErrEngineFailed, e)
		} else if !ok {
			return 0, 0, err
		}
	}
}

// mayFit reports whether there could be room for a request if less were held. If not,
// it would be given up for nothing.
func (s *Scheduler) mayFit(q *Sequence, cached int) bool {
	if s.held == nil {
		return false
	}
	pages := paging.Pages(q.room()) - cached/paging.PageTokens
	for _, r := range s.running {
		pages += paging.Pages(r.room()) - r.timings.CachedTokens/paging.PageTokens
	}
	return pages*paging.PageTokens <= s.usage.Capacity
}

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
)

// admit gives waiting requests KV, as long as it lasts. The one that is next holds up
// all others until it fits.
func (s *Scheduler) admit(ctx context.Context) {
	for s.broken == nil {
		if len(s.running) >= s.opts.MaxRunning && s.opts.Policy != ByPriority {
			return
		}
		q := s.nextWaiting()
		if q == nil {
			return
		}
		if len(s.running) >= s.opts.MaxRunning && !s.makeWay(ctx, q) {
			return
		}
		kv, cached, err := s.reserve(q)
		if errors.Is(err, backend.ErrKVFull) && len(s.running) > 0 {
			if s.makeWay(ctx, q) {
				continue
			}
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
		s.letIn(q, kv, cached)
	}
}

// letIn has a request run, in a sequence that holds some of what it needs.
func (s *Scheduler) letIn(q *Sequence, kv backend.SeqID, cached int) {
	q.kv, q.pos, q.cached, q.served = kv, cached, cached, s.formed
	usage := s.kv.Usage()
	now := time.Now()
	q.mu.Lock()
	again := !q.timings.Started.IsZero()
	if !again {
		q.timings.Started, q.timings.CachedTokens = now, cached
	}
	waited := now.Sub(q.timings.Queued)
	q.mu.Unlock()
	s.mu.Lock()
	s.waiting = slices.DeleteFunc(s.waiting, func(w *Sequence) bool { return w == q })
	s.running, q.admitted = append(s.running, q), true
	s.usage = usage
	s.prefixes = s.prefixStats()
	if !again {
		s.totals.CachedTokens += uint64(cached)
	}
	s.mu.Unlock()
	if !again {
		s.opts.Observer.Admitted(waited, cached)
	}
}

// reserve makes the sequence of a request, with as much of its prompt as is held or stored.
func (s *Scheduler) reserve(q *Sequence) (kv backend.SeqID, cached int, err error) {
	if kv, n, ok := s.hydrate(q, s.heldOf(q)); ok {
		return kv, n, nil
	}
	kv, err = s.evicting(q.room(), s.heldOf(q), func() (kv backend.SeqID, err error) {
		src, n := s.lookup(q)
		if cached = n; n > 0 {
			return s.kv.Fork(src, n, q.room())
		}
		return s.kv.Reserve(q.room())
	})
	return kv, cached, err
}

// evicting gives up what is held, piece by piece, until there is room for a sequence of
// which some is held.
func (s *Scheduler) evicting(room, cached int, reserve func() (backend.SeqID, error)) (backend.SeqID, error) {
	for {
		kv, err := reserve()
		if !errors.Is(err, backend.ErrKVFull) || !s.mayFit(room, cached) {
			return kv, err
		}
		if ok, e := s.held.Evict(); e != nil {
			return 0, fmt.Errorf("%w: %w", backend.ErrEngineFailed, e)
		} else if !ok {
			return 0, err
		}
	}
}

// mayFit reports whether there could be room for a sequence if less were held. If not,
// it would be given up for nothing.
func (s *Scheduler) mayFit(room, cached int) bool {
	if s.held == nil {
		return false
	}
	pages := paging.Pages(room) - cached/paging.PageTokens
	for _, r := range s.running {
		pages += paging.Pages(r.room()) - r.cached/paging.PageTokens
	}
	return pages*paging.PageTokens <= s.usage.Capacity
}

package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// admit gives waiting requests KV, in order of arrival, as long as it lasts. The
// first that doesn't fit holds up those behind it.
//
// This is the place to ask a prefix cache for the part of the prompt that it
// holds: CopyPrefix it, and start at that position.
func (s *Scheduler) admit() {
	anyone := func(*Sequence) bool { return true }
	for s.broken == nil && len(s.running) < s.opts.MaxRunning {
		q := s.firstWaiting(anyone)
		if q == nil {
			return
		}
		kv, err := s.kv.Reserve(q.room())
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
		q.kv, q.served = kv, s.formed
		usage := s.kv.Usage()
		now := time.Now()
		q.mu.Lock()
		q.timings.Started = now
		q.mu.Unlock()
		s.mu.Lock()
		s.waiting = slices.Delete(s.waiting, 0, 1) // nobody else takes from it: it is q
		s.running, q.admitted = append(s.running, q), true
		s.usage = usage
		s.mu.Unlock()
		s.opts.Observer.Admitted(now.Sub(q.timings.Queued))
	}
}

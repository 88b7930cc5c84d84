package scheduler

import (
	"errors"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// admit gives waiting requests KV, in order of arrival, as long as it lasts.
//
// A request's whole room, prompt and longest answer, is reserved before it
// starts: from then on it can't run out of memory, and no two sequences can block
// each other half way. The first that doesn't fit holds up those behind it, so
// that a large request isn't starved by small ones.
//
// This is the place to ask a prefix cache for the part of the prompt that it
// holds: CopyPrefix it, and start at that position.
func (s *Scheduler) admit() {
	for {
		s.mu.Lock()
		if len(s.waiting) == 0 || len(s.running) >= s.opts.MaxRunning {
			s.mu.Unlock()
			return
		}
		q := s.waiting[0]
		s.mu.Unlock() // only this loop removes

		kv, err := s.engine.KV().Reserve(q.room())
		if errors.Is(err, backend.ErrKVFull) {
			return
		}
		now := time.Now()
		s.mu.Lock()
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		if err == nil {
			q.kv, q.admitted = kv, true
			s.running = append(s.running, q)
		}
		s.mu.Unlock()
		if err != nil {
			s.end(q, Event{Err: err})
			continue
		}
		q.mu.Lock()
		q.timings.Started = now
		waited := now.Sub(q.timings.Queued)
		q.mu.Unlock()
		s.opts.Observer.Admitted(waited)
	}
}

// room is the number of positions that a sequence can come to hold. The last
// token of an answer is never fed back.
func (q *Sequence) room() int { return len(q.req.Prompt) + q.req.MaxTokens - 1 }

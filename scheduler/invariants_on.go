//go:build invariants

package scheduler

import (
	"fmt"

	"github.com/inferflux/inferflux/backend"
)

// verify panics unless the scheduler's books agree with each other and with the engine's.
func (s *Scheduler) verify() {
	if s.broken != nil {
		return
	}
	must := func(ok bool, format string, args ...any) {
		if !ok {
			panic("scheduler: " + fmt.Sprintf(format, args...))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	drawing := map[*Sequence]int{}
	for _, b := range s.underway {
		for i, q := range b.seqs {
			if b.Spans[i].Want != backend.NoLogits && q.req.Reading == nil && !q.over {
				drawing[q]++
			}
		}
	}
	must(len(s.running) <= s.opts.MaxRunning, "%d run, at most %d may", len(s.running), s.opts.MaxRunning)
	ids := map[backend.SeqID]bool{}
	for _, q := range s.running {
		must(q.admitted && !q.over && !ids[q.kv], "a running sequence: admitted %t, over %t, shares its kv %t", q.admitted, q.over, ids[q.kv])
		ids[q.kv] = true
		must(q.pos <= q.room(), "a sequence has %d positions and room for %d", q.pos, q.room())
		must(q.drawing == drawing[q], "%d tokens of a sequence are said to be drawn, %d are", q.drawing, drawing[q])
		must(q.generated+q.drawing <= q.req.MaxTokens, "%d tokens of at most %d", q.generated+q.drawing, q.req.MaxTokens)
		must(s.kv.Len(q.kv) == q.pos, "the engine has %d positions of a sequence, the scheduler %d", s.kv.Len(q.kv), q.pos)
	}
	for _, q := range s.waiting {
		must(!q.admitted && !q.over && q.pos == 0 && q.drawing == 0, "a waiting sequence: admitted %t, over %t, %d positions", q.admitted, q.over, q.pos)
	}
	usage := s.kv.Usage()
	must(usage.Reserved <= usage.Capacity && usage.Used <= usage.Reserved, "%+v", usage)
	must(usage.Sequences == len(s.running)+s.prefixStats().Entries, "the engine has %d sequences; %d run and %d are held", usage.Sequences, len(s.running), s.prefixStats().Entries)
	t := s.totals
	must(t.Finished+t.Cancelled+t.Failed+uint64(len(s.running)+len(s.waiting)) == t.Requests, "%d run and %d wait of %+v", len(s.running), len(s.waiting), t)
}

package scheduler

import (
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/scheduler/prefix"
)

const (
	// leastHit is how many tokens must be held of a prompt for it to be worth it.
	leastHit = 16
	// leastHeld is how many tokens a sequence must have to be held.
	leastHeld = paging.PageTokens
)

// lookup finds what is held of a prompt. Its last token is computed always.
func (s *Scheduler) lookup(q *Sequence) (backend.SeqID, int) {
	if s.held == nil || q.readsAll() {
		return 0, 0
	}
	all := q.feed[:len(q.feed)-1]
	if s.held.Held(q.req.Tenant, all) < leastHit {
		return 0, 0
	}
	seq, n := s.held.Lookup(q.req.Tenant, all)
	if n = backend.Restorable(s.kv, seq, n); n < leastHit {
		return 0, 0
	}
	return seq, n
}

// heldOf is how many tokens are held of what a request needs.
func (s *Scheduler) heldOf(q *Sequence) int {
	if s.held == nil || q.readsAll() {
		return 0
	}
	return s.held.Held(q.req.Tenant, q.feed[:len(q.feed)-1])
}

// awaits reports whether a running request is just computing a beginning of the prompt
// that is longer than what is held, by a page at least.
func (s *Scheduler) awaits(q *Sequence) bool {
	if s.held == nil || q.readsAll() || len(q.req.Prompt) <= leastHeld {
		return false
	}
	held := -1
	for _, r := range s.running {
		if r.generated > 0 || r.req.Tenant != q.req.Tenant || r.asked() != Running || !r.leaves() {
			continue
		}
		// What it will hold is its prompt, in whole pages.
		n := commonPrefix(r.req.Prompt, q.req.Prompt) / paging.PageTokens * paging.PageTokens
		if n < leastHeld {
			continue
		}
		if held < 0 {
			held = s.held.Held(q.req.Tenant, q.req.Prompt)
		}
		if n >= held+leastHeld {
			return true
		}
	}
	return false
}

func commonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// holdPrompt holds the prompt of a sequence that goes on, in whole pages, so that
// nothing has to be copied.
func (s *Scheduler) holdPrompt(q *Sequence) {
	n := backend.Restorable(s.kv, q.kv, len(q.req.Prompt)/paging.PageTokens*paging.PageTokens)
	if n < leastHeld || s.held.Held(q.req.Tenant, q.req.Prompt[:n]) == n {
		return
	}
	seq, err := s.kv.Fork(q.kv, n, n)
	if err == nil {
		err = s.held.Insert(q.req.Tenant, q.req.Prompt[:n], seq)
	}
	if isFatal(err) {
		s.broken = err
	}
}

// release holds what a sequence that ends has computed, or frees it.
func (s *Scheduler) release(q *Sequence, good bool) error {
	if err := s.spec.unfollow(q.guesses); err != nil {
		return fmt.Errorf("the draft model: %w", err)
	}
	n := q.pos
	for _, b := range s.underway {
		if i := slices.Index(b.seqs, q); i >= 0 {
			n -= len(b.Spans[i].Tokens) // it may yet fail
		}
	}
	if s.held == nil || !good || n < leastHeld || !q.leaves() {
		return s.kv.Free(q.kv)
	}
	if n < q.pos {
		if err := s.kv.Truncate(q.kv, n); err != nil {
			return s.kv.Free(q.kv)
		}
	}
	tokens := q.req.Prompt[:min(n, len(q.req.Prompt))]
	if n > len(tokens) {
		tokens = slices.Concat(tokens, q.answer[:n-len(tokens)])
	}
	return s.held.Insert(q.req.Tenant, tokens, q.kv)
}

// letGo gives up all that is held, at the end. What can be is stored for the next start.
func (s *Scheduler) letGo() {
	if s.held == nil || s.broken != nil {
		return
	}
	for e, seq := range s.held.All {
		s.stash(e, seq)
	}
	_, err := s.held.Clear(true, "")
	usage := s.kv.Usage()
	s.mu.Lock()
	s.usage, s.prefixes = usage, s.held.Stats()
	if err != nil {
		s.failure = fmt.Errorf("%w: %w", backend.ErrEngineFailed, err)
	}
	s.mu.Unlock()
}

func (s *Scheduler) prefixStats() prefix.Stats {
	if s.held == nil {
		return prefix.Stats{}
	}
	return s.held.Stats()
}

package scheduler

import (
	"context"
	"errors"
	"io"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/kvstore"
	"github.com/inferflux/inferflux/scheduler/prefix"
)

// leastStored is how many tokens a sequence must have to be stored below the engine's
// memory, and how many more a stored one must have than what is held to be looked at.
const leastStored = 128

// scope is where a tenant's sequences are stored.
func (s *Scheduler) scope(tenant string) kvstore.Scope {
	return kvstore.Scope{Model: s.opts.StoreModel, Tenant: tenant}
}

// stash stores what is about to be given up. That it can't be is no more than a pity: it
// will be computed again.
func (s *Scheduler) stash(e prefix.Entry, seq backend.SeqID) {
	if s.opts.Store == nil || len(e.Tokens) < leastStored {
		return
	}
	size := int64(len(e.Tokens))*s.exported + 1<<20
	if s.opts.Store.Put(context.Background(), s.scope(e.Tenant), e.Tokens, size, func(w io.Writer) error { return s.kv.Export(seq, w) }) == nil {
		s.mu.Lock()
		s.totals.Stashed++
		s.mu.Unlock()
	}
}

// hydrate makes the sequence of a request from what is stored, if that is much more than
// the n tokens that are held, and faster than to compute it. It reports false otherwise.
func (s *Scheduler) hydrate(q *Sequence, n int) (kv backend.SeqID, cached int, ok bool) {
	if s.opts.Store == nil || q.readsAll() || len(q.feed) <= n+leastStored {
		return 0, 0, false
	}
	e, found := s.opts.Store.Lookup(s.scope(q.req.Tenant), q.feed[:len(q.feed)-1])
	if !found || e.Matched < n+leastStored || e.Tokens > s.context || !s.opts.Store.Cheaper(e) {
		return 0, 0, false
	}
	kv, err := s.evicting(max(q.room(), e.Tokens), 0, func() (backend.SeqID, error) { return s.kv.Reserve(max(q.room(), e.Tokens)) })
	if err != nil {
		return 0, 0, false
	}
	err = s.opts.Store.Load(context.Background(), e, func(r io.Reader) error { return s.kv.Import(kv, r) })
	if err == nil {
		err = errors.Join(s.kv.Truncate(kv, e.Matched), s.kv.Resize(kv, q.room()))
	}
	if err != nil {
		if err := s.kv.Free(kv); err != nil {
			s.broken = err
		}
		return 0, 0, false
	}
	s.mu.Lock()
	s.totals.HydratedTokens += uint64(e.Matched)
	s.mu.Unlock()
	return kv, e.Matched, true
}

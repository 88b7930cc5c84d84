package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/kvstore"
	"github.com/inferflux/inferflux/scheduler/prefix"
)

// call has the loop, which alone may use the engine's KV, do something between two
// steps, and waits for it. Without the loop it is an error.
func (s *Scheduler) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	s.mu.Lock()
	if s.failure != nil {
		defer s.mu.Unlock()
		return s.failure
	}
	s.calls = append(s.calls, func() {
		defer close(done)
		if ctx.Err() == nil {
			f()
		}
	})
	s.mu.Unlock()
	s.wake()
	// Not for the end of ctx: f may be at it.
	select {
	case <-done:
		return ctx.Err()
	case <-s.ended:
		return ErrStopped
	}
}

// answer makes the calls that were asked for.
func (s *Scheduler) answer() {
	s.mu.Lock()
	calls := s.calls
	s.calls = nil
	s.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// Prefixes lists what is held of ended sequences, the last used first, n entries at
// most.
func (s *Scheduler) Prefixes(ctx context.Context, n int) (entries []prefix.Entry, err error) {
	err = s.call(ctx, func() {
		if s.held == nil {
			return
		}
		for e := range s.held.All {
			if len(entries) == n {
				return
			}
			entries = append(entries, e)
		}
	})
	return entries, err
}

// ClearPrefixes gives up what is held of ended sequences, of a tenant or of all, and then
// what is stored too, and returns how many entries were held.
func (s *Scheduler) ClearPrefixes(ctx context.Context, all bool, tenant string) (n int, err error) {
	var failed error
	err = s.call(ctx, func() {
		if s.held == nil {
			return
		}
		if n, failed = s.held.Clear(all, tenant); failed != nil {
			s.broken = fmt.Errorf("%w: %w", backend.ErrEngineFailed, failed)
		}
		s.recount()
	})
	if all && s.opts.Store != nil && err == nil {
		s.opts.Store.Clear(func(scope kvstore.Scope) bool { return scope.Model == s.opts.StoreModel })
	}
	return n, errors.Join(err, failed)
}

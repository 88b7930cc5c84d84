package scheduler

import (
	"context"

	"github.com/inferflux/inferflux/backend"
)

// Stepper is a scheduler whose loop is turned by hand.
type Stepper struct {
	*Scheduler
	ctx context.Context
}

// NewStepper makes a scheduler that does nothing by itself.
func NewStepper(e backend.Engine, o Options) *Stepper {
	ctx, stop := context.WithCancel(context.Background())
	return &Stepper{newScheduler(e, o, stop), ctx}
}

// Step does what the loop does in one turn, and reports whether the loop would
// go on at once.
func (s *Stepper) Step() bool {
	more := s.ctx.Err() == nil && s.step(s.ctx)
	s.verify()
	switch {
	case s.broken != nil && s.failure == nil:
		s.fail(s.broken)
	case s.ctx.Err() != nil:
		s.endAll()
	}
	return more
}

// Drain refuses new requests, without waiting.
func (s *Stepper) Drain() {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
}

// Drained reports whether the loop would end.
func (s *Stepper) Drained() bool { return s.drained() }

// Close is what the loop does when it is closed.
func (s *Stepper) Close() {
	s.Drain()
	s.stop()
	s.Step()
}

// Peek is Next that doesn't wait.
func (s *Stepper) Peek(q *Sequence) (Event, error) { return q.Next(over) }

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Asked is how the caller wants the sequence to end.
func (q *Sequence) Asked() FinishReason { return q.asked() }

// Holds reports whether a sequence runs, and as which of the engine's.
func Holds(q *Sequence, id backend.SeqID) bool { return q.admitted && !q.over && q.kv == id }

// Evict gives up all that is held.
func (s *Stepper) Evict() (int, error) { return s.held.Clear(true, "") }

// ReadHandover and HandoverHeader are how sequences are handed over.
var (
	ReadHandover   = readHandover
	HandoverHeader = handoverHeader
)

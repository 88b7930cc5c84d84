package scheduler

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// Sequence is a submitted request. Its events wait in it until they are read:
// a slow reader delays nobody, and what waits is bounded by MaxTokens.
type Sequence struct {
	s       *Scheduler
	req     Request
	ctx     context.Context
	cancel  atomic.Bool
	unwatch func() bool // ends the watch over ctx

	// The loop's own.
	sampler   *sample.Sampler
	admitted  bool
	kv        backend.SeqID
	pos       int      // tokens in KV
	next      [1]int32 // the last sampled token, which isn't in KV yet
	generated int
	last      time.Time // of the last sampled token
	done      bool

	mu      sync.Mutex
	events  []Event
	ended   bool
	timings Timings
	ready   chan struct{} // has room for one: something was added
}

// Next waits for the next event. After the last one, which has Finish or Err
// set, it returns io.EOF. It returns ctx's error if that ends first.
func (q *Sequence) Next(ctx context.Context) (Event, error) {
	for {
		q.mu.Lock()
		if len(q.events) > 0 {
			e := q.events[0]
			q.events = q.events[1:]
			q.mu.Unlock()
			return e, nil
		}
		ended := q.ended
		q.mu.Unlock()
		if ended {
			return Event{}, io.EOF
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Cancel ends the sequence before the scheduler's next step. It may be called
// at any time, more than once.
func (q *Sequence) Cancel() {
	q.cancel.Store(true)
	q.s.wake()
}

// Timings are the milestones so far.
func (q *Sequence) Timings() Timings {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.timings
}

func (q *Sequence) cancelled() bool { return q.cancel.Load() || q.ctx.Err() != nil }

// prefilling reports whether part of the prompt isn't in KV yet.
func (q *Sequence) prefilling() bool { return q.pos < len(q.req.Prompt) }

func (q *Sequence) emit(e Event) {
	q.mu.Lock()
	if !q.ended {
		q.events = append(q.events, e)
		q.ended = e.Finish != Running || e.Err != nil
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

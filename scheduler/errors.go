package scheduler

import (
	"errors"
	"fmt"
	"time"
)

// Errors of Submit that a caller branches on.
var (
	// ErrQueueFull: too many requests wait already (HTTP 429). See [QueueFullError].
	ErrQueueFull = errors.New("the queue is full")
	// ErrContextLength: the prompt alone, or with MaxTokens, doesn't fit the
	// context (HTTP 400). See [ContextLengthError].
	ErrContextLength = errors.New("the request is longer than the model's context")
	// ErrInvalidRequest: the request makes no sense for this model (HTTP 400).
	ErrInvalidRequest = errors.New("invalid request")
	// ErrStopped: the scheduler is draining or closed (HTTP 503).
	ErrStopped = errors.New("the server is shutting down")
)

// QueueFullError is ErrQueueFull with the time after which it is worth trying
// again, between a second and a minute.
type QueueFullError struct {
	Waiting    int
	RetryAfter time.Duration
}

// Error implements error.
func (e *QueueFullError) Error() string {
	return fmt.Sprintf("%s (%d waiting): try again in %s", ErrQueueFull, e.Waiting, e.RetryAfter.Round(time.Second))
}

// Unwrap makes it an ErrQueueFull.
func (e *QueueFullError) Unwrap() error { return ErrQueueFull }

// ContextLengthError is ErrContextLength with the numbers, in tokens.
type ContextLengthError struct{ Prompt, MaxTokens, Context int }

// Error implements error.
func (e *ContextLengthError) Error() string {
	if e.MaxTokens <= 0 {
		return fmt.Sprintf("the prompt has %d tokens, but the model's context is %d", e.Prompt, e.Context)
	}
	return fmt.Sprintf("the prompt has %d tokens and %d are asked for, but the model's context is %d", e.Prompt, e.MaxTokens, e.Context)
}

// Unwrap makes it an ErrContextLength.
func (e *ContextLengthError) Unwrap() error { return ErrContextLength }

// PanicError is a panic of the engine, a sampler or the scheduler, caught. The
// stack isn't part of the message, which clients may see.
type PanicError struct {
	Value any
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// rate remembers how long sequences lately took, as an exponential average.
type rate struct{ average time.Duration }

func (r *rate) add(d time.Duration) {
	if r.average == 0 {
		r.average = d
	}
	r.average += (d - r.average) / 8
}

// retryAfter estimates when half of a queue has been worked off, so that a client
// who comes back then finds room, even if others come back too: with so many
// running, they end at that rate.
func (r *rate) retryAfter(waiting, running int) time.Duration {
	if r.average == 0 {
		return 5 * time.Second // none has ended yet
	}
	d := r.average * time.Duration(waiting/2+1) / time.Duration(max(running, 1))
	return min(max(d, time.Second), time.Minute)
}

package scheduler

import (
	"fmt"
	"time"
)

// QueueFullError is ErrQueueFull with the time after which it is worth trying
// again.
type QueueFullError struct {
	Waiting    int
	RetryAfter time.Duration
}

// Error implements error.
func (e *QueueFullError) Error() string {
	return fmt.Sprintf("%s: %d requests are waiting; try again in %s", ErrQueueFull, e.Waiting, e.RetryAfter.Round(time.Second))
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

// rate remembers how long sequences lately took: an exponential average.
type rate struct{ average time.Duration }

func (r *rate) add(d time.Duration) {
	if r.average == 0 {
		r.average = d
	}
	r.average += (d - r.average) / 8
}

func (r *rate) perSequence() time.Duration { return r.average }

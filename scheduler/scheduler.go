// Package scheduler turns requests into tokens. One loop owns an engine: each
// step it admits waiting requests whose KV fits, forms a batch within a token
// budget (decode first, then chunks of prompts), runs it, samples, and hands
// every request its new token. It knows tokens only: no text, no HTTP.
//
// The places of what comes later: a prefix cache is asked at admission
// (admit.go), preemption and speculation at batch forming (batch.go).
package scheduler

import (
	"errors"
	"time"

	"github.com/inferflux/inferflux/sample"
)

// Request is one sequence to generate.
type Request struct {
	Prompt     []int32
	Sampling   sample.Params
	MaxTokens  int     // 0: as many as the context allows
	MinTokens  int     // stop tokens can't be chosen before
	StopTokens []int32 // end the sequence; reported with Finish, their text is not part of the answer
}

// FinishReason says why a sequence ended.
type FinishReason string

// The reasons.
const (
	Running        FinishReason = ""
	FinishStop     FinishReason = "stop"      // a stop token
	FinishLength   FinishReason = "length"    // MaxTokens or the context is used up
	FinishCanceled FinishReason = "cancelled" // the caller went away or cancelled
)

// Event is one step of a sequence: a token (absent only when the sequence ends
// without one, by cancellation or error) and whether it was the last.
type Event struct {
	Choice   sample.Choice
	HasToken bool
	Finish   FinishReason
	Err      error // the sequence failed; the last event
}

// Timings are a finished or running request's milestones.
type Timings struct {
	Queued, Started, FirstToken, Done time.Time
	PromptTokens, CachedTokens        int
	GeneratedTokens                   int
}

// Errors of Submit that a caller branches on.
var (
	// ErrQueueFull: too many requests wait already (HTTP 429).
	ErrQueueFull = errors.New("the queue is full")
	// ErrContextLength: the prompt alone, or with MaxTokens, doesn't fit the context (HTTP 400).
	ErrContextLength = errors.New("the request is longer than the model's context")
	// ErrStopped: the scheduler is draining or closed (HTTP 503).
	ErrStopped = errors.New("the server is shutting down")
)

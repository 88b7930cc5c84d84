package scheduler

import "time"

// Options configure a scheduler. Zero values mean the defaults.
type Options struct {
	// MaxRunning is the largest number of sequences in a batch; default 16.
	MaxRunning int
	// MaxQueue is the largest number of requests that wait; default 256.
	MaxQueue int
	// BatchTokens is the token budget of a step; default and upper bound is the
	// engine's MaxBatchTokens.
	BatchTokens int
	// PrefillChunk is the most tokens of one prompt in a step; default 256. It
	// bounds how long a prompt keeps the generating sequences waiting.
	PrefillChunk int
	// DefaultMaxTokens is the length of an answer to a request that names none;
	// default is what the context has left.
	DefaultMaxTokens int
	// Observer is told what happens; default nobody.
	Observer Observer
}

func (o Options) withDefaults(maxBatch int) Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&o.MaxRunning, 16)
	set(&o.MaxQueue, 256)
	set(&o.BatchTokens, maxBatch)
	o.BatchTokens = min(o.BatchTokens, maxBatch)
	set(&o.PrefillChunk, 256)
	o.MaxRunning = min(o.MaxRunning, o.BatchTokens) // each running sequence needs a token of a step
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	return o
}

// Step describes one batch.
type Step struct {
	Sequences     int
	DecodeTokens  int
	PrefillTokens int
	Duration      time.Duration
}

// Observer is told what happens, for metrics. Calls come from the scheduler's
// loop, except Queued and Rejected, and must be quick.
type Observer interface {
	// Queued: a request was accepted into the queue.
	Queued(promptTokens int)
	// Rejected: a request was refused by Submit.
	Rejected(err error)
	// Admitted: a request got its KV, after waiting that long.
	Admitted(waited time.Duration)
	// FirstToken: a request got its first token, that long after it was queued.
	FirstToken(after time.Duration)
	// NextToken: a request got a further token, that long after the one before.
	NextToken(after time.Duration)
	// Finished: a request ended, err nil unless it failed.
	Finished(reason FinishReason, t Timings, err error)
	// Stepped: a batch was computed.
	Stepped(s Step)
}

type nobody struct{}

func (nobody) Queued(int)                            {}
func (nobody) Rejected(error)                        {}
func (nobody) Admitted(time.Duration)                {}
func (nobody) FirstToken(time.Duration)              {}
func (nobody) NextToken(time.Duration)               {}
func (nobody) Finished(FinishReason, Timings, error) {}
func (nobody) Stepped(Step)                          {}

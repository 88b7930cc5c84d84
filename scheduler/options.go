package scheduler

import (
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/kvstore"
)

// Policy is the order in which requests are let in.
type Policy string

// The policies. Under each, a request that has waited for long comes first.
const (
	// FirstCome lets them in as they come.
	FirstCome Policy = "fcfs"
	// ByPriority goes by Request.Priority, the lowest number first. After each
	// [aging] a waiting request counts as if its number were one lower.
	ByPriority Policy = "priority"
	// LongestPrefix prefers those of which most is held, until they have waited for
	// [aging].
	LongestPrefix Policy = "longest_prefix"
)

// aging is how long a request waits for its place to improve.
const aging = 10 * time.Second

// Options configure a scheduler. Zero values mean the defaults.
type Options struct {
	// MaxRunning is the largest number of admitted sequences; default 16. It is
	// cut to BatchTokens, so that each can have a token in every step.
	MaxRunning int
	// MaxQueue is the largest number of requests that wait beside those for which
	// there is a place in the batch; default 256. Negative: none waits.
	MaxQueue int
	// BatchTokens is the token budget of a step; default and upper bound is the
	// engine's MaxBatchTokens.
	BatchTokens int
	// PrefillChunk is the most tokens of one prompt in a step in which others
	// generate; default half of BatchTokens. It is the dial between a short time to the first
	// token (large) and evenly flowing answers (small).
	PrefillChunk int
	// DefaultMaxTokens is the length of an answer to a request that names none,
	// cut to what the context has left; default 2048.
	DefaultMaxTokens int
	// Policy is the order in which requests are let in; default FirstCome.
	Policy Policy
	// ClientRunning and ClientQueue are the most requests of one client that run and
	// that wait; 0: no limit but that of all.
	ClientRunning, ClientQueue int
	// TargetLatency is how long a step may take in which prompts are computed beside
	// generating sequences; it sets how much of the prompts is. 0: 2.4 times as long as a
	// step without prompts, but 10 ms at least. A step computes 8 tokens of prompts in
	// any case.
	TargetLatency time.Duration
	// PrefixTokens is the most tokens of ended sequences that are held for requests
	// that begin like them; 0: what there is memory for that nobody else needs;
	// negative: none. Engines without KVPrefixCopy hold none.
	PrefixTokens int
	// Store, if set, gets what is held and has to go, and is asked for what isn't held, on
	// engines with KVExport. StoreModel says whose sequences are alike: the model, its
	// file and the number format of its KV.
	Store      *kvstore.Store
	StoreModel string
	// Speculation has several tokens of an answer computed in one step; default none. Engines
	// without SpeculativeDecoding or MixedBatch do without.
	Speculation Speculation
	// Observer is told what happens; default nobody.
	Observer Observer
}

func (o Options) withDefaults(e backend.Engine) Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	if o.MaxQueue == 0 {
		o.MaxQueue = 256
	}
	o.MaxQueue = max(o.MaxQueue, 0)
	set(&o.MaxRunning, 16)
	set(&o.BatchTokens, e.MaxBatchTokens())
	set(&o.DefaultMaxTokens, 2048)
	o.BatchTokens = min(o.BatchTokens, e.MaxBatchTokens())
	set(&o.PrefillChunk, max(o.BatchTokens/2, 1))
	o.MaxRunning = min(o.MaxRunning, o.BatchTokens)
	o.PrefillChunk = min(o.PrefillChunk, o.BatchTokens)
	if o.Policy == "" {
		o.Policy = FirstCome
	}
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	return o
}

// Step describes one batch: what the engine was given, and the tokens of it that
// it computed.
type Step struct {
	Sequences     int
	DecodeTokens  int
	PrefillTokens int
	// Duration is from the start of the batch, or the end of the one before it if
	// that was later, until its tokens were known.
	Duration time.Duration
	// Of the DecodeTokens, those that were guessed, and of these those that were right.
	GuessedTokens, AcceptedTokens int
}

// Observer is told what happens, for metrics. Calls come from the scheduler's
// loop, except Queued and Rejected; they must be quick, and not call the
// scheduler.
type Observer interface {
	// Queued: a request was accepted into the queue.
	Queued(promptTokens int)
	// Rejected: a request was refused by Submit.
	Rejected(err error)
	// Admitted: a request got its KV, after waiting that long. So many tokens of its
	// prompt needn't be computed.
	Admitted(waited time.Duration, cachedTokens int)
	// Preempted: a request gave way to another one, and waits again.
	Preempted()
	// FirstToken: a request got its first token, that long after it was queued.
	FirstToken(after time.Duration)
	// NextToken: a request got a further token, that long after the one before.
	NextToken(after time.Duration)
	// Finished: a request ended, err nil unless it failed. One that ended in the
	// queue has no time at which it Started.
	Finished(reason FinishReason, t Timings, err error)
	// Stepped: a batch was computed.
	Stepped(s Step)
}

type nobody struct{}

func (nobody) Queued(int)                            {}
func (nobody) Rejected(error)                        {}
func (nobody) Admitted(time.Duration, int)           {}
func (nobody) Preempted()                            {}
func (nobody) FirstToken(time.Duration)              {}
func (nobody) NextToken(time.Duration)               {}
func (nobody) Finished(FinishReason, Timings, error) {}
func (nobody) Stepped(Step)                          {}

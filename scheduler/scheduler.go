// Package scheduler turns requests into tokens. One loop owns an engine: each
// step it frees what was cancelled, admits waiting requests whose KV fits, forms
// a batch within a token budget, starts it, and hands every request its new
// token. It knows tokens only: no text, no HTTP.
//
//	s := scheduler.New(engine, scheduler.Options{})
//	q, err := s.Submit(ctx, scheduler.Request{Prompt: ids, Sampling: sample.Defaults(), MaxTokens: 100})
//	for {
//		event, err := q.Next(ctx) // io.EOF after the last
//		…
//	}
//
// # Admission
//
// A request is let in when there is a place in the batch and the engine has
// reserved KV for the whole of it, the prompt and the longest answer: from then
// on it can't run out of memory, and no two can block each other half way. A
// request without MaxTokens may generate [Options.DefaultMaxTokens]. Reserving
// the rest of a long context for each of those would let few run side by side;
// a limit that depended on the load would make answers depend on it.
//
// Who is next is decided by [Options.Policy], and among equals by who has least
// running, then by arrival. The one that is next holds up all others until it fits:
// a large request isn't overtaken for ever. The queue is bounded by
// [Options.MaxQueue], and for each client by [Options.ClientQueue]; beyond, there is a
// [QueueFullError].
//
// Under [ByPriority] a running request gives way to one of a better priority that
// can't be let in otherwise: what it has computed is held like a prefix, and it goes
// back to the queue, to go on from there, or from whatever is still held then. Its
// reader notices nothing but the time.
//
// # Prefixes
//
// The KV of a sequence that has ended is held, and that of a prompt as soon as it is
// computed, in a tree of prefixes (package prefix). A request that begins like one of them
// is admitted with that part of its prompt in place, and only the rest is computed; the
// last token always is, for its logits. What is held gives way to admission, what was used
// longest ago first. A request whose beginning another one is just computing waits for
// it, and those behind may overtake.
//
// # Batches
//
// A step has a budget of [Options.BatchTokens]. First, every sequence that is
// generating gets its one token, so that no answer stops for somebody else's
// prompt. The rest goes to prompts, in chunks of at most [Options.PrefillChunk],
// starting with the prompt whose last chunk was longest ago, so that a long one
// doesn't block the others. Where somebody generates, prompts get no more tokens than
// fit into [Options.TargetLatency], by what they have cost so far. When nobody generates, and so nobody's next token is
// delayed, what is left after one chunk for each is used up too.
//
// An engine without MixedBatch gets in turns a batch of generating sequences and
// a batch with a chunk of one prompt.
//
// # Looking ahead
//
// An engine that chooses tokens on its device (a backend.DeviceSampler with that
// capability) gets a batch before the tokens of the one before have been read, so
// that it never waits for the host: a sequence that is generating takes part with
// the token it is about to draw, whatever that is. Such a batch can't be formed
// where somebody's next draw depends on the token (penalties): then the one before
// is read first. A sequence whose last token is under way takes no further part.
// From an engine that gives logits, tokens are drawn on the host, on all cores.
//
// The tokens are the same either way: a draw takes its number from the request's
// own random stream by its place in the answer.
//
// # Constraints
//
// A request with a [Constraint] draws only from the tokens that it allows after those
// before: for each batch, masks are made on all cores. Such a request can't be looked
// ahead of. A constraint that allows nothing more ends the answer with FinishStop; its
// error ends the sequence alone.
//
// # Ends
//
// A sequence ends by a stop token, at its limit, by [Sequence.Cancel] or
// [Sequence.Stop], with the context given to Submit, or with an error. Its KV is
// free before the next batch is formed and before its reader hears of the end. It
// may still be part of one batch under way, which nobody hears of.
//
// The spans of a batch that failed run again one by one, so that only the
// sequences at fault fail; a batch started after it counts for nothing, and all
// sequences go back to where they were before. A span that fails alone, because no
// token can be chosen, ends its sequence alone. After an error that wraps
// backend.ErrEngineFailed, or a panic, the engine isn't called any more: every
// sequence gets the error, and so does every later Submit; [Scheduler.Failed]
// reports it.
//
// # Speculation
//
// Where [Options.Speculation] says how, tokens of answers are guessed (package draft), and
// a step computes a sequence's last token and the guesses after it at once. Then tokens are
// drawn from the rows of logits one after the other, with the request's own random
// numbers, penalties and constraint, as long as what is drawn is what was guessed: an answer is
// what it would be without, and only its time differs. How many tokens are guessed goes by how
// often guesses were right lately and by what steps of each size have taken; none are where
// that loses. A sequence whose guess looks good can't be looked ahead of.
package scheduler

import (
	"time"

	"github.com/inferflux/inferflux/sample"
)

// Request is one sequence to generate.
type Request struct {
	Prompt     []int32
	Sampling   sample.Params
	MaxTokens  int     // 0: Options.DefaultMaxTokens or MinTokens, the larger, or less where the context ends
	MinTokens  int     // stop tokens can't be chosen before
	StopTokens []int32 // end the sequence; reported with Finish, their text is not part of the answer
	// Tenant separates what is held of ended sequences: only requests of the same
	// tenant use it.
	Tenant string
	// Client is who asks: those who have less running are let in first.
	Client string
	// Constraint says which tokens the answer may be made of; nil: any.
	Constraint Constraint
	// Expected is what the answer may be like, as far as is known: a text that is to be
	// edited, say. It makes answers faster, never other (see Speculation.Lookup).
	Expected []int32
	// Priority orders requests under [ByPriority]: the lowest number comes first.
	Priority int
	// Reading, if set, asks for what is computed of the prompt instead of an answer.
	Reading *Reading
}

// A Constraint says, token by token, what an answer may be. It belongs to one request;
// the scheduler uses it from one goroutine at a time.
type Constraint interface {
	// Mask sets bit i%32 of dst[i/32] for each token i that may come next, clears the
	// others, and returns how many are set. None means that the answer is complete.
	Mask(dst []uint32) (allowed int, err error)
	// Accept takes note of the token that was chosen.
	Accept(token int32) error
}

// FinishReason says why a sequence ended.
type FinishReason string

// The reasons.
const (
	Running        FinishReason = ""
	FinishStop     FinishReason = "stop"      // a stop token, or Sequence.Stop
	FinishLength   FinishReason = "length"    // MaxTokens or the context is used up
	FinishCanceled FinishReason = "cancelled" // the caller went away or cancelled, or the scheduler was closed
)

// Event is one step of a sequence: a token (absent only when the sequence ends
// without one, by Cancel, Stop or an error) and whether it was the last.
type Event struct {
	Choice   sample.Choice
	HasToken bool
	Finish   FinishReason
	Err      error // the sequence failed; the last event
}

func (e *Event) last() bool { return e.Finish != Running || e.Err != nil }

// Timings are a finished or running request's milestones. A zero time means not
// yet.
type Timings struct {
	Queued, Started, FirstToken, LastToken, Done time.Time // Started is when it was let in first
	PromptTokens, CachedTokens                   int       // CachedTokens of what Started it
	GeneratedTokens                              int
	GuessedTokens, AcceptedTokens                int // of the answer: guessed, and those that were right
	Preempted                                    int // times that it gave way to others
}

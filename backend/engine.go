package backend

import (
	"context"
	"errors"
	"io"

	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/sample"
)

// Engine is one model loaded on one backend. Run and the KV methods are called
// from one goroutine at a time (the scheduler's); Model, Capabilities and
// Description may be called from any.
type Engine interface {
	Model() model.Config
	Description() Description
	Capabilities() Capabilities
	// Context is the largest number of positions of one sequence.
	Context() int
	// MaxBatchTokens is the largest number of tokens in one batch.
	MaxBatchTokens() int
	KV() KV
	// Run computes a batch: it appends each span's tokens to its sequence's KV
	// and fills in the logits that the span wants. On an error no sequence has
	// grown (a sequence's length is what it was before), and the engine can be
	// used again, unless the error wraps ErrEngineFailed. A cancelled ctx makes
	// Run return early with ctx's error.
	Run(ctx context.Context, b *Batch) error
	// Close waits for Run to return and frees everything.
	Close() error
}

// SeqID names a sequence in an engine's KV.
type SeqID int32

// LogitsWanted says which positions of a span need logits, or instead of them the
// hidden states that logits are made of.
type LogitsWanted uint8

// The choices.
const (
	NoLogits   LogitsWanted = iota
	LastLogits              // of the span's last token
	AllLogits               // of every token
	// The hidden states after the model's last norm, on engines with Embeddings only.
	LastHidden
	AllHidden
)

// Span is a run of tokens of one sequence. A batch may hold at most one span of
// a sequence.
type Span struct {
	Seq SeqID
	// Pos is the position of the first token; it must equal the sequence's
	// present length.
	Pos    int
	Tokens []int32
	Want   LogitsWanted
	// Logits is set by Run: one row of vocabulary size for every wanted
	// position. The rows belong to the engine and are valid until its next Run,
	// Start or Wait; the caller may change their values in place (a sampler does).
	Logits [][]float32
	// Hidden likewise, with rows of the model's width ([model.Config].Hidden).
	Hidden [][]float32
	// Draw, if set, has [DeviceSampler.Start] choose the token that follows the
	// span's last instead of handing out its logits. Run doesn't look at it.
	Draw *Draw
	// Choice is what came of Draw, or Err why nothing did (sample.ErrNoToken).
	Choice sample.Choice
	Err    error
}

// Batch is what one Run computes. Reuse it from step to step.
type Batch struct{ Spans []Span }

// Tokens is the number of tokens in the batch.
func (b *Batch) Tokens() int {
	n := 0
	for i := range b.Spans {
		n += len(b.Spans[i].Tokens)
	}
	return n
}

// KV is an engine's memory of sequences.
type KV interface {
	// Reserve makes a sequence of length 0 with room for the given number of
	// positions; the room is guaranteed until Free. ErrKVFull means that it
	// doesn't fit now, any other error that it never will.
	Reserve(positions int) (SeqID, error)
	// Resize changes the room of a sequence, up or down, but not below its length.
	Resize(seq SeqID, positions int) error
	// Free forgets a sequence. Freeing an unknown one is an error.
	Free(seq SeqID) error
	// Len is the number of positions that a sequence holds.
	Len(seq SeqID) int
	// Truncate shortens a sequence to its first n positions, keeping its room. It
	// fails, with ErrKVFull, only where what is cut off was shared, so that there may
	// be no memory for writing it anew; and on engines without KVTruncate, with
	// ErrUnsupported, where Restorable isn't n.
	Truncate(seq SeqID, n int) error
	// Fork makes a sequence that begins with the first n positions of src, and has
	// room for so many as Reserve's. Nothing is copied: what both have is shared, and
	// reserved once, until one of them writes over it. On engines with KVPrefixCopy
	// only; and on those without KVTruncate only where Restorable is n.
	Fork(src SeqID, n, positions int) (SeqID, error)
	// Export writes a sequence in the common format (see KVHeader). On engines
	// with KVExport only.
	Export(seq SeqID, w io.Writer) error
	// Import reads a sequence into dst, which must be empty and have room. What
	// doesn't match the model or is damaged gives an error and changes nothing.
	Import(dst SeqID, r io.Reader) error
	// Usage says how full the memory is.
	Usage() KVUsage
}

// Rewinder is implemented by the KV of engines without KVTruncate: those of models with
// layers whose state is of one length alone, such as a recurrence's. They keep states of
// some lengths on the way, as long as there is memory for them, and those before each
// of the batches that may be under way.
type Rewinder interface {
	KV
	// Restorable is the longest length of at most n that Truncate and Fork can take a
	// sequence to. 0 always is one. It may be less after the next call.
	Restorable(seq SeqID, n int) int
}

// Restorable is the longest length of at most n that a sequence's beginning can be used
// with: n, unless the KV is a Rewinder.
func Restorable(kv KV, seq SeqID, n int) int {
	if r, ok := kv.(Rewinder); ok {
		return r.Restorable(seq, n)
	}
	return n
}

// KVUsage counts positions. Used ones hold values, reserved ones do or are promised to
// sequences; what several share counts once.
type KVUsage struct {
	Capacity, Reserved, Used int
	Sequences                int
	BytesPerToken            int
}

// Errors a caller branches on.
var (
	// ErrKVFull: the reservation doesn't fit now, but would in an empty engine.
	ErrKVFull = errors.New("kv cache is full")
	// ErrUnsupported: the engine lacks the capability for this call.
	ErrUnsupported = errors.New("not supported by this engine")
	// ErrEngineFailed: the engine can't be used any more and must be reloaded.
	ErrEngineFailed = errors.New("engine failed")
)

package backend

import (
	"context"

	"github.com/inferflux/inferflux/sample"
)

// Drawn stands, as the only token of a span, for the token that the same sequence
// drew in the batch started last before, whose value the host may not know yet.
// Only [DeviceSampler.Start] takes it, and only if that batch had a span of the
// sequence with a Draw; anything else is an error. If that draw fails, what comes
// of the span is of no use, but nothing worse.
const Drawn int32 = -1

// DeviceSampler is implemented by engines with Capabilities.DeviceSampling: they
// choose tokens on the device, so that a step fetches a few numbers instead of
// rows of logits, and a batch can be started before the tokens of the one before
// have been read.
type DeviceSampler interface {
	Engine
	// Start begins to compute a batch and returns without waiting for the device.
	// Where a span has a Draw (and wants LastLogits, as it then must), Wait sets
	// its Choice or its Err in place of logits; a span without one gets its Logits
	// as from Run.
	//
	// Sequences count as grown when Start returns. On an error nothing was started
	// and no sequence has grown.
	//
	// At most two batches may be under way at once, and no Run. KV calls in between
	// see the sequences as grown and take effect after what is under way: a
	// sequence may be freed whose span is in it.
	Start(ctx context.Context, b *Batch) (Started, error)
}

// Started is a batch under way. Its Batch, with all that its spans point to, must
// not be touched before Wait returns. Wait must be called exactly once, in the
// order of the Starts, unless the engine has failed (ErrEngineFailed); the engine
// is closed after it.
type Started interface {
	// Wait waits for the device and fills in the spans' results. An error in the
	// choice of one span's token is that span's Err; its sequence has grown like
	// the others. After any error of Wait itself the batch's sequences, and those
	// of the batch started after it, hold nothing of use past the lengths that
	// they had before: the caller waits for that other batch, ignores its results,
	// and truncates the sequences. A cancelled ctx doesn't end the wait.
	Wait(ctx context.Context) error
}

// Draw asks an engine to choose a span's token on its device.
type Draw = sample.Draw

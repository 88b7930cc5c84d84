package backend

import (
	"context"

	"github.com/inferflux/inferflux/sample"
)

// Drawn, as the only token of a span, stands for the token that the same
// sequence drew in the batch started before, whose value the host may not know
// yet. Only [DeviceSampler.Start] takes it.
const Drawn int32 = -1

// DeviceSampler is implemented by engines with Capabilities.DeviceSampling: they
// choose tokens on the device, so that a step fetches a few numbers instead of
// rows of logits, and a batch can be started before the tokens of the one before
// have been read.
type DeviceSampler interface {
	Engine
	// Start begins to compute a batch and returns without waiting for the device.
	// Where a span has a Draw (and wants LastLogits), Wait sets its Choice in
	// place of logits; a span without one gets its Logits as from Run.
	//
	// Sequences count as grown when Start returns. At most two batches may be
	// under way at once; KV calls in between take effect after both. On an error
	// nothing was started and no sequence has grown.
	Start(ctx context.Context, b *Batch) (Started, error)
}

// Started is a batch under way. Its Batch must not be touched before Wait
// returns, which must be called exactly once, in the order of the Starts.
type Started interface {
	// Wait waits for the device and fills in the spans' results. An error in the
	// choice of one span's token is that span's Err. After any other error the
	// batch's sequences hold nothing of use past the lengths that they had before
	// it: the caller truncates them. A cancelled ctx doesn't end the wait.
	Wait(ctx context.Context) error
}

// Draw asks an engine to choose a span's token on its device.
type Draw = sample.Draw

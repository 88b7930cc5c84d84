// Package backendtest proves, on any engine, the promises of package backend:
// what [backend.Engine] and [backend.KV] say, and every flag of
// [backend.Capabilities]. A flag that is set must hold; the call of one that
// isn't must give backend.ErrUnsupported.
//
// A backend's own test calls [Run] with a small model: it is loaded many times.
package backendtest

import (
	"testing"

	"github.com/inferflux/inferflux/backend"
)

// Options say what may be expected of the engine.
type Options struct {
	// Tolerance is the largest difference between logits of the same tokens
	// computed in different company or in different chunks. 0 means that they
	// must have the same bits.
	Tolerance float32
}

// Run tests engines as open returns them, each newly loaded with the same model:
// a context of at least 128 positions, room for at least 2048 positions, and
// batches of at least 256 tokens. Run closes them.
func Run(t *testing.T, open func(t testing.TB) backend.Engine, o Options) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *harness)
	}{
		{"Description", testDescription},
		{"Capabilities", testCapabilities},
		{"ChunkedPrefill", testChunkedPrefill},
		{"MixedBatch", testMixedBatch},
		{"LogitsWanted", testLogitsWanted},
		{"Hidden", testHidden},
		{"Speculation", testSpeculation},
		{"Truncate", testTruncate},
		{"Fork", testFork},
		{"Export", testExport},
		{"ImportDamaged", testImportDamaged},
		{"Reserve", testReserve},
		{"Room", testRoom},
		{"WrongKVCalls", testWrongKVCalls},
		{"WrongBatches", testWrongBatches},
		{"Cancel", testCancel},
		{"Close", testClose},
		{"RandomSchedule", testRandomSchedule},
		{"Draws", testDraws},
		{"StartRows", testStartRows},
		{"NothingToChoose", testNothingToChoose},
		{"StartOneByOne", testStartOneByOne},
		{"StartAhead", testStartAhead},
		{"StartAndTruncate", testStartAndTruncate},
		{"WrongStarts", testWrongStarts},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newHarness(t, open, o)) })
	}
}

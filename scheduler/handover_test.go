package scheduler_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/scheduler"
)

// FuzzHandover: whatever is sent, it is refused as unusable, or is exactly what would be
// written for its tokens.
func FuzzHandover(f *testing.F) {
	whole := append(scheduler.HandoverHeader([]int32{1, 2, 1 << 30}), "kv"...)
	f.Add(whole)
	f.Add(whole[:20])
	f.Add([]byte("IFLUXSEQ\x01\x00\x00\x00\xff\xff\xff\xff"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		tokens, kv, err := scheduler.ReadHandover(data)
		switch {
		case err != nil && !errors.Is(err, backend.ErrKVFormat):
			t.Errorf("the error %v", err)
		case err == nil && !bytes.Equal(append(scheduler.HandoverHeader(tokens), kv...), data):
			t.Errorf("%d tokens and %d bytes aren't what was sent", len(tokens), len(kv))
		}
	})
}

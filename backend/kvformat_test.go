package backend_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/backend"
)

var sampleHeader = backend.KVHeader{Fingerprint: "sha256:12ab", DType: backend.KVF16, Layers: 2, KVHeads: 1, Seq: 3, HeadDim: 4}

// exported writes a header and a random payload of the size that it says.
func exported(t testing.TB, h backend.KVHeader) (data, payload []byte) {
	t.Helper()
	size, err := h.PayloadBytes()
	if err != nil {
		t.Fatal(err)
	}
	payload = make([]byte, size)
	for i := range payload {
		payload[i] = byte(rand.Int())
	}
	var b bytes.Buffer
	w, err := backend.NewKVWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for half := range 2 {
		if _, err := w.Write(payload[len(payload)/2*half:][:len(payload)/2]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), payload
}

// imported reads all that exported wrote.
func imported(data []byte) (backend.KVHeader, []byte, error) {
	r, err := backend.NewKVReader(bytes.NewReader(data))
	if err != nil {
		return backend.KVHeader{}, nil, err
	}
	size, err := r.Header.PayloadBytes()
	if err != nil {
		return backend.KVHeader{}, nil, err
	}
	payload := make([]byte, min(size, 1<<20))
	if err := r.ReadFull(payload); err != nil {
		return r.Header, nil, err
	}
	return r.Header, payload, r.Verify()
}

func TestKVRoundTrip(t *testing.T) {
	for _, h := range []backend.KVHeader{
		sampleHeader,
		{DType: backend.KVF32, Layers: 1, KVHeads: 1, Seq: 1, HeadDim: 1},
		{Fingerprint: strings.Repeat("f", 256), DType: backend.KVF32, Layers: 3, KVHeads: 2, Seq: 70, HeadDim: 8},
	} {
		data, payload := exported(t, h)
		gotHeader, gotPayload, err := imported(data)
		if err != nil {
			t.Fatalf("%+v: %v", h, err)
		}
		if d := cmp.Diff(h, gotHeader); d != "" || !bytes.Equal(payload, gotPayload) {
			t.Errorf("%+v came back changed: %s", h, d)
		}
	}
}

// The bytes are a promise to other versions of the program: they must not move.
func TestKVBytes(t *testing.T) {
	data, payload := exported(t, sampleHeader)
	want := []byte("IFLUXKV\x00")
	for _, v := range []uint32{1, 2, 2, 1, 3, 4, 11} {
		want = binary.LittleEndian.AppendUint32(want, v)
	}
	want = append(want, "sha256:12ab"...)
	want = append(want, payload...)
	if !bytes.Equal(data[:len(want)], want) || len(data) != len(want)+32 {
		t.Errorf("exported % x", data)
	}
}

// Every single damaged bit and every shortened form is found.
func TestKVDamage(t *testing.T) {
	data, _ := exported(t, sampleHeader)
	for i := range len(data) * 8 {
		bad := bytes.Clone(data)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := imported(bad); !errors.Is(err, backend.ErrKVFormat) {
			t.Fatalf("with bit %d flipped: %v, expected %v", i, err, backend.ErrKVFormat)
		}
	}
	for n := range data {
		if _, _, err := imported(data[:n]); !errors.Is(err, backend.ErrKVFormat) {
			t.Fatalf("of %d bytes: %v, expected %v", n, err, backend.ErrKVFormat)
		}
	}
}

func TestKVFits(t *testing.T) {
	other := func(change func(*backend.KVHeader)) backend.KVHeader {
		h := sampleHeader
		change(&h)
		return h
	}
	for _, c := range []struct {
		h  backend.KVHeader
		ok bool
	}{
		{sampleHeader, true},
		{other(func(h *backend.KVHeader) { h.Seq = 9 }), true},
		{other(func(h *backend.KVHeader) { h.DType = backend.KVF32 }), true},
		{other(func(h *backend.KVHeader) { h.Fingerprint = "sha256:12ac" }), false},
		{other(func(h *backend.KVHeader) { h.Layers++ }), false},
		{other(func(h *backend.KVHeader) { h.KVHeads++ }), false},
		{other(func(h *backend.KVHeader) { h.HeadDim++ }), false},
	} {
		if err := c.h.Fits(sampleHeader); (err == nil) != c.ok || err != nil && !errors.Is(err, backend.ErrKVFormat) {
			t.Errorf("%+v fits %+v: %v", c.h, sampleHeader, err)
		}
	}
}

func TestKVHeaderLimits(t *testing.T) {
	for _, h := range []backend.KVHeader{
		{},
		{DType: 3, Layers: 1, KVHeads: 1, Seq: 1, HeadDim: 1},
		{DType: backend.KVF16, Layers: 0, KVHeads: 1, Seq: 1, HeadDim: 1},
		{DType: backend.KVF16, Layers: 1, KVHeads: 1, Seq: -1, HeadDim: 1},
		{DType: backend.KVF16, Layers: 1 << 27, KVHeads: 1 << 27, Seq: 1 << 27, HeadDim: 1 << 27},
		{Fingerprint: strings.Repeat("f", 257), DType: backend.KVF16, Layers: 1, KVHeads: 1, Seq: 1, HeadDim: 1},
	} {
		if _, err := backend.NewKVWriter(&bytes.Buffer{}, h); !errors.Is(err, backend.ErrKVFormat) {
			t.Errorf("NewKVWriter(%+v): %v, expected %v", h, err, backend.ErrKVFormat)
		}
	}
	w, err := backend.NewKVWriter(&bytes.Buffer{}, sampleHeader)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err == nil {
		t.Error("Close without the payload succeeded")
	}
	if _, err := w.Write(make([]byte, 1000)); err == nil {
		t.Error("Write of more than the payload succeeded")
	}
}

func FuzzKVReader(f *testing.F) {
	data, _ := exported(f, sampleHeader)
	f.Add(data)
	f.Add(data[:40])
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, err := imported(data); err != nil && !errors.Is(err, backend.ErrKVFormat) {
			t.Errorf("%v doesn't wrap %v", err, backend.ErrKVFormat)
		}
	})
}

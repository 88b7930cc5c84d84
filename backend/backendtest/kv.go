package backendtest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

// refused checks that a call was answered with ErrUnsupported.
func (h *harness) refused(what string, err error) {
	h.t.Helper()
	if !errors.Is(err, backend.ErrUnsupported) {
		h.t.Errorf("%s on an engine without the capability: %v, expected %v", what, err, backend.ErrUnsupported)
	}
}

// testFork forks at lengths around every likely page size, lets source and forks go
// different ways, and frees the source first.
func testFork(t *testing.T, h *harness) {
	text, other := h.text(6, 120), h.text(7, 120)
	src := h.reserve(128)
	h.extend(src, text[:100])
	if !h.caps.KVPrefixCopy {
		_, err := h.kv.Fork(src, 10, 128)
		h.refused("Fork", err)
		return
	}
	lengths := []int{0, 1, 16, 63, 64, 65, 99, 100}
	if !h.caps.KVTruncate {
		h.free(src)
		testForkBack(t, h)
		return
	}
	var ids []backend.SeqID
	for _, n := range lengths {
		id, err := h.kv.Fork(src, n, 128)
		if err != nil {
			t.Fatalf("Fork at %d: %v", n, err)
		}
		h.wantLen(id, n)
		ids = append(ids, id)
	}
	// The source writes first, after the copies' end and then before it.
	h.same("the source", h.extend(src, text[100:]), h.expected(text)[100:])
	h.truncate(src, 50)
	h.extend(src, other[50:])
	for i, n := range lengths[:4] {
		history := slices.Concat(text[:n], other[n:])
		h.same("a copy", h.extend(ids[i], other[n:]), h.expected(history)[n:])
	}
	h.free(src)
	for i, n := range lengths {
		if i < 4 {
			h.truncate(ids[i], n)
		}
		history := slices.Concat(text[:n], other[n:])
		h.same("a copy after the source was freed", h.extend(ids[i], other[n:]), h.expected(history)[n:])
	}
	h.free(ids...)
	if u := h.kv.Usage(); u.Used != 0 || u.Reserved != 0 || u.Sequences != 0 {
		t.Errorf("usage after everything was freed: %+v", u)
	}
	// A fork with no more room than it holds takes no memory while its source is there.
	a := h.reserve(100)
	h.extend(a, text[:100])
	before := h.kv.Usage()
	still, err := h.kv.Fork(a, 100, 100)
	if err != nil {
		t.Fatal(err)
	}
	if u := h.kv.Usage(); u.Used != before.Used || u.Reserved != before.Reserved || u.Sequences != before.Sequences+1 {
		t.Errorf("holding on to a sequence changed the usage from %+v to %+v", before, u)
	}
	h.free(a, still)
	// Wrong calls.
	a = h.reserve(20)
	h.extend(a, text[:15])
	for what, wrong := range map[string]struct {
		src          backend.SeqID
		n, positions int
	}{
		"more than the source has":    {a, 16, 20},
		"more than there is room for": {a, 11, 10},
		"a negative number":           {a, -1, 10},
		"one that doesn't exist":      {a + 100, 1, 10},
		"more than the context":       {a, 1, h.Context() + 1},
		"an absurd number":            {a, 1, 1 << 40},
	} {
		if _, err := h.kv.Fork(wrong.src, wrong.n, wrong.positions); err == nil || errors.Is(err, backend.ErrKVFull) {
			t.Errorf("Fork of %s: %v", what, err)
		}
	}
	h.wantLen(a, 15)
}

// testForkBack is testFork for an engine that can't go to any length: whatever it can go to must be
// right, and nothing else be accepted.
func testForkBack(t *testing.T, h *harness) {
	text, other := h.text(6, 128), h.text(7, 128)
	for _, chunk := range []int{100, 64, 50, 7, 1} {
		src := h.reserve(128)
		for at := 0; at < 100; at += chunk {
			h.extend(src, text[at:min(at+chunk, 100)])
		}
		if n := backend.Restorable(h.kv, src, 100); n != 100 {
			t.Errorf("a sequence of 100 positions can be forked at %d", n)
		}
		var ids []backend.SeqID
		var lengths []int
		for n := 100; n >= 0; n-- {
			at := backend.Restorable(h.kv, src, n)
			id, err := h.kv.Fork(src, n, 128)
			if at < n {
				h.refused("Fork", err)
				continue
			}
			if err != nil {
				t.Fatalf("Fork at %d: %v", n, err)
			}
			h.wantLen(id, n)
			ids, lengths = append(ids, id), append(lengths, n)
		}
		if len(lengths) < 2 {
			t.Fatalf("it can be forked only at %v", lengths)
		}
		h.same("the source", h.extend(src, text[100:]), h.expected(text)[100:])
		h.free(src)
		for i, n := range lengths {
			history := slices.Concat(text[:n], other[n:])
			h.same("a copy after the source was freed", h.extend(ids[i], other[n:]), h.expected(history)[n:])
			if back := h.goBack(ids[i], 120); back < 120 {
				h.same("a copy that went back", h.extend(ids[i], history[back:]), h.expected(history)[back:])
			}
		}
		h.free(ids...)
	}
	if u := h.kv.Usage(); u.Used != 0 || u.Reserved != 0 || u.Sequences != 0 {
		t.Errorf("usage after everything was freed: %+v", u)
	}
}

func (h *harness) export(id backend.SeqID) []byte {
	h.t.Helper()
	var b bytes.Buffer
	if err := h.kv.Export(id, &b); err != nil {
		h.t.Fatalf("Export: %v", err)
	}
	return b.Bytes()
}

func testExport(t *testing.T, h *harness) {
	text := h.text(8, 120)
	want := h.expected(text)
	id := h.reserve(120)
	h.extend(id, text[:70])
	if !h.caps.KVExport {
		h.refused("Export", h.kv.Export(id, io.Discard))
		h.refused("Import", h.kv.Import(h.reserve(120), &bytes.Buffer{}))
		return
	}
	data := h.export(id)
	kr, err := backend.NewKVReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if kr.Header.Seq != 70 || kr.Header.Fingerprint == "" {
		t.Errorf("exported with the header %+v", kr.Header)
	}
	h.free(id)
	id = h.reserve(120)
	if err := h.kv.Import(id, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	h.wantLen(id, 70)
	if again := h.export(id); !bytes.Equal(again, data) {
		t.Error("what was imported isn't exported as the same bytes")
	}
	h.same("after import", h.extend(id, text[70:]), want[70:])

	if err := h.kv.Export(id, failingWriter{}); !errors.Is(err, errWriter) {
		t.Errorf("Export to a writer that fails: %v", err)
	}
	if err := h.kv.Import(id, bytes.NewReader(data)); err == nil {
		t.Error("Import into a sequence that isn't empty succeeded")
	}
	h.wantLen(id, 120)
	small := h.reserve(69)
	if err := h.kv.Import(small, bytes.NewReader(data)); err == nil {
		t.Error("Import without room succeeded")
	}
	h.wantLen(small, 0)
	if h.kv.Export(small, io.Discard) == nil {
		t.Error("Export of an empty sequence succeeded")
	}
	if h.kv.Export(id+1000, io.Discard) == nil || h.kv.Import(id+1000, bytes.NewReader(data)) == nil {
		t.Error("Export or Import of an unknown sequence succeeded")
	}
}

var errWriter = errors.New("the disk is full")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errWriter }

// testImportDamaged flips bits all over an exported sequence, cuts it short, and
// gives it another model's name: each is an error that changes nothing.
func testImportDamaged(t *testing.T, h *harness) {
	if !h.caps.KVExport {
		t.Skip("no KVExport")
	}
	text := h.text(9, 90)
	id, to := h.reserve(90), h.reserve(90)
	h.extend(id, text[:20])
	data := h.export(id)
	used := h.kv.Usage().Used
	wrong := func(what string, data []byte) {
		t.Helper()
		if err := h.kv.Import(to, bytes.NewReader(data)); err == nil {
			t.Errorf("Import of %s succeeded", what)
			h.truncate(to, 0)
		}
		h.wantLen(to, 0)
		if now := h.kv.Usage().Used; now != used {
			t.Fatalf("Import of %s left %d positions in use, before there were %d", what, now, used)
		}
	}
	for at := 0; at < len(data); at += 1 + at/64 {
		bad := slices.Clone(data)
		bad[at] ^= 1 << (at % 8)
		wrong("a flipped bit", bad)
		if at < 64 || at > len(data)-64 || at%3 == 0 {
			wrong("a shortened sequence", data[:at])
		}
	}
	h.same("after failed imports", h.extend(id, text[20:]), h.expected(text)[20:])
	if err := h.kv.Import(to, bytes.NewReader(data)); err != nil {
		t.Errorf("Import of the undamaged sequence: %v", err)
	}
	h.same("after failed imports and a good one", h.extend(to, text[20:]), h.expected(text)[20:])
}

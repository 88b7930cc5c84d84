package backendtest

import (
	"errors"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

func testReserve(t *testing.T, h *harness) {
	for _, n := range []int{-1, h.Context() + 1} {
		if _, err := h.kv.Reserve(n); err == nil || errors.Is(err, backend.ErrKVFull) {
			t.Errorf("Reserve(%d) with a context of %d: %v, expected an error that isn't ErrKVFull", n, h.Context(), err)
		}
	}
	seen := map[backend.SeqID]bool{}
	var ids []backend.SeqID
	for {
		id, err := h.kv.Reserve(h.Context())
		if errors.Is(err, backend.ErrKVFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatalf("sequence %d was given out twice", id)
		}
		seen[id] = true
		ids = append(ids, id)
		if u := h.kv.Usage(); u.Reserved > u.Capacity || u.Reserved < len(ids)*h.Context() || u.Used != 0 || u.Sequences != len(ids) {
			t.Fatalf("usage with %d sequences of %d: %+v", len(ids), h.Context(), u)
		}
	}
	if len(ids) == 0 {
		t.Fatal("not even one full context can be reserved")
	}
	h.free(ids[0])
	again := h.reserve(h.Context())
	h.free(ids[1:]...)
	h.free(again)
	if u := h.kv.Usage(); u.Reserved != 0 || u.Sequences != 0 {
		t.Errorf("usage after everything was freed: %+v", u)
	}
}

// testRoom fills every reserved position of a full engine, twice over: what was
// reserved must be there.
func testRoom(t *testing.T, h *harness) {
	const room = 100
	var ids []backend.SeqID
	for len(ids) < 64 {
		id, err := h.kv.Reserve(room)
		if err != nil {
			break
		}
		ids = append(ids, id)
	}
	text := h.text(10, room)
	want := h.expected2(text, ids[0])
	for range 2 {
		for _, id := range ids {
			h.same("in a full engine", h.extend(id, text), want)
		}
		for _, id := range ids {
			h.goBack(id, 3)
			h.truncate(id, 0)
		}
	}
	// Forks share memory, but each may still be written to its end, as many as fit.
	if h.caps.KVPrefixCopy && len(ids) > 1 {
		h.extend(ids[0], text[:70])
		h.free(ids[1:]...)
		for ids = ids[:1]; len(ids) < 64; {
			id, err := h.kv.Fork(ids[0], 70, room)
			if err != nil {
				if !errors.Is(err, backend.ErrKVFull) {
					t.Fatal(err)
				}
				break
			}
			ids = append(ids, id)
		}
		for _, id := range ids {
			h.same("a fork in a full engine", h.extend(id, text[70:]), want[70:])
		}
	}
	h.free(ids...)

	id := h.reserve(10)
	h.extend(id, text[:10])
	if err := h.Run(t.Context(), &backend.Batch{Spans: []backend.Span{{Seq: id, Pos: 10, Tokens: text[10:11]}}}); err == nil {
		t.Error("a sequence grew past its room")
	}
	h.wantLen(id, 10)
	if err := h.kv.Resize(id, 9); err == nil || errors.Is(err, backend.ErrKVFull) {
		t.Errorf("Resize to less than there is: %v, expected an error that isn't ErrKVFull", err)
	}
	if err := h.kv.Resize(id, room); err != nil {
		t.Fatal(err)
	}
	roomy := h.kv.Usage().Reserved
	if err := h.kv.Resize(id, 10); err != nil {
		t.Fatal(err)
	}
	if tight := h.kv.Usage().Reserved; tight >= roomy {
		t.Errorf("%d positions are reserved with room for 10, %d with room for %d", tight, roomy, room)
	}
	if err := h.kv.Resize(id, room); err != nil {
		t.Fatal(err)
	}
	h.same("after Resize", h.extend(id, text[10:]), want[10:])
	if err := h.kv.Resize(id, h.Context()+1); err == nil || errors.Is(err, backend.ErrKVFull) {
		t.Errorf("Resize past the context: %v, expected an error that isn't ErrKVFull", err)
	}
	h.free(id)
	// Fill the engine: then Resize must say that it is full, and change nothing.
	id = h.reserve(1)
	for n := h.Context(); n > 0; {
		if _, err := h.kv.Reserve(n); err != nil {
			n /= 2
		}
	}
	before := h.kv.Usage()
	if err := h.kv.Resize(id, h.Context()); !errors.Is(err, backend.ErrKVFull) {
		t.Errorf("Resize in a full engine: %v, expected %v", err, backend.ErrKVFull)
	}
	if after := h.kv.Usage(); after != before {
		t.Errorf("a failed Resize changed the usage from %+v to %+v", before, after)
	}
}

// expected2 is expected, computed in an existing, empty sequence.
func (h *harness) expected2(text []int32, id backend.SeqID) [][]float32 {
	h.t.Helper()
	var rows [][]float32
	for _, token := range text {
		rows = append(rows, h.extend(id, []int32{token})...)
	}
	h.truncate(id, 0)
	return rows
}

func testWrongKVCalls(t *testing.T, h *harness) {
	id := h.reserve(10)
	h.extend(id, h.text(11, 5))
	gone := h.reserve(10)
	h.free(gone)
	for what, err := range map[string]error{
		"Free of an unknown sequence":           h.kv.Free(id + 1000),
		"Free of a freed sequence":              h.kv.Free(gone),
		"Free of sequence -1":                   h.kv.Free(-1),
		"Resize of an unknown sequence":         h.kv.Resize(id+1000, 5),
		"Truncate of an unknown sequence":       h.kv.Truncate(gone, 0),
		"Truncate to more than there is":        h.kv.Truncate(id, 6),
		"Truncate to a negative number":         h.kv.Truncate(id, -1),
		"Resize to an absurd number":            h.kv.Resize(id, 1<<40),
		"Resize of a sequence that isn't there": h.kv.Resize(gone, 1),
	} {
		if err == nil {
			t.Errorf("%s succeeded", what)
		}
	}
	h.wantLen(id, 5)
	h.wantLen(gone, 0)
}

package backendtest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/backend"
)

// testRandomSchedule does what a scheduler might, in random order, and compares
// every row of logits with that of the same tokens run alone from scratch.
func testRandomSchedule(t *testing.T, h *harness) {
	texts := make([][]int32, 4) // few, so that the expected logits can be kept
	for i := range texts {
		texts[i] = h.text(1000+i, 128)
		h.expected(texts[i])
	}
	rapid.Check(t, func(rt *rapid.T) {
		h.t = failer{t, rt}
		m := &schedule{harness: h, texts: texts, live: map[backend.SeqID]*history{}}
		defer func() { // also when rapid gives an attempt up half way
			h.t = t
			for id := range m.live {
				_ = h.kv.Free(id)
			}
		}()
		rt.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"reserve":  m.doReserve,
			"run":      m.doRun,
			"truncate": m.doTruncate,
			"copy":     m.doCopy,
			"transfer": m.doTransfer,
			"wrong":    m.doWrong,
			"free":     m.doFree,
		})
		h.free(slices.Collect(maps.Keys(m.live))...)
		clear(m.live)
		if u := h.kv.Usage(); u.Reserved != 0 || u.Used != 0 || u.Sequences != 0 {
			rt.Fatalf("usage after everything was freed: %+v", u)
		}
	})
}

// failer makes the harness fail the property, so that rapid can shrink it.
type failer struct {
	testing.TB
	rt *rapid.T
}

func (f failer) Helper()                      {}
func (f failer) Fatalf(s string, args ...any) { f.rt.Fatalf(s, args...) }
func (f failer) Errorf(s string, args ...any) { f.rt.Errorf(s, args...) }
func (f failer) Fatal(args ...any)            { f.rt.Fatal(args...) }

// history is what a sequence must hold: a prefix of a text.
type history struct {
	text, len, room int
}

type schedule struct {
	*harness
	texts [][]int32
	live  map[backend.SeqID]*history
}

const mostSequences = 8

// pick draws a live sequence, or skips the action.
func (m *schedule) pick(rt *rapid.T, label string) (backend.SeqID, *history) {
	if len(m.live) == 0 {
		rt.Skip("no sequences")
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.live))).Draw(rt, label)
	return id, m.live[id]
}

func (m *schedule) check(rt *rapid.T) {
	for id, s := range m.live {
		if n := m.kv.Len(id); n != s.len {
			rt.Fatalf("sequence %d has %d positions, expected %d", id, n, s.len)
		}
	}
	if u := m.kv.Usage(); u.Sequences != len(m.live) || u.Used > u.Capacity || u.Reserved > u.Capacity {
		rt.Fatalf("usage with %d sequences: %+v", len(m.live), u)
	}
}

func (m *schedule) doReserve(rt *rapid.T) {
	if len(m.live) >= mostSequences {
		rt.Skip("enough sequences")
	}
	s := &history{text: rapid.IntRange(0, len(m.texts)-1).Draw(rt, "text"), room: rapid.IntRange(1, 128).Draw(rt, "room")}
	m.live[m.reserve(s.room)] = s
}

func (m *schedule) doFree(rt *rapid.T) {
	id, _ := m.pick(rt, "seq")
	m.free(id)
	delete(m.live, id)
}

func (m *schedule) doTruncate(rt *rapid.T) {
	id, s := m.pick(rt, "seq")
	s.len = m.goBack(id, rapid.IntRange(0, s.len).Draw(rt, "to"))
}

func (m *schedule) doRun(rt *rapid.T) {
	spans := m.spans(rt)
	if len(spans) == 0 {
		rt.Skip("nothing to run")
	}
	for i, sp := range m.run(spans...) {
		spans[i].Logits = clone(sp.Logits)
	}
	for _, sp := range spans {
		s := m.live[sp.Seq]
		want := m.expected(m.texts[s.text])[s.len : s.len+len(sp.Tokens)]
		if sp.Want == backend.LastLogits {
			want = want[len(want)-1:]
		}
		if sp.Want == backend.LastLogits || sp.Want == backend.AllLogits {
			m.same(fmt.Sprintf("sequence %d", sp.Seq), sp.Logits, want)
		}
		s.len += len(sp.Tokens)
	}
}

// spans draws a batch over some of the sequences.
func (m *schedule) spans(rt *rapid.T) (spans []backend.Span) {
	budget := m.MaxBatchTokens()
	single := !m.caps.MixedBatch && rapid.Bool().Draw(rt, "decode")
	wishes := backend.AllLogits
	if m.caps.Embeddings {
		wishes = backend.AllHidden
	}
	for _, id := range slices.Sorted(maps.Keys(m.live)) {
		s := m.live[id]
		most := min(s.room-s.len, budget)
		if single {
			most = min(most, 1)
		}
		least := 0
		if !m.caps.MixedBatch && !single {
			least = min(2, most)
		}
		n := rapid.IntRange(least, most).Draw(rt, "tokens")
		if n == 0 || !m.caps.MixedBatch && !single && n == 1 {
			continue
		}
		budget -= n
		spans = append(spans, backend.Span{Seq: id, Pos: s.len, Tokens: m.texts[s.text][s.len : s.len+n],
			Want: backend.LogitsWanted(rapid.IntRange(0, int(wishes)).Draw(rt, "want"))})
	}
	return spans
}

func (m *schedule) doWrong(rt *rapid.T) {
	spans := m.spans(rt)
	if len(spans) == 0 {
		rt.Skip("nothing to run")
	}
	bad := &spans[rapid.IntRange(0, len(spans)-1).Draw(rt, "which")]
	switch rapid.IntRange(0, 2).Draw(rt, "how") {
	case 0:
		bad.Pos++
	case 1:
		bad.Tokens = append(slices.Clone(bad.Tokens[1:]), int32(m.vocab))
	case 2:
		bad.Seq += 1000
	}
	if err := m.Run(context.Background(), &backend.Batch{Spans: spans}); err == nil {
		rt.Fatal("a wrong batch succeeded")
	}
}

func (m *schedule) doCopy(rt *rapid.T) {
	if !m.caps.KVPrefixCopy || len(m.live) >= mostSequences {
		rt.Skip("no copy")
	}
	src, s := m.pick(rt, "src")
	n := backend.Restorable(m.kv, src, rapid.IntRange(0, s.len).Draw(rt, "n"))
	d := &history{text: s.text, len: n, room: rapid.IntRange(max(n, 1), 128).Draw(rt, "room")}
	dst, err := m.kv.Fork(src, n, d.room)
	if err != nil {
		rt.Fatalf("Fork: %v", err)
	}
	m.live[dst] = d
}

// doTransfer exports a sequence and imports it in its own place.
func (m *schedule) doTransfer(rt *rapid.T) {
	id, s := m.pick(rt, "seq")
	if !m.caps.KVExport || s.len == 0 {
		rt.Skip("nothing to export")
	}
	data := m.export(id)
	m.free(id)
	delete(m.live, id)
	to := m.reserve(s.room)
	if err := m.kv.Import(to, bytes.NewReader(data)); err != nil {
		rt.Fatalf("Import: %v", err)
	}
	m.live[to] = s
}

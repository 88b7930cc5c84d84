package backendtest

import (
	"math"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

func testDescription(t *testing.T, h *harness) {
	m := h.Model()
	if m.Vocab < 1 || m.Layers < 1 || m.Hidden < 1 || m.Context < 1 || m.Architecture == "" {
		t.Errorf("an incomplete model: %+v", m)
	}
	d := h.Description()
	if d.Name == "" || d.Device == "" || !d.Ready || d.Reason != "" {
		t.Errorf("a loaded engine describes itself as %+v", d)
	}
	if h.Context() > m.Context {
		t.Errorf("context %d, but the model was trained for %d", h.Context(), m.Context)
	}
	u := h.kv.Usage()
	if u.Reserved != 0 || u.Used != 0 || u.Sequences != 0 || u.BytesPerToken < 1 || u.Capacity < h.Context() {
		t.Errorf("an empty engine's usage is %+v, with a context of %d", u, h.Context())
	}
}

// testCapabilities: a flag for which the contract has no call to prove it must
// not be set; those that rest on logits are proven by looking at some.
func testCapabilities(t *testing.T, h *harness) {
	if h.caps.Multimodal {
		t.Errorf("flags that nothing can prove are set: %+v", h.caps)
	}
	id := h.reserve(8)
	for i, row := range h.extend(id, h.text(1, 8)) {
		low, high := row[0], row[0]
		for _, v := range row {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Fatalf("logit %v at position %d", v, i)
			}
			low, high = min(low, v), max(high, v)
		}
		if low == high {
			t.Fatalf("all logits at position %d are %v", i, low)
		}
	}
}

func testChunkedPrefill(t *testing.T, h *harness) {
	text := h.text(2, 128)
	want := h.expected(text)
	for _, chunk := range []int{1, 7, 63, 64, 65, 128} {
		id := h.reserve(len(text))
		for at := 0; at < len(text); at += chunk {
			end := min(at+chunk, len(text))
			h.same("chunked", h.extend(id, text[at:end]), want[at:end])
		}
		h.free(id)
	}
}

// testMixedBatch runs sixteen sequences together: at first prompts of different
// lengths, then a token each, then tokens and prompts in one batch.
func testMixedBatch(t *testing.T, h *harness) {
	const n = 16
	ids, texts := make([]backend.SeqID, n), make([][]int32, n)
	var spans []backend.Span
	for i := range ids {
		ids[i], texts[i] = h.reserve(40), h.text(100+i, 40)
		spans = append(spans, backend.Span{Seq: ids[i], Tokens: texts[i][:1+i], Want: backend.AllLogits})
	}
	check := func(what string, spans []backend.Span) {
		t.Helper()
		for i, s := range spans {
			got := clone(s.Logits)
			h.same(what, got, h.expected(texts[i])[s.Pos:s.Pos+len(s.Tokens)])
		}
	}
	run := func(what string, spans []backend.Span) {
		t.Helper()
		out := h.run(spans...)
		for i := range out {
			out[i].Logits = clone(out[i].Logits)
		}
		check(what, out)
	}
	run("prompts", spans)
	step := func(tokens func(i int) int) []backend.Span {
		spans = nil
		for i, id := range ids {
			at := h.kv.Len(id)
			spans = append(spans, backend.Span{Seq: id, Pos: at, Tokens: texts[i][at : at+tokens(i)], Want: backend.AllLogits})
		}
		return spans
	}
	run("one token each", step(func(int) int { return 1 }))
	mixed := step(func(i int) int { return 1 + i%3*10 })
	if h.caps.MixedBatch {
		run("tokens and prompts", mixed)
		return
	}
	h.refused("a batch of tokens and prompts", h.Run(t.Context(), &backend.Batch{Spans: mixed}))
}

func testLogitsWanted(t *testing.T, h *harness) {
	text := h.text(3, 30)
	want := h.expected(text)
	a, b, c := h.reserve(30), h.reserve(30), h.reserve(30)
	out := h.run(
		backend.Span{Seq: a, Tokens: text[:20], Want: backend.LastLogits},
		backend.Span{Seq: b, Tokens: text[:20], Want: backend.NoLogits},
		backend.Span{Seq: c, Tokens: text[:20], Want: backend.AllLogits})
	h.same("last", out[0].Logits, want[19:20])
	h.same("all", out[2].Logits, want[:20])
	for _, s := range out { // the caller may write to them
		for _, row := range s.Logits {
			clear(row)
		}
	}
	out = h.run(
		backend.Span{Seq: a, Pos: 20, Tokens: text[20:], Want: backend.NoLogits},
		backend.Span{Seq: b, Pos: 20, Tokens: text[20:], Want: backend.LastLogits})
	h.same("after no logits", out[1].Logits, want[29:])
	h.run(backend.Span{Seq: c, Pos: 20, Tokens: text[20:]}) // a batch that wants none
	if err := h.Run(t.Context(), &backend.Batch{}); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

// testSpeculation checks a draft whose third token is wrong, goes back, and goes
// on with the right one.
func testSpeculation(t *testing.T, h *harness) {
	if !h.caps.SpeculativeDecoding {
		t.Skip("no SpeculativeDecoding")
	}
	text := h.text(4, 80)
	want := h.expected(text)
	id := h.reserve(len(text))
	h.extend(id, text[:60])
	draft := append(append([]int32{}, text[60:63]...), (text[63]+1)%int32(h.vocab), text[64])
	got := h.extend(id, draft)
	h.same("accepted", got[:3], want[60:63])
	h.truncate(id, 63)
	h.same("after a rejection", h.extend(id, text[63:]), want[63:])
}

func testTruncate(t *testing.T, h *harness) {
	text := h.text(5, 128)
	want := h.expected(text)
	id := h.reserve(len(text))
	h.extend(id, text)
	for _, n := range []int{127, 65, 64, 63, 1, 0} {
		n = h.goBack(id, n)
		h.same("after truncation", h.extend(id, text[n:]), want[n:])
	}
}

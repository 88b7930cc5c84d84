package backendtest

import (
	"math"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

// testHidden: hidden states are the same however a text is cut and whatever else is in
// the batch, and logits beside them are what they are without.
func testHidden(t *testing.T, h *harness) {
	text := h.text(40, 100)
	id := h.reserve(len(text))
	if !h.caps.Embeddings {
		h.refused("a span that wants hidden states", h.Run(t.Context(), &backend.Batch{Spans: []backend.Span{{Seq: id, Tokens: text, Want: backend.LastHidden}}}))
		return
	}
	var want [][]float32
	for i, token := range text {
		want = append(want, h.hidden(backend.Span{Seq: id, Pos: i, Tokens: []int32{token}, Want: backend.AllHidden})...)
	}
	for _, chunk := range []int{7, 64, 100} {
		id := h.reserve(len(text))
		for at := 0; at < len(text); at += chunk {
			end := min(at+chunk, len(text))
			h.same("chunked", h.hidden(backend.Span{Seq: id, Pos: at, Tokens: text[at:end], Want: backend.AllHidden}), want[at:end])
		}
		h.free(id)
	}
	logits := h.expected(text[:60])
	a, b, c, d := h.reserve(100), h.reserve(100), h.reserve(100), h.reserve(100)
	for _, part := range [][2]int{{0, 30}, {30, 31}, {31, 60}} {
		from, to := part[0], part[1]
		span := func(id backend.SeqID, w backend.LogitsWanted) backend.Span {
			return backend.Span{Seq: id, Pos: from, Tokens: text[from:to], Want: w}
		}
		out := h.run(span(a, backend.LastHidden), span(b, backend.AllLogits), span(c, backend.AllHidden), span(d, backend.LastLogits))
		h.same("the last in company", clone(out[0].Hidden), want[to-1:to])
		h.same("logits beside hidden states", clone(out[1].Logits), logits[from:to])
		h.same("all in company", clone(out[2].Hidden), want[from:to])
		h.same("the last logits", clone(out[3].Logits), logits[to-1:to])
	}
}

// hidden runs a span that wants hidden states and returns a copy of them.
func (h *harness) hidden(s backend.Span) [][]float32 {
	h.t.Helper()
	return clone(h.run(s)[0].Hidden)
}

// HiddenDeviation is the largest difference of a hidden state's element from the
// reference, which has a row for each token, in one run and in chunks.
func HiddenDeviation(t testing.TB, e backend.Engine, tokens []int32, want [][]float32) float64 {
	t.Helper()
	worst := 0.0
	for _, chunk := range []int{len(tokens), 7} {
		id, err := e.KV().Reserve(len(tokens))
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(tokens); at += chunk {
			end := min(at+chunk, len(tokens))
			b := backend.Batch{Spans: []backend.Span{{Seq: id, Pos: at, Tokens: tokens[at:end], Want: backend.AllHidden}}}
			if err := e.Run(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
			if len(b.Spans[0].Hidden) != end-at {
				t.Fatalf("%d hidden states of %d tokens", len(b.Spans[0].Hidden), end-at)
			}
			for i, row := range b.Spans[0].Hidden {
				for j, v := range row {
					if d := math.Abs(float64(v - want[at+i][j])); !(d <= worst) {
						worst = d
					}
				}
			}
		}
		if err := e.KV().Free(id); err != nil {
			t.Error(err)
		}
	}
	return worst
}

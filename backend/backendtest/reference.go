package backendtest

import (
	"math"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

// Deviation runs tokens in company: in one batch, beside two other sequences, as what
// follows a prefix of another sequence, as what follows its own, and from the start. It
// is the largest difference of a logit from the reference, which has a row for each token.
func Deviation(t testing.TB, e backend.Engine, tokens []int32, want [][]float32) float64 {
	t.Helper()
	n := len(tokens)
	var seqs [3]backend.SeqID
	for i := range seqs {
		id, err := e.KV().Reserve(n)
		if err != nil {
			t.Fatal(err)
		}
		seqs[i] = id
	}
	defer func() {
		for _, id := range seqs {
			if err := e.KV().Free(id); err != nil {
				t.Error(err)
			}
		}
	}()
	worst := 0.0
	run := func(spans ...backend.Span) {
		t.Helper()
		if err := e.Run(t.Context(), &backend.Batch{Spans: spans}); err != nil {
			t.Fatal(err)
		}
		for _, s := range spans {
			if len(s.Logits) != len(s.Tokens) {
				t.Fatalf("%d rows of logits for %d tokens", len(s.Logits), len(s.Tokens))
			}
			for i, row := range s.Logits {
				for j, v := range row {
					if d := math.Abs(float64(v - want[s.Pos+i][j])); !(d <= worst) {
						worst = d
					}
				}
			}
		}
	}
	span := func(seq, from, to int) backend.Span {
		return backend.Span{Seq: seqs[seq], Pos: from, Tokens: tokens[from:to], Want: backend.AllLogits}
	}
	most, shared := 2*n/3, n/2-1
	begun := most
	if !e.Capabilities().KVTruncate {
		begun = shared // it can be forked where it is
	}
	run(span(0, 0, begun))
	if err := e.KV().Free(seqs[1]); err != nil {
		t.Fatal(err)
	}
	var err error
	if seqs[1], err = e.KV().Fork(seqs[0], shared, n); err != nil {
		t.Fatal(err)
	}
	if begun < most {
		run(span(0, begun, most))
	}
	// A step of one token, a short chunk and a long one.
	run(span(0, most, most+1), span(1, shared, shared+3), span(2, 0, n/3))
	run(span(2, n/3, n/3+1), span(1, shared+3, n), span(0, most+1, most+2))
	run(span(0, most+2, n), span(2, n/3+1, n))
	return worst
}

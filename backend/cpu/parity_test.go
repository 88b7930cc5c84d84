package cpu_test

import (
	"context"
	"math"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/model/modeltest"
)

// loadEngine loads a checkpoint on the cpu backend.
func loadEngine(t testing.TB, c checkpoint.Checkpoint, o backend.LoadOptions) backend.Engine {
	t.Helper()
	e, err := cpu.Backend{}.Load(context.Background(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// runChunked runs tokens through a new sequence, chunk by chunk, and returns a
// copy of every row of logits.
func runChunked(t testing.TB, e backend.Engine, tokens []int32, chunk int) [][]float32 {
	t.Helper()
	seq, err := e.KV().Reserve(len(tokens))
	if err != nil {
		t.Fatal(err)
	}
	defer e.KV().Free(seq)
	var rows [][]float32
	for at := 0; at < len(tokens); at += chunk {
		b := backend.Batch{Spans: []backend.Span{{Seq: seq, Pos: at, Tokens: tokens[at:min(at+chunk, len(tokens))], Want: backend.AllLogits}}}
		if err := e.Run(context.Background(), &b); err != nil {
			t.Fatal(err)
		}
		for _, row := range b.Spans[0].Logits {
			rows = append(rows, append([]float32(nil), row...))
		}
	}
	return rows
}

// TestLogitsEqualReference is the promise on float weights, and on those that MLX
// quantized: at every position, however the prompt is cut, within 1e-3 of
// transformers, or mlx-lm, in float32. Keys and values kept in 16 bits lose 13 of
// their 24 bits of precision, which these random models, whose attention is sharp,
// amplify to about 1e-2: transformers itself, made to round its keys and values to
// binary16, moves by the same amounts.
func TestLogitsEqualReference(t *testing.T) {
	for _, name := range modeltest.Fixtures(t) {
		tokens, want := modeltest.Reference(t, name)
		for kv, bound := range map[string]float64{"f32": 1e-3, "f16": 2e-2} {
			t.Run(name+"/"+kv, func(t *testing.T) {
				e := loadEngine(t, modeltest.Open(t, name), backend.LoadOptions{KVType: kv})
				for _, chunk := range []int{len(tokens), 7, 1} {
					worst, at := 0.0, 0
					for i, row := range runChunked(t, e, tokens, chunk) {
						for j, v := range row {
							if d := math.Abs(float64(v - want[i][j])); !(d <= worst) {
								worst, at = d, i
							}
						}
					}
					t.Logf("chunks of %d: max |Δlogit| %.2e", chunk, worst)
					if !(worst <= bound) {
						t.Errorf("chunks of %d: max |Δlogit| is %g, at position %d, expected at most %g", chunk, worst, at, bound)
					}
				}
			})
		}
	}
}

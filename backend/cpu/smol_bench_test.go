package cpu_test

import (
	"context"
	"os"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/gguf"
)

// testModel opens the real model that INFERFLUX_TEST_MODEL names, or skips.
func testModel(t testing.TB) checkpoint.Checkpoint {
	t.Helper()
	path := os.Getenv("INFERFLUX_TEST_MODEL")
	if path == "" {
		t.Skip("INFERFLUX_TEST_MODEL does not name a GGUF file")
	}
	c, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// run runs a batch that must succeed.
func run(t testing.TB, e backend.Engine, b *backend.Batch) {
	t.Helper()
	if err := e.Run(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkPrompt is pp512: a prompt of 512 tokens in one batch.
func BenchmarkPrompt(b *testing.B) {
	const n = 512
	e := loadEngine(b, testModel(b), backend.LoadOptions{MaxBatchTokens: n})
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32((7919*i + 13) % e.Model().Vocab)
	}
	seq, err := e.KV().Reserve(n)
	if err != nil {
		b.Fatal(err)
	}
	batch := backend.Batch{Spans: []backend.Span{{Seq: seq, Tokens: tokens, Want: backend.LastLogits}}}
	run(b, e, &batch)
	for b.Loop() {
		if err := e.KV().Truncate(seq, 0); err != nil {
			b.Fatal(err)
		}
		run(b, e, &batch)
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkGenerate is tg128 for one sequence and for eight at once.
func BenchmarkGenerate(b *testing.B) {
	const n = 128
	for name, sequences := range map[string]int{"1": 1, "8": 8} {
		b.Run(name, func(b *testing.B) {
			e := loadEngine(b, testModel(b), backend.LoadOptions{})
			var batch backend.Batch
			for range sequences {
				seq, err := e.KV().Reserve(n)
				if err != nil {
					b.Fatal(err)
				}
				batch.Spans = append(batch.Spans, backend.Span{Seq: seq, Tokens: make([]int32, 1), Want: backend.LastLogits})
			}
			for b.Loop() {
				for pos := range n {
					for i := range batch.Spans {
						sp := &batch.Spans[i]
						sp.Pos, sp.Tokens[0] = pos, int32((7919*(pos+i)+13)%e.Model().Vocab)
					}
					run(b, e, &batch)
				}
				for i := range batch.Spans {
					if err := e.KV().Truncate(batch.Spans[i].Seq, 0); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n*sequences*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// BenchmarkLoad is the time from an open file to an engine that is ready.
func BenchmarkLoad(b *testing.B) {
	c := testModel(b)
	for b.Loop() {
		e, err := cpu.Backend{}.Load(b.Context(), c, backend.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(c.Size())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
}

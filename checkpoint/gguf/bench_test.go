package gguf_test

import (
	"fmt"
	"testing"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// large is a file with a vocabulary of 262,144 tokens, as many merges and scores
// (10 MB of header) and 1,000 tensors.
func large(b *testing.B) string {
	const vocab = 1 << 18
	tokens, merges, scores := make([]string, vocab), make([]string, vocab), make([]float32, vocab)
	for i := range vocab {
		tokens[i] = fmt.Sprintf("token%d", i)
		merges[i] = fmt.Sprintf("tok en%d", i)
	}
	w := gguf.NewWriter()
	w.Set("tokenizer.ggml.tokens", tokens)
	w.Set("tokenizer.ggml.merges", merges)
	w.Set("tokenizer.ggml.scores", scores)
	for i := range 1000 {
		w.Add(tensor.Tensor{Name: fmt.Sprintf("blk.%d.weight", i), Type: tensor.I8, Shape: []int{4096}, Data: make([]byte, 4096)})
	}
	return save(b, "large.gguf", encode(b, w))
}

func BenchmarkOpen(b *testing.B) {
	path := large(b)
	b.ReportAllocs()
	for b.Loop() {
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func BenchmarkFingerprint(b *testing.B) {
	path := large(b)
	for b.Loop() {
		b.StopTimer()
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		f.Fingerprint()
		b.StopTimer()
		f.Close()
		b.StartTimer()
	}
}

func BenchmarkStrings(b *testing.B) {
	f := open(b, large(b))
	b.ReportAllocs()
	for b.Loop() {
		if list, ok := f.Metadata().Strings("tokenizer.ggml.tokens"); !ok || len(list) != 1<<18 {
			b.Fatal("no vocabulary")
		}
	}
}

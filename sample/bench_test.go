package sample_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/sample"
)

// languageRow is shaped as a language model's logits are: a broad bell of
// unlikely tokens and a few that stand out.
func languageRow(vocab int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, vocab)
	for i := range x {
		x[i] = float32(r.NormFloat64()*2.5 - 2)
	}
	for i := range 200 {
		x[r.IntN(vocab)] = float32(18 - 0.05*float64(i) - r.ExpFloat64()*2)
	}
	return x
}

func BenchmarkSample(b *testing.B) {
	for _, vocab := range []int{49152, 128256} {
		source := languageRow(vocab, 1)
		for _, c := range []struct {
			name string
			set  func(*sample.Params)
		}{
			{"greedy", func(p *sample.Params) { p.Temperature = 0 }},
			{"temperature", func(p *sample.Params) { p.Temperature = 0.8 }},
			{"top_p", func(p *sample.Params) { p.Temperature = 0.8; p.TopP = 0.95 }},
			{"top_k", func(p *sample.Params) { p.Temperature = 0.8; p.TopK = 40 }},
			{"top_k+top_p+min_p", func(p *sample.Params) { p.Temperature = 0.8; p.TopK = 40; p.TopP = 0.95; p.MinP = 0.05 }},
			{"hot_top_p", func(p *sample.Params) { p.Temperature = 5; p.TopP = 0.9 }},
			{"greedy+logprobs5", func(p *sample.Params) { p.Temperature = 0; p.Logprobs = 5 }},
			{"typical", func(p *sample.Params) { p.Temperature = 0.8; p.TypicalP = 0.95 }},
			{"xtc+top_k", func(p *sample.Params) { p.Temperature = 0.8; p.XTCProbability = 1; p.TopK = 40 }},
			{"mirostat", func(p *sample.Params) { p.Mirostat = 2 }},
			{"penalties", func(p *sample.Params) { p.Temperature = 0; p.RepetitionPenalty = 1.1; p.FrequencyPenalty = 0.1 }},
		} {
			b.Run(fmt.Sprintf("%s/%dk", c.name, vocab/1000), func(b *testing.B) {
				p := sample.Defaults()
				seed := uint64(7)
				p.Seed = &seed
				c.set(&p)
				s, err := sample.New(p, vocab)
				if err != nil {
					b.Fatal(err)
				}
				row := make([]float32, vocab)
				b.ReportAllocs()
				for b.Loop() {
					copy(row, source) // a few microseconds: Sample overwrites its row
					if _, err := s.Sample(row, nil, nil); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// BenchmarkStep is what a step of generation costs beside the engine, with a
// vocabulary of 49k: forming the batch, sampling, and handing out the tokens.
func BenchmarkStep(b *testing.B) {
	for _, sequences := range []int{1, 16} {
		for _, topP := range []float64{0, 0.95} {
			b.Run(fmt.Sprintf("sequences=%d/top_p=%g", sequences, topP), func(b *testing.B) {
				e := newFakeEngine(b)
				e.vocab, e.context = 49152, 1<<24 // more than it will come to
				e.capacity = e.context * sequences
				logits := make([]float32, e.vocab)
				random := rand.New(rand.NewPCG(1, 2))
				for i := range logits {
					logits[i] = float32(2 * random.NormFloat64())
				}
				e.fill = func(row []float32, _ []int32) { copy(row, logits) }
				s := scheduler.NewStepper(e, scheduler.Options{})
				defer s.Close()
				var all []*scheduler.Sequence
				for range sequences {
					r := greedy(1, e.context-1)
					if topP > 0 {
						r.Sampling = sample.Defaults()
						r.Sampling.TopP = topP
					}
					all = append(all, submit(b, s.Scheduler, b.Context(), r))
				}
				s.Step()
				b.ReportAllocs()
				for b.Loop() {
					s.Step()
					for _, q := range all {
						_, _ = s.Peek(q)
					}
				}
			})
		}
	}
}

// BenchmarkStepAhead is what a step costs the host when an engine samples by
// itself.
func BenchmarkStepAhead(b *testing.B) {
	for _, sequences := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("sequences=%d", sequences), func(b *testing.B) {
			e := newFakeEngine(b)
			e.batch, e.context = 64, 1<<24
			e.capacity = e.context * sequences
			s := scheduler.NewStepper(&instant{e}, scheduler.Options{MaxRunning: sequences})
			defer s.Close()
			var all []*scheduler.Sequence
			for range sequences {
				all = append(all, submit(b, s.Scheduler, b.Context(), greedy(1, e.context-1)))
			}
			s.Step()
			b.ReportAllocs()
			for b.Loop() {
				s.Step()
				for _, q := range all {
					_, _ = s.Peek(q)
				}
			}
		})
	}
}

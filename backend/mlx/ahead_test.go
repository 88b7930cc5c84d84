package mlx

import (
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/tensor"
)

// TestAhead: batches started before the last was read, with drawn tokens that
// never were on the host, give the tokens that one step at a time gives, across the
// ends of pages and of recorded graphs.
func TestAhead(t *testing.T) {
	b := testBackend(t)
	if b.config.Device != "cpu" {
		b.dtype = mlx.Float16
	}
	m := modeltest.Random{Layers: 2, Hidden: 256, FFN: 512, Heads: 8, KVHeads: 2, HeadDim: 64, Vocab: 320, Context: 2048, Embedding: tensor.F16, Weights: []tensor.Type{tensor.Q4_0}}
	e := loadEngine(t, b, m.Open(t), backend.LoadOptions{MaxBatchTokens: 1024}).(*Engine)
	const steps = 70
	lengths := []int{1, 60, 480}
	var ahead [2]backend.Batch
	var seqs []backend.SeqID
	got := make([][]int32, len(lengths))
	prompts := make([][]int32, len(lengths))
	for i, n := range lengths {
		for j := range n {
			prompts[i] = append(prompts[i], int32((i*31+j*17)%m.Vocab))
		}
		id, err := e.KV().Reserve(n + steps)
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, id)
	}
	var last backend.Started
	for step := range steps {
		now := &ahead[step%2]
		now.Spans = now.Spans[:0]
		for i, n := range lengths {
			sp := backend.Span{Seq: seqs[i], Tokens: prompts[i], Want: backend.LastLogits, Draw: &backend.Draw{TopP: 1, Logprobs: -1}}
			if step > 0 {
				sp.Pos, sp.Tokens = n+step-1, []int32{backend.Drawn}
			}
			now.Spans = append(now.Spans, sp)
		}
		started, err := e.Start(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil {
			if err := last.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i := range lengths {
				got[i] = append(got[i], ahead[(step+1)%2].Spans[i].Choice.Token)
			}
		}
		last = started
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, id := range seqs {
		if err := e.KV().Free(id); err != nil {
			t.Fatal(err)
		}
		id, err := e.KV().Reserve(lengths[i] + steps)
		if err != nil {
			t.Fatal(err)
		}
		row := runSpan(t, e, id, 0, prompts[i])
		for j, token := range got[i] {
			logits, best := row[len(row)-1], 0
			for k, x := range logits {
				if x > logits[best] {
					best = k
				}
			}
			// Products of another number of rows round otherwise.
			if d := logits[best] - logits[token]; !(d <= 2e-2) {
				t.Fatalf("%d tokens: token %d drawn is %d, %g under the best, %d", lengths[i], j, token, d, best)
			}
			row = runSpan(t, e, id, lengths[i]+j, []int32{token})
		}
		if err := e.KV().Free(id); err != nil {
			t.Fatal(err)
		}
	}
}

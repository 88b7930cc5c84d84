package cpu_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

// TestQuantizedArithmetic is the promise on quantized weights: over a text, the
// mean divergence from transformers, in float32 on the dequantized weights, is
// at most 2e-3, and no larger than llama.cpp's on the same file. The reference
// (testdata/smollm2/make.py) keeps the likeliest tokens of each position; the
// rest of the vocabulary counts as one more outcome.
func TestQuantizedArithmetic(t *testing.T) {
	c := testModel(t)
	if name, _ := c.Metadata().String("general.name"); name != "Smollm2 135M 8k Lc100K Mix1 Ep2" {
		t.Skipf("the reference is for SmolLM2-135M-Instruct Q4_1, INFERFLUX_TEST_MODEL is %q", name)
	}
	const dir = "testdata/smollm2/"
	var figures struct {
		Top   int
		Peer  float64 `json:"llamacpp_kl_coarse"`
		Vocab int
	}
	var ids struct{ Tokens []int32 }
	for file, v := range map[string]any{"figures.json": &figures, "tokens.json": &ids} {
		text, err := os.ReadFile(dir + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, v); err != nil {
			t.Fatal(err)
		}
	}
	ref, err := os.ReadFile(dir + "reference.bin")
	if err != nil {
		t.Fatal(err)
	}
	if len(ref) != len(ids.Tokens)*figures.Top*6 {
		t.Fatalf("reference.bin has %d bytes", len(ref))
	}
	e := loadEngine(t, c, backend.LoadOptions{})
	sum, worst := 0.0, 0.0
	for i, row := range runChunked(t, e, ids.Tokens, 128) {
		at := ref[i*figures.Top*6:][:figures.Top*6]
		kl := divergence(at[:2*figures.Top], at[2*figures.Top:], row)
		sum, worst = sum+kl, max(worst, kl)
	}
	mean := sum / float64(len(ids.Tokens))
	t.Logf("mean divergence %.3e over %d positions, worst %.3e; llama.cpp %.3e", mean, len(ids.Tokens), worst, figures.Peer)
	if !(mean <= 2e-3) || mean > figures.Peer {
		t.Errorf("mean divergence is %g, expected at most 2e-3 and llama.cpp's %g", mean, figures.Peer)
	}
}

// divergence is KL(reference‖softmax(logits)) over the reference's tokens and
// everything else.
func divergence(ids, logprobs []byte, logits []float32) float64 {
	top := math.Inf(-1)
	for _, v := range logits {
		top = max(top, float64(v))
	}
	total := 0.0
	for _, v := range logits {
		total += math.Exp(float64(v) - top)
	}
	kl, p, q := 0.0, 0.0, 0.0
	for i := range len(ids) / 2 {
		lp := float64(math.Float32frombits(binary.LittleEndian.Uint32(logprobs[4*i:])))
		lq := float64(logits[binary.LittleEndian.Uint16(ids[2*i:])]) - top - math.Log(total)
		kl += math.Exp(lp) * (lp - lq)
		p, q = p+math.Exp(lp), q+math.Exp(lq)
	}
	p, q = max(1-p, 1e-12), max(1-q, 1e-12)
	return kl + p*math.Log(p/q)
}

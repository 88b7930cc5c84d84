package cpu_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/checkpoint"
)

// TestQuantizedArithmetic is the promise on quantized weights: over a text, the
// mean divergence from transformers, in float32 on the dequantized weights, is
// at most 2e-3, and no larger than llama.cpp's on the same file. The reference
// (testdata/smollm2/make.py) keeps the likeliest tokens of each position; the
// rest of the vocabulary counts as one more outcome.
func TestQuantizedArithmetic(t *testing.T) {
	c, figures := referenceModel(t)
	if kind, _ := c.Metadata().Int("general.file_type"); kind != fileTypeQ4_1 {
		t.Skipf("the reference is for SmolLM2-135M-Instruct Q4_1, INFERFLUX_TEST_MODEL is of file type %d", kind)
	}
	ref, err := os.ReadFile(referenceDir + "reference.bin")
	if err != nil {
		t.Fatal(err)
	}
	if len(ref) != len(figures.ids)*figures.Top*6 {
		t.Fatalf("reference.bin has %d bytes", len(ref))
	}
	for _, kv := range []string{"f16", "q8_0"} {
		t.Run("kv "+kv, func(t *testing.T) {
			e := loadEngine(t, c, backend.LoadOptions{KVType: kv})
			sum, worst := 0.0, 0.0
			for i, row := range runChunked(t, e, figures.ids, 128) {
				at := ref[i*figures.Top*6:][:figures.Top*6]
				kl := divergence(at[:2*figures.Top], at[2*figures.Top:], row)
				sum, worst = sum+kl, max(worst, kl)
			}
			mean := sum / float64(len(figures.ids))
			t.Logf("mean divergence %.3e over %d positions, worst %.3e; llama.cpp %.3e", mean, len(figures.ids), worst, figures.Peer)
			if !(mean <= 2e-3) || mean > figures.Peer {
				t.Errorf("mean divergence is %g, expected at most 2e-3 and llama.cpp's %g", mean, figures.Peer)
			}
		})
	}
}

// TestPerplexity: over the same text, at most half a percent above llama.cpp's for
// the same file, for each of the files that scripts/bench/models.py makes.
func TestPerplexity(t *testing.T) {
	c, figures := referenceModel(t)
	kind, _ := c.Metadata().Int("general.file_type")
	want, ok := figures.Perplexities[fmt.Sprint(kind)]
	if !ok {
		t.Skipf("no perplexity of llama.cpp's is recorded for file type %d", kind)
	}
	e := loadEngine(t, c, backend.LoadOptions{})
	sum := 0.0
	rows := runChunked(t, e, figures.ids, 512)
	for i, id := range figures.ids[1:] {
		sum -= float64(rows[i][id]) - logSumExp(rows[i])
	}
	got := math.Exp(sum / float64(len(figures.ids)-1))
	t.Logf("perplexity %.4f, llama.cpp %.4f", got, want)
	if !(got <= 1.005*want && got >= 0.98*want) {
		t.Errorf("perplexity is %g, expected at most 0.5%% above llama.cpp's %g, and not much below", got, want)
	}
}

const (
	referenceDir = "testdata/smollm2/"
	fileTypeQ4_1 = 3 // general.file_type
)

type referenceFigures struct {
	Top          int
	Peer         float64            `json:"llamacpp_kl_coarse"`
	Perplexities map[string]float64 `json:"llamacpp_perplexities"` // by general.file_type
	ids          []int32
}

// referenceModel opens the model that INFERFLUX_TEST_MODEL names if it is
// SmolLM2-135M-Instruct, and what is known of it.
func referenceModel(t *testing.T) (checkpoint.Checkpoint, referenceFigures) {
	t.Helper()
	c := testModel(t)
	if name, _ := c.Metadata().String("general.name"); name != "Smollm2 135M 8k Lc100K Mix1 Ep2" {
		t.Skipf("the reference is for SmolLM2-135M-Instruct, INFERFLUX_TEST_MODEL is %q", name)
	}
	var figures referenceFigures
	var ids struct{ Tokens []int32 }
	for file, v := range map[string]any{"figures.json": &figures, "tokens.json": &ids} {
		text, err := os.ReadFile(referenceDir + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, v); err != nil {
			t.Fatal(err)
		}
	}
	figures.ids = ids.Tokens
	return c, figures
}

// divergence is KL(reference‖softmax(logits)) over the reference's tokens and
// everything else.
func divergence(ids, logprobs []byte, logits []float32) float64 {
	norm := logSumExp(logits)
	kl, p, q := 0.0, 0.0, 0.0
	for i := range len(ids) / 2 {
		lp := float64(math.Float32frombits(binary.LittleEndian.Uint32(logprobs[4*i:])))
		lq := float64(logits[binary.LittleEndian.Uint16(ids[2*i:])]) - norm
		kl += math.Exp(lp) * (lp - lq)
		p, q = p+math.Exp(lp), q+math.Exp(lq)
	}
	p, q = max(1-p, 1e-12), max(1-q, 1e-12)
	return kl + p*math.Log(p/q)
}

func logSumExp(logits []float32) float64 {
	top := float64(slices.Max(logits))
	total := 0.0
	for _, v := range logits {
		total += math.Exp(float64(v) - top)
	}
	return top + math.Log(total)
}

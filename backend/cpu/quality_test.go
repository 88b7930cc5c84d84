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
// (testdata/smollm2/make.py, testdata/gemma3/make.py) keeps the likeliest tokens of each position; the
// rest of the vocabulary counts as one more outcome.
func TestQuantizedArithmetic(t *testing.T) {
	c, figures := referenceModel(t)
	if kind, _ := c.Metadata().Int("general.file_type"); kind != figures.fileType {
		t.Skipf("the reference is for file type %d, INFERFLUX_TEST_MODEL is of file type %d", figures.fileType, kind)
	}
	ref, err := os.ReadFile(figures.dir + "reference.bin")
	if err != nil {
		t.Fatal(err)
	}
	size := figures.Top * (figures.idBytes + 4) // of a position
	if len(ref) != len(figures.ids)*size {
		t.Fatalf("reference.bin has %d bytes", len(ref))
	}
	for _, kv := range []string{"f16", "q8_0"} {
		t.Run("kv "+kv, func(t *testing.T) {
			e := loadEngine(t, c, backend.LoadOptions{KVType: kv})
			sum, worst := 0.0, 0.0
			for i, row := range runChunked(t, e, figures.ids, 128) {
				at := ref[i*size:][:size]
				kl := divergence(at[:figures.idBytes*figures.Top], at[figures.idBytes*figures.Top:], figures.idBytes, row)
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

// TestAnswers: what the reference likes best, token after token, from a few prompts. Where
// two tokens are nearly as likely, the quantized arithmetic may choose the other, as
// llama.cpp's does; so four tokens of five must be those of the reference, and no fewer
// than llama.cpp gives.
func TestAnswers(t *testing.T) {
	c, figures := referenceModel(t)
	text, err := os.ReadFile(figures.dir + "answers.json")
	if os.IsNotExist(err) {
		t.Skip("no answers of this model are recorded")
	}
	if err != nil {
		t.Fatal(err)
	}
	var answers []struct {
		Prompt, Answer []int32
		Peer           int `json:"llamacpp_alike"`
	}
	if err := json.Unmarshal(text, &answers); err != nil {
		t.Fatal(err)
	}
	e := loadEngine(t, c, backend.LoadOptions{})
	total, alike, peer := 0, 0, 0
	for _, a := range answers {
		seq, err := e.KV().Reserve(len(a.Prompt) + len(a.Answer))
		if err != nil {
			t.Fatal(err)
		}
		total, peer = total+len(a.Answer), peer+a.Peer
		tokens, pos := a.Prompt, 0
		for _, want := range a.Answer {
			b := backend.Batch{Spans: []backend.Span{{Seq: seq, Pos: pos, Tokens: tokens, Want: backend.LastLogits}}}
			if err := e.Run(t.Context(), &b); err != nil {
				t.Fatal(err)
			}
			row := b.Spans[0].Logits[0]
			best := slices.Index(row, slices.Max(row))
			if int32(best) != want {
				break
			}
			alike++
			pos += len(tokens)
			tokens = []int32{want}
		}
		if err := e.KV().Free(seq); err != nil {
			t.Fatal(err)
		}
	}
	if t.Logf("%d of %d tokens, llama.cpp %d", alike, total, peer); alike < peer || alike < total*8/10 {
		t.Errorf("%d of %d tokens are the reference's, llama.cpp's %d", alike, total, peer)
	}
}

// references are the models whose divergence is known, by general.name.
var references = map[string]referenceFigures{
	"Smollm2 135M 8k Lc100K Mix1 Ep2": {dir: "testdata/smollm2/", fileType: 3, idBytes: 2}, // Q4_1
	"Gemma 3 270m":                    {dir: "testdata/gemma3/", fileType: 15, idBytes: 4}, // Q4_K_M
}

type referenceFigures struct {
	dir          string
	fileType     int // general.file_type
	idBytes      int // of an id in reference.bin
	Top          int
	Peer         float64            `json:"llamacpp_kl_coarse"`
	Perplexities map[string]float64 `json:"llamacpp_perplexities"` // by general.file_type
	ids          []int32
}

// referenceModel opens the model that INFERFLUX_TEST_MODEL names if it is one of the
// references, and what is known of it.
func referenceModel(t *testing.T) (checkpoint.Checkpoint, referenceFigures) {
	t.Helper()
	c := testModel(t)
	name, _ := c.Metadata().String("general.name")
	figures, ok := references[name]
	if !ok {
		t.Skipf("there is no reference for INFERFLUX_TEST_MODEL, which is %q", name)
	}
	var ids struct{ Tokens []int32 }
	for file, v := range map[string]any{"figures.json": &figures, "tokens.json": &ids} {
		text, err := os.ReadFile(figures.dir + file)
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
func divergence(ids, logprobs []byte, idBytes int, logits []float32) float64 {
	norm := logSumExp(logits)
	kl, p, q := 0.0, 0.0, 0.0
	for i := range len(ids) / idBytes {
		id := int(binary.LittleEndian.Uint16(ids[idBytes*i:]))
		if idBytes == 4 {
			id = int(binary.LittleEndian.Uint32(ids[idBytes*i:]))
		}
		lp := float64(math.Float32frombits(binary.LittleEndian.Uint32(logprobs[4*i:])))
		lq := float64(logits[id]) - norm
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

package generate_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/scheduler"
)

// TestEmbed: vectors are what transformers' hidden states give.
func TestEmbed(t *testing.T) {
	const name = "llama-gqa-tied.gguf"
	m := openModel(t, backend.LoadOptions{Threads: 2, KVType: "f32"}, scheduler.Options{BatchTokens: 16})
	tokens, _ := modeltest.Reference(t, name)
	hidden := modeltest.Hidden(t, name)
	texts := [][]int32{tokens[:1], tokens[:20], tokens, tokens[:33]}
	for _, p := range []generate.Pooling{generate.PoolLast, generate.PoolMean} {
		vectors, err := m.Embed(t.Context(), generate.Caller{}, texts, p)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range texts {
			rows := hidden[:len(text)]
			if p == generate.PoolLast {
				rows = rows[len(rows)-1:]
			}
			want := make([]float64, len(hidden[0]))
			sum := 0.0
			for j := range want {
				for _, row := range rows {
					want[j] += float64(row[j])
				}
				sum += want[j] * want[j]
			}
			for j, v := range vectors[i] {
				if d := math.Abs(float64(v) - want[j]/math.Sqrt(sum)); !(d <= 1e-5) {
					t.Errorf("%s of text %d: element %d is off by %g", p, i, j, d)
					break
				}
			}
		}
	}
}

func TestPooling(t *testing.T) {
	for _, c := range []struct{ configured, want generate.Pooling }{{"", generate.PoolLast}, {generate.PoolMean, generate.PoolMean}, {generate.PoolLast, generate.PoolLast}} {
		v := newVocabulary(t)
		m := generate.New(generate.ModelOptions{ID: "parrot", Tokenizer: v.Tokenizer, Engine: newParrot(v), Pooling: c.configured})
		if got := m.Pooling(); got != c.want {
			t.Errorf("%q: %q, want %q", c.configured, got, c.want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPromptLogprobs: they are what transformers' logits give, whatever is held.
func TestPromptLogprobs(t *testing.T) {
	m := openModel(t, backend.LoadOptions{Threads: 2, KVType: "f32"}, scheduler.Options{})
	tokens, logits := modeltest.Reference(t, "llama-gqa-tied.gguf")
	for range 2 {
		all, err := m.PromptLogprobs(t.Context(), generate.Caller{}, [][]int32{tokens[:1], tokens}, 3)
		if err != nil || len(all) != 2 || len(all[0]) != 0 || len(all[1]) != len(tokens)-1 {
			t.Fatalf("%v, %v", all, err)
		}
		for i, c := range all[1] {
			sum, best := 0.0, 0
			for j, v := range logits[i] {
				sum += math.Exp(float64(v))
				if v > logits[i][best] {
					best = j
				}
			}
			want := float64(logits[i][tokens[i+1]]) - math.Log(sum)
			if c.Token != tokens[i+1] || math.Abs(float64(c.Logprob)-want) > 1e-4 || len(c.Top) != 3 || c.Top[0].Token != int32(best) {
				t.Errorf("token %d: %+v, want log-probability %g and %d as the likeliest", i+1, c, want, best)
			}
		}
	}
}

// TestReadEnds: a request with many texts ends with its context or the scheduler, and
// leaves nothing.
func TestReadEnds(t *testing.T) {
	m := openModel(t, backend.LoadOptions{Threads: 1}, scheduler.Options{MaxRunning: 2})
	texts := make([][]int32, 100)
	for i := range texts {
		texts[i] = make([]int32, 100)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Embed(ctx, generate.Caller{}, texts, generate.PoolLast); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := m.Embed(t.Context(), generate.Caller{}, append(texts[:3:3], make([]int32, 1000)), generate.PoolMean); !errors.Is(err, scheduler.ErrContextLength) {
		t.Errorf("too long: %v", err)
	}
	if _, err := m.Embed(t.Context(), generate.Caller{}, texts, generate.PoolLast); err != nil {
		t.Error(err)
	}
	if _, err := newParrotModel(t).Embed(t.Context(), generate.Caller{}, texts, generate.PoolLast); !errors.Is(err, generate.ErrNoEmbeddings) {
		t.Errorf("an engine without: %v", err)
	}
}

func newParrotModel(t *testing.T) *generate.Model {
	v := newVocabulary(t)
	m := generate.New(generate.ModelOptions{ID: "parrot", Tokenizer: v.Tokenizer, Engine: newParrot(v)})
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// TestJudge: a reranker's scores are the odds of yes and no that the model gives.
func TestJudge(t *testing.T) {
	open := func(id string) *generate.Model {
		f, err := gguf.Open("../model/testdata/qwen3.gguf")
		if err != nil {
			t.Fatal(err)
		}
		v := newVocabulary(t, "yes", "no", "<|im_start|>")
		e, err := cpu.Backend{}.Load(t.Context(), f, backend.LoadOptions{KVType: "f32", Context: 256})
		if err != nil {
			t.Fatal(err)
		}
		m := generate.New(generate.ModelOptions{ID: id, Tokenizer: v.Tokenizer, Engine: e, Close: f.Close})
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	if _, ok := open("qwen3-embedding").Judge(); ok {
		t.Error("not every model is a reranker")
	}
	m := open("Qwen3-Reranker-tiny")
	j, ok := m.Judge()
	if !ok {
		t.Fatal("no reranker")
	}
	prompt, after := j.Prompt("q", "<s>doc")
	if text := m.Tokenizer().Decode(prompt); !strings.HasSuffix(text, "<Query>: q\n<Document>: <s>doc<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n") {
		t.Errorf("the prompt ends with %q", text[max(0, len(text)-100):])
	}
	prompt = append(prompt[len(prompt)-after-20:len(prompt)-after:len(prompt)-after], prompt[len(prompt)-after:]...) // to the context of this model
	scores, err := j.Scores(t.Context(), generate.Caller{}, [][]int32{prompt})
	if err != nil {
		t.Fatal(err)
	}
	var odds [2]float64
	for i, word := range []string{"yes", "no"} {
		id, _ := m.Tokenizer().ID(word)
		all, err := m.PromptLogprobs(t.Context(), generate.Caller{}, [][]int32{append(prompt[:len(prompt):len(prompt)], id)}, 0)
		if err != nil {
			t.Fatal(err)
		}
		odds[i] = math.Exp(float64(all[0][len(all[0])-1].Logprob))
	}
	if want := odds[0] / (odds[0] + odds[1]); math.Abs(want-float64(scores[0])) > 1e-5 {
		t.Errorf("score %g, want %g", scores[0], want)
	}
}

// TestFillPrompt: neither text is read for control tokens.
func TestFillPrompt(t *testing.T) {
	v := newVocabulary(t, "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
	m := generate.New(generate.ModelOptions{ID: "parrot", Tokenizer: v.Tokenizer, Engine: newParrot(v)})
	defer m.Close()
	prompt, never, ok := m.FillPrompt("a</s>", nil, "b")
	want := append([]int32{v.bos}, v.encode(t, "<|fim_prefix|>", "a", "<", "/", "s", ">", "<|fim_suffix|>", "b", "<|fim_middle|>")...)
	if !ok || !slices.Equal(prompt, want) || len(never) != 3 {
		t.Errorf("%v, %v, %t; want %v", prompt, never, ok, want)
	}
	if prompt, _, _ := m.FillPrompt("", []int32{7, 8}, "b"); !slices.Equal(prompt[2:4], []int32{7, 8}) {
		t.Errorf("%v", prompt)
	}
	if _, _, ok := newParrotModel(t).FillPrompt("a", nil, "b"); ok {
		t.Error("a model without such tokens")
	}
}

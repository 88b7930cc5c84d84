package cpu_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/tokenizer"
)

// TestGreedyText asks a real model, in ChatML, what it can't get wrong.
func TestGreedyText(t *testing.T) {
	c := testModel(t)
	tok, err := tokenizer.FromGGUF(c.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tok.ID("<|im_start|>"); !ok {
		t.Skip("the model doesn't speak ChatML")
	}
	e := loadEngine(t, c, backend.LoadOptions{})
	for question, want := range map[string]string{
		"What is the capital of France?":             "Paris",
		"What colour is the sky on a clear day?":     "blue",
		"Say hello in one short, friendly sentence.": "ello",
	} {
		prompt := "<|im_start|>user\n" + question + "<|im_end|>\n<|im_start|>assistant\n"
		tokens := tok.Encode(nil, prompt, tokenizer.EncodeOptions{Special: true})
		const room = 60
		seq, err := e.KV().Reserve(len(tokens) + room)
		if err != nil {
			t.Fatal(err)
		}
		var answer []int32
		for len(answer) < room {
			b := backend.Batch{Spans: []backend.Span{{Seq: seq, Pos: e.KV().Len(seq), Tokens: tokens, Want: backend.LastLogits}}}
			run(t, e, &b)
			row := b.Spans[0].Logits[0]
			next := int32(slices.Index(row, slices.Max(row)))
			if slices.Contains(tok.EndOfGeneration(), next) {
				break
			}
			answer = append(answer, next)
			tokens = []int32{next}
		}
		if err := e.KV().Free(seq); err != nil {
			t.Fatal(err)
		}
		text := tok.Decode(answer)
		t.Logf("%s %q", question, text)
		if !strings.Contains(text, want) {
			t.Errorf("%s: %q, expected something with %q", question, text, want)
		}
	}
}

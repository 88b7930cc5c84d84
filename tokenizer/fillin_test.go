package tokenizer_test

import (
	"slices"
	"testing"

	"github.com/inferflux/inferflux/tokenizer"
)

// TestFillIn: the tokens are found by what a GGUF file says of them, or by their names.
func TestFillIn(t *testing.T) {
	for _, c := range []struct {
		name   string
		tokens []string
		keys   map[string]int
		want   []int32 // of what stands between 1 and 2; nil: there are no such tokens
	}{
		{"none", []string{"<a>", "<b>", "<c>"}, nil, nil},
		{"keys", []string{"<a>", "<b>", "<c>"}, map[string]int{"fim_pre_token_id": 3, "fim_suf_token_id": 4, "fim_mid_token_id": 5}, []int32{3, 1, 4, 2, 5}},
		{"older keys", []string{"<a>", "<b>", "<c>"}, map[string]int{"prefix_token_id": 5, "suffix_token_id": 4, "middle_token_id": 3}, []int32{5, 1, 4, 2, 3}},
		{"a key too few", []string{"<a>", "<b>", "<c>"}, map[string]int{"fim_pre_token_id": 3, "fim_suf_token_id": 4}, nil},
		{"a key past the end", []string{"<a>", "<b>", "<c>"}, map[string]int{"fim_pre_token_id": 3, "fim_suf_token_id": 4, "fim_mid_token_id": 600}, nil},
		{"names", []string{"<fim_middle>", "<fim_prefix>", "<fim_suffix>"}, nil, []int32{4, 1, 5, 2, 3}},
		{"the suffix first", []string{"[PREFIX]", "[SUFFIX]"}, nil, []int32{4, 2, 3, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			md := metadata{"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.merges": []string{}}
			tokens, types := []string{"a", "b", "c"}, []int{1, 1, 1}
			for _, s := range c.tokens {
				tokens, types = append(tokens, s), append(types, 3)
			}
			md["tokenizer.ggml.tokens"], md["tokenizer.ggml.token_type"] = tokens, types
			for key, id := range c.keys {
				md["tokenizer.ggml."+key] = id
			}
			tok, err := tokenizer.FromGGUF(md)
			if err != nil {
				t.Fatal(err)
			}
			f, ok := tok.FillIn()
			if ok != (c.want != nil) {
				t.Fatalf("found %t: %+v", ok, f)
			}
			if ok && !slices.Equal(f.Prompt(nil, []int32{1}, []int32{2}), c.want) {
				t.Errorf("the prompt is %v, want %v", f.Prompt(nil, []int32{1}, []int32{2}), c.want)
			}
		})
	}
}

package tokenizer_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/tokenizer"
)

// edit changes one part of a fixture; path is keys with dots between.
func edit(t testing.TB, fixture, path string, value any) []byte {
	t.Helper()
	var file map[string]any
	readJSON(t, fixture+".json", &file)
	at, keys := file, strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		at = at[key].(map[string]any)
	}
	at[keys[len(keys)-1]] = value
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

type object = map[string]any

func TestJSONErrors(t *testing.T) {
	regex := func(pattern, behavior string, invert bool) object {
		return object{"type": "Split", "pattern": object{"Regex": pattern}, "behavior": behavior, "invert": invert}
	}
	for _, c := range []struct {
		path  string
		value any
		want  string
	}{
		{"model.type", "Unigram", `model of type "Unigram" isn't supported`},
		{"model.type", "WordPiece", `model of type "WordPiece" isn't supported`},
		{"model.dropout", 0.1, "dropout 0.1"},
		{"model.continuing_subword_prefix", "##", `continuing_subword_prefix "##"`},
		{"model.end_of_word_suffix", "</w>", `end_of_word_suffix "</w>"`},
		{"model.vocab", object{}, "vocab"},
		{"model.vocab", object{"a": -1}, `the id -1`},
		{"model.vocab", object{"a": 1.5}, "expected an integer"},
		{"model.vocab", object{"a": 1 << 40}, "outside 0 to"},
		{"model.vocab", object{"a": 1 << 23}, "largest token id is 8388608"},
		{"model.merges", []any{[]string{"a"}}, "merge 0: a merge of 1 tokens"},
		{"model.merges", []any{[]string{"a", "b", "c"}}, "merge 0: a merge of 3 tokens"},
		{"model.merges", []any{"a b", "ab"}, "merge"},
		{"model.merges", []any{[]string{"a", "Ωmissing"}}, `merge 0: "a" with "Ωmissing" has a token that isn't in the vocabulary`},
		{"model.merges", "none", "expected"},
		{"added_tokens", []any{object{"id": -3, "content": "x"}}, `added token "x" has the id -3`},
		{"normalizer", object{"type": "BertNormalizer"}, `normalizer: type "BertNormalizer" isn't supported`},
		{"normalizer", object{"type": "Replace", "pattern": object{"Regex": "a+"}, "content": "b"}, "regular expression"},
		{"pre_tokenizer", object{"type": "Whitespace"}, `pre_tokenizer: type "Whitespace" isn't supported`},
		{"pre_tokenizer", regex(`\w+`, "Isolated", false), `pre_tokenizer: the pattern "\\w+" isn't supported`},
		{"pre_tokenizer", regex(`\p{N}`, "Removed", false), "behavior Removed"},
		{"pre_tokenizer", regex(`\p{N}`, "Removed", true), `the pattern "\\p{N}" isn't supported`},
		{"pre_tokenizer", nil, "neither a byte-level nor a SentencePiece"},
		{"pre_tokenizer", object{"type": "Metaspace", "replacement": "_"}, `replacement "_"`},
		{"post_processor", object{"type": "Odd"}, `post_processor: type "Odd" isn't supported`},
		{"post_processor", object{"type": "TemplateProcessing", "single": []any{object{"SpecialToken": object{"id": "<s>"}}}}, `"<s>" isn't defined`},
		{"post_processor", object{"type": "TemplateProcessing", "single": []any{object{"SpecialToken": object{"id": "x"}}},
			"special_tokens": object{"x": object{"ids": []int{1 << 40}}}}, "isn't in the vocabulary"},
	} {
		_, err := tokenizer.FromJSON(edit(t, "gpt-2", c.path, c.value), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %v: error is %v, want one with %q", c.path, c.value, err, c.want)
		}
	}
	whole := string(readFile(t, "gpt-2.json"))
	for _, text := range []string{"", "null", "[]", "{}", `{"model":null}`, `{"model":{"vocab":{"a":0}`, whole[:len(whole)/2], whole[:len(whole)-3], whole + "x"} {
		if _, err := tokenizer.FromJSON([]byte(text), nil); err == nil {
			t.Errorf("%.40q is accepted", text)
		}
	}
	if _, err := tokenizer.FromJSON([]byte(whole), []byte("{")); err == nil || !strings.Contains(err.Error(), "tokenizer_config.json") {
		t.Errorf("broken config: error is %v", err)
	}
}

func TestJSONConfig(t *testing.T) {
	for _, c := range []struct {
		name, fixture, config string
		want                  []string // "n" encoded with AddSpecial
		ends                  []string
	}{
		{"none", "gpt-2", ``, []string{"n"}, []string{"<|endoftext|>", "<|im_end|>"}},
		{"bos named only", "gpt-2", `{"bos_token":"<|im_start|>"}`, []string{"n"}, []string{"<|endoftext|>", "<|im_end|>"}},
		{"bos added", "gpt-2", `{"bos_token":"<|im_start|>","add_bos_token":true}`, []string{"<|im_start|>", "n"}, []string{"<|endoftext|>", "<|im_end|>"}},
		{"tokens as objects", "gpt-2", `{"bos_token":{"content":"<|im_start|>"},"eos_token":{"content":"<tool_call>"},"add_bos_token":true,"add_eos_token":true}`,
			[]string{"<|im_start|>", "n", "<tool_call>"}, []string{"<|endoftext|>", "<|im_end|>", "<tool_call>"}},
		{"null", "gpt-2", `{"bos_token":null,"eos_token":null,"add_bos_token":true}`, []string{"n"}, []string{"<|endoftext|>", "<|im_end|>"}},
		{"template", "llama-bpe", ``, []string{"<|im_start|>", "n"}, []string{"<|endoftext|>", "<|im_end|>"}},
		{"template turned off", "llama-bpe", `{"bos_token":"<|im_start|>","add_bos_token":false}`, []string{"n"}, []string{"<|endoftext|>", "<|im_end|>"}},
		{"template not doubled", "llama-bpe", `{"bos_token":"<|im_start|>","add_bos_token":true}`, []string{"<|im_start|>", "n"}, []string{"<|endoftext|>", "<|im_end|>"}},
		{"roberta", "options", ``, []string{"<s>", "Ġn", "</s>"}, []string{"</s>"}},
		{"roberta without end", "options", `{"eos_token":"</s>","add_eos_token":false}`, []string{"<s>", "Ġn"}, []string{"</s>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok, err := tokenizer.FromJSON(readFile(t, c.fixture+".json"), []byte(c.config))
			if err != nil {
				t.Fatal(err)
			}
			spell := func(ids []int32) (out []string) {
				for _, id := range ids {
					out = append(out, tok.Text(id))
				}
				return out
			}
			if got := spell(tok.Encode(nil, "n", tokenizer.EncodeOptions{AddSpecial: true})); !slices.Equal(got, c.want) {
				t.Errorf("encodes to %q, want %q", got, c.want)
			}
			if got := spell(tok.EndOfGeneration()); !slices.Equal(got, c.ends) {
				t.Errorf("answers end with %q, want %q", got, c.ends)
			}
			if bos, ok := tok.BOS(); tok.AddsBOS() != (ok && c.want[0] == tok.Text(bos)) {
				t.Errorf("AddsBOS is %t", tok.AddsBOS())
			}
		})
	}
}

func TestPreTokenizerIsRecognised(t *testing.T) {
	for _, name := range fixtures {
		want := name
		switch name {
		case "llama-2", "mistral", "gemma":
			want = "sentencepiece"
		case "options":
			want = "gpt-2"
		}
		if got := load(t, name).PreTokenizer(); got != want {
			t.Errorf("%s: pre-tokenizer is %q", name, got)
		}
	}
	// The same pattern, matches kept and the rest (nothing) dropped.
	file := edit(t, "llama-bpe", "pre_tokenizer", object{"type": "Sequence", "pretokenizers": []any{
		object{"type": "Split", "behavior": "Removed", "invert": true, "pattern": object{
			"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}},
		object{"type": "ByteLevel", "use_regex": false}}})
	tok, err := tokenizer.FromJSON(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, refs := texts(t, "llama-bpe")
	compare(t, tok, all, refs)
}

// Older Llama files leave the prefix out of the normalizer and have a Metaspace
// step that splits.
func TestMetaspaceVariants(t *testing.T) {
	for _, c := range []struct {
		step object
		want []string // of "a n▁ <s> n"
	}{
		{object{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false}, []string{"a", "▁n", "▁", "▁", "<s>", "▁n"}},
		{object{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}, []string{"▁a", "▁n", "▁", "▁", "<s>", "▁n"}},
		{object{"type": "Metaspace", "replacement": "▁", "add_prefix_space": true}, []string{"▁a", "▁n", "▁", "▁", "<s>", "▁n"}},
		{object{"type": "Metaspace", "replacement": "▁", "add_prefix_space": false}, []string{"a", "▁n", "▁", "▁", "<s>", "▁n"}},
	} {
		tok, err := tokenizer.FromJSON(edit(t, "mistral", "pre_tokenizer", c.step), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, id := range tok.Encode(nil, "a n▁ <s> n", tokenizer.EncodeOptions{Special: true}) {
			got = append(got, tok.Text(id))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: got %q, want %q", c.step, got, c.want)
		}
	}
}

func FuzzFromJSON(f *testing.F) {
	for _, name := range []string{"gpt-2", "options", "llama-2", "mistral", "gemma"} {
		f.Add(readFile(f, name+".json"), []byte(`{"bos_token":"<s>","add_bos_token":true}`))
	}
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]},"pre_tokenizer":{"type":"ByteLevel"},"added_tokens":[{"id":3,"content":"<s>","special":true}]}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, file, config []byte) {
		tok, err := tokenizer.FromJSON(file, config)
		if err != nil {
			return
		}
		for id := range int32(min(tok.VocabSize(), 1000)) {
			_ = tok.Piece(id)
			if found, ok := tok.ID(tok.Text(id)); ok && tok.Text(found) != tok.Text(id) {
				t.Errorf("token %d, %q, is found as %d, %q", id, tok.Text(id), found, tok.Text(found))
			}
		}
		ids := tok.Encode(nil, "Hello <s> 世界\n 12ab  ", tokenizer.EncodeOptions{Special: true, AddSpecial: true})
		if got := stream(t, tok, ids, true); got != tok.Decode(ids) {
			t.Errorf("streams as %q, decodes to %q", got, tok.Decode(ids))
		}
	})
}

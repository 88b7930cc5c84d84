package tokenizer_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/tokenizer"
)

// reference is what the Hugging Face library gives for one text.
type reference struct {
	IDs   []int32 // without the tokens that begin and end a text
	Added []int32 // with them; nil when not recorded
	Typed []int32 // control tokens in the text not matched; empty when the same
	Text  string  // what IDs decode to
}

var fixtures = []string{
	"gpt-2", "llama-bpe", "qwen2", "qwen35", "smollm", "tekken", "gpt-4o", "deepseek-llm", "deepseek-coder", "deepseek-v3",
	"llama-2", "mistral", "gemma", "options",
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, name), v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func load(t testing.TB, name string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.FromJSON(readFile(t, name+".json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// texts are the texts of a fixture with what the reference makes of them.
func texts(t testing.TB, fixture string) ([]string, []reference) {
	t.Helper()
	var all []string
	readJSON(t, "texts.json", &all)
	if fixture == "options" {
		var more []string
		readJSON(t, "options.texts.json", &more)
		all = append(more, all...)
	}
	var refs []reference
	readJSON(t, fixture+".ids.json", &refs)
	if len(all) != len(refs) {
		t.Fatalf("%s: %d texts, %d references", fixture, len(all), len(refs))
	}
	return all, refs
}

// compare checks a tokenizer's ids against the reference.
func compare(t *testing.T, tok *tokenizer.Tokenizer, texts []string, refs []reference) {
	t.Helper()
	for i, text := range texts {
		ref := refs[i]
		typed := ref.Typed
		if len(typed) == 0 {
			typed = ref.IDs
		}
		for _, c := range []struct {
			name string
			o    tokenizer.EncodeOptions
			want []int32
		}{
			{"ids", tokenizer.EncodeOptions{Special: true}, ref.IDs},
			{"with begin and end", tokenizer.EncodeOptions{Special: true, AddSpecial: true}, ref.Added},
			{"as typed by a user", tokenizer.EncodeOptions{}, typed},
		} {
			if c.want == nil {
				continue
			}
			if got := tok.Encode(nil, text, c.o); !slices.Equal(got, c.want) {
				t.Errorf("%q %s:\n got %s\nwant %s", text, c.name, spelled(tok, got), spelled(tok, c.want))
			}
		}
		if got := tok.Decode(ref.IDs); got != ref.Text {
			t.Errorf("%q decodes to\n     %q\nwant %q", text, got, ref.Text)
		}
	}
}

func spelled(tok *tokenizer.Tokenizer, ids []int32) string {
	var s []string
	for _, id := range ids {
		s = append(s, fmt.Sprintf("%d:%s", id, tok.Text(id)))
	}
	return fmt.Sprintf("%q", s)
}

func TestIDsEqualHuggingFace(t *testing.T) {
	for _, name := range fixtures {
		t.Run(name, func(t *testing.T) {
			all, refs := texts(t, name)
			compare(t, load(t, name), all, refs)
		})
	}
}

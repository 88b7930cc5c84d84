package tokenizer_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/tokenizer"
)

// Every token is found by its spelling, which is that of the file.
func TestSpelling(t *testing.T) {
	for _, name := range fixtures {
		t.Run(name, func(t *testing.T) {
			var file struct {
				Model struct{ Vocab map[string]int32 }
				Added []struct {
					ID      int32
					Content string
					Special bool
				} `json:"added_tokens"`
			}
			readJSON(t, name+".json", &file)
			tok := load(t, name)
			want := file.Model.Vocab
			for _, a := range file.Added {
				want[a.Content] = a.ID
				kind := tokenizer.UserDefined
				if a.Special {
					kind = tokenizer.Control
				}
				if got := tok.Kind(a.ID); got != kind {
					t.Errorf("%q is of kind %d, want %d", a.Content, got, kind)
				}
				if got := tok.Piece(a.ID); (got == nil) != a.Special || !a.Special && string(got) != a.Content {
					t.Errorf("%q adds %q to the text", a.Content, got)
				}
			}
			if len(want) != tok.VocabSize() {
				t.Errorf("%d tokens, the file has %d", tok.VocabSize(), len(want))
			}
			for text, id := range want {
				if got := tok.Text(id); got != text {
					t.Errorf("token %d is spelled %q, want %q", id, got, text)
				}
				if got, ok := tok.ID(text); !ok || got != id {
					t.Errorf("%q is found as %d, %t, want %d", text, got, ok, id)
				}
			}
			for _, text := range []string{"", "no such token", "<0xZZ>", " n", "\xff"} {
				if id, ok := tok.ID(text); ok {
					t.Errorf("%q is found as %d", text, id)
				}
			}
			for _, id := range []int32{-1, int32(tok.VocabSize()), 1 << 30} {
				if tok.Text(id) != "" || tok.Piece(id) != nil || tok.Kind(id) != tokenizer.Undefined {
					t.Errorf("id %d: %q, %q, %d", id, tok.Text(id), tok.Piece(id), tok.Kind(id))
				}
			}
		})
	}
}

// Texts made to be slow: each is a single word, or has no end of candidates.
// Encoding them takes time in proportion, or nearly; a quadratic step would take
// minutes here.
func TestHostileTexts(t *testing.T) {
	const size = 1 << 17
	texts := map[string]string{
		"one letter":      strings.Repeat("a", size),
		"letters":         strings.Repeat("thesandre", size/9),
		"spaces":          strings.Repeat(" ", size),
		"spaces and end":  strings.Repeat(" ", size) + "x",
		"lines":           strings.Repeat("\n", size),
		"line and spaces": strings.Repeat("\n ", size/2),
		"quotes":          strings.Repeat("'", size),
		"marks":           "a" + strings.Repeat("\u0301\u0316", size/4),
		"han":             strings.Repeat("中文字", size/9),
		"hangul jamo":     strings.Repeat("\u1100\u1161", size/6),
		"upper":           strings.Repeat("ABC", size/3),
		"almost control":  strings.Repeat("<|im_star", size/9),
		"control":         strings.Repeat("<|im_end|>", size/10),
		"stripped":        strings.Repeat("<mask>  <both>  ", size/16),
		"nul":             strings.Repeat("\x00", size),
		"not utf-8":       strings.Repeat("\xf0\x9f", size/2),
	}
	for _, name := range fixtures {
		tok := load(t, name)
		for kind, text := range texts {
			ids := tok.Encode(nil, text, tokenizer.EncodeOptions{Special: true})
			if len(ids) == 0 || len(ids) > 4*len(text) {
				t.Errorf("%s: %s gives %d tokens", name, kind, len(ids))
			}
		}
	}
}

// What a tokenizer works out on the way doesn't disturb others that use it.
func TestConcurrentUse(t *testing.T) {
	for _, name := range []string{"smollm", "llama-2"} {
		all, refs := texts(t, name)
		tok := load(t, name)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { compare(t, tok, all, refs) })
		}
		wg.Wait()
	}
}

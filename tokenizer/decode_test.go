package tokenizer_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/tokenizer"
)

// stream decodes token by token.
func stream(t interface {
	Errorf(format string, args ...any)
}, tok *tokenizer.Tokenizer, ids []int32, skipControl bool) string {
	d := tok.NewDecoder(skipControl)
	var out strings.Builder
	for _, id := range ids {
		piece := d.Push(id)
		if !utf8.ValidString(piece) {
			t.Errorf("%v: token %d gives part of a character: %q", ids, id, piece)
		}
		out.WriteString(piece)
	}
	out.WriteString(d.Flush())
	return out.String()
}

// A character cut apart becomes U+FFFD as the Hugging Face library has it, and
// only once it is sure.
func TestDecodeBroken(t *testing.T) {
	var cases []reference
	readJSON(t, "broken.json", &cases)
	tok := load(t, "gpt-2")
	for _, c := range cases {
		if got := tok.Decode(c.IDs); got != c.Text {
			t.Errorf("%v decodes to %q, want %q", c.IDs, got, c.Text)
		}
		if got := stream(t, tok, c.IDs, true); got != c.Text {
			t.Errorf("%v streams as %q, want %q", c.IDs, got, c.Text)
		}
	}
}

func TestDecoderHoldsBackCharacters(t *testing.T) {
	tok := load(t, "gpt-2")
	id := func(spelling string) int32 {
		id, ok := tok.ID(spelling)
		if !ok {
			t.Fatalf("no token %q", spelling)
		}
		return id
	}
	// The four bytes of 🙂 are f0 9f 99 82, spelled ð Ł Ļ Ĥ.
	d := tok.NewDecoder(true)
	for _, step := range []struct {
		spelling, want string
	}{
		{"a", "a"}, {"ð", ""}, {"Ł", ""}, {"Ļ", ""}, {"Ĥ", "🙂"}, {"ð", ""}, {"Ł", ""}, {"<|im_end|>", ""}, {"b", "\ufffdb"}, {"Ĥ", "\ufffd"}, {"ð", ""},
	} {
		if got := d.Push(id(step.spelling)); got != step.want {
			t.Errorf("%q gives %q, want %q", step.spelling, got, step.want)
		}
	}
	if got := d.Flush(); got != "\ufffd" {
		t.Errorf("Flush gives %q", got)
	}
	if got := d.Flush(); got != "" {
		t.Errorf("a second Flush gives %q", got)
	}
	if got := d.Push(-1) + d.Push(1<<30); got != "" {
		t.Errorf("ids outside the vocabulary give %q", got)
	}
}

func TestDecoderLeadingSpace(t *testing.T) {
	for _, c := range []struct {
		fixture string
		tokens  []string
		skip    bool
		want    string
	}{
		{"llama-2", []string{"▁s", "▁s"}, true, "s s"},
		{"llama-2", []string{"<s>", "▁s"}, true, "s"},
		{"llama-2", []string{"<s>", "▁s"}, false, "<s> s"},
		{"llama-2", []string{"▁", "▁s"}, true, " s"},
		{"llama-2", []string{"s", "▁s"}, true, "s s"},
		{"llama-2", []string{"<0xE2>", "<0x96>", "<0x81>"}, true, "▁"},
		{"gemma", []string{"<bos>", "▁s", "▁s"}, true, " s s"},
		{"mistral", []string{"▁s"}, true, "s"},
		{"gpt-2", []string{"Ġs"}, true, " s"},
	} {
		tok := load(t, c.fixture)
		var ids []int32
		for _, text := range c.tokens {
			id, ok := tok.ID(text)
			if !ok {
				t.Fatalf("%s: no token %q", c.fixture, text)
			}
			ids = append(ids, id)
		}
		if got := stream(t, tok, ids, c.skip); got != c.want {
			t.Errorf("%s %q gives %q, want %q", c.fixture, c.tokens, got, c.want)
		}
		if got := tok.Decode(ids); c.skip && got != c.want {
			t.Errorf("%s %q decodes to %q, want %q", c.fixture, c.tokens, got, c.want)
		}
	}
}

// Whatever the ids, streaming gives the same text as decoding them at once.
func TestStreamedEqualsWhole(t *testing.T) {
	for _, name := range fixtures {
		tok := load(t, name)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			ids := rapid.SliceOf(rapid.Int32Range(-1, int32(tok.VocabSize()))).Draw(t, "ids")
			if got, want := stream(t, tok, ids, true), tok.Decode(ids); got != want {
				t.Fatalf("streams as %q, decodes to %q", got, want)
			}
		}))
	}
}

// lossless are the fixtures whose tokens hold every byte of the text.
var lossless = []string{"gpt-2", "llama-bpe", "smollm", "tekken", "gpt-4o", "deepseek-llm", "deepseek-coder", "deepseek-v3"}

// checkText is what must hold for every text, valid UTF-8 or not.
func checkText(t interface {
	Errorf(format string, args ...any)
}, name string, tok *tokenizer.Tokenizer, text string) {
	ids := tok.Encode(nil, text, tokenizer.EncodeOptions{})
	var pieces []byte
	for _, id := range ids {
		if id < 0 || int(id) >= tok.VocabSize() {
			t.Errorf("%s: %q gives the id %d", name, text, id)
		}
		if tok.Kind(id) == tokenizer.Control {
			t.Errorf("%s: %q gives the control token %s without Special", name, text, tok.Text(id))
		}
		pieces = append(pieces, tok.Piece(id)...)
	}
	if slices.Contains(lossless, name) && string(pieces) != text {
		t.Errorf("%s: %q comes back as %q", name, text, pieces)
	}
	for _, special := range []bool{false, true} {
		ids := tok.Encode(nil, text, tokenizer.EncodeOptions{Special: special})
		whole := tok.Decode(ids)
		if got := stream(t, tok, ids, true); got != whole {
			t.Errorf("%s: %q streams as %q, decodes to %q", name, text, got, whole)
		}
	}
	if valid := utf8.ValidString(text); valid && slices.Contains(lossless, name) {
		if got := tok.Decode(ids); got != text {
			t.Errorf("%s: %q decodes to %q", name, text, got)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, name := range fixtures {
		tok := load(t, name)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			if rapid.Bool().Draw(t, "valid") {
				checkText(t, name, tok, rapid.String().Draw(t, "text"))
			} else {
				checkText(t, name, tok, string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
			}
		}))
	}
}

func FuzzEncodeDecode(f *testing.F) {
	var all []string
	readJSON(f, "texts.json", &all)
	for _, text := range all[:60] {
		f.Add(text)
	}
	f.Add("\xff\xfe invalid \xe4\xbd text \xf0\x9f\x99")
	tokenizers := make(map[string]*tokenizer.Tokenizer)
	for _, name := range fixtures {
		tokenizers[name] = load(f, name)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, tok := range tokenizers {
			checkText(t, name, tok, text)
		}
	})
}

package generate

import (
	"os"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/grammar"
	"github.com/inferflux/inferflux/tokenizer"
)

// merging is a model with a real tokenizer, whose tokens run over the ends of markers,
// and without an engine.
func merging(t *testing.T) *Model {
	t.Helper()
	path := os.Getenv("INFERFLUX_TEST_MODEL")
	if path == "" {
		t.Skip("needs the real tokenizer of a model (INFERFLUX_TEST_MODEL)")
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok, err := tokenizer.FromGGUF(f.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	return &Model{o: ModelOptions{Tokenizer: tok}, grammars: newGrammars(tok)}
}

// say has a form take tokens, as far as it allows them; complete reports whether the
// answer may end after them.
func say(t *testing.T, m *Model, f *Form, ids []int32) (said string, complete bool) {
	t.Helper()
	s := m.begin(f)
	mask := make([]uint32, (m.o.Tokenizer.VocabSize()+31)/32)
	allowed := func(id int32) bool {
		if _, err := s.Mask(mask); err != nil {
			t.Fatal(err)
		}
		return mask[id/32]>>(id%32)&1 == 1
	}
	for _, id := range ids {
		if !allowed(id) {
			return said, false
		}
		if err := s.Accept(id); err != nil {
			t.Fatalf("after %q, token %d is allowed and not accepted: %s", said, id, err)
		}
		said += string(m.spelling(id))
	}
	return said, allowed(m.o.Tokenizer.EndOfGeneration()[0])
}

func compiled(t *testing.T, m *Model, spec grammar.Spec) *grammar.Compiled {
	t.Helper()
	c, err := m.Compile(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestForms(t *testing.T) {
	m := merging(t)
	yesNo := GrammarForm(compiled(t, m, grammar.Spec{Kind: grammar.Choice, Choices: []string{"yes", "no"}}))
	tag := GrammarForm(compiled(t, m, grammar.Spec{Kind: grammar.Regex, Source: "<(a|b)>"}))
	object := compiled(t, m, grammar.Spec{Kind: grammar.JSONSchema, Source: `{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}`})
	calls := []Call{{"<call>get: ", ";</call>", object}, {"<call>get_all: ", ";</call>", object}}
	think := func(f *Form, open bool, budget int) *Form {
		return f.AfterReasoning("<think>", "</think>", open, budget)
	}
	for _, c := range []struct {
		name, text string // the parts are tokenized one by one
		form       *Form
		want       string // as much of the text as is allowed
		complete   bool
	}{
		{"a choice", "yes", yesNo, "yes", true},
		{"half a choice", "ye", yesNo, "ye", false},
		{"another text", "maybe", yesNo, "", false},
		{"reasoning", "<think>|hm, <b> maybe|</think>|no", think(yesNo, false, 0), "<think>hm, <b> maybe</think>no", true},
		{"none", "no", think(yesNo, false, 0), "no", true},
		{"reasoning that is open", "hm|</think>|no", think(yesNo, true, 0), "hm</think>no", true},
		{"only that", "hm", think(yesNo, true, 0), "hm", false},
		{"another answer after it", "hm</think|>\"|no", think(yesNo, true, 0), "hm</think", false},
		{"what begins like reasoning", "<a>", think(tag, false, 0), "<a>", true},
		{"free text that does", "<div>", think(nil, false, 0), "<div>", true},
		{"too much reasoning", "a| a| a| a</think>yes", think(yesNo, true, 3), "a a a", false},
		{"enough reasoning", "a| a| a|</think>|yes", think(yesNo, true, 3), "a a a</think>yes", true},
		{"a call", `<call>get: |{"a":1}|;</call>`, CallsForm(calls, false), `<call>get: {"a":1};</call>`, true},
		{"another, too many", `<call>get: |{"a":1}|;</call>|<call>get: `, CallsForm(calls, false), `<call>get: {"a":1};</call>`, false},
		{"two calls", `<call>get: |{"a":1}|;</call>|<call>get_all: |{"a":2}|;</call>`, CallsForm(calls, true), `<call>get: {"a":1};</call><call>get_all: {"a":2};</call>`, true},
		{"no call", `Hello`, CallsForm(calls, true), ``, false},
		{"words around a call", `Hello <call|>|get: |{"a":1}|;</call>| there`, OpenForm("<call>", calls, true), `Hello <call>get: {"a":1};</call> there`, true},
		{"words only", `Hello <there>`, OpenForm("<call>", calls, true), `Hello <there>`, true},
		{"other arguments", `Hello <call|>|get: |{"b":1}`, OpenForm("<call>", calls, true), `Hello <call>get: {"`, false},
	} {
		var ids []int32
		for part := range strings.SplitSeq(c.text, "|") {
			ids = m.o.Tokenizer.Encode(ids, part, tokenizer.EncodeOptions{})
		}
		if said, complete := say(t, m, c.form, ids); said != c.want || complete != c.complete {
			t.Errorf("%s: said %q, complete %t; expected %q, %t", c.name, said, complete, c.want, c.complete)
		}
	}
}

// No token that closes reasoning may go on with what the answer can't be held to.
func TestMarkersAreNotOverrun(t *testing.T) {
	m := merging(t)
	tok := m.o.Tokenizer
	f := GrammarForm(compiled(t, m, grammar.Spec{Kind: grammar.Choice, Choices: []string{"yes", "no"}})).AfterReasoning("<think>", "</think>", true, 0)
	before := tok.Encode(nil, "hm </think", tokenizer.EncodeOptions{})
	closing := 0
	for id := range int32(tok.VocabSize()) {
		piece := tok.Piece(id)
		if len(piece) == 0 || piece[0] != '>' {
			continue
		}
		said, _ := say(t, m, f, append(before[:len(before):len(before)], id))
		if ok := said == "hm </think>"; ok {
			closing++
		} else if said != "hm </think" {
			t.Errorf("%q may be said", said)
		}
	}
	if closing != 1 {
		t.Errorf("%d tokens close the reasoning, expected one", closing)
	}
}

// Two constraints are never taken for one another.
func TestConstraintsAreKeptApart(t *testing.T) {
	m := merging(t)
	compiled(t, m, grammar.Spec{Kind: grammar.Choice, Choices: []string{"yes\x00no"}})
	c := compiled(t, m, grammar.Spec{Kind: grammar.Choice, Choices: []string{"yes", "no"}})
	if said, complete := say(t, m, GrammarForm(c), m.o.Tokenizer.Encode(nil, "no", tokenizer.EncodeOptions{})); said != "no" || !complete {
		t.Errorf("%q, complete %t", said, complete)
	}
}

package grammar_test

import (
	"context"
	"errors"
	"testing"

	"github.com/inferflux/inferflux/grammar"
)

func TestNotations(t *testing.T) {
	for _, c := range []struct {
		kind    grammar.Kind
		source  string
		yes, no []string
	}{
		{grammar.GBNF, `root ::= "a" b* | [^a-z]{2,3} # comment
b ::= ("x" |
   "y")+ "\n"?`, []string{"a", "axyx\n", "AB", "日本語"}, []string{"", "ab", "A", "ABCD", "ax\n\n"}},
		{grammar.GBNF, "root ::= \"(\" root \")\" | \"\"", []string{"", "()", "((()))"}, []string{"(", "())", "(()"}},
		{grammar.GBNF, "root ::= e\ne ::= t (\"+\" t)*\nt ::= [0-9]+ | \"(\" e \")\"", []string{"1", "1+(2+34)"}, []string{"1+", "(1", "+1"}},
		{grammar.GBNF, `root ::= [\]\-a-] . "\x41é"`, []string{"]xAé", "-日Aé"}, []string{"bxAé"}},
		{grammar.Lark, "start: e\n?e: t\n  | t \"+\" e -> sum\nt: NUM | \"(\" e \")\"\nNUM: /[0-9]+/\n", []string{"1", "1+(2+34)"}, []string{"1+", "(1"}},
		{grammar.Lark, "start: \"ab\"i [\"c\"..\"e\"] INT~2..3 // note\n%import common.DIGIT -> INT", []string{"aB12", "ABd123"}, []string{"ab1", "abf12", "ab1234"}},
	} {
		compiled := compile(t, c.kind, c.source)
		for _, text := range c.yes {
			if !accepts(compiled, text) {
				t.Errorf("%s refuses %q", c.source, text)
			}
		}
		for _, text := range c.no {
			if accepts(compiled, text) {
				t.Errorf("%s accepts %q", c.source, text)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		kind   grammar.Kind
		source string
	}{
		{grammar.GBNF, ``}, {grammar.GBNF, `root ::= x`}, {grammar.GBNF, `root ::= "a`}, {grammar.GBNF, `root ::= root "a" | "b"`},
		{grammar.GBNF, "root ::= a b\na ::= \"\"\nb ::= a root"}, {grammar.GBNF, `root ::= "a"{3,2}`}, {grammar.GBNF, `root ::= [b-a]`}, {grammar.GBNF, `root ::= "x" root`},
		{grammar.Lark, "start: x"}, {grammar.Lark, "start: /a(?=b)/"}, {grammar.Lark, "start: \"a\"\n%ignore \" \""}, {grammar.Lark, "start: \"a\"~"},
		{grammar.Regex, `(`}, {grammar.Regex, `a\b`}, {grammar.Regex, `(a)\1`}, {grammar.Regex, `a(?=b)`}, {grammar.Regex, `[^\x00-\x{10ffff}]`},
		{grammar.Choice, ``}, {"xml", ``},
		{grammar.JSONSchema, `{"type":"string","pattern":"(?<!a)b"}`}, {grammar.JSONSchema, `{"$ref":"#"}`}, {grammar.JSONSchema, `[`}, {grammar.JSONSchema, `{"nope":1}`},
		{grammar.JSONSchema, `{"not":{}}`}, {grammar.JSONSchema, `{"type":"string","minLength":1e9}`},
	} {
		v := byteVocabulary(t)
		_, err := grammar.Compile(context.Background(), grammar.Spec{Kind: c.kind, Source: c.source}, v)
		var schema *grammar.SchemaError
		var syntax *grammar.SyntaxError
		if !errors.As(err, &schema) && (!errors.As(err, &syntax) || syntax.Kind != c.kind) && !errors.Is(err, grammar.ErrEmpty) && c.kind != "xml" || err == nil {
			t.Errorf("%s: %s: %v", c.kind, c.source, err)
		}
		t.Log(err)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := grammar.Compile(canceled, grammar.Spec{Kind: grammar.Regex, Source: `[a-z]{900}[^x]{900}`}, byteVocabulary(t))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

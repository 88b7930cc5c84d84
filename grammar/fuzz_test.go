package grammar_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/inferflux/inferflux/grammar"
)

// follow compiles what a fuzzer made up and follows text as far as it is allowed. An
// error must be one of those promised; a forced byte must be allowed.
func follow(t *testing.T, kind grammar.Kind, source, text string) (ended bool) {
	t.Helper()
	v := byteVocabulary(t)
	c, err := grammar.Compile(context.Background(), grammar.Spec{Kind: kind, Source: source}, v)
	if err != nil {
		var schema *grammar.SchemaError
		var syntax *grammar.SyntaxError
		if !errors.As(err, &schema) && !errors.As(err, &syntax) && !errors.Is(err, grammar.ErrLimit) && !errors.Is(err, grammar.ErrEmpty) {
			t.Errorf("%s: %v", source, err)
		}
		return false
	}
	s := c.Start()
	mask := make([]uint32, v.MaskWords())
	for i := range min(len(text), 64) {
		allowed, err := s.Mask(mask)
		if err != nil {
			return false
		}
		if allowed == 0 {
			t.Fatalf("%s: nothing is allowed after %q", source, text[:i])
		}
		if f := s.Forced(); len(f) > 0 && (!isSet(mask, int(f[0])) || allowed != 1) {
			t.Errorf("%s: after %q %q is forced, but %d tokens are allowed", source, text[:i], f, allowed)
		}
		err = s.Accept(int32(text[i]))
		if (err == nil) != isSet(mask, int(text[i])) && !errors.Is(err, grammar.ErrLimit) {
			t.Errorf("%s: after %q the mask and Accept disagree about %q", source, text[:i], text[i])
		}
		if err != nil {
			return false
		}
	}
	return s.AcceptsEnd() && len(text) <= 64
}

func FuzzSchema(f *testing.F) {
	for _, g := range readSuite(f) {
		if len(g.schema) < 400 && len(g.tests) > 0 {
			f.Add(string(g.schema), string(g.tests[0].instance))
		}
	}
	f.Fuzz(func(t *testing.T, source, text string) {
		if follow(t, grammar.JSONSchema, source, text) && !json.Valid([]byte(text)) {
			t.Errorf("%s accepts %q, which isn't JSON", source, text)
		}
	})
}

func FuzzRegex(f *testing.F) {
	f.Add(`^(?!a)(b|\d{2,})*[^x]$`, "b12")
	f.Add(`\u00e9\p{Letter}[\s\d-]`, "éa ")
	f.Fuzz(func(t *testing.T, source, text string) { follow(t, grammar.Regex, source, text) })
}

func FuzzGBNF(f *testing.F) {
	f.Add("root ::= \"a\" b* | [^a-z]{2,3} # c\nb ::= (\"x\" |\n \"y\")+ root?", "axy")
	f.Fuzz(func(t *testing.T, source, text string) { follow(t, grammar.GBNF, source, text) })
}

func FuzzLark(f *testing.F) {
	f.Add("start: e\n?e: t\n  | t \"+\" e -> sum\nt: /[0-9]+/i | \"(\" e \")\"~1..2\n%import common.INT -> X", "1+(2)")
	f.Fuzz(func(t *testing.T, source, text string) { follow(t, grammar.Lark, source, text) })
}

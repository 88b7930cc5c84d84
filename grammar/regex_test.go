package grammar_test

import (
	"context"
	"regexp"
	"testing"

	"github.com/inferflux/inferflux/grammar"
)

// byteVocabulary has a token a byte, and the end of text as token 256.
func byteVocabulary(t testing.TB) *grammar.Vocabulary {
	t.Helper()
	tokens := make([][]byte, 257)
	for i := range 256 {
		tokens[i] = []byte{byte(i)}
	}
	v, err := grammar.NewVocabulary(tokens, nil, []int32{256})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// accepts says whether text, a token a byte, can be all of an answer.
func accepts(c *grammar.Compiled, text string) bool {
	s := c.Start()
	for i := range len(text) {
		if s.Accept(int32(text[i])) != nil {
			return false
		}
	}
	return s.AcceptsEnd()
}

func compile(t testing.TB, kind grammar.Kind, source string) *grammar.Compiled {
	t.Helper()
	c, err := grammar.Compile(context.Background(), grammar.Spec{Kind: kind, Source: source}, byteVocabulary(t))
	if err != nil {
		t.Fatalf("compile %s: %v", source, err)
	}
	return c
}

// TestRegexAgainstGo compares with the standard library's engine.
func TestRegexAgainstGo(t *testing.T) {
	texts := []string{"", "a", "b", "ab", "ba", "aab", "abc", "abab", "A", "aB", "0", "12", "123", "-1", "1.5", "é", "日本", "a\nb", "\n", " ", "a b", "foo", "foobar", "barfoo", "x@y.z", "2024-02-29", "ſ", "K", "k"}
	patterns := []string{
		`a*`, `a+b?`, `(ab|ba)*`, `[a-c]{2,3}`, `[^a]`, `.`, `.*`, `(?s).*`, `(?i)ab`, `(?i)[k]`, `(?i)s|k`, `\d+`, `-?\d+(\.\d+)?`, `\pL`, `\p{Lu}`, `[[:alpha:]]+`,
		`a{0}`, `(a|b|)*c?`, `(?:foo)(bar)?`, `[^\n]+`, `\w+@\w+\.\w+`, `\d{4}-\d{2}-\d{2}`, `^a$`, `(^a|b$)+`, `a|^b`, `[é日]本?`, `()`, `x{1,1000}?a?`, `\x41`, `[\d-]+`,
	}
	for _, p := range patterns {
		c := compile(t, grammar.Regex, p)
		want := regexp.MustCompile(`^(?:` + p + `)$`)
		for _, text := range texts {
			if got, want := accepts(c, text), want.MatchString(text); got != want {
				t.Errorf("%s on %q: %v, want %v", p, text, got, want)
			}
		}
	}
}

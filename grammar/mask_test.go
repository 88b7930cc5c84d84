package grammar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/inferflux/inferflux/grammar"
	"github.com/inferflux/inferflux/tokenizer"
)

// tokenizerVocabulary is the vocabulary of a real tokenizer, cut down.
func tokenizerVocabulary(t testing.TB, file string) (*tokenizer.Tokenizer, [][]byte, *grammar.Vocabulary) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromJSON(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tokens [][]byte
	var special []int32
	for id := range int32(tok.VocabSize()) {
		tokens = append(tokens, bytes.Clone(tok.Piece(id)))
		if tok.Kind(id) == tokenizer.Control {
			special = append(special, id)
		}
	}
	end := int32(len(tokens))
	tokens = append(tokens, nil)
	v, err := grammar.NewVocabulary(tokens, special, []int32{end})
	if err != nil {
		t.Fatal(err)
	}
	return tok, tokens, v
}

// syntheticVocabulary has 128,000 tokens shaped like a real one's: bytes, words with
// and without a space, numbers, punctuation that runs on.
func syntheticVocabulary(t testing.TB) ([][]byte, *grammar.Vocabulary) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	seen := make(map[string]bool)
	var tokens [][]byte
	add := func(s string) {
		if !seen[s] && len(tokens) < 128_000-1 {
			seen[s] = true
			tokens = append(tokens, []byte(s))
		}
	}
	for i := range 256 {
		add(string([]byte{byte(i)}))
	}
	for i := range 1000 {
		add(string([]byte{byte('0' + i/100), byte('0' + i/10%10), byte('0' + i%10)}))
	}
	const marks = "\"{}[],: \n\t\\()'.-_/<>=;"
	for len(tokens) < 6000 {
		var s []byte
		for range 1 + r.IntN(4) {
			s = append(s, marks[r.IntN(len(marks))])
		}
		add(string(s))
	}
	syllables := []string{"a", "e", "in", "th", "er", "on", "re", "st", "co", "de", "ti", "al", "ing", "pro", "ne", "lo", "é", "ü", "да", "日", "本", "ion", "ment", "x", "q", "ly"}
	for len(tokens) < 128_000-1 {
		s := []string{"", " ", " ", "_", "."}[r.IntN(5)]
		if r.IntN(200) == 0 {
			s = "\""
		}
		for range 1 + r.IntN(4) {
			s += syllables[r.IntN(len(syllables))]
		}
		if r.IntN(200) == 0 {
			s += []string{"\"", "\":", ",", "\",", ".\"", ")"}[r.IntN(6)]
		}
		add(s)
	}
	tokens = append(tokens, nil)
	v, err := grammar.NewVocabulary(tokens, nil, []int32{128_000 - 1})
	if err != nil {
		t.Fatal(err)
	}
	return tokens, v
}

func isSet(mask []uint32, id int) bool { return mask[id/32]>>(id%32)&1 == 1 }

var walks = []grammar.Spec{
	{Kind: grammar.JSONObject},
	{Kind: grammar.JSONSchema, Source: `{"type":"object","properties":{"name":{"type":"string","maxLength":20},"age":{"type":"integer","minimum":0,"maximum":150},"mail":{"type":"string","format":"email"},"tags":{"type":"array","items":{"enum":["red","green","blue"]},"maxItems":4}},"required":["name","age"],"additionalProperties":false}`},
	{Kind: grammar.JSONSchema, Source: `{"$ref":"#/$defs/t","$defs":{"t":{"type":"object","properties":{"v":{"type":"number"},"kids":{"type":"array","items":{"$ref":"#/$defs/t"},"maxItems":2}},"required":["v"],"additionalProperties":false}}}`},
	{Kind: grammar.JSONSchema, Source: `{"type":"object","properties":{"long":{"type":"string","minLength":3,"maxLength":400},"short":{"type":"string","maxLength":9},"word":{"type":"string","pattern":"^[a-z_]{2,70}$"},"letters":{"type":"string","pattern":"^(é|\\p{Lu})[a-z ]{1,40}\\.$"}},"additionalProperties":{"type":"string","pattern":"^a.{3,200}b?$"},"required":["long","word"]}`},
	{Kind: grammar.GBNF, Source: "root ::= word (\" \" word){0,60} \".\"\nword ::= [a-z]{1,9} | [A-Z]{2,4} | \"the \""},
	{Kind: grammar.Regex, Source: `[ -~]{300,320}`},
	{Kind: grammar.Regex, Source: `(\+\d{1,3} )?\d{3}-\d{4}( [a-z]+)*`},
	{Kind: grammar.Choice, Choices: []string{"yes", "no", "yesterday", "日本"}},
	{Kind: grammar.GBNF, Source: "root ::= e\ne ::= t ([-+*/] t)*\nt ::= [0-9]+ | \"(\" e \")\" | [a-z]+ \"(\" (e (\", \" e)*)? \")\""},
}

// TestMasksAreExact walks at random and compares each mask with what Accept says of
// each token, and what is accepted with a vocabulary of bytes.
func TestMasksAreExact(t *testing.T) {
	_, tokens, v := tokenizerVocabulary(t, "../tokenizer/testdata/llama-bpe.json")
	mask := make([]uint32, v.MaskWords())
	for seed, spec := range walks {
		c, err := grammar.Compile(context.Background(), spec, v)
		if err != nil {
			t.Fatal(err)
		}
		oracle, err := grammar.Compile(context.Background(), spec, byteVocabulary(t))
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		ended := 0
		for range 12 {
			s := c.Start()
			var text []byte
			for step := range 400 {
				allowed, err := s.Mask(mask)
				if err != nil || allowed == 0 {
					t.Fatalf("%v after %q: %d tokens allowed, %v", spec, text, allowed, err)
				}
				if step < 12 || step%19 == 0 {
					for id := range tokens {
						if got, want := isSet(mask, id), s.Clone().Accept(int32(id)) == nil; got != want {
							t.Fatalf("%v after %q: token %q: mask %v, accept %v", spec, text, tokens[id], got, want)
						}
					}
				}
				if id, ok := s.ForcedToken(); ok != (allowed == 1) || ok && !isSet(mask, int(id)) {
					t.Fatalf("%v after %q: %d is forced, %v, where %d tokens are allowed", spec, text, id, ok, allowed)
				}
				if forced := s.Forced(); len(forced) > 0 {
					for id := range tokens {
						if n := min(len(forced), len(tokens[id])); isSet(mask, id) && n > 0 && !bytes.Equal(tokens[id][:n], forced[:n]) {
							t.Fatalf("%v after %q: %q is forced, but %q allowed", spec, text, forced, tokens[id])
						}
					}
				}
				id := draw(r, mask, tokens, step > 20)
				if err := s.Accept(int32(id)); err != nil {
					t.Fatal(err)
				}
				text = append(text, tokens[id]...)
				if s.Ended() {
					ended++
					if !accepts(oracle, string(text)) {
						t.Errorf("%v ended in %q", spec, text)
					}
					if (spec.Kind == grammar.JSONObject || spec.Kind == grammar.JSONSchema) && !json.Valid(text) {
						t.Errorf("%v ended in %q, which isn't JSON", spec, text)
					}
					break
				}
			}
		}
		if ended < 6 {
			t.Errorf("%v: only %d walks of 12 ended", spec, ended)
		}
	}
}

// draw chooses an allowed token; one that brings the end nearer if closing is set.
func draw(r *rand.Rand, mask []uint32, tokens [][]byte, closing bool) int {
	if closing && isSet(mask, len(tokens)-1) {
		return len(tokens) - 1
	}
	var all, near []int
	for id := range tokens {
		if isSet(mask, id) {
			all = append(all, id)
			if len(tokens[id]) == 1 && bytes.ContainsAny(tokens[id], "\"}])@.0123456789") {
				near = append(near, id)
			}
		}
	}
	if closing && len(near) > 0 && r.IntN(8) > 0 {
		return near[r.IntN(len(near))]
	}
	return all[r.IntN(len(all))]
}

func TestCloneAndRollback(t *testing.T) {
	c := compile(t, grammar.Regex, `[ab]{1,600}c`)
	s := c.Start()
	for range 550 {
		if err := s.Accept('a'); err != nil {
			t.Fatal(err)
		}
	}
	branch := s.Clone()
	for _, token := range []int32{'b', 'c', 256} {
		if err := branch.Accept(token); err != nil {
			t.Fatal(err)
		}
	}
	if !branch.Ended() || s.Ended() || s.AcceptsEnd() {
		t.Error("a clone isn't independent")
	}
	if branch.Accept('a') == nil {
		t.Error("a token is accepted after the end")
	}
	if err := branch.Rollback(3); err != nil {
		t.Fatal(err)
	}
	words := make([]uint32, 10)
	other := make([]uint32, 10)
	n, err := s.Mask(words)
	m, err2 := branch.Mask(other)
	if err != nil || err2 != nil || n != 3 || m != 3 || !slices.Equal(words, other) {
		t.Errorf("after a rollback %d and %d tokens are allowed, %v, %v", n, m, err, err2)
	}
	if err := s.Rollback(256); err != nil {
		t.Error(err)
	}
	if s.Rollback(100_000) == nil || s.Rollback(-1) == nil {
		t.Error("more than all is rolled back")
	}
	if s.Accept(300) == nil || s.Accept(-1) == nil || s.Accept('x') == nil || s.Accept(256) == nil {
		t.Error("a token that isn't allowed is accepted")
	}
}

func TestConcurrentMasks(t *testing.T) {
	_, tokens, v := tokenizerVocabulary(t, "../tokenizer/testdata/llama-bpe.json")
	c, err := grammar.Compile(context.Background(), walks[1], v)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for seed := range uint64(4) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, 1))
			mask := make([]uint32, v.MaskWords())
			s := c.Start()
			for range 50 {
				if _, err := s.Mask(mask); err != nil || s.Ended() {
					return
				}
				if err := s.Accept(int32(draw(r, mask, tokens, false))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkMask reports the times of masks along random texts, in microseconds; what
// a state's first mask costs is among them.
func BenchmarkMask(b *testing.B) {
	tokens, v := largeVocabulary(b)
	mask := make([]uint32, v.MaskWords())
	for i, spec := range walks {
		b.Run(string(spec.Kind)+string(rune('0'+i)), func(b *testing.B) {
			c, err := grammar.Compile(context.Background(), spec, v)
			if err != nil {
				b.Fatal(err)
			}
			r := rand.New(rand.NewPCG(3, 4))
			var times []time.Duration
			s := c.Start()
			for step := 0; b.Loop(); step++ {
				start := time.Now()
				if _, err := s.Mask(mask); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
				b.StopTimer()
				if err := s.Accept(int32(draw(r, mask, tokens, step%64 > 30))); err != nil {
					b.Fatal(err)
				}
				if s.Ended() {
					s = c.Start()
				}
				b.StartTimer()
			}
			slices.Sort(times)
			for _, p := range []int{50, 99, 100} {
				b.ReportMetric(float64(times[(len(times)-1)*p/100].Nanoseconds())/1e3, fmt.Sprintf("µs-p%d", p))
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	_, v := largeVocabulary(b)
	for i, spec := range walks {
		b.Run(string(spec.Kind)+string(rune('0'+i)), func(b *testing.B) {
			for b.Loop() {
				if _, err := grammar.Compile(context.Background(), spec, v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

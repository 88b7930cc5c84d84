package generate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

// cuts gives every way of cutting s into pieces.
func cuts(s string) [][]string {
	var all [][]string
	for mask := range 1 << (len(s) - 1) {
		var pieces []string
		from := 0
		for i := 1; i <= len(s); i++ {
			if i == len(s) || mask>>(i-1)&1 == 1 {
				pieces = append(pieces, s[from:i])
				from = i
			}
		}
		all = append(all, pieces)
	}
	return all
}

func substrings(s string) (all []string) {
	for i := range len(s) {
		for j := i + 1; j <= len(s); j++ {
			all = append(all, s[i:j])
		}
	}
	return all
}

// stopped says by the definition what stop strings make of a text: the first to
// be complete ends it, the longest of several.
func stopped(text string, stops []string) (found string, end int) {
	for end := 1; end <= len(text); end++ {
		for _, s := range stops {
			if strings.HasSuffix(text[:end], s) && len(s) > len(found) {
				found = s
			}
		}
		if found != "" {
			return found, end
		}
	}
	return "", 0
}

// Whatever way the model cuts a text into tokens, through characters and stop
// strings, the answer is the same, and no delta shows what must not be seen.
func TestStopStringsAtEveryCut(t *testing.T) {
	const text = "aé🙂abab"
	v := newVocabulary(t, substrings(text)...)
	m := newModel(t, v)
	for _, stops := range [][]string{
		nil,
		{"ab"},
		{"aba"},
		{"abab"},
		{"é"},
		{"é🙂"},
		{"🙂a", "é🙂ab"},     // the one that is complete first, though it begins later
		{"b", "ab", "🙂ab"}, // all complete at once: the longest
		{"a"},              // at the very beginning
		{text},
		{"bab!", "🙂b"}, // begin, but never complete
		{"èx", "🙂a\x00"},
		{"abb", "baba", "bab"}, // fall back to a shorter beginning
	} {
		t.Run(fmt.Sprintf("%q", stops), func(t *testing.T) {
			found, end := stopped(text, stops)
			for _, pieces := range cuts(text) {
				for _, include := range []bool{false, true} {
					r := request(v.encode(t, pieces...))
					r.Stop, r.IncludeStop = stops, include
					got, deltas := generated(t, m, r)
					want := answer{text: text, finish: "stop", tokens: r.Prompt, usage: generate.Usage{PromptTokens: len(pieces), CompletionTokens: len(pieces) + 1}}
					if found != "" {
						cut := end - len(found)
						if include {
							cut = end
						}
						want.text, want.stop, want.tokens = text[:cut], found, nil
						at := 0
						for i, p := range pieces {
							if at < cut {
								want.tokens = append(want.tokens, r.Prompt[i])
							}
							if at < end {
								want.usage.CompletionTokens = i + 1
							}
							at += len(p)
						}
					}
					if got.text != want.text || got.finish != want.finish || got.stop != want.stop || got.usage != want.usage || !slices.Equal(got.tokens, want.tokens) {
						t.Fatalf("%q, include=%t:\n got %v\nwant %v", pieces, include, got, want)
					}
					for _, d := range deltas {
						if !utf8.ValidString(d.Text) || strings.Contains(d.Text, "\uFFFD") {
							t.Fatalf("%q: the delta %q cuts a character", pieces, d.Text)
						}
						if d.Text == "" && d.Finish == scheduler.Running {
							t.Fatalf("%q: an empty delta in the middle", pieces)
						}
					}
				}
			}
		})
	}
}

// Text is shown as soon as it can't be part of a stop string any more.
func TestHeldBack(t *testing.T) {
	v := newVocabulary(t, "on", "e ", "two", " thr", "ee")
	m := newModel(t, v)
	r := request(v.encode(t, "on", "e ", "two", " thr", "ee", "!"))
	r.Stop = []string{"e t!", "three!!"}
	_, deltas := generated(t, m, r)
	var shown []string
	for _, d := range deltas {
		shown = append(shown, fmt.Sprintf("%q/%d", d.Text, len(d.Tokens)))
	}
	// "e t" may go on with "!"; "two" shows that it doesn't. The rest is held to
	// the end: "three!" lacks one more "!".
	want := `["on"/1 "e two"/2 " "/0 "three!"/3]`
	if got := fmt.Sprint(shown); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStopStringErrors(t *testing.T) {
	v := newVocabulary(t)
	m := newModel(t, v)
	for _, stops := range [][]string{{""}, {"a", ""}, {"\xa9"}, {"ok", "a\xff"}} {
		r := request(v.encode(t, "a"))
		r.Stop = stops
		if _, err := m.Generate(t.Context(), r); !errors.Is(err, scheduler.ErrInvalidRequest) {
			t.Errorf("stop strings %q: %v", stops, err)
		}
	}
}

// A long stop string that nearly matches again and again costs no more than its
// length: each byte of the answer is looked at a constant number of times.
func TestHostileStopString(t *testing.T) {
	v := newVocabulary(t)
	m := newModel(t, v)
	var prompt []int32
	for range 90 {
		prompt = append(prompt, v.ids["a"])
	}
	r := request(prompt)
	for i := range 64 {
		r.Stop = append(r.Stop, strings.Repeat("a", 1<<16+i)+"b")
	}
	got, _ := generated(t, m, r)
	if want := strings.Repeat("a", 90); got.text != want {
		t.Errorf("got %q", got.text)
	}
}

func FuzzStopStrings(f *testing.F) {
	f.Add("one two three", "tw", " three")
	f.Add("aaaabaaab", "aab", "aaaa")
	f.Add("aaab", "aab", "")
	f.Add("é🙂", "🙂", "é")
	v := newVocabulary(f)
	m := newModel(f, v)
	f.Fuzz(func(t *testing.T, text, first, second string) {
		if text == "" || len(text) > 90 || !utf8.ValidString(text) || !utf8.ValidString(first) || !utf8.ValidString(second) {
			t.Skip()
		}
		var stops []string
		for _, s := range []string{first, second} {
			if s != "" {
				stops = append(stops, s)
			}
		}
		var prompt []int32
		for i := range len(text) {
			prompt = append(prompt, v.ids[text[i:i+1]])
		}
		r := request(prompt)
		r.Stop = stops
		s, err := m.Generate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := read(t, s)
		want := text
		found, end := stopped(text, stops)
		if found != "" {
			want = text[:end-len(found)]
		}
		if got.text != want || got.stop != found {
			t.Errorf("%q stopped by %q: got %v, want %q by %q", text, stops, got, want, found)
		}
	})
}

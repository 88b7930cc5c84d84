package generate_test

import (
	"math"
	"slices"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

// defined is what a request to the parrot must give, by the definition.
func defined(v *vocabulary, r generate.Request) (a answer) {
	decoder := v.NewDecoder(true)
	var starts []int  // of the tokens' text
	var search string // the end of the text, in which stop strings count
	add := func(s string) bool {
		a.text += s
		if a.usage.CompletionTokens <= r.MinTokens {
			return false
		}
		search += s
		found, end := stopped(search, r.Stop)
		if found == "" {
			return false
		}
		cut := len(a.text) - len(search) + end
		if !r.IncludeStop {
			cut -= len(found)
		}
		a.text, a.finish, a.stop = a.text[:cut], "stop", found
		n, _ := slices.BinarySearch(starts, cut)
		a.tokens = a.tokens[:n]
		return true
	}
	a.usage.PromptTokens = len(r.Prompt)
	for n := 0; a.finish == ""; n++ {
		id := v.eos
		if n < len(r.Prompt) {
			id = r.Prompt[n]
		}
		ends := id == v.eos && !r.IgnoreEOS
		if ends && n < r.MinTokens {
			id, ends = 0, false // all others are equally likely: the lowest wins
		}
		a.usage.CompletionTokens++
		if ends {
			a.finish = "stop"
			break
		}
		a.tokens, starts = append(a.tokens, id), append(starts, len(a.text))
		if add(decoder.Push(id)) {
			return a
		}
		if n+1 == r.MaxTokens {
			a.finish = "length"
		}
	}
	add(decoder.Flush())
	return a
}

// TestAnswers draws answers of any bytes in any cut, with control tokens among
// them, and requests of all kinds, and holds what comes out to the definition: the
// decoding of the tokens up to where a stop token, a stop string or the limit ends
// it.
func TestAnswers(tb *testing.T) {
	pieces := []string{"ab", "ba", "aab", "abab", "é", "\xc3", "\xa9a", "🙂", "\xf0\x9f", "\x99\x82b", "\x82", "\xff", "b\xf0", "\u2029"}
	v := newVocabulary(tb, pieces...)
	m := newModel(tb, v)
	rapid.Check(tb, func(t *rapid.T) {
		said := rapid.SliceOfN(rapid.OneOf(
			rapid.SampledFrom(v.encode(tb, append(pieces, "a", "b")...)),
			rapid.SampledFrom([]int32{v.bos, v.eos}),
		), 1, 60).Draw(t, "said")
		r := request(said)
		r.Stop = rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("abé🙂\uFFFD")), 1, 5, -1), 0, 3).Draw(t, "stop")
		r.MaxTokens = rapid.IntRange(1, 2*len(said)).Draw(t, "max")
		r.MinTokens = rapid.IntRange(0, min(3, r.MaxTokens)).Draw(t, "min")
		r.IgnoreEOS = rapid.Bool().Draw(t, "ignore the end")
		r.IncludeStop = rapid.Bool().Draw(t, "include the stop string")
		r.Sampling.Logprobs = rapid.IntRange(-1, 2).Draw(t, "logprobs")
		got, deltas := generated(tb, m, r)
		if want := defined(v, r); got.String() != want.String() {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
		for i, d := range deltas {
			if !utf8.ValidString(d.Text) {
				t.Fatalf("the delta %q cuts a character", d.Text)
			}
			if last := i == len(deltas)-1; (d.Finish != scheduler.Running) != last || d.Text == "" && !last {
				t.Fatalf("delta %d of %d: %+v", i, len(deltas), d)
			}
			for _, c := range d.Tokens {
				if r.Sampling.Logprobs >= 0 && (len(c.Top) != r.Sampling.Logprobs || c.Logprob > 0 || math.IsNaN(float64(c.Logprob))) {
					t.Fatalf("token %+v", c)
				}
			}
		}
	})
}

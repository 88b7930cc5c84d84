package draft_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/scheduler/draft"
)

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		name             string
		expected, prompt []int32
		then             []int32
		n                int
		want             []int32
		match            int
	}{
		{"nothing repeats", nil, []int32{1, 2, 3}, nil, 4, nil, 0},
		{"one token is not enough", nil, []int32{1, 2, 3, 9, 2}, nil, 4, nil, 0},
		{"two tokens", nil, []int32{1, 2, 3, 4, 9, 2, 3}, nil, 4, []int32{4, 9, 2, 3}, 2},
		{"cut to n", nil, []int32{1, 2, 3, 4, 9, 2, 3}, nil, 1, []int32{4}, 2},
		{"the longest match", nil, []int32{1, 2, 3, 4, 7, 2, 3, 5, 1, 2, 3}, nil, 1, []int32{4}, 3},
		{"the last of equals", nil, []int32{8, 2, 3, 4, 7, 2, 3, 5, 1, 2, 3}, nil, 1, []int32{5}, 2},
		{"a loop", nil, []int32{1, 2, 1, 2, 1, 2}, nil, 9, []int32{1, 2}, 4},
		{"in the answer", nil, []int32{1, 2, 3}, []int32{1, 2}, 2, []int32{3, 1}, 2},
		{"it grows", nil, []int32{1, 2, 3, 4, 5, 1, 2}, []int32{3, 4}, 1, []int32{5}, 4},
		{"it breaks off", nil, []int32{1, 2, 3, 4, 5, 1, 2}, []int32{9}, 1, nil, 0},
		{"expected", []int32{10, 11, 12}, []int32{1, 2}, nil, 2, []int32{10, 11}, 16},
		{"expected, further on", []int32{10, 11, 12}, []int32{1, 2}, []int32{10, 11}, 1, []int32{12}, 16},
		{"expected, found again", []int32{10, 11, 12, 13, 14}, []int32{1, 2}, []int32{9, 12, 13}, 9, []int32{14, 1, 2, 9, 12, 13}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := draft.NewLookup(c.expected, c.prompt, 20)
			for _, token := range c.then {
				l.Add(token)
			}
			got, match := l.Propose(c.n)
			if !slices.Equal(got, c.want) || match != c.match {
				t.Errorf("got %v after %d, want %v after %d", got, match, c.want, c.match)
			}
		})
	}
}

// Whatever a Lookup proposes stood in the sequence after the tokens that it says.
func TestLookupIsTrue(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		kinds := rapid.IntRange(1, 6).Draw(r, "kinds")
		sequence := make([]int32, rapid.IntRange(1, 300).Draw(r, "tokens"))
		for i := range sequence {
			sequence[i] = random.Int32N(int32(kinds))
		}
		first := rapid.IntRange(0, len(sequence)).Draw(r, "prompt")
		l := draft.NewLookup(nil, sequence[:first], rapid.IntRange(0, 300).Draw(r, "room"))
		for n := first; ; n++ {
			got, match := l.Propose(8)
			if (len(got) == 0) != (match == 0) {
				r.Fatalf("%v after %d tokens", got, match)
			}
			if match > 0 {
				ok := false
				for at := match; at < n; at++ {
					ok = ok || slices.Equal(sequence[at-match:at], sequence[n-match:n]) && slices.Equal(sequence[at:min(at+8, n)], got)
				}
				if !ok {
					r.Fatalf("%v is said to follow the last %d of %v", got, match, sequence[:n])
				}
			}
			if n == len(sequence) {
				return
			}
			l.Add(sequence[n])
		}
	})
}

func TestRate(t *testing.T) {
	var r draft.Rate
	if got := r.Mean(0.3); got != 0.3 {
		t.Errorf("knowing nothing: %v", got)
	}
	r.Add(3, true)
	if got := r.Mean(0.5); got < 0.55 || got > 0.7 {
		t.Errorf("after three of four: %v", got)
	}
	r.Add(1000, false)
	if got := r.Mean(0); got < 0.85 {
		t.Errorf("after a thousand right ones: %v", got)
	}
	for range 200 {
		r.Add(0, true)
	}
	if got := r.Mean(1); got > 0.15 {
		t.Errorf("after two hundred wrong ones: %v", got)
	}
}

func TestChoose(t *testing.T) {
	free := func(n, _ int) float64 { return 1 }
	byToken := func(n, _ int) float64 { return 1 + 0.3*float64(n) }
	deep := func(n, depth int) float64 { return 1 + 0.2*float64(depth) }
	for _, c := range []struct {
		name    string
		right   []float64
		most    int
		limit   int
		seconds func(n, depth int) float64
		want    []int
	}{
		{"free: all that may be right", []float64{0.9, 0.3}, 4, 99, free, []int{4, 3}},
		{"the limit", []float64{0.9, 0.8}, 4, 3, free, []int{2, 1}},
		{"no room", []float64{0.9}, 4, 0, free, []int{0}},
		{"dear: what is worth it", []float64{0.9, 0.1}, 4, 99, byToken, []int{3, 0}},
		{"not worth it", []float64{0.2, 0.1}, 4, 99, byToken, []int{0, 0}},
		{"depth costs", []float64{0.8}, 8, 99, deep, []int{4}},
		{"a step over a threshold", []float64{0.95}, 8, 99, func(n, _ int) float64 {
			if n == 0 {
				return 1
			}
			return 3
		}, []int{8}},
		{"nobody", nil, 4, 99, free, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []draft.Candidate
			for _, p := range c.right {
				all = append(all, draft.Candidate{Right: p, Most: c.most})
			}
			draft.Choose(all, max(1, len(all)), c.limit, c.seconds)
			var got []int
			for _, a := range all {
				got = append(got, a.Take)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	prompt := make([]int32, 6000)
	for i := range prompt {
		prompt[i] = int32(random.ExpFloat64() * 20)
	}
	l := draft.NewLookup(nil, prompt, len(prompt)+b.N)
	b.ReportAllocs()
	for b.Loop() {
		l.Add(int32(random.ExpFloat64() * 20))
		l.Propose(8)
	}
}

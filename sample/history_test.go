package sample_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/sample"
)

// byEdits is what a draw's edits and bans do to a row of zeros and ones.
func byEdits(d sample.Draw, vocab int, value float64) []float64 {
	x := make([]float64, vocab)
	for i := range x {
		x[i] = value
	}
	for _, e := range d.Edits {
		x[e.Token] = x[e.Token]/float64(e.Divide) + float64(e.Add)
	}
	for _, t := range d.Banned {
		x[t] = math.Inf(-1)
	}
	return x
}

// TestHistory holds penalties over a window, DRY and bad words to their definitions,
// computed anew for every draw.
func TestHistory(t *testing.T) {
	const vocab = 6
	rapid.Check(t, func(r *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 3))
		tokens := func(n int) []int32 {
			all := make([]int32, n)
			for i := range all {
				all[i] = random.Int32N(vocab)
			}
			return all
		}
		p := with(func(p *sample.Params) {
			p.Temperature = 0
			p.PenaltyWindow = rapid.SampledFrom([]int{0, 1, 3, 10}).Draw(r, "window")
			p.RepetitionPenalty = rapid.SampledFrom([]float64{1, 1.5}).Draw(r, "repetition_penalty")
			p.FrequencyPenalty = rapid.SampledFrom([]float64{0, 0.25}).Draw(r, "frequency_penalty")
			p.PresencePenalty = rapid.SampledFrom([]float64{0, 0.5}).Draw(r, "presence_penalty")
			p.LogitBias = map[int32]float64{2: 0.125}
			p.DRYMultiplier = rapid.SampledFrom([]float64{0, 0.5}).Draw(r, "dry")
			p.DRYBase = 2
			p.DRYAllowedLength = rapid.IntRange(1, 3).Draw(r, "allowed")
			p.DRYWindow = rapid.SampledFrom([]int{0, 2, 9}).Draw(r, "dry window")
			p.DRYBreakers = map[int32]bool{5: rapid.Bool().Draw(r, "breaker")}
			for range rapid.IntRange(0, 3).Draw(r, "words") {
				p.BadWords = append(p.BadWords, tokens(1+random.IntN(3)))
			}
		})
		prompt := tokens(rapid.IntRange(0, 15).Draw(r, "prompt"))
		s := newSampler(t, p, vocab)
		s.Prompt(prompt[:len(prompt)/2])
		s.Prompt(prompt[len(prompt)/2:])
		var said []int32
		for range rapid.IntRange(1, 25).Draw(r, "answer") {
			got := byEdits(s.Draw(nil, nil), vocab, 4)
			want := defined(p, prompt, said, vocab, 4)
			for i := range want {
				if math.Abs(got[i]-want[i]) > 1e-5 && got[i] != want[i] {
					r.Fatalf("%+v\nprompt %v said %v: token %d has %v, expected %v", p, prompt, said, i, got, want)
				}
			}
			next := random.Int32N(vocab)
			s.Accept(next)
			said = append(said, next)
		}
	})
}

// defined computes all that looks at the history by its definition.
func defined(p sample.Params, prompt, said []int32, vocab int, value float64) []float64 {
	all := slices.Concat(prompt, said)
	window := 0
	if p.PenaltyWindow > 0 {
		window = max(0, len(all)-p.PenaltyWindow)
	}
	x := make([]float64, vocab)
	for token := range x {
		spoken, generated := 0, 0
		for i := window; i < len(all); i++ {
			if all[i] == int32(token) {
				spoken++
				if i >= len(prompt) {
					generated++
				}
			}
		}
		x[token] = value
		if spoken > 0 {
			x[token] /= p.RepetitionPenalty
		}
		if generated > 0 {
			x[token] -= p.FrequencyPenalty*float64(generated) + p.PresencePenalty
		}
		x[token] += p.LogitBias[int32(token)]
	}
	if p.DRYMultiplier > 0 {
		h := all
		if p.DRYWindow > 0 {
			h = h[max(0, len(h)-p.DRYWindow):]
		}
		longest := map[int32]int{}
		for i := range max(0, len(h)-1) {
			n := 0
			for n <= i && h[i-n] == h[len(h)-1-n] && !p.DRYBreakers[h[i-n]] {
				n++
			}
			longest[h[i+1]] = max(longest[h[i+1]], n)
		}
		for token, n := range longest {
			if n >= p.DRYAllowedLength {
				x[token] -= p.DRYMultiplier * math.Pow(p.DRYBase, float64(n-p.DRYAllowedLength))
			}
		}
	}
	banned := map[int32]bool{}
	for _, w := range p.BadWords {
		if begin := w[:len(w)-1]; len(begin) <= len(said) && slices.Equal(said[len(said)-len(begin):], begin) {
			banned[w[len(w)-1]] = true
		}
	}
	if len(banned) < vocab { // otherwise nothing could be said
		for token := range banned {
			x[token] = math.Inf(-1)
		}
	}
	return x
}

// A long history costs a bounded amount, and repetitions are still found in it.
func TestLongHistory(t *testing.T) {
	s := newSampler(t, with(func(p *sample.Params) { p.DRYMultiplier, p.PenaltyWindow, p.FrequencyPenalty = 1, 100, 1 }), 10)
	for i := range 50_000 {
		s.Accept(int32(i % 7))
	}
	x := byEdits(s.Draw(nil, nil), 10, 0)
	next := 50_000 % 7
	for token, v := range x {
		if (v < -1e6) != (token == next) {
			t.Errorf("token %d has %v; %d goes on with the repetition", token, v, next)
		}
	}
	if x[9] != 0 || x[(next+1)%7] > -14 {
		t.Errorf("%v: expected the count of 100 tokens to be taken off", x)
	}
}

// Bad parameters are errors that name them.
func TestShapeParams(t *testing.T) {
	for name, change := range map[string]func(*sample.Params){
		"typical_p":          func(p *sample.Params) { p.TypicalP = 0 },
		"top_n_sigma":        func(p *sample.Params) { p.TopNSigma = math.NaN() },
		"xtc_probability":    func(p *sample.Params) { p.XTCProbability = 1.1 },
		"xtc_threshold":      func(p *sample.Params) { p.XTCThreshold = 0 },
		"dynatemp_range":     func(p *sample.Params) { p.DynamicRange = math.Inf(1) },
		"dynatemp_exponent":  func(p *sample.Params) { p.DynamicExponent = 0 },
		"mirostat":           func(p *sample.Params) { p.Mirostat = 3 },
		"mirostat_tau":       func(p *sample.Params) { p.MirostatTau = 0 },
		"mirostat_eta":       func(p *sample.Params) { p.MirostatEta = 2 },
		"dry_multiplier":     func(p *sample.Params) { p.DRYMultiplier = -1 },
		"dry_base":           func(p *sample.Params) { p.DRYBase = 0.5 },
		"dry_allowed_length": func(p *sample.Params) { p.DRYAllowedLength = 0 },
		"dry_penalty_last_n": func(p *sample.Params) { p.DRYWindow = -2 },
		"repeat_last_n":      func(p *sample.Params) { p.PenaltyWindow = -1 },
		"bad_words":          func(p *sample.Params) { p.BadWords = [][]int32{{}} },
	} {
		err, ok := with(change).Validate().(*sample.ParamError)
		if !ok || err.Param != name {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := sample.New(with(func(p *sample.Params) { p.BadWords = [][]int32{{1, 99}} }), 10); err == nil {
		t.Error("a bad word of a token that isn't there is taken")
	}
	if err := with(func(p *sample.Params) { p.Mirostat, p.TopK = 2, 5 }).Validate(); err == nil {
		t.Error("mirostat beside top_k is taken")
	}
}

package sample_test

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/sample"
)

var (
	inf  = float32(math.Inf(1))
	ninf = float32(math.Inf(-1))
	nan  = float32(math.NaN())
)

// with is the default parameters with a fixed seed and changes.
func with(change func(*sample.Params)) sample.Params {
	p := sample.Defaults()
	seed := uint64(42)
	p.Seed = &seed
	change(&p)
	return p
}

func newSampler(t testing.TB, p sample.Params, vocab int) *sample.Sampler {
	t.Helper()
	s, err := sample.New(p, vocab)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func draw(t testing.TB, s *sample.Sampler, logits []float32) sample.Choice {
	t.Helper()
	c, err := s.Sample(slices.Clone(logits), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// distribution is what a request draws from, by the textbook: sorting, in
// float64. It follows the order of operations of the package comment.
func distribution(p sample.Params, logits []float32, prompt, said []int32) []float64 {
	x := make([]float64, len(logits))
	for i, l := range logits {
		x[i] = float64(l)
	}
	counts := make(map[int32]int)
	for _, t := range said {
		counts[t]++
	}
	seen := make(map[int32]bool)
	for _, t := range slices.Concat(prompt, said) {
		if !seen[t] {
			seen[t] = true
			if x[t] > 0 {
				x[t] /= p.RepetitionPenalty
			} else {
				x[t] *= p.RepetitionPenalty
			}
		}
	}
	for t, n := range counts {
		x[t] -= p.FrequencyPenalty*float64(n) + p.PresencePenalty
	}
	for t, b := range p.LogitBias {
		x[t] += b
	}
	ids := make([]int, len(x))
	for i := range ids {
		ids[i] = i
		x[i] = float64(float32(x[i]))
	}
	slices.SortFunc(ids, func(a, b int) int { return cmp.Or(cmp.Compare(x[b], x[a]), cmp.Compare(a, b)) })
	probabilities := make([]float64, len(x))
	if p.Temperature == 0 {
		probabilities[ids[0]] = 1
		return probabilities
	}
	if p.TopK > 0 {
		ids = ids[:min(p.TopK, len(ids))]
	}
	weigh := func() (total float64) {
		for _, i := range ids {
			probabilities[i] = math.Exp((x[i] - x[ids[0]]) / p.Temperature)
			total += probabilities[i]
		}
		return total
	}
	drop := func(n int) {
		for _, i := range ids[n:] {
			probabilities[i] = 0
		}
		ids = ids[:n]
	}
	total, sum, n := weigh(), 0.0, 0
	for n < len(ids) && (n == 0 || sum < p.TopP*total) {
		sum += probabilities[ids[n]]
		n++
	}
	if p.TopP < 1 {
		drop(n)
	}
	n = 1
	for n < len(ids) && probabilities[ids[n]] >= p.MinP {
		n++
	}
	drop(n)
	total = weigh()
	for _, i := range ids {
		probabilities[i] /= total
	}
	return probabilities
}

// TestDistribution draws many times with a fixed seed and compares the counts
// with the reference distribution by Pearson's chi-square test.
func TestDistribution(t *testing.T) {
	const draws = 40_000
	r := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 300)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 2)
	}
	prompt := []int32{1, 5, 5, 9}
	for _, c := range []struct {
		name string
		p    sample.Params
	}{
		{"temperature 1", with(func(p *sample.Params) {})},
		{"hot", with(func(p *sample.Params) { p.Temperature = 3 })},
		{"cold", with(func(p *sample.Params) { p.Temperature = 0.3 })},
		{"top_k", with(func(p *sample.Params) { p.TopK = 7 })},
		{"top_p", with(func(p *sample.Params) { p.TopP = 0.7 })},
		{"min_p", with(func(p *sample.Params) { p.MinP = 0.1 })},
		{"all", with(func(p *sample.Params) { p.Temperature = 1.5; p.TopK = 60; p.TopP = 0.9; p.MinP = 0.02 })},
		{"repetition", with(func(p *sample.Params) { p.RepetitionPenalty = 3 })},
		{"bias", with(func(p *sample.Params) { p.LogitBias = map[int32]float64{3: 6, 10: -100} })},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := distribution(c.p, logits, prompt, nil)
			counts := make([]float64, len(logits))
			s := newSampler(t, c.p, len(logits))
			repeating := c.p.RepetitionPenalty != 1
			for i := range draws {
				if repeating { // what was drawn would change what is drawn next
					p, seed := c.p, uint64(i)
					p.Seed = &seed
					s = newSampler(t, p, len(logits))
				}
				s.Prompt(prompt)
				counts[draw(t, s, logits).Token]++
			}
			// Cells expecting fewer than 5 are pooled.
			statistic, cells, pooledWant, pooledGot := 0.0, 0, 0.0, 0.0
			for i, p := range want {
				expected := p * draws
				if p == 0 && counts[i] > 0 {
					t.Errorf("token %d was drawn %v times: it has no probability", i, counts[i])
				}
				if expected < 5 {
					pooledWant += expected
					pooledGot += counts[i]
					continue
				}
				statistic += (counts[i] - expected) * (counts[i] - expected) / expected
				cells++
			}
			if pooledWant >= 5 {
				statistic += (pooledGot - pooledWant) * (pooledGot - pooledWant) / pooledWant
				cells++
			}
			// The normal approximation's quantile for one in a million.
			k := float64(cells - 1)
			if limit := k + 4.75*math.Sqrt(2*k) + 15; statistic > limit {
				t.Errorf("chi-square %.1f over %d cells, limit %.1f", statistic, cells, limit)
			}
		})
	}
}

// TestSupport compares the set of tokens that can be drawn with the reference's,
// over random rows with many ties and random parameters: every draw must have
// probability there, and over many draws every likely token must come up.
func TestSupport(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(r, "vocabulary")
		step := rapid.SampledFrom([]float64{0.001, 0.5, 4}).Draw(r, "step")
		logits := make([]float32, n)
		for i := range logits {
			logits[i] = float32(step * float64(rapid.IntRange(-20, 20).Draw(r, "logit")))
		}
		p := with(func(p *sample.Params) {
			p.Temperature = rapid.SampledFrom([]float64{0, 0.2, 1, 2, 100}).Draw(r, "temperature")
			p.TopK = rapid.SampledFrom([]int{0, 1, 2, 5, 50, 1000}).Draw(r, "top_k")
			p.TopP = rapid.SampledFrom([]float64{1, 0.999, 0.9, 0.5, 0.1, 1e-9}).Draw(r, "top_p")
			p.MinP = rapid.SampledFrom([]float64{0, 0.01, 0.3, 0.95}).Draw(r, "min_p")
		})
		want := distribution(p, logits, nil, nil)
		s := newSampler(t, p, n)
		counts := make([]int, n)
		const draws = 400
		for range draws {
			counts[draw(t, s, logits).Token]++
		}
		for i, c := range counts {
			if c > 0 && want[i] == 0 && !onEdge(p, logits, i) {
				r.Fatalf("token %d was drawn, the reference leaves it out", i)
			}
			if c == 0 && want[i] > 0.1 && !onEdge(p, logits, i) {
				r.Fatalf("token %d was never drawn in %d draws, its probability is %v", i, draws, want[i])
			}
		}
	})
}

// onEdge reports whether rounding may decide if token i is kept: top_p and min_p
// a little larger and smaller disagree about it.
func onEdge(p sample.Params, logits []float32, i int) bool {
	more, less := p, p
	more.TopP, less.TopP = min(1, p.TopP*(1+1e-6)), p.TopP*(1-1e-6)
	more.MinP, less.MinP = p.MinP*(1-1e-6), p.MinP*(1+1e-6)
	return (distribution(more, logits, nil, nil)[i] > 0) != (distribution(less, logits, nil, nil)[i] > 0)
}

// TestTruncationOfLargeRows: at the size of a vocabulary, top-k and top-p keep
// what sorting keeps.
func TestTruncationOfLargeRows(t *testing.T) {
	logits := languageRow(50_000, 3)
	outlier := slices.Clone(logits)
	outlier[7] = -60_000
	for name, row := range map[string][]float32{"row": logits, "with an outlier": outlier, "equal": make([]float32, 50_000)} {
		for _, p := range []sample.Params{
			with(func(p *sample.Params) { p.TopK = 40 }),
			with(func(p *sample.Params) { p.TopK = 20_000; p.Temperature = 50 }),
			with(func(p *sample.Params) { p.TopP = 0.9 }),
			with(func(p *sample.Params) { p.TopP = 0.5; p.Temperature = 10 }),
			with(func(p *sample.Params) { p.TopK = 1000; p.TopP = 0.8; p.Temperature = 2 }),
		} {
			want := distribution(p, row, nil, nil)
			s := newSampler(t, p, len(row))
			for range 200 {
				if c := draw(t, s, row); want[c.Token] == 0 {
					t.Fatalf("%s, %+v: token %d drawn, the reference leaves it out", name, p, c.Token)
				}
			}
		}
	}
}

func TestPenalties(t *testing.T) {
	// Greedy over logits so close that a penalty decides.
	for _, c := range []struct {
		name   string
		set    func(*sample.Params)
		prompt []int32
		logits []float32
		want   []int32 // successive tokens
	}{
		{"none", func(p *sample.Params) {}, nil, []float32{2, 1, 0}, []int32{0, 0, 0}},
		{"presence", func(p *sample.Params) { p.PresencePenalty = 1.5 }, nil, []float32{2, 1, 0}, []int32{0, 1, 0, 0}},
		{"presence ignores the prompt", func(p *sample.Params) { p.PresencePenalty = 1.5 }, []int32{0}, []float32{2, 1, 0}, []int32{0, 1}},
		// 2, then 1.4, .8 (below 1): 0 0 1; then 0.8 and 0.4: 0; 0.2, 0.4: 1.
		{"frequency", func(p *sample.Params) { p.FrequencyPenalty = 0.6 }, nil, []float32{2, 1, -9}, []int32{0, 0, 1, 0, 1}},
		{"negative frequency", func(p *sample.Params) { p.FrequencyPenalty = -2 }, nil, []float32{2, 1, 0}, []int32{0, 0, 0}},
		{"repetition of the prompt", func(p *sample.Params) { p.RepetitionPenalty = 3 }, []int32{0, 0}, []float32{2, 1, 0}, []int32{1, 0, 0}},
		{"repetition of negative logits", func(p *sample.Params) { p.RepetitionPenalty = 3 }, []int32{0}, []float32{-1, -2, -9}, []int32{1, 0, 0}},
		{"repetition below one", func(p *sample.Params) { p.RepetitionPenalty = 0.5 }, []int32{1}, []float32{1.5, 1, 0}, []int32{1, 1}},
		{"bias after penalties", func(p *sample.Params) {
			p.RepetitionPenalty = 2
			p.LogitBias = map[int32]float64{0: 10}
		}, []int32{0}, []float32{-6, 1, 0}, []int32{1, 1}}, // -6*2+10 = -2; (-6+10)/2 = 2 would win
		{"token outside the row", func(p *sample.Params) { p.RepetitionPenalty = 2 }, []int32{99, -1}, []float32{2, 1, 0}, []int32{0}},
		{"overflow", func(p *sample.Params) { p.RepetitionPenalty = 1e-300 }, []int32{1}, []float32{2, 1, 0}, []int32{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSampler(t, with(func(p *sample.Params) { p.Temperature = 0; c.set(p) }), 100)
			s.Prompt(c.prompt)
			var got []int32
			for range c.want {
				got = append(got, draw(t, s, c.logits).Token)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("tokens %v, want %v", got, c.want)
			}
		})
	}
}

func TestMaskAndBan(t *testing.T) {
	row := make([]float32, 70)
	for i := range row {
		row[i] = float32(70 - i)
	}
	bits := func(ids ...int) []uint32 {
		mask := make([]uint32, 3)
		for _, i := range ids {
			mask[i/32] |= 1 << (i % 32)
		}
		return mask
	}
	for _, c := range []struct {
		name   string
		mask   []uint32
		banned []int32
		want   int32
		err    error
	}{
		{"all", nil, nil, 0, nil},
		{"mask", bits(5, 40, 69), nil, 5, nil},
		{"last word", bits(69), nil, 69, nil},
		{"short mask forbids the rest", bits(31)[:1], nil, 31, nil},
		{"empty mask", []uint32{}, nil, 0, sample.ErrNoToken},
		{"nothing allowed", bits(), nil, 0, sample.ErrNoToken},
		{"banned", nil, []int32{0, 1, 1, -5, 900}, 2, nil},
		{"mask and ban", bits(5, 40), []int32{5}, 40, nil},
		{"the ban yields", bits(5, 40), []int32{40, 5, 5}, 5, nil},
	} {
		for _, temperature := range []float64{0, 0.001} { // so cold that the best is drawn
			s := newSampler(t, with(func(p *sample.Params) { p.Temperature = temperature }), len(row))
			got, err := s.Sample(slices.Clone(row), c.mask, c.banned)
			if !errors.Is(err, c.err) || err == nil && got.Token != c.want {
				t.Errorf("%s at %v: token %d, %v; want %d, %v", c.name, temperature, got.Token, err, c.want, c.err)
			}
		}
	}
}

// TestStrangeRows: no row may hang or crash; ties go to the lowest id.
func TestStrangeRows(t *testing.T) {
	for _, c := range []struct {
		name string
		row  []float32
		want []int32 // what may be chosen; nil: ErrNoToken
	}{
		{"empty", []float32{}, nil},
		{"all NaN", []float32{nan, nan}, nil},
		{"all minus infinity", []float32{ninf, ninf}, nil},
		{"one finite", []float32{nan, ninf, 3, nan}, []int32{2}},
		{"plus infinity", []float32{1, inf, 2, inf}, []int32{1, 3}},
		{"extremes", []float32{-math.MaxFloat32, math.MaxFloat32, 0}, []int32{1}},
		{"only the smallest", []float32{ninf, -math.MaxFloat32}, []int32{1}},
		{"denormals", []float32{1e-45, 0, -1e-45}, []int32{0, 1, 2}},
		{"one", []float32{-7}, []int32{0}},
		{"ties", []float32{1, 5, 5, 5}, []int32{1, 2, 3}},
	} {
		for _, p := range []sample.Params{
			with(func(p *sample.Params) { p.Temperature = 0; p.Logprobs = 3 }),
			with(func(p *sample.Params) { p.Temperature = 1e-300 }),
			with(func(p *sample.Params) { p.Temperature = 0.01; p.Logprobs = 0 }),
			with(func(p *sample.Params) { p.Temperature = 0.01; p.TopK = 2; p.TopP = 0.9; p.MinP = 0.5; p.Logprobs = 20 }),
			with(func(p *sample.Params) { p.Temperature = 0.01; p.RepetitionPenalty = 1.1; p.PresencePenalty = 0.0001 }),
		} {
			s := newSampler(t, p, 10)
			s.Prompt([]int32{0})
			got, err := s.Sample(slices.Clone(c.row), nil, nil)
			if c.want == nil {
				if !errors.Is(err, sample.ErrNoToken) {
					t.Errorf("%s, %+v: %v, %v, want ErrNoToken", c.name, p, got, err)
				}
				continue
			}
			if err != nil || !slices.Contains(c.want, got.Token) {
				t.Errorf("%s, %+v: token %d, %v, want one of %v", c.name, p, got.Token, err, c.want)
			}
			if p.Temperature < 1e-5 && err == nil && got.Token != c.want[0] {
				t.Errorf("%s, greedy: token %d, want %d", c.name, got.Token, c.want[0])
			}
			for _, l := range append(got.Top, got.TokenLogprob) {
				if !(l.Logprob <= 0 && l.Logprob >= sample.MinLogprob) {
					t.Errorf("%s: log-probability %v", c.name, l)
				}
			}
		}
	}
}

func TestLogprobs(t *testing.T) {
	logits := languageRow(5000, 9)
	logits[17] = logits[18] // a tie
	norm := 0.0
	for _, l := range logits {
		norm += math.Exp(float64(l))
	}
	norm = math.Log(norm)
	ids := make([]int32, len(logits))
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortStableFunc(ids, func(a, b int32) int { return cmp.Compare(logits[b], logits[a]) })

	// Everything that changes the row must leave the log-probabilities alone.
	p := with(func(p *sample.Params) {
		p.Temperature, p.TopK, p.TopP, p.Logprobs = 1.7, 50, 0.95, 20
		p.RepetitionPenalty, p.PresencePenalty = 1.5, 1
		p.LogitBias = map[int32]float64{ids[0]: -100, ids[4000]: 30}
	})
	s := newSampler(t, p, len(logits))
	for range 50 {
		c := draw(t, s, logits)
		if want := float64(logits[c.Token]) - norm; math.Abs(float64(c.Logprob)-want) > 1e-5 {
			t.Errorf("token %d: log-probability %v, want %v", c.Token, c.Logprob, want)
		}
		if len(c.Top) != 20 {
			t.Fatalf("%d alternatives, want 20", len(c.Top))
		}
		for i, top := range c.Top {
			if want := float64(logits[ids[i]]) - norm; top.Token != ids[i] || math.Abs(float64(top.Logprob)-want) > 1e-5 {
				t.Errorf("alternative %d is %+v, want token %d at %v", i, top, ids[i], want)
			}
		}
	}

	if c := draw(t, newSampler(t, with(func(p *sample.Params) { p.Logprobs = 0 }), len(logits)), logits); c.Top != nil || c.Logprob == 0 {
		t.Errorf("logprobs 0: %+v, want the token's own only", c)
	}
	if c := draw(t, newSampler(t, with(func(p *sample.Params) {}), len(logits)), logits); c.Top != nil || c.Logprob != 0 {
		t.Errorf("no logprobs asked: %+v", c)
	}
	c, err := newSampler(t, with(func(p *sample.Params) { p.Logprobs = 5 }), 3).Sample([]float32{1, ninf, nan}, nil, nil)
	if err != nil || len(c.Top) != 2 || c.Top[1].Logprob != sample.MinLogprob {
		t.Errorf("a row with a hole: %+v, %v", c, err)
	}
	// A later row must not reach into what an earlier call returned.
	first := draw(t, s, logits)
	kept := slices.Clone(first.Top)
	draw(t, s, make([]float32, len(logits)))
	if !slices.Equal(first.Top, kept) {
		t.Error("the alternatives of an earlier token changed")
	}
}

// TestSeeds: the same seed gives the same tokens, whatever runs in between; other
// seeds and no seed give others.
func TestSeeds(t *testing.T) {
	logits := make([]float32, 1000)
	run := func(p sample.Params, between func()) []int32 {
		s := newSampler(t, p, len(logits))
		var tokens []int32
		for range 20 {
			tokens = append(tokens, draw(t, s, logits).Token)
			between()
		}
		return tokens
	}
	p := with(func(p *sample.Params) {})
	alone := run(p, func() {})
	other := newSampler(t, with(func(p *sample.Params) { p.TopP = 0.5 }), len(logits))
	if beside := run(p, func() { draw(t, other, logits) }); !slices.Equal(alone, beside) {
		t.Errorf("alone %v, beside another %v", alone, beside)
	}
	seed := uint64(43)
	p.Seed = &seed
	if slices.Equal(alone, run(p, func() {})) {
		t.Error("two seeds gave the same tokens")
	}
	p.Seed = nil
	if slices.Equal(run(p, func() {}), run(p, func() {})) {
		t.Error("two requests without seed gave the same tokens")
	}
}

// TestSeededTokens pins the tokens of a seed: answers that users have recorded
// must not change with a release.
func TestSeededTokens(t *testing.T) {
	s := newSampler(t, with(func(p *sample.Params) { p.Temperature = 0.8; p.TopP = 0.95 }), 5000)
	row := languageRow(5000, 1)
	var got []int32
	for range 8 {
		got = append(got, draw(t, s, row).Token)
	}
	if want := []int32{1353, 3141, 575, 575, 2033, 4415, 575, 3141}; !slices.Equal(got, want) {
		t.Errorf("tokens %v, want %v", got, want)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		param string // "" when valid
		set   func(*sample.Params)
	}{
		{"", func(p *sample.Params) {}},
		{"", func(p *sample.Params) { p.Temperature = 7; p.TopK = 1 << 40; p.MinP = 1; p.RepetitionPenalty = 1e-9 }},
		{"", func(p *sample.Params) {
			p.PresencePenalty = -2
			p.FrequencyPenalty = 2
			p.LogitBias = map[int32]float64{99: -100}
		}},
		{"temperature", func(p *sample.Params) { p.Temperature = -0.1 }},
		{"temperature", func(p *sample.Params) { p.Temperature = math.NaN() }},
		{"temperature", func(p *sample.Params) { p.Temperature = math.Inf(1) }},
		{"top_k", func(p *sample.Params) { p.TopK = -1 }},
		{"top_p", func(p *sample.Params) { p.TopP = 0 }},
		{"top_p", func(p *sample.Params) { p.TopP = 1.1 }},
		{"top_p", func(p *sample.Params) { p.TopP = math.NaN() }},
		{"min_p", func(p *sample.Params) { p.MinP = -0.1 }},
		{"min_p", func(p *sample.Params) { p.MinP = 1.1 }},
		{"repetition_penalty", func(p *sample.Params) { p.RepetitionPenalty = 0 }},
		{"repetition_penalty", func(p *sample.Params) { p.RepetitionPenalty = math.Inf(1) }},
		{"presence_penalty", func(p *sample.Params) { p.PresencePenalty = 2.1 }},
		{"frequency_penalty", func(p *sample.Params) { p.FrequencyPenalty = math.NaN() }},
		{"logit_bias", func(p *sample.Params) { p.LogitBias = map[int32]float64{1: 101} }},
		{"logit_bias", func(p *sample.Params) { p.LogitBias = map[int32]float64{1: math.NaN()} }},
		{"logit_bias", func(p *sample.Params) { p.LogitBias = map[int32]float64{100: 1} }},
		{"logit_bias", func(p *sample.Params) { p.LogitBias = map[int32]float64{-1: 1} }},
	} {
		_, err := sample.New(with(c.set), 100)
		e, ok := errors.AsType[*sample.ParamError](err)
		switch {
		case c.param == "" && err != nil:
			t.Errorf("valid parameters are refused: %v", err)
		case c.param != "" && (!ok || e.Param != c.param):
			t.Errorf("error %v, want one of %s", err, c.param)
		}
	}
	if _, err := sample.New(sample.Params{}, 10); err == nil {
		t.Error("the zero value is accepted")
	}
}

// TestNoAllocation: a token costs no memory in steady state.
func TestNoAllocation(t *testing.T) {
	source := languageRow(10_000, 1)
	row := make([]float32, len(source))
	mask := make([]uint32, (len(row)+31)/32)
	for i := range mask {
		mask[i] = math.MaxUint32
	}
	s := newSampler(t, with(func(p *sample.Params) {
		p.Temperature, p.TopK, p.TopP, p.MinP, p.Logprobs = 0.8, 100, 0.95, 0.01, 0
		p.RepetitionPenalty, p.FrequencyPenalty = 1.1, 0.1
	}), len(row))
	banned := []int32{0}
	token := func() {
		copy(row, source)
		if _, err := s.Sample(row, mask, banned); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 {
		token()
	}
	if n := testing.AllocsPerRun(200, token); n > 0 {
		t.Errorf("%v allocations per token", n)
	}
}

// What kernels and shortcuts over whole rows choose is what the plain rules say,
// for rows of every shape.
func TestLargeRowsAgainstPlainRules(t *testing.T) {
	rng := rand.New(rand.NewPCG(50, 0))
	for _, vocab := range []int{300, 4099, 32000} {
		rows := map[string]func(i int) float32{
			"language": nil,
			"flat":     func(int) float32 { return float32(rng.NormFloat64()) / 10 },
			"equal":    func(int) float32 { return 3 },
			"steps":    func(i int) float32 { return float32(i % 7) },
			"rising":   func(i int) float32 { return float32(i) * 1e-3 },
			"far":      func(i int) float32 { return float32(rng.NormFloat64() * 100) },
			"infinite": func(i int) float32 { return float32(math.Inf(i%3 - 2)) },
		}
		for name, at := range rows {
			source := languageRow(vocab, 3)
			if at != nil {
				for i := range source {
					source[i] = at(i)
				}
			}
			source[vocab/3] = float32(math.NaN())
			plain := slices.Clone(source)
			for i, v := range plain {
				if v != v {
					v = float32(math.Inf(-1))
				}
				plain[i] = min(v, math.MaxFloat32)
			}
			for range 30 {
				d := sample.Draw{Temperature: math.Exp(rng.NormFloat64()), TopP: 1, Uniform: rng.Float64(), Logprobs: -1}
				if rng.IntN(2) == 0 {
					d.TopK = 1 + rng.IntN(min(vocab, 200))
				}
				if rng.IntN(2) == 0 {
					d.TopP = 1 - rng.Float64()*0.9
				}
				if rng.IntN(3) == 0 {
					d.MinP = rng.Float64() / 10
				}
				want, sure := carryOut(d, slices.Clone(plain))
				if !sure {
					continue
				}
				var c sample.Chooser
				got, err := c.Choose(&d, slices.Clone(source))
				if err != nil || got.Token != want {
					t.Fatalf("%s row of %d, %+v: got token %d, %v, want %d", name, vocab, d, got.Token, err, want)
				}
			}
		}
	}
}

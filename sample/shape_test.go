package sample_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/inferflux/inferflux/sample"
)

// support is which tokens a Shape leaves, with their probabilities, by the textbook: on
// everything, sorted. sure is false if a threshold lies too
// close to a token.
func support(p sample.Params, logits []float32, xtc bool, mu float64) (left map[int32]float64, sure bool) {
	type token struct {
		id   int32
		x, p float64
	}
	var all []token
	for i, x := range logits {
		if x > ninf {
			all = append(all, token{id: int32(i), x: float64(x)})
		}
	}
	slices.SortFunc(all, func(a, b token) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.id, b.id)) })
	sure = true
	near := func(a, b float64) {
		if math.Abs(a-b) < 1e-5 {
			sure = false
		}
	}
	weigh := func(t float64) {
		sum := 0.0
		for i := range all {
			all[i].p = math.Exp((all[i].x - all[0].x) / t)
			sum += all[i].p
		}
		for i := range all {
			all[i].p /= sum
		}
	}
	entropy := func() float64 {
		h := 0.0
		for _, a := range all {
			if a.p > 0 {
				h -= a.p * math.Log(a.p)
			}
		}
		return h
	}
	temperature := p.Temperature
	if p.DynamicRange > 0 {
		temperature = 1
	}
	if p.TopNSigma > 0 {
		mean, square := 0.0, 0.0
		for _, a := range all {
			mean += a.x / float64(len(all))
		}
		for _, a := range all {
			square += (a.x - mean) * (a.x - mean) / float64(len(all))
		}
		floor := all[0].x - p.TopNSigma*math.Sqrt(square)
		for _, a := range all {
			near(a.x, floor)
		}
		all = slices.DeleteFunc(all, func(a token) bool { return a.x < floor })
	}
	weigh(temperature)
	if p.TopK > 0 && p.TopK < len(all) {
		all = all[:p.TopK]
	} else {
		held, n := 0.0, 0
		for ; n < len(all) && held < 1-1e-6; n++ {
			held += all[n].p
			if math.Abs(held-(1-1e-6)) < 1e-9 {
				sure = false
			}
		}
		all = all[:n]
	}
	weigh(temperature)
	if p.Mirostat == 2 {
		n := 1
		for n < len(all) && -math.Log2(all[n].p) <= mu {
			near(-math.Log2(all[n].p), mu)
			n++
		}
		if n < len(all) {
			near(-math.Log2(all[n].p), mu)
		}
		all = all[:n]
	}
	if p.TypicalP < 1 {
		h := entropy()
		d := func(a token) float64 { return math.Abs(-math.Log(a.p) - h) }
		slices.SortFunc(all, func(a, b token) int { return cmp.Or(cmp.Compare(d(a), d(b)), cmp.Compare(a.id, b.id)) })
		for i := 1; i < len(all); i++ {
			near(d(all[i]), d(all[i-1]))
		}
		held, n := 0.0, 0
		for ; n < len(all) && (n == 0 || held < p.TypicalP); n++ {
			near(held, p.TypicalP)
			held += all[n].p
		}
		near(held, p.TypicalP)
		all = all[:n]
		slices.SortFunc(all, func(a, b token) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.id, b.id)) })
	}
	total := func() (sum float64) {
		for _, a := range all {
			sum += a.p
		}
		return sum
	}
	if p.TopP < 1 {
		sum, held, n := total(), 0.0, 0
		for ; n < len(all) && (n == 0 || held < p.TopP*sum); n++ {
			near(held, p.TopP*sum)
			held += all[n].p
		}
		near(held, p.TopP*sum)
		all = all[:n]
	}
	if p.MinP > 0 {
		for _, a := range all[1:] {
			near(a.p, p.MinP*all[0].p)
		}
		all = slices.DeleteFunc(all, func(a token) bool { return a.p < p.MinP*all[0].p })
	}
	if xtc {
		sum, n := total(), 0
		for _, a := range all {
			near(a.p, p.XTCThreshold*sum)
			if a.p >= p.XTCThreshold*sum {
				n++
			}
		}
		all = all[max(0, n-1):]
	}
	if p.DynamicRange > 0 {
		weigh(1)
		part := 0.0
		if len(all) > 1 {
			part = entropy() / math.Log(float64(len(all)))
		}
		low, high := max(0, p.Temperature-p.DynamicRange), p.Temperature+p.DynamicRange
		temperature = max(1e-5, low+(high-low)*math.Pow(part, p.DynamicExponent))
	}
	weigh(temperature)
	left = map[int32]float64{}
	for _, a := range all {
		left[a.id] = a.p
	}
	return left, sure
}

// TestShapes holds draws with every kind of shape to the textbook, by the token that
// is at the place of the uniform number.
func TestShapes(t *testing.T) {
	var chooser sample.Chooser
	shaped, checked := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 2))
		logits := make([]float32, rapid.IntRange(1, 400).Draw(r, "vocabulary"))
		spread := rapid.SampledFrom([]float64{0.1, 2, 6}).Draw(r, "spread")
		for i := range logits {
			logits[i] = float32(random.NormFloat64() * spread)
			if i > 0 && random.IntN(20) == 0 {
				logits[i] = ninf
			}
		}
		p := with(func(p *sample.Params) {
			p.Temperature = rapid.SampledFrom([]float64{0.3, 1, 2}).Draw(r, "temperature")
			if rapid.IntRange(0, 4).Draw(r, "which") == 0 {
				p.Mirostat = 2
				p.MirostatTau = rapid.SampledFrom([]float64{0.5, 2, 5}).Draw(r, "tau")
				return
			}
			p.TopK = rapid.SampledFrom([]int{0, 0, 1, 7, 40}).Draw(r, "top_k")
			p.TopP = rapid.SampledFrom([]float64{1, 1, 0.9, 0.3}).Draw(r, "top_p")
			p.MinP = rapid.SampledFrom([]float64{0, 0, 0.07}).Draw(r, "min_p")
			p.TopNSigma = rapid.SampledFrom([]float64{0, 0, 1, 0.2}).Draw(r, "top_n_sigma")
			p.TypicalP = rapid.SampledFrom([]float64{1, 0.9, 0.3}).Draw(r, "typical_p")
			p.XTCProbability = rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(r, "xtc")
			p.XTCThreshold = rapid.SampledFrom([]float64{0.02, 0.1, 0.5}).Draw(r, "xtc_threshold")
			p.DynamicRange = rapid.SampledFrom([]float64{0, 0.2, 5}).Draw(r, "dynatemp")
			p.DynamicExponent = rapid.SampledFrom([]float64{1, 2}).Draw(r, "exponent")
		})
		s := newSampler(t, p, len(logits))
		d := s.Draw(nil, nil)
		if d.Shape == nil {
			return // plain after all
		}
		shaped++
		if s.Memoryless() {
			r.Fatal("a draw that a device can't carry out is said to be memoryless")
		}
		c, err := chooser.Choose(&d, slices.Clone(logits))
		if err != nil {
			r.Fatal(err)
		}
		left, sure := support(p, logits, d.Shape.XTCUniform < p.XTCProbability, 2*p.MirostatTau)
		if !sure {
			return
		}
		checked++
		probability, ok := left[c.Token]
		if !ok {
			r.Fatalf("%+v: token %d was to be left out", d.Shape, c.Token)
		}
		before := 0.0
		for id, q := range left {
			if id < c.Token {
				before += q
			}
		}
		if d.Uniform < before-1e-4 || d.Uniform > before+probability+1e-4 {
			r.Fatalf("%+v: token %d from %.5f to %.5f, drawn at %.5f", d.Shape, c.Token, before, before+probability, d.Uniform)
		}
		if got := d.Shape.Surprise; math.Abs(got+math.Log2(probability)) > 1e-4 {
			r.Fatalf("surprise %v of a token of probability %v", got, probability)
		}
	})
	if 2*checked < shaped || checked == 0 {
		t.Errorf("only %d of %d draws could be checked", checked, shaped)
	}
}

// Mirostat brings the mean surprise to its target, whatever the rows are like.
func TestMirostatReachesItsTarget(t *testing.T) {
	for _, version := range []int{1, 2} {
		s := newSampler(t, with(func(p *sample.Params) { p.Mirostat, p.MirostatTau = version, 3 }), 2000)
		random := rand.New(rand.NewPCG(5, 6))
		sum, n := 0.0, 0
		for i := range 600 {
			logits := make([]float32, 2000)
			for j := range logits {
				logits[j] = float32(-1.3*math.Log(float64(j+1)) + 0.3*random.NormFloat64()) // like Zipf's law
			}
			var chooser sample.Chooser
			d := s.Draw(nil, nil)
			c, err := chooser.Choose(&d, logits)
			if err != nil {
				t.Fatal(err)
			}
			s.Accept(c.Token)
			if i >= 100 {
				sum += d.Shape.Surprise
				n++
			}
		}
		if mean := sum / float64(n); math.Abs(mean-3) > 0.3 {
			t.Errorf("version %d: a mean surprise of %.2f bits, expected 3", version, mean)
		}
	}
}

// A sampler's draws after Rewind are the same again, also those that take two numbers.
func TestShapedRewind(t *testing.T) {
	s := newSampler(t, with(func(p *sample.Params) { p.XTCProbability = 0.5 }), 50)
	logits := make([]float32, 50)
	for i := range 20 {
		first := s.Draw(nil, nil)
		uniform, xtc := first.Uniform, first.Shape.XTCUniform
		s.Rewind()
		again := s.Draw(nil, nil)
		if again.Uniform != uniform || again.Shape.XTCUniform != xtc {
			t.Fatalf("draw %d is another after Rewind", i)
		}
		var chooser sample.Chooser
		c, err := chooser.Choose(&again, slices.Clone(logits))
		if err != nil {
			t.Fatal(err)
		}
		s.Accept(c.Token)
	}
}

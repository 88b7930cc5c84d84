package sample

import (
	"cmp"
	"math"
	"slices"
)

// Shape is the part of a [Draw] that only a [Chooser] carries out, not a device: ways
// to truncate and to choose a temperature that need the tokens in order, or say how
// surprising the chosen one was. Together with a Draw's own steps it means:
//
//	top-n-sigma, top-k, typical, top-p, min-p, XTC, draw
//
// where TopNSigma looks at logits, and the others at probabilities after temperature;
// but with DynamicRange, at those of temperature 1, and the temperature is applied to
// what they leave. Of rows that no top-k has cut, what lies in the last millionth of the
// probability is left out before.
//
// With Mirostat, none of the truncations counts but its own.
type Shape struct {
	TopNSigma float64 // 0: off; logits at most so many standard deviations under the best stay
	TypicalP  float64 // 1: off; locally typical sampling (arXiv:2202.00666)

	// XTC: if XTCUniform is below XTCProbability, all tokens at least as likely as
	// XTCThreshold go but the least likely of them.
	XTCProbability, XTCThreshold, XTCUniform float64

	// The temperature is between Temperature-DynamicRange and Temperature+DynamicRange,
	// by the entropy of what is left, divided by the most that it could be, to the power
	// of DynamicExponent.
	DynamicRange, DynamicExponent float64 // 0: off

	Mirostat int     // 0: off, 1 or 2 (arXiv:2007.14966)
	Mu       float64 // bits that a token may be surprising by, twice the target at first

	// Surprise is set by the Chooser: that of the chosen token among those that were
	// left, in bits.
	Surprise float64
}

// millionth is the part of the probability that is left out before tokens are sorted.
const millionth = 1e-6

// candidate is a token with its probability among those that are left.
type candidate struct {
	id int32
	x  float64 // logit
	p  float64
}

// shaped draws with a Shape from a row whose tops are known; best is its largest logit.
func (c *Chooser) shaped(d *Draw, logits []float32, best float64) int32 {
	s := d.Shape
	temperature := d.Temperature
	if s.DynamicRange > 0 {
		temperature = 1
	}
	t := &c.trunc
	t.best, t.inverse, t.span = best, 1/temperature, reach*temperature
	if t.span > narrow {
		t.span = min(t.span, best-lowest(logits))
	}
	r := row{x: logits}
	if s.TopNSigma > 0 && s.Mirostat == 0 {
		r = c.above(logits, t.floor(s.TopNSigma*deviation(logits)))
	}
	if d.TopK > 0 && d.TopK < len(r.x) && s.Mirostat == 0 {
		if r.ids == nil {
			r = c.mayBeTopK(logits, d.TopK)
		}
		r = t.topK(r, d.TopK)
	} else {
		r = c.topP(r, 1-millionth)
	}
	c.left = c.left[:0]
	for i, x := range r.x {
		c.left = append(c.left, candidate{id: r.token(i), x: float64(x)})
	}
	slices.SortFunc(c.left, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.id, b.id)) })
	weigh(c.left, temperature)
	left := c.left
	switch s.Mirostat {
	case 0:
		left = s.truncate(left, d)
	case 1:
		left = left[:s.mirostatK(left, len(logits))]
	default:
		left = atLeastOne(left, func(p float64) bool { return -math.Log2(p) <= s.Mu })
	}
	if s.DynamicRange > 0 && s.Mirostat == 0 {
		temperature = s.temperature(left, d.Temperature)
	}
	weigh(left, temperature)
	// As everywhere, in the order of ids.
	slices.SortFunc(left, func(a, b candidate) int { return cmp.Compare(a.id, b.id) })
	chosen, sum := 0, 0.0
	for i, l := range left {
		if l.p > 0 {
			chosen = i
			if sum += l.p; d.Uniform < sum {
				break
			}
		}
	}
	s.Surprise = -math.Log2(left[chosen].p)
	return left[chosen].id
}

// weigh sets probabilities, which add up to 1.
func weigh(left []candidate, temperature float64) {
	best := left[0].x
	for _, l := range left {
		best = max(best, l.x)
	}
	sum := 0.0
	for i := range left {
		left[i].p = math.Exp((left[i].x - best) / temperature)
		sum += left[i].p
	}
	for i := range left {
		left[i].p /= sum
	}
}

// truncate does all steps from typical to XTC on tokens in order, the best first.
func (s *Shape) truncate(left []candidate, d *Draw) []candidate {
	if s.TypicalP < 1 {
		left = s.typical(left)
	}
	if d.TopP < 1 {
		total, held, n := 0.0, 0.0, 0
		for _, l := range left {
			total += l.p
		}
		for ; n < len(left) && (n == 0 || held < d.TopP*total); n++ {
			held += left[n].p
		}
		left = left[:n]
	}
	if d.MinP > 0 {
		least := d.MinP * left[0].p
		left = atLeastOne(left, func(p float64) bool { return p >= least })
	}
	if s.XTCUniform < s.XTCProbability {
		total := 0.0
		for _, l := range left {
			total += l.p
		}
		likely := 0
		for likely < len(left) && left[likely].p >= s.XTCThreshold*total {
			likely++
		}
		left = left[max(0, likely-1):]
	}
	return left
}

// typical keeps the tokens whose surprise is nearest to the entropy, the fewest that
// together have TypicalP.
func (s *Shape) typical(left []candidate) []candidate {
	h := entropy(left)
	distance := func(c candidate) float64 { return math.Abs(-math.Log(c.p) - h) }
	slices.SortFunc(left, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(distance(a), distance(b)), cmp.Compare(a.id, b.id))
	})
	held, n := 0.0, 0
	for ; n < len(left) && (n == 0 || held < s.TypicalP); n++ {
		held += left[n].p
	}
	left = left[:n]
	slices.SortFunc(left, func(a, b candidate) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.id, b.id)) })
	return left
}

// temperature is the dynamic one.
func (s *Shape) temperature(left []candidate, middle float64) float64 {
	low, high := max(0, middle-s.DynamicRange), middle+s.DynamicRange
	weigh(left, 1)
	part := 0.0
	if len(left) > 1 {
		part = entropy(left) / math.Log(float64(len(left)))
	}
	return max(greedyBelow, low+(high-low)*math.Pow(part, s.DynamicExponent))
}

// mirostatK is the k of Mirostat's first version: it takes probabilities to follow
// Zipf's law with the exponent that the hundred best show.
func (s *Shape) mirostatK(left []candidate, vocab int) int {
	var over, under float64
	for i := 0; i < min(100, len(left))-1; i++ {
		if left[i+1].p == 0 {
			break
		}
		t, b := math.Log(float64(i+2)/float64(i+1)), math.Log(left[i].p/left[i+1].p)
		over, under = over+t*b, under+t*t
	}
	if under == 0 || over <= 0 {
		return 1
	}
	exponent := over / under
	epsilon := exponent - 1
	k := math.Pow(epsilon*math.Exp2(s.Mu)/(1-math.Pow(float64(vocab), -epsilon)), 1/exponent)
	if math.IsNaN(k) {
		return len(left) // an exponent of 1: the limit has no such form
	}
	return int(max(1, min(k, float64(len(left)))))
}

// atLeastOne are those, from the best on, whose probability is good, and the best.
func atLeastOne(left []candidate, good func(p float64) bool) []candidate {
	n := 1
	for n < len(left) && good(left[n].p) {
		n++
	}
	return left[:n]
}

// entropy is in nats.
func entropy(left []candidate) float64 {
	h := 0.0
	for _, l := range left {
		if l.p > 0 {
			h -= l.p * math.Log(l.p)
		}
	}
	return h
}

// deviation is the standard deviation of the finite logits.
func deviation(x []float32) float64 {
	n, mean, squares := 0.0, 0.0, 0.0
	for _, v := range x {
		if v >= -math.MaxFloat32 && v <= math.MaxFloat32 {
			// Welford's, since logits can be far from zero.
			n++
			delta := float64(v) - mean
			mean += delta / n
			squares += delta * (float64(v) - mean)
		}
	}
	if n == 0 {
		return 0
	}
	return math.Sqrt(squares / n)
}

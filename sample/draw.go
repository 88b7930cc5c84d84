package sample

import (
	"math"
	"slices"

	"github.com/inferflux/inferflux/simd"
)

// reach is how far under the best, in nats after temperature, a token may lie to
// be drawn at all. What lies farther weighs less than 1e-11 of the whole even if
// a million tokens do.
const reach = 40

// row is the tokens still in play: x[i] is the logit of token ids[i], or of token
// i while ids is nil.
type row struct {
	ids []int32
	x   []float32
}

func (r row) token(i int) int32 {
	if r.ids == nil {
		return int32(i)
	}
	return r.ids[i]
}

// draw truncates the row, whose tops are known, and picks one of the tokens left.
// best is its largest logit.
func (c *Chooser) draw(d *Draw, logits []float32, best float64) int32 {
	inverse := 1 / d.Temperature
	r := row{x: logits}
	topK := d.TopK > 0 && d.TopK < len(logits)
	if topK || d.TopP < 1 {
		t := &c.trunc
		t.best, t.inverse = best, inverse
		t.span = reach * d.Temperature
		if t.span > narrow {
			t.span = min(t.span, best-lowest(logits))
		}
		if topK {
			r = t.topK(c.mayBeTopK(logits, d.TopK), d.TopK)
		}
		if d.TopP < 1 {
			r = c.topP(r, d.TopP)
		}
	}
	limit := float64(reach)
	if d.MinP > 0 {
		limit = min(limit, -math.Log(d.MinP))
	}
	return r.token(c.pick(r, best, inverse, limit, d.Uniform))
}

// mayBeTopK leaves tokens out that are surely not among the k best: if the tops of
// k blocks are at least x, so are k logits.
func (c *Chooser) mayBeTopK(logits []float32, k int) row {
	if k > len(c.tops)/4 {
		return row{x: logits} // would leave too few out to be worth it
	}
	t := &c.trunc
	t.x = append(t.x[:0], c.tops...)
	tops := t.topK(row{x: t.x}, k).x
	floor := t.floor(t.span)
	if len(tops) == k {
		floor = slices.Min(tops)
	}
	return c.above(logits, floor)
}

// topP is truncation.topP for the part p of a row's probability.
func (c *Chooser) topP(r row, p float64) row {
	t := &c.trunc
	if r.ids != nil {
		return t.topP(r, p*t.weight(r.x))
	}
	c.setSums(r.x, t.best, t.inverse, reach)
	total := 0.0
	for _, sum := range c.sums {
		total += sum
	}
	// Most often tokens not far from the best have it all.
	const near = 8
	if span := near / t.inverse; span < t.span {
		if likely := c.above(r.x, t.floor(span)); t.weight(likely.x) > p*total {
			r = likely
		}
	}
	return t.topP(r, p*total)
}

// pick finds the index at the place uniform of the sum of exp((x-best)*inverse),
// leaving out what lies more than limit under the best. It first sums a whole row
// in blocks, so that finding the place costs a walk through one of them only.
func (c *Chooser) pick(r row, best, inverse, limit, uniform float64) int {
	x, start := r.x, 0
	weight := func(v float32) float64 {
		// Written so that NaN is left out too.
		if d := (best - float64(v)) * inverse; d <= limit {
			return expNeg(d)
		}
		return 0
	}
	target := 0.0
	if r.ids != nil {
		for _, v := range x {
			target += weight(v)
		}
		target *= uniform
	} else {
		c.setSums(x, best, inverse, limit)
		total := 0.0
		for _, mass := range c.sums {
			total += mass
		}
		target = uniform * total
		sum, found := 0.0, 0
		for b, mass := range c.sums {
			if mass == 0 {
				continue
			}
			found = b
			if target < sum+mass {
				break
			}
			sum += mass
		}
		start = found * simd.SumBlock
		x, target = x[start:min(start+simd.SumBlock, len(x))], target-sum
	}
	sum, last := 0.0, 0
	for i, v := range x {
		if w := weight(v); w > 0 {
			last = i
			if sum += w; target < sum {
				break
			}
		}
	}
	return start + last
}

// expNeg is exp(-d) for d in [0, reach], with a relative error under 1e-10: 2^-k
// from the exponent's bits, 2^-(i/expSteps) from a table, the rest by Taylor's
// series. It is a third of math.Exp's cost, which is most of the cost of a draw.
func expNeg(d float64) float64 {
	t := d * (-expSteps / math.Ln2)
	k := int64(t)
	f := float64(t-float64(k)) * (math.Ln2 / expSteps)
	return math.Float64frombits(expTable[k&(expSteps-1)]+uint64(k>>expBits)<<52) * (1 + f*(1+f*(0.5+f*(1.0/6))))
}

const (
	expBits  = 8
	expSteps = 1 << expBits
)

// expTable holds the bits of 2^(i/expSteps).
var expTable = func() (t [expSteps]uint64) {
	for i := range t {
		t[i] = math.Float64bits(math.Exp2(float64(i) / expSteps))
	}
	return t
}()

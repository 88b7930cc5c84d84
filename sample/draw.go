package sample

import "math"

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

// draw truncates the row and picks one of the tokens left. best is the row's
// largest logit.
func (c *Chooser) draw(d *Draw, logits []float32, best float64) int32 {
	inverse := 1 / d.Temperature
	r := row{x: logits}
	if d.TopK > 0 && d.TopK < len(r.x) || d.TopP < 1 {
		t := &c.trunc
		t.best, t.inverse = best, inverse
		t.span = reach * d.Temperature
		if t.span > narrow {
			t.span = min(t.span, best-lowest(logits))
		}
		if d.TopK > 0 && d.TopK < len(r.x) {
			r = t.topK(r, d.TopK)
		}
		if d.TopP < 1 {
			r = t.topP(r, d.TopP)
		}
	}
	limit := float64(reach)
	if d.MinP > 0 {
		limit = min(limit, -math.Log(d.MinP))
	}
	return r.token(c.pick(r.x, best, inverse, limit, d.Uniform))
}

// pick finds the index at the place uniform of the sum of exp((x-best)*inverse),
// leaving out what lies more than limit under the best. It first sums in blocks,
// so that finding the place costs the exponentials of one block only.
func (c *Chooser) pick(x []float32, best, inverse, limit, uniform float64) int {
	const block = 256
	c.blocks = c.blocks[:0]
	total := 0.0
	for start := 0; start < len(x); start += block {
		sum := 0.0
		for _, v := range x[start:min(start+block, len(x))] {
			// Written so that NaN is left out too.
			if d := (best - float64(v)) * inverse; d <= limit {
				sum += expNeg(d)
			}
		}
		total += sum
		c.blocks = append(c.blocks, sum)
	}

	target := uniform * total
	sum, found := 0.0, 0
	for b, mass := range c.blocks {
		if mass == 0 {
			continue
		}
		found = b
		if target < sum+mass {
			break
		}
		sum += mass
	}
	start := found * block
	last := start
	for i, v := range x[start:min(start+block, len(x))] {
		if d := (best - float64(v)) * inverse; d <= limit {
			last = start + i
			if sum += expNeg(d); target < sum {
				break
			}
		}
	}
	return last
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

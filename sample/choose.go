package sample

import (
	"errors"
	"math"
	"math/bits"
	"slices"

	"github.com/inferflux/inferflux/simd"
)

// ErrNoToken is returned when no token can be chosen: every logit that the mask
// allows is NaN or minus infinity. It is an error and not a token of last resort
// because it means that the model's arithmetic, the file or the mask is broken,
// and an answer that goes on regardless would hide that.
var ErrNoToken = errors.New("no token can be chosen: every allowed logit is NaN or minus infinity")

// greedyBelow is the temperature under which drawing is the same as taking the
// best, as in vLLM: dividing by less would only overflow.
const greedyBelow = 1e-5

// A Chooser carries out a [Draw] on the host. It holds nothing but memory to work
// in, so that one can serve many requests, one at a time. The zero value is ready.
type Chooser struct {
	raw   []float32 // the row before it was changed; only when logprobs are asked for
	tops  []float32 // the largest logits of the row's blocks of simd.MaxBlock
	sums  []float64 // of weights of the row's blocks of simd.SumBlock
	trunc truncation
	left  []candidate // of shaped
}

// Choose chooses a token by its logits, one for each entry of the vocabulary,
// which it overwrites. The error is [ErrNoToken] or nil.
func (c *Chooser) Choose(d *Draw, logits []float32) (Choice, error) {
	if d.Logprobs >= 0 {
		c.raw = append(c.raw[:0], logits...)
	}
	for _, e := range d.Edits {
		if e.Token >= 0 && int(e.Token) < len(logits) {
			logits[e.Token] = e.apply(logits[e.Token])
		}
	}
	if d.Mask != nil {
		applyMask(logits, d.Mask)
	}
	for _, t := range d.Banned {
		if t >= 0 && int(t) < len(logits) {
			logits[t] = negInf
		}
	}
	best := c.argmax(logits)
	if best < 0 {
		return Choice{}, ErrNoToken
	}
	token := int32(best)
	if d.Temperature >= greedyBelow {
		if d.Shape != nil {
			token = c.shaped(d, logits, float64(logits[best]))
		} else {
			token = c.draw(d, logits, float64(logits[best]))
		}
	}
	if d.Logprobs >= 0 {
		return c.logprobs(token, d.Logprobs), nil
	}
	return Choice{TokenLogprob: TokenLogprob{Token: token}}, nil
}

func (e Edit) apply(logit float32) float32 {
	x := float64(logit)
	if x > 0 {
		x /= float64(e.Divide)
	} else {
		x *= float64(e.Divide)
	}
	return clamp(x + float64(e.Add))
}

var negInf = float32(math.Inf(-1))

// clamp keeps a finite number finite as a float32.
func clamp(x float64) float32 {
	if math.IsInf(x, 0) {
		return float32(x)
	}
	return float32(max(-math.MaxFloat32, min(x, math.MaxFloat32)))
}

// applyMask sets the logits of tokens that mask doesn't allow to minus infinity.
func applyMask(logits []float32, mask []uint32) {
	for start := 0; start < len(logits); start += 32 {
		var word uint32
		if start/32 < len(mask) {
			word = mask[start/32]
		}
		// Most words allow everything or nothing.
		if word == math.MaxUint32 {
			continue
		}
		group := logits[start:min(start+32, len(logits))]
		if word == 0 {
			copy(group, nothing[:])
			continue
		}
		// A mask that has most tokens lacks one or two in many words.
		for not := ^word; not != 0; not &= not - 1 {
			if i := bits.TrailingZeros32(not); i < len(group) {
				group[i] = negInf
			}
		}
	}
}

// nothing is what a word of a mask that allows nothing makes of its logits.
var nothing = func() (x [32]float32) {
	for i := range x {
		x[i] = negInf
	}
	return x
}()

// argmax returns the index of the largest logit, the first among equals; -1 when
// every logit is NaN or minus infinity. Plus infinity is replaced in place by the
// largest float32. It sets c.tops.
func (c *Chooser) argmax(logits []float32) int {
	c.setTops(logits)
	block, top := -1, negInf
	for i, x := range c.tops {
		if x > top {
			block, top = i, x
		}
	}
	switch {
	case block < 0:
		return -1
	case top > math.MaxFloat32:
		for i, x := range logits {
			if x > math.MaxFloat32 {
				logits[i] = math.MaxFloat32
			}
		}
		return c.argmax(logits)
	}
	return block*simd.MaxBlock + slices.Index(logits[block*simd.MaxBlock:], top)
}

func (c *Chooser) setTops(logits []float32) {
	c.tops = slices.Grow(c.tops[:0], len(logits)/simd.MaxBlock+1)
	c.tops = c.tops[:simd.BlockMax(c.tops[:cap(c.tops)], logits)]
}

// setSums sets c.sums to the weights of a whole row that lie at most limit nats
// under the best.
func (c *Chooser) setSums(x []float32, best, inverse, limit float64) {
	c.sums = slices.Grow(c.sums[:0], len(x)/simd.SumBlock+1)
	c.sums = c.sums[:simd.BlockSumExp(c.sums[:cap(c.sums)], x, best, inverse, limit)]
}

// above are the tokens of a whole row with a logit of at least floor, found by its
// tops.
func (c *Chooser) above(logits []float32, floor float32) row {
	ids, x := c.trunc.ids[:0], c.trunc.x[:0]
	for b, top := range c.tops {
		if !(top >= floor) {
			continue
		}
		start := b * simd.MaxBlock
		for i, v := range logits[start:min(start+simd.MaxBlock, len(logits))] {
			if v >= floor {
				ids, x = append(ids, int32(start+i)), append(x, v)
			}
		}
	}
	c.trunc.ids, c.trunc.x = ids, x
	return row{ids, x}
}

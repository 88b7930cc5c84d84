package sample

import (
	"math"

	"github.com/inferflux/inferflux/simd"
)

// Score reports a token as [Chooser.Choose] does when it has chosen it, with the n most
// likely ones. The token must be one of the row's; the logits stay as they are.
func (c *Chooser) Score(logits []float32, token int32, n int) Choice {
	c.raw = append(c.raw[:0], logits...)
	return c.logprobs(token, n)
}

// logprobs reports the chosen token and the n most likely ones under the softmax
// of the raw logits.
func (c *Chooser) logprobs(token int32, n int) Choice {
	raw := c.raw
	best := c.argmax(raw)
	if best < 0 {
		// Only a bias on a row without any finite logit leads here.
		return Choice{TokenLogprob: TokenLogprob{token, MinLogprob}}
	}
	top := float64(raw[best])
	c.setSums(raw, top, 1, reach)
	sum := 0.0
	for _, s := range c.sums {
		sum += s
	}
	norm := top + math.Log(sum)
	logprob := func(t int32) TokenLogprob {
		p := float64(raw[t]) - norm
		if !(p >= MinLogprob) {
			p = MinLogprob
		}
		return TokenLogprob{t, float32(min(p, 0))}
	}
	choice := Choice{TokenLogprob: logprob(token)}
	if n > 0 {
		choice.Top = c.largest(raw, min(n, len(raw)))
		for i := range choice.Top {
			choice.Top[i] = logprob(choice.Top[i].Token)
		}
	}
	return choice
}

// largest returns the n tokens with the largest logits (in Logprob), best first,
// the lowest id first among equals. It inserts into a short sorted list, n being
// small, and passes over blocks whose tops aren't large enough.
func (c *Chooser) largest(x []float32, n int) []TokenLogprob {
	top := make([]TokenLogprob, 0, n)
	for b, most := range c.tops {
		if len(top) == n && most <= top[n-1].Logprob {
			continue
		}
		start := b * simd.MaxBlock
		for i, v := range x[start:min(start+simd.MaxBlock, len(x))] {
			if v != v || len(top) == n && v <= top[n-1].Logprob {
				continue
			}
			if len(top) < n {
				top = append(top, TokenLogprob{})
			}
			j := len(top) - 1
			for ; j > 0 && v > top[j-1].Logprob; j-- {
				top[j] = top[j-1]
			}
			top[j] = TokenLogprob{int32(start + i), v}
		}
	}
	return top
}

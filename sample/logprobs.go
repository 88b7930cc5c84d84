package sample

import "math"

// logprobs reports the chosen token and the n most likely ones under the softmax
// of the raw logits.
func logprobs(raw []float32, token int32, n int) Choice {
	best := argmax(raw)
	if best < 0 {
		// Only a bias on a row without any finite logit leads here.
		return Choice{TokenLogprob: TokenLogprob{token, MinLogprob}}
	}
	top := float64(raw[best])
	sum := 0.0
	for _, x := range raw {
		if d := top - float64(x); d <= reach {
			sum += expNeg(d)
		}
	}
	norm := top + math.Log(sum)
	logprob := func(t int32) TokenLogprob {
		p := float64(raw[t]) - norm
		if !(p >= MinLogprob) {
			p = MinLogprob
		}
		return TokenLogprob{t, float32(min(p, 0))}
	}
	c := Choice{TokenLogprob: logprob(token)}
	if n > 0 {
		c.Top = largest(raw, min(n, len(raw)))
		for i := range c.Top {
			c.Top[i] = logprob(c.Top[i].Token)
		}
	}
	return c
}

// largest returns the n tokens with the largest logits (in Logprob), best first,
// the lowest id first among equals. It inserts into a short sorted list: n is small.
func largest(x []float32, n int) []TokenLogprob {
	top := make([]TokenLogprob, 0, n)
	for i, v := range x {
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
		top[j] = TokenLogprob{int32(i), v}
	}
	return top
}

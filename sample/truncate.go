package sample

import (
	"cmp"
	"math"
	"slices"
)

// buckets is the number of equal slices that the range of logits in play is cut
// into. With 1,024 a typical row has its threshold in a bucket of a few dozen
// tokens.
const buckets = 1024

// narrow is the span, in logits, that needs no narrowing to the row's own range:
// buckets are fine enough for rows as models make them.
const narrow = 80

// lowest is the smallest finite logit.
func lowest(x []float32) float64 {
	low := float32(math.MaxFloat32)
	for _, v := range x {
		if v < low && v >= -math.MaxFloat32 {
			low = v
		}
	}
	return float64(low)
}

// truncation finds the tokens that top-k and top-p keep. Tokens are counted (or
// weighed) by their distance from the best logit; only those in the bucket that
// the threshold falls into are sorted.
type truncation struct {
	best    float64 // the largest logit
	span    float64 // how far under it a token may lie to be in play, in logits
	inverse float64 // 1/temperature

	mass  [buckets]float64
	ids   []int32 // of the tokens left
	x     []float32
	edge  []scored
	scale float64
}

type scored struct {
	id int32
	x  float32
}

// topK keeps the k largest logits.
func (t *truncation) topK(r row, k int) row {
	t.clear()
	for _, x := range r.x {
		if d := t.best - float64(x); d <= t.span {
			t.mass[int(d*t.scale)]++
		}
	}
	return t.keep(r, float64(k), func(float32) float64 { return 1 })
}

// topP keeps the fewest of the largest logits that together weigh want, or all.
func (t *truncation) topP(r row, want float64) row {
	t.clear()
	for _, x := range r.x {
		if d := t.best - float64(x); d <= t.span {
			t.mass[int(d*t.scale)] += expNeg(min(d*t.inverse, reach))
		}
	}
	return t.keep(r, want, func(x float32) float64 {
		return expNeg(min((t.best-float64(x))*t.inverse, reach))
	})
}

// weight is what logits weigh together.
func (t *truncation) weight(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		if d := (t.best - float64(v)) * t.inverse; d <= reach {
			sum += expNeg(d)
		}
	}
	return sum
}

// floor is a logit that none less than span under the best is below.
func (t *truncation) floor(span float64) float32 {
	return math.Nextafter32(float32(t.best-span), negInf)
}

func (t *truncation) clear() {
	clear(t.mass[:])
	t.scale = 0
	if t.span > 0 {
		t.scale = (buckets - 1) / t.span
	}
}

// keep leaves, of the largest logits, the fewest whose weights reach want; of
// equal ones at the edge, the lowest ids. They stay in the row's order, in r.x's
// own memory.
func (t *truncation) keep(r row, want float64, weight func(float32) float64) row {
	sum, last := 0.0, 0
	for ; last < buckets-1 && sum+t.mass[last] < want; last++ {
		sum += t.mass[last]
	}

	// Gather the buckets down to the last, of which perhaps not all may stay.
	kept := row{ids: t.ids[:0], x: r.x[:0]}
	t.edge = t.edge[:0]
	// A compare against a logit just under the last bucket spares most of the row
	// the arithmetic.
	floor := negInf
	if t.scale > 0 {
		floor = float32(t.best - float64(last+2)/t.scale)
	}
	for i, x := range r.x {
		if x < floor {
			continue
		}
		d := t.best - float64(x)
		if !(d <= t.span) {
			continue
		}
		b := int(d * t.scale)
		if b > last {
			continue
		}
		id := r.token(i) // before the place it is read from is overwritten
		kept.ids = append(kept.ids, id)
		kept.x = append(kept.x, x)
		if b == last {
			t.edge = append(t.edge, scored{id, x})
		}
	}
	t.ids = kept.ids

	slices.SortFunc(t.edge, func(a, b scored) int {
		if a.x != b.x {
			return cmp.Compare(b.x, a.x)
		}
		return cmp.Compare(a.id, b.id)
	})
	stay := 0
	for ; stay < len(t.edge) && (sum < want || len(kept.ids) == len(t.edge) && stay == 0); stay++ {
		sum += weight(t.edge[stay].x)
	}
	if stay == len(t.edge) {
		return kept
	}
	out := t.edge[stay] // the first that doesn't stay
	n := 0
	for i, x := range kept.x {
		if x > out.x || x == out.x && kept.ids[i] < out.id {
			kept.ids[n], kept.x[n] = kept.ids[i], x
			n++
		}
	}
	return row{kept.ids[:n], kept.x[:n]}
}

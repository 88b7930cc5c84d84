package cpu

import (
	"math"
	"slices"

	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/simd"
)

// routing is which rows the experts of one layer work on. The pairs of a row and an
// expert that it chose lie by expert, so that the rows of each are one product with its
// panels, and within an expert by row. A row gathers what its experts return in the
// order of its own choice: its sum doesn't depend on other rows.
type routing struct {
	scores []float32 // [rows, count]
	chosen []int32   // [rows, used]: experts, the best first
	shares []float32 // [rows, used]: their weights
	pairOf []int32   // [rows, used]: their pairs
	from   []int32   // [pairs]: rows
	owner  []int32   // [pairs]: experts
	busy   []busyExpert
	starts []int32 // by expert
	input  simd.Activations
	inner  simd.Activations
}

// busyExpert is an expert that some row chose, and its pairs.
type busyExpert struct{ expert, from, to int }

// Experts implements nn.Ops. What rows choose is only known when the step is computed;
// how many pairs there are is known before.
func (s *step) Experts(x, logits nn.Tensor, m *nn.Experts) nn.Tensor {
	a, ok1 := s.view(x)
	l, ok2 := s.view(logits)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	up, down := s.expertsOf(m.Up, m.Count, a.cols), s.expertsOf(m.Down, m.Count, 0)
	if up == nil || down == nil {
		return nn.Tensor{}
	}
	wide, ffn, set := up.experts[0].Rows(), down.experts[0].Cols(), s.set(a)
	if m.Used < 1 || m.Used > m.Count || l.cols != m.Count || s.set(l) != set || wide != 2*ffn || m.Act > nn.GELU && m.Act != nn.ClampedSwiGLU {
		return s.fail("%d of %d experts chosen by [%d, %d], from %d to %d by %d columns", m.Used, m.Count, l.rows, l.cols, a.cols, wide, ffn)
	}
	choose := op{kind: opChoose, a: l, experts: m}
	if m.Correction.Present() {
		if choose.correction = s.weight(m.Correction, false, m.Count); choose.correction == nil {
			return nn.Tensor{}
		}
	}
	upBias, ok1 := s.biasOf(m.UpBias, m.Count*wide)
	downBias, ok2 := s.biasOf(m.DownBias, m.Count*down.experts[0].Rows())
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	rows := s.rows(set)
	pairs := rows * m.Used
	s.scores, s.chosen, s.shares = resize(s.scores, max(len(s.scores), rows*m.Count)), resize(s.chosen, max(len(s.chosen), pairs)), resize(s.shares, max(len(s.shares), pairs))
	s.pairOf, s.from, s.starts = resize(s.pairOf, max(len(s.pairOf), pairs)), resize(s.from, max(len(s.from), pairs)), resize(s.starts, max(len(s.starts), m.Count+1))
	s.owner = resize(s.owner, max(len(s.owner), pairs))

	s.addRows(choose, set)
	s.addPairs(phaseGroup, op{kind: opGroup, a: a, weight: up, experts: m}, min(1, rows), 0)
	s.addPairs(phasePairs, op{kind: opSpread, a: a, weight: up, experts: m}, pairs, a.cols)
	wideView := s.pairs(set, m.Used, wide)
	s.addPairs(phaseExperts, op{kind: opExpertsUp, dst: wideView, weight: up}, 0, 0)
	narrow := s.pairs(set, m.Used, ffn)
	s.addPairs(phasePairs, op{kind: opExpertsGated, dst: narrow, a: wideView, weight: down, gate: m.Act, bias: upBias}, pairs, wide)
	out := s.pairs(set, m.Used, down.experts[0].Rows())
	s.addPairs(phaseExperts, op{kind: opExpertsDown, dst: out, weight: down}, 0, 0)
	t := s.newTensor(set, out.cols)
	dst, _ := s.view(t)
	s.addRows(op{kind: opCombine, dst: dst, a: out, experts: m, bias: downBias}, set)
	return t
}

// biasOf finds a vector that may be absent.
func (s *step) biasOf(w nn.Weight, rows int) (b *weight, ok bool) {
	if !w.Present() {
		return nil, true
	}
	b = s.weight(w, false, rows)
	return b, b != nil
}

// expertsOf finds the matrices of a mixture and checks their number and width; 0 means any
// width.
func (s *step) expertsOf(w nn.Weight, count, in int) *weight {
	if w.Ref < 1 || w.Ref > len(s.e.weights) {
		s.fail("weight %d is not of this engine", w.Ref)
		return nil
	}
	p := &s.e.weights[w.Ref-1]
	if len(p.experts) == 0 || len(p.experts) != count || in != 0 && p.experts[0].Cols() != in {
		s.fail("weight %d [%d, %d] of %d experts used as that of %d on %d columns", w.Ref, w.Out, w.In, len(p.experts), count, in)
		return nil
	}
	return p
}

// pairs is a buffer of cols columns for each pair.
func (s *step) pairs(set rowSet, used, cols int) view {
	n := s.rows(set) * used
	s.buffers = append(s.buffers, buffer{size: n * cols, set: set, first: -1})
	return view{buffer: len(s.buffers) - 1, stride: cols, rows: n, cols: cols}
}

// addPairs appends an op in a phase of its own; cols is what a unit touches.
func (s *step) addPairs(kind phaseKind, o op, units, cols int) {
	p := s.addPhase(kind, allRows)
	s.add(p, o)
	p.units = units
	p.serial = kind == phaseGroup || kind == phasePairs && (units <= 1 || units*cols <= serialElems)
	p.least = 1 + serialElems/(4*max(cols, 1))
}

// choose finds row r's experts and their weights from its logits.
func (s *step) choose(o *op, r int, logits []float32) {
	m := o.experts
	scores := s.scores[r*m.Count : (r+1)*m.Count]
	chosen, shares := s.chosen[r*m.Used:(r+1)*m.Used], s.shares[r*m.Used:(r+1)*m.Used]
	score(m.Scoring, scores, logits)
	for i := range chosen {
		best, high := -1, float32(0)
		for e, v := range scores {
			if o.correction != nil {
				v += o.correction.vector[e]
			}
			if (best < 0 || v > high) && !slices.Contains(chosen[:i], int32(e)) {
				best, high = e, v
			}
		}
		chosen[i], shares[i] = int32(best), scores[best]
	}
	factor := m.Scale
	if factor == 0 {
		factor = 1
	}
	if m.Normalize {
		sum := float32(0)
		for _, v := range shares {
			sum += v
		}
		factor /= max(sum, leastShares)
	}
	simd.Scale(shares, shares, factor)
}

// leastShares keeps scores that are all zero from being divided by their sum.
const leastShares = 1e-20

// score sets scores to the logits' scores.
func score(how nn.Scoring, scores, logits []float32) {
	if how == nn.SigmoidScore {
		for i, v := range logits {
			scores[i] = float32(1 / (1 + math.Exp(-float64(v))))
		}
		return
	}
	high, sum := slices.Max(logits), 0.0
	for i, v := range logits {
		e := math.Exp(float64(v - high))
		scores[i] = float32(e)
		sum += e
	}
	simd.Scale(scores, scores, float32(1/sum))
}

// groupPairs sorts the pairs by expert and tells the phases that follow what there is to do.
func (s *step) groupPairs(o *op, phase int) {
	m := o.experts
	pairs := s.rows(s.set(o.a)) * m.Used
	starts := s.starts[:m.Count+1]
	clear(starts)
	for _, e := range s.chosen[:pairs] {
		starts[e+1]++
	}
	s.busy = s.busy[:0]
	for e := range m.Count {
		if n := starts[e+1]; n > 0 {
			s.busy = append(s.busy, busyExpert{e, int(starts[e]), int(starts[e] + n)})
		}
		starts[e+1] += starts[e]
	}
	for i, e := range s.chosen[:pairs] {
		at := starts[e]
		starts[e]++
		s.pairOf[i], s.from[at], s.owner[at] = at, int32(i/m.Used), e
	}
	s.input.Reset(pairs, o.weight.experts[0].Cols())
	for next := phase + 1; next <= phase+4; next++ {
		p := &s.phases[next]
		q := &s.ops[p.from]
		switch q.kind {
		case opExpertsUp, opExpertsDown:
			matrix := q.weight.experts[0]
			p.units = len(s.busy) * matrix.Panels()
			p.least = 1 + leastMACs*len(s.busy)/(panelRows*matrix.Cols()*pairs)
		case opExpertsGated:
			s.inner.Reset(pairs, q.dst.cols)
		}
	}
}

// computePairs does an op on pairs from to to.
func (s *step) computePairs(o *op, from, to int) {
	matrix := o.weight.experts[0]
	ints, floats := matrix.NeedsInt8(), matrix.NeedsFloat()
	if o.kind == opExpertsGated {
		for i := from; i < to; i++ {
			x := s.row(o.a, i)
			if o.bias != nil {
				simd.Add(x, x, o.bias.vector[int(s.owner[i])*len(x):][:len(x)])
			}
			gate, up := x[:len(x)/2], x[len(x)/2:]
			if o.gate == nn.ClampedSwiGLU {
				clampGated(gate, up)
			}
			activate(o.gate, s.row(o.dst, i), gate, up)
		}
		s.inner.Set(from, to, s.data(o.dst), o.dst.stride, ints, floats)
		return
	}
	x := s.data(o.a)
	for i := from; i < to; i++ {
		// Set takes row i from x[i·stride:].
		s.input.Set(i, i+1, x[int(s.from[i])*o.a.stride:], 0, ints, floats)
	}
}

// mulExperts does panels from to to of the busy experts, counted one expert after another.
func (s *step) mulExperts(o *op, from, to int) {
	x := &s.input
	if o.kind == opExpertsDown {
		x = &s.inner
	}
	panels := o.weight.experts[0].Panels()
	for from < to {
		b, first := s.busy[from/panels], from%panels
		n := min(to-from, panels-first)
		o.weight.experts[b.expert].Mul(s.data(o.dst), o.dst.stride, x, b.from, b.to, first, first+n)
		from += n
	}
}

// combine sums what row r's experts returned.
func (s *step) combine(dst []float32, o *op, r int) {
	clear(dst)
	for i := r * o.experts.Used; i < (r+1)*o.experts.Used; i++ {
		simd.AddScaled(dst, s.row(o.a, int(s.pairOf[i])), s.shares[i])
		if o.bias != nil {
			simd.AddScaled(dst, o.bias.vector[int(s.chosen[i])*len(dst):][:len(dst)], s.shares[i])
		}
	}
}

// clampGated changes gate and up so that SiLU(gate)·up is their ClampedSwiGLU.
func clampGated(gate, up []float32) {
	for i, v := range gate {
		gate[i] = nn.SwiGLUSlope * min(v, nn.SwiGLULimit)
	}
	for i, v := range up {
		up[i] = (1 + max(-nn.SwiGLULimit, min(v, nn.SwiGLULimit))) / nn.SwiGLUSlope
	}
}

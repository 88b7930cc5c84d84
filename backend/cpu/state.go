package cpu

import (
	"math"

	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/simd"
)

// stateShape is where a slot has the states of the layers: of each the last inputs of
// its convolution, and its matrices.
type stateShape struct {
	conv, matrix []int // offsets, by layer
	elements     int
	kvLayer      []int // by layer: its number among those that keep keys and values
}

func newStateShape(cfg model.Config) stateShape {
	var s stateShape
	s.kvLayer, _ = cfg.KVLayers()
	for _, l := range cfg.States {
		s.conv, s.matrix = append(s.conv, s.elements), append(s.matrix, s.elements+l.Conv)
		s.elements += l.Conv + l.Matrix
	}
	return s
}

// slot is the elements of a state; nil for that of an empty sequence.
func (c *cache) slot(i int32) []float32 {
	if i < 0 {
		return nil
	}
	n := c.states.elements
	return asF32(c.stateArena[4*n*int(i):][: 4*n : 4*n])
}

// ReleaseState implements paging.StateStorage.
func (c *cache) ReleaseState(slot int32) {
	size := 4 * c.states.elements
	releaseArena(c.stateArena, int(slot)*size, (int(slot)+1)*size)
}

// part is n elements of a slot from one on; nil of none.
func part(slot []float32, at, n int) []float32 {
	if slot == nil {
		return nil
	}
	return slot[at : at+n : at+n]
}

// convColumns is how many columns of a convolution are a unit of work.
const convColumns = 512

// Multiply implements nn.Ops, in a's storage.
func (s *step) Multiply(a, b nn.Tensor) nn.Tensor {
	dst, ok1 := s.view(a)
	src, ok2 := s.view(b)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	if dst.cols != src.cols && src.cols != 1 || s.set(dst) != s.set(src) {
		return s.fail("a product of [%d, %d] and [%d, %d], element by element", dst.rows, dst.cols, src.rows, src.cols)
	}
	s.overwritten(dst)
	s.addRows(op{kind: opMultiply, dst: dst, a: src}, s.set(dst))
	return a
}

// ShortConv implements nn.Ops.
func (s *step) ShortConv(x nn.Tensor, c *nn.ShortConv) nn.Tensor {
	a, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	if s.set(a) != allRows || c.Width < 2 || !s.e.config.KeepsConv(c.Layer, (c.Width-1)*a.cols) {
		return s.fail("a convolution %+v of [%d, %d]", *c, a.rows, a.cols)
	}
	o := op{kind: opShortConv, a: a, conv: c, parts: (a.cols + convColumns - 1) / convColumns}
	if o.weight = s.weight(c.Taps, false, c.Width*a.cols); o.weight == nil {
		return nn.Tensor{}
	}
	if c.Bias.Present() {
		if o.second = s.weight(c.Bias, false, a.cols); o.second == nil {
			return nn.Tensor{}
		}
	}
	return s.addState(o, a.cols, c.Width*a.cols)
}

// Scan implements nn.Ops.
func (s *step) Scan(xbc, steps nn.Tensor, m *nn.SelectiveScan) nn.Tensor {
	a, ok1 := s.view(xbc)
	b, ok2 := s.view(steps)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	inner := m.Heads * m.HeadDim
	if s.set(a) != allRows || s.set(b) != allRows || a.cols != inner+2*m.State || b.cols != m.Heads || !s.e.config.KeepsMatrix(m.Layer, inner*m.State) {
		return s.fail("a scan %+v of [%d, %d] with [%d, %d] steps", *m, a.rows, a.cols, b.rows, b.cols)
	}
	o := op{kind: opScan, a: a, b: b, scan: m, parts: m.Heads}
	o.weight, o.second, o.third = s.weight(m.Decay, false, m.Heads), s.weight(m.StepBias, false, m.Heads), s.weight(m.Skip, false, m.Heads)
	return s.addState(o, inner, inner*m.State)
}

// DeltaRule implements nn.Ops.
func (s *step) DeltaRule(qkv, gates nn.Tensor, d *nn.DeltaRule) nn.Tensor {
	a, ok1 := s.view(qkv)
	b, ok2 := s.view(gates)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	width := d.Heads * d.Dim
	if s.set(a) != allRows || s.set(b) != allRows || d.KeyHeads < 1 || d.Heads%d.KeyHeads != 0 ||
		a.cols != 2*d.KeyHeads*d.KeyDim+width || b.cols != 2*d.Heads || !s.e.config.KeepsMatrix(d.Layer, width*d.KeyDim) {
		return s.fail("a delta rule %+v of [%d, %d] with [%d, %d] gates", *d, a.rows, a.cols, b.rows, b.cols)
	}
	o := op{kind: opDelta, a: a, b: b, delta: d, parts: d.Heads}
	o.weight, o.second = s.weight(d.Decay, false, d.Heads), s.weight(d.StepBias, false, d.Heads)
	return s.addState(o, width, width*d.KeyDim)
}

// addState appends an op that goes through the rows of each span in order, in a phase of
// its own, of cost elements a row. The result has cols columns.
func (s *step) addState(o op, cols, cost int) nn.Tensor {
	if s.err != nil {
		return nn.Tensor{}
	}
	t := s.newTensor(allRows, cols)
	o.dst, _ = s.view(t)
	p := s.addPhase(phaseState, allRows)
	s.add(p, o)
	p.units = len(s.Seqs) * o.parts
	p.serial = len(s.Tokens)*cost <= serialElems
	return t
}

// carry computes a unit of a state's op: of one span, the op's part.
func (s *step) carry(o *op, unit int, l *lane) {
	span, at := unit/o.parts, unit%o.parts
	kv, seq := s.e.kv, s.Seqs[unit/o.parts]
	r := carried{
		from: s.First[span], to: s.First[span+1], part: at, seq: seq, kv: kv,
		old: kv.slot(seq.State()), next: kv.slot(seq.Next()),
	}
	switch o.kind {
	case opShortConv:
		s.shortConv(o, &r)
	case opScan:
		s.scan(o, &r)
	case opDelta:
		s.deltaRule(o, &r, l)
	}
}

// carried is what a unit goes through: rows from to to of a sequence, and the states before
// and after them.
type carried struct {
	from, to, part int
	old, next      []float32
	seq            *paging.Sequence
	kv             *cache
}

// marks are the states that are to be kept on the way, by the row that comes after.
func (r *carried) marks(yield func(row int, slot []float32) bool) {
	for _, m := range r.seq.Marks() {
		if !yield(r.from+m.Len-r.seq.Len, r.kv.slot(m.Slot)) {
			return
		}
	}
}

// recurrence is n elements of the state from one on, of a matrix: as they were before the span, and
// next, which end up as they are after it.
type recurrence struct {
	r         *carried
	at, n     int
	old, next []float32
	marks     []paging.State // that are still to come
}

func (r *carried) recurrence(at, n int) recurrence {
	return recurrence{r, at, n, part(r.old, at, n), part(r.next, at, n), r.seq.Marks()}
}

// decay makes next what it is before a row: what it was after the one before, times a factor.
func (m *recurrence) decay(row int, keep float32) {
	r := m.r
	if len(m.marks) > 0 && row == r.from+m.marks[0].Len-r.seq.Len {
		copy(part(r.kv.slot(m.marks[0].Slot), m.at, m.n), m.next)
		m.marks = m.marks[1:]
	}
	switch {
	case row > r.from:
		simd.Scale(m.next, m.next, keep)
	case m.old != nil:
		simd.Scale(m.next, m.old, keep)
	default:
		clear(m.next)
	}
}

// shortConv computes a range of columns.
func (s *step) shortConv(o *op, r *carried) {
	cols, before := o.a.cols, o.conv.Width-1
	from, to := r.part*convColumns, min((r.part+1)*convColumns, cols)
	at := s.e.kv.states.conv[o.conv.Layer]
	old := part(r.old, at, before*cols)
	// input is the columns of a row, which may lie before the span.
	input := func(row int) []float32 {
		if row >= r.from {
			return s.row(o.a, row)[from:to]
		}
		if old == nil {
			return nil
		}
		i := row - r.from + before
		return old[i*cols+from : i*cols+to]
	}
	for row := r.from; row < r.to; row++ {
		dst := s.row(o.dst, row)[from:to]
		clear(dst)
		if o.second != nil {
			copy(dst, o.second.vector[from:to])
		}
		for i := range o.conv.Width {
			x := input(row - before + i)
			if x == nil {
				continue
			}
			taps := o.weight.vector[i*cols+from : i*cols+to]
			for j, v := range x {
				dst[j] += taps[j] * v
			}
		}
	}
	keep := func(row int, state []float32) {
		for i := range before {
			dst := part(state, at, before*cols)[i*cols+from : i*cols+to]
			if x := input(row - before + i); x == nil {
				clear(dst)
			} else {
				copy(dst, x)
			}
		}
	}
	for row, state := range r.marks {
		keep(row, state)
	}
	keep(r.to, r.next)
}

// scan computes one head.
func (s *step) scan(o *op, r *carried) {
	m, h := o.scan, r.part
	n := m.HeadDim * m.State
	state := r.recurrence(s.e.kv.states.matrix[m.Layer]+h*n, n)
	inner := m.Heads * m.HeadDim
	decay, bias, skip := o.weight.vector[h], o.second.vector[h], o.third.vector[h]
	for row := r.from; row < r.to; row++ {
		xbc := s.row(o.a, row)
		x, b, c := xbc[h*m.HeadDim:(h+1)*m.HeadDim], xbc[inner:inner+m.State], xbc[inner+m.State:]
		step := softplus(s.row(o.b, row)[h] + bias)
		state.decay(row, float32(math.Exp(float64(step*decay))))
		y := s.row(o.dst, row)[h*m.HeadDim : (h+1)*m.HeadDim]
		for i, v := range x {
			head := state.next[i*m.State : (i+1)*m.State]
			simd.AddScaled(head, b, step*v)
			y[i] = simd.Dot(head, c) + skip*v
		}
	}
}

// deltaRule computes one head of values.
func (s *step) deltaRule(o *op, r *carried, l *lane) {
	d, h := o.delta, r.part
	n := d.Dim * d.KeyDim
	state := r.recurrence(s.e.kv.states.matrix[d.Layer]+h*n, n)
	from, keys := h/(d.Heads/d.KeyHeads)*d.KeyDim, d.KeyHeads*d.KeyDim
	decay, bias := o.weight.vector[h], o.second.vector[h]
	l.q, l.out = resize(l.q, d.KeyDim), resize(l.out, d.KeyDim)
	q, k := l.q, l.out
	for row := r.from; row < r.to; row++ {
		qkv, gates := s.row(o.a, row), s.row(o.b, row)
		unit(q, qkv[from:from+d.KeyDim], d.Eps, 1/math.Sqrt(float64(d.KeyDim)))
		unit(k, qkv[keys+from:keys+from+d.KeyDim], d.Eps, 1)
		v := qkv[2*keys+h*d.Dim:][:d.Dim]
		write := float32(1 / (1 + math.Exp(-float64(gates[h]))))
		state.decay(row, float32(math.Exp(float64(decay*softplus(gates[d.Heads+h]+bias)))))
		y := s.row(o.dst, row)[h*d.Dim : (h+1)*d.Dim]
		for i := range y {
			head := state.next[i*d.KeyDim : (i+1)*d.KeyDim]
			simd.AddScaled(head, k, write*(v[i]-simd.Dot(head, k)))
			y[i] = simd.Dot(head, q)
		}
	}
}

// unit sets dst to x, divided by its norm and times a factor.
func unit(dst, x []float32, eps float32, factor float64) {
	simd.Scale(dst, x, float32(factor/math.Sqrt(float64(simd.Dot(x, x)+eps))))
}

// softplus is ln(1+eˣ).
func softplus(x float32) float32 {
	if x > 20 {
		return x // to the last bit
	}
	return float32(math.Log1p(math.Exp(float64(x))))
}

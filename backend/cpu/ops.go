package cpu

import "github.com/inferflux/inferflux/nn"

var _ nn.Ops = (*step)(nil)

// Embed implements nn.Ops.
func (s *step) Embed(w nn.Weight) nn.Tensor {
	if s.err != nil {
		return nn.Tensor{}
	}
	p := s.weight(w, true, 0)
	if p == nil {
		return nn.Tensor{}
	}
	t := s.newTensor(allRows, p.matrix.Cols())
	dst, _ := s.view(t)
	s.addRows(op{kind: opEmbed, dst: dst, weight: p}, allRows)
	return t
}

// Linear implements nn.Ops.
func (s *step) Linear(x nn.Tensor, w, b nn.Weight) nn.Tensor {
	a, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	p := s.weight(w, true, a.cols)
	if p == nil {
		return nn.Tensor{}
	}
	set := s.set(a)
	t := s.newTensor(set, p.matrix.Rows())
	dst, _ := s.view(t)
	act := s.activationsOf(a.cols)
	ints, floats := p.matrix.NeedsInt8(), p.matrix.NeedsFloat()
	if act.holds != a || ints && !act.ints || floats && !act.floats {
		s.addRows(op{kind: opQuantize, a: a, act: act, ints: ints, floats: floats}, set)
		act.holds, act.ints, act.floats = a, ints, floats
	}
	s.addLinear(op{kind: opLinear, dst: dst, weight: p, act: act})
	if b.Present() {
		bias := s.weight(b, false, dst.cols)
		if bias == nil {
			return nn.Tensor{}
		}
		s.addRows(op{kind: opAddBias, dst: dst, weight: bias}, set)
	}
	return t
}

// RMSNorm implements nn.Ops.
func (s *step) RMSNorm(x nn.Tensor, w nn.Weight, eps float32) nn.Tensor {
	a, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	p := s.weight(w, false, 0)
	if p == nil {
		return nn.Tensor{}
	}
	if len(p.vector) == 0 || a.cols%len(p.vector) != 0 {
		return s.fail("a norm of %d weights on %d columns", len(p.vector), a.cols)
	}
	t := s.newTensor(s.set(a), a.cols)
	dst, _ := s.view(t)
	s.addRows(op{kind: opRMSNorm, dst: dst, a: a, weight: p, number: eps}, s.set(a))
	return t
}

// LayerNorm implements nn.Ops.
func (s *step) LayerNorm(x nn.Tensor, w, b nn.Weight, eps float32) nn.Tensor {
	a, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	p := s.weight(w, false, a.cols)
	if p == nil {
		return nn.Tensor{}
	}
	s.needOnes(a.cols)
	t := s.newTensor(s.set(a), a.cols)
	dst, _ := s.view(t)
	s.addRows(op{kind: opLayerNorm, dst: dst, a: a, weight: p, number: eps}, s.set(a))
	if b.Present() {
		bias := s.weight(b, false, a.cols)
		if bias == nil {
			return nn.Tensor{}
		}
		s.addRows(op{kind: opAddBias, dst: dst, weight: bias}, s.set(a))
	}
	return t
}

// Add implements nn.Ops, in a's storage.
func (s *step) Add(a, b nn.Tensor) nn.Tensor {
	dst, ok1 := s.view(a)
	src, ok2 := s.view(b)
	if !ok1 || !ok2 {
		return nn.Tensor{}
	}
	if dst.cols != src.cols || s.set(dst) != s.set(src) {
		return s.fail("a sum of [%d, %d] and [%d, %d]", dst.rows, dst.cols, src.rows, src.cols)
	}
	s.overwritten(dst)
	s.addRows(op{kind: opAdd, dst: dst, a: src}, s.set(dst))
	return a
}

// Scale implements nn.Ops, in x's storage.
func (s *step) Scale(x nn.Tensor, f float32) nn.Tensor {
	dst, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	s.overwritten(dst)
	s.addRows(op{kind: opScale, dst: dst, number: f}, s.set(dst))
	return x
}

// ScaleByPosition implements nn.Ops, in x's storage.
func (s *step) ScaleByPosition(x nn.Tensor, slope float32, length int) nn.Tensor {
	dst, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	if s.set(dst) != allRows || length < 1 {
		return s.fail("a scale that grows by %g with every %d positions of %d rows", slope, length, dst.rows)
	}
	s.overwritten(dst)
	s.addRows(op{kind: opScaleByPosition, dst: dst, number: slope, length: length}, allRows)
	return x
}

// SoftCap implements nn.Ops, in x's storage.
func (s *step) SoftCap(x nn.Tensor, bound float32) nn.Tensor {
	dst, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	s.overwritten(dst)
	s.addRows(op{kind: opSoftCap, dst: dst, number: bound}, s.set(dst))
	return x
}

// Activate implements nn.Ops.
func (s *step) Activate(x nn.Tensor, act nn.Activation) nn.Tensor {
	a, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	if act > nn.Sigmoid {
		return s.fail("activation %d", act)
	}
	s.needOnes(a.cols)
	t := s.newTensor(s.set(a), a.cols)
	dst, _ := s.view(t)
	s.addRows(op{kind: opActivate, dst: dst, a: a, gate: act}, s.set(a))
	return t
}

// Gated implements nn.Ops.
func (s *step) Gated(x nn.Tensor, act nn.Activation) nn.Tensor {
	a, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	if a.cols%2 != 0 || act > nn.GELU {
		return s.fail("gated activation %d of %d columns", act, a.cols)
	}
	t := s.newTensor(s.set(a), a.cols/2)
	dst, _ := s.view(t)
	s.addRows(op{kind: opGated, dst: dst, a: a, gate: act}, s.set(a))
	return t
}

// Slice implements nn.Ops. Nothing is copied.
func (s *step) Slice(x nn.Tensor, from, to int) nn.Tensor {
	if _, ok := s.view(x); !ok {
		return nn.Tensor{}
	}
	if from < 0 || to < from || to > x.Cols {
		return s.fail("columns %d to %d of %d", from, to, x.Cols)
	}
	x.Off, x.Cols = x.Off+from, to-from
	return x
}

// Rope implements nn.Ops, in x's storage.
func (s *step) Rope(x nn.Tensor, headDim int, r *nn.Rope) nn.Tensor {
	dst, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	if s.set(dst) != allRows || headDim < 1 || dst.cols%headDim != 0 || r.Dims > headDim || r.Dims != 2*len(r.InvFreq) {
		return s.fail("rotary positions of %d elements in heads of %d in %d columns", r.Dims, headDim, dst.cols)
	}
	s.overwritten(dst)
	s.addRows(op{kind: opRope, dst: dst, rope: s.anglesOf(r), headDim: headDim}, allRows)
	return x
}

// Attend implements nn.Ops.
func (s *step) Attend(q, k, v nn.Tensor, a nn.Attention) nn.Tensor {
	qv, ok1 := s.view(q)
	kv, ok2 := s.view(k)
	vv, ok3 := s.view(v)
	if !ok1 || !ok2 || !ok3 {
		return nn.Tensor{}
	}
	shape := s.e.kv.shape
	layers := s.e.kv.states.kvLayer
	if a.Layer < 0 || a.Layer >= len(layers) || layers[a.Layer] < 0 {
		return s.fail("attention of layer %d, which keeps no keys and values", a.Layer)
	}
	a.Layer = layers[a.Layer]
	if a.KVHeads != shape.heads || a.HeadDim != shape.HeadDim || a.Heads%a.KVHeads != 0 ||
		qv.cols != a.Heads*a.HeadDim || kv.cols != a.KVHeads*a.HeadDim || vv.cols != kv.cols ||
		s.set(qv) != allRows || s.set(kv) != allRows || s.set(vv) != allRows {
		return s.fail("attention %+v of q [%d, %d], k [%d, %d], v [%d, %d]", a, qv.rows, qv.cols, kv.rows, kv.cols, vv.rows, vv.cols)
	}
	group := a.Heads / a.KVHeads
	t := s.newTensor(allRows, qv.cols)
	dst, _ := s.view(t)
	s.addRows(op{kind: opAppend, a: kv, b: vv, attention: a}, allRows)
	attend := op{kind: opAttend, dst: dst, a: qv, attention: a, queryRowGroup: group}
	if a.Sinks.Present() {
		if attend.sinks = s.weight(a.Sinks, false, a.Heads); attend.sinks == nil {
			return nn.Tensor{}
		}
	}
	s.addAttend(attend)
	return t
}

// Wanted implements nn.Ops.
func (s *step) Wanted(x nn.Tensor) nn.Tensor {
	a, ok := s.view(x)
	if !ok {
		return nn.Tensor{}
	}
	if s.set(a) != allRows {
		return x
	}
	t := s.newTensor(wantedRows, a.cols)
	dst, _ := s.view(t)
	s.addRows(op{kind: opGather, dst: dst, a: a}, wantedRows)
	return t
}

// needOnes makes s.ones long enough for rows of n elements.
func (s *step) needOnes(n int) {
	for len(s.ones) < n {
		s.ones = append(s.ones, 1)
	}
}

// overwritten notes that activations made from the buffer are stale.
func (s *step) overwritten(v view) {
	for _, a := range s.acts {
		if a.holds.buffer == v.buffer {
			a.holds.buffer = -1
		}
	}
}

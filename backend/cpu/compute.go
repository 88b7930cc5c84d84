package cpu

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"sync/atomic"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/simd"
)

var _ job = (*step)(nil)

// run is the state of a step that the threads share while they compute it.
type run struct {
	ctx     context.Context
	current int // phase
	failure atomic.Pointer[error]
	lanes   []lane
	alive   []int // of plan
}

// lane is what one thread works in.
type lane struct {
	attention   simd.Attention
	scratch     simd.AttentionScratch
	q, out      []float32
	first, last []int32
	sinks       []float32
	_           [64]byte
}

// compute runs the planned step on the pool.
func (s *step) compute(ctx context.Context, p *pool) error {
	s.ctx, s.current = ctx, -1
	s.failure.Store(nil)
	s.lanes = resize(s.lanes, p.threads)
	p.do(s)
	s.ctx = nil
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// stop makes the step end after the present phase.
func (s *step) stop(err error) { s.failure.CompareAndSwap(nil, &err) }

// caught turns a panic into an error of the step.
func (s *step) caught(phase int) {
	if r := recover(); r != nil {
		s.stop(fmt.Errorf("%w: panic in phase %d: %v\n%s", backend.ErrEngineFailed, phase, r, debug.Stack()))
	}
}

// advance implements job. It does phases that are too short to share itself.
func (s *step) advance() int {
	for {
		s.current++
		if err := s.ctx.Err(); err != nil {
			s.stop(err)
		}
		if s.failure.Load() != nil || s.current == len(s.phases) {
			return finished
		}
		if p := &s.phases[s.current]; !p.serial && p.units > 0 {
			return s.current
		}
		s.work(0, s.current)
	}
}

// work implements job.
func (s *step) work(thread, phase int) {
	defer s.caught(phase)
	p := &s.phases[phase]
	for s.failure.Load() == nil {
		from, to := p.portion(s.e.pool.threads)
		if from == to {
			return
		}
		switch p.kind {
		case phaseRows:
			for i := p.from; i < p.to; i++ {
				s.computeRows(&s.ops[i], from, to)
			}
		case phaseLinear:
			o := &s.ops[p.from]
			o.weight.matrix.Mul(s.data(o.dst), o.dst.stride, &o.act.Activations, 0, o.dst.rows, from, to)
		case phaseAttend:
			o := &s.ops[p.from]
			for i := from; i < to; i++ {
				s.attend(o, i, &s.lanes[thread])
			}
		case phaseGroup:
			s.groupPairs(&s.ops[p.from], phase)
		case phasePairs:
			s.computePairs(&s.ops[p.from], from, to)
		case phaseExperts:
			s.mulExperts(&s.ops[p.from], from, to)
		case phaseState:
			for i := from; i < to; i++ {
				s.carry(&s.ops[p.from], i, &s.lanes[thread])
			}
		}
	}
}

// portion takes a share of the phase's units: at first large ones, so that few
// are taken, then smaller ones, so that all threads are done at the same time.
func (p *phase) portion(threads int) (from, to int) {
	for {
		at := p.next.Load()
		left := p.units - int(at)
		if left <= 0 {
			return 0, 0
		}
		n := p.least
		if p.kind != phaseAttend {
			n = max(n, left/(2*threads))
		}
		if p.serial || threads == 1 {
			n = left
		}
		n = min(n, left)
		if p.next.CompareAndSwap(at, at+int64(n)) {
			return int(at), int(at) + n
		}
	}
}

// data is the view's elements, from its first column of row 0 on.
func (s *step) data(v view) []float32 {
	b := &s.buffers[v.buffer]
	return s.slab[b.offset+v.off : b.offset+b.size]
}

// row is row r of a view.
func (s *step) row(v view, r int) []float32 {
	at := s.buffers[v.buffer].offset + v.off + r*v.stride
	return s.slab[at : at+v.cols : at+v.cols]
}

// computeRows does an op on rows from to to.
func (s *step) computeRows(o *op, from, to int) {
	switch o.kind {
	case opQuantize:
		o.act.Set(from, to, s.data(o.a), o.a.stride, o.ints, o.floats)
	case opAngles:
		for r := from; r < to; r++ {
			o.rope.fill(r, s.Positions[r])
		}
	default:
		for r := from; r < to; r++ {
			s.computeRow(o, r)
		}
	}
}

func (s *step) computeRow(o *op, r int) {
	switch o.kind {
	case opEmbed:
		o.weight.matrix.Row(s.row(o.dst, r), int(s.Tokens[r]))
	case opRMSNorm:
		dst, x, n := s.row(o.dst, r), s.row(o.a, r), len(o.weight.vector)
		for at := 0; at < len(x); at += n {
			simd.RMSNorm(dst[at:at+n], x[at:at+n], o.weight.vector, o.number)
		}
	case opLayerNorm:
		dst := s.row(o.dst, r)
		center(dst, s.row(o.a, r), s.ones[:len(dst)])
		simd.RMSNorm(dst, dst, o.weight.vector, o.number)
	case opAddBias:
		dst := s.row(o.dst, r)
		simd.Add(dst, dst, o.weight.vector)
	case opAdd:
		dst := s.row(o.dst, r)
		simd.Add(dst, dst, s.row(o.a, r))
	case opMultiply:
		dst, x := s.row(o.dst, r), s.row(o.a, r)
		if len(x) == 1 {
			simd.Scale(dst, dst, x[0])
			break
		}
		for i, v := range x {
			dst[i] *= v
		}
	case opScale:
		dst := s.row(o.dst, r)
		simd.Scale(dst, dst, o.number)
	case opScaleByPosition:
		dst := s.row(o.dst, r)
		simd.Scale(dst, dst, float32(1+float64(o.number)*math.Log(float64(1+int(s.Positions[r])/o.length))))
	case opSoftCap:
		dst := s.row(o.dst, r)
		for i, v := range dst {
			dst[i] = o.number * float32(math.Tanh(float64(v/o.number)))
		}
	case opActivate:
		x := s.row(o.a, r)
		if o.gate == nn.Sigmoid {
			sigmoid(s.row(o.dst, r), x)
			break
		}
		activate(o.gate, s.row(o.dst, r), x, s.ones[:len(x)])
	case opGated:
		x := s.row(o.a, r)
		activate(o.gate, s.row(o.dst, r), x[:len(x)/2], x[len(x)/2:])
	case opRope:
		o.rope.rotate(s.row(o.dst, r), o.headDim, r)
	case opAppend:
		seq, layer, pos := s.Seqs[s.Owner[r]], o.attention.Layer, int(s.Positions[r])
		s.e.kv.store(seq, layer, pos, s.row(o.a, r), s.row(o.b, r))
	case opChoose:
		s.choose(o, r, s.row(o.a, r))
	case opCombine:
		s.combine(s.row(o.dst, r), o, r)
	case opGather:
		copy(s.row(o.dst, r), s.row(o.a, int(s.Kept[r])))
	case opGatherLogits:
		copy(s.row(o.dst, r), s.row(o.a, int(s.Logits[r])))
	}
}

// sigmoid sets dst to σ(x).
func sigmoid(dst, x []float32) {
	for i, v := range x {
		dst[i] = float32(1 / (1 + math.Exp(-float64(v))))
	}
}

// activate sets dst to act(gate)·up.
func activate(act nn.Activation, dst, gate, up []float32) {
	switch act {
	case nn.SiLU, nn.ClampedSwiGLU: // the latter's halves were clamped
		simd.SiLUMul(dst, gate, up)
	case nn.GELUTanh:
		simd.GELUTanhMul(dst, gate, up)
	case nn.GELU:
		simd.GELUMul(dst, gate, up)
	}
}

// center sets dst to x without its mean. What is left has its variance as the mean of its
// squares, so that its RMS norm is the layer norm of x.
func center(dst, x, ones []float32) {
	copy(dst, x)
	simd.AddScaled(dst, ones, -simd.Dot(x, ones)/float32(len(x)))
}

// fill computes the angles of a row. The angle is the product of position and
// frequency in float32, as in transformers.
func (t *ropeTable) fill(r int, position int32) {
	n := len(t.freq)
	scale := float64(t.rope.Scale)
	if scale == 0 {
		scale = 1
	}
	for i, f := range t.freq {
		sin, cos := math.Sincos(float64(float32(position) * f))
		t.cos[r*n+i], t.sin[r*n+i] = float32(cos*scale), float32(sin*scale)
	}
}

// rotate turns each head of a row.
func (t *ropeTable) rotate(x []float32, headDim, r int) {
	n := len(t.freq)
	cos, sin := t.cos[r*n:(r+1)*n], t.sin[r*n:(r+1)*n]
	for at := 0; at < len(x); at += headDim {
		if head := x[at : at+t.rope.Dims]; t.rope.Style == nn.RopeHalf {
			simd.RotateHalf(head, cos, sin)
		} else {
			simd.RotateInterleaved(head, cos, sin)
		}
	}
}

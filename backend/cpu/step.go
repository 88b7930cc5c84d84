package cpu

import (
	"errors"
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/simd"
)

// step is one run of a model over a batch, in three parts, all of whose memory
// is reused from step to step:
//
//   - the model calls the operations of nn.Ops (ops.go), which only
//     write them down;
//   - plan (plan.go) gives each intermediate result a place in one slab of
//     memory, reused as soon as nobody needs what lies there;
//   - the threads compute them (compute.go).
//
// What is written down depends on the batch's shape alone, so a step like the one
// before is only computed.
//
// Operations that treat every row on its own follow one another in one phase
// without a barrier; only matrix products and attention, which are split in
// other ways, need the threads to meet.
type step struct {
	e *Engine

	paging.Rows // the batch

	ops     []op
	phases  []phase
	buffers []buffer
	acts    []*activations // by number of columns
	ropes   []*ropeTable
	err     error      // of an operation: the model asked for what can't be
	written batchShape // of the batch that ops and phases are for; zero if they aren't complete
	hidden  view       // of the wanted rows
	logits  view       // of the logitRows

	slab []float32
	ones []float32 // as long as the widest row that Activate and LayerNorm have seen

	attention
	routing
	run // what the threads share
}

// rowSet is the meaning of a tensor's rows.
type rowSet uint8

const (
	allRows    rowSet = iota // every token of the batch
	wantedRows               // those that Wanted kept
	logitRows                // those of them whose logits are wanted
)

// buffer is an intermediate result. A phase is an index into step.phases.
type buffer struct {
	size        int // elements
	set         rowSet
	first, last int // the phases that write it first and touch it last
	offset      int // in the slab, once planned
}

// view is a tensor: columns of a buffer.
type view struct {
	buffer      int
	off, stride int
	rows, cols  int
}

// opKind says what an op computes: dst from a and b.
type opKind uint8

const (
	opEmbed           opKind = iota // dst = rows of weight by token
	opRMSNorm                       // dst = a normalized, times weight
	opLayerNorm                     // dst = a without its mean, normalized, times weight
	opQuantize                      // act = a, in the form that a product needs
	opAddBias                       // dst += weight
	opAdd                           // dst += a
	opScale                         // dst *= number
	opScaleByPosition               // dst *= 1 + number·ln(1 + ⌊position/length⌋)
	opSoftCap                       // dst = number·tanh(dst/number)
	opActivate                      // dst = activation(a)
	opGated                         // dst = activation(first half of a)·second half
	opAngles                        // rope = cosines and sines of the rows' positions
	opRope                          // dst rotated by rope
	opAppend                        // the layer's KV at the rows' positions = a (keys), b (values)
	opGather                        // dst = the wanted rows of a
	opGatherLogits                  // dst = those of the wanted rows in a whose logits are wanted
	opLinear                        // dst = act·weightᵀ; a phase of its own
	opAttend                        // dst = attention of a; a phase of its own
	opChoose                        // routing = the experts that the rows of a choose
	opGroup                         // routing, by expert; a phase of its own
	opSpread                        // routing's input = rows of a by expert; a phase of its own
	opExpertsUp                     // dst = routing's input·weightᵀ, by expert; a phase of its own
	opExpertsGated                  // routing's inner = activation(a), by expert; a phase of its own
	opExpertsDown                   // dst = routing's inner·weightᵀ, by expert; a phase of its own
	opCombine                       // dst = the rows of a that the routing has for each, weighted
	opMultiply                      // dst *= a
	opShortConv                     // dst = convolution of a; a phase of its own
	opScan                          // dst = selective scan of a with steps b; a phase of its own
	opDelta                         // dst = delta rule of a with gates b; a phase of its own
)

type op struct {
	kind          opKind
	dst, a, b     view
	weight        *weight
	act           *activations
	ints, floats  bool // of opQuantize: the forms needed
	number        float32
	gate          nn.Activation
	rope          *ropeTable
	headDim       int
	length        int
	attention     nn.Attention
	queryRowGroup int // query heads that share a KV head
	experts       *nn.Experts
	correction    *weight // of the experts' scores; nil: none
	sinks         *weight // of attention; nil: none
	bias          *weight // of experts; nil: none
	second, third *weight // of state's ops
	conv          *nn.ShortConv
	scan          *nn.SelectiveScan
	delta         *nn.DeltaRule
	parts         int // that a state's op of one span is split into
}

// activations are what the products of one width read.
type activations struct {
	simd.Activations
	ready bool // for this step
	// holds is the tensor in it, as long as that isn't overwritten.
	holds        view
	ints, floats bool
}

// ropeTable holds the cosines and sines of the step's rows, [rows, Dims/2] each.
type ropeTable struct {
	rope     *nn.Rope
	freq     []float32
	ready    bool // for this step
	cos, sin []float32
}

// batchShape is all of a batch that its operations depend on: the numbers of its rows, of
// those of which something is wanted, and of those whose logits are.
type batchShape struct{ rows, wanted, logits int }

// write has the model write the step down and plans it, unless the last step was
// alike. The hidden states and the logits that are wanted outlive the step.
func (s *step) write(m model.Model) error {
	now := batchShape{s.rows(allRows), s.rows(wantedRows), s.rows(logitRows)}
	if now == s.written {
		s.rewind()
		return s.err
	}
	s.written = batchShape{}
	s.begin()
	hidden := m.Hidden(s)
	var err error
	if s.hidden, err = s.result("hidden states", hidden, wantedRows, s.e.config.Hidden); err != nil {
		return err
	}
	set := wantedRows
	if now.logits > 0 {
		if now.logits < now.wanted {
			hidden, set = s.forLogits(hidden), logitRows
		}
		logits := m.Logits(s, hidden)
		if s.logits, err = s.result("logits", logits, set, s.e.config.Vocab); err != nil {
			return err
		}
		s.buffers[s.logits.buffer].last = len(s.phases)
	}
	if now.logits < now.wanted {
		s.buffers[s.hidden.buffer].last = len(s.phases)
	}
	s.plan()
	s.written = now
	return nil
}

// result checks what the model returned.
func (s *step) result(what string, t nn.Tensor, set rowSet, cols int) (view, error) {
	v, ok := s.view(t)
	if !ok {
		return view{}, s.err
	}
	if s.set(v) != set || v.cols != cols {
		return view{}, fmt.Errorf("%w: it returned [%d, %d], expected %s [%d, %d]", errModel, v.rows, v.cols, what, s.rows(set), cols)
	}
	return v, nil
}

// forLogits keeps the wanted rows whose logits are wanted.
func (s *step) forLogits(hidden nn.Tensor) nn.Tensor {
	a, ok := s.view(hidden)
	if !ok {
		return nn.Tensor{}
	}
	t := s.newTensor(logitRows, a.cols)
	dst, _ := s.view(t)
	s.addRows(op{kind: opGatherLogits, dst: dst, a: a}, logitRows)
	return t
}

// begin forgets the last step.
func (s *step) begin() {
	s.ops, s.phases, s.buffers = s.ops[:0], s.phases[:0], s.buffers[:0]
	for _, a := range s.acts {
		a.ready = false
	}
	for _, r := range s.ropes {
		r.ready = false
	}
	s.err, s.group = nil, 0
}

// rewind makes the step that was written down ready to be computed again. Only how
// attention and what carries states are split depends on more than the batch's shape.
func (s *step) rewind() {
	s.group = 0
	for i := range s.phases {
		p := &s.phases[i]
		p.next.Store(0)
		switch p.kind {
		case phaseAttend:
			p.units = s.attendUnits(&s.ops[p.from])
		case phaseState:
			p.units = len(s.Seqs) * s.ops[p.from].parts
		}
	}
}

var errModel = errors.New("the model's operations don't fit together")

// fail records the first error; from then on operations do nothing.
func (s *step) fail(format string, args ...any) nn.Tensor {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", errModel, fmt.Sprintf(format, args...))
	}
	return nn.Tensor{}
}

// rows is the number of rows of a set.
func (s *step) rows(set rowSet) int {
	switch set {
	case wantedRows:
		return len(s.Kept)
	case logitRows:
		return len(s.Logits)
	}
	return len(s.Tokens)
}

// newTensor makes a buffer of cols columns.
func (s *step) newTensor(set rowSet, cols int) nn.Tensor {
	s.buffers = append(s.buffers, buffer{size: s.rows(set) * cols, set: set, first: -1})
	return nn.Tensor{Ref: uint64(len(s.buffers)), Stride: cols, Rows: s.rows(set), Cols: cols}
}

// view checks a tensor that the model hands back.
func (s *step) view(t nn.Tensor) (view, bool) {
	if s.err != nil {
		return view{}, false
	}
	if t.Ref == 0 || t.Ref > uint64(len(s.buffers)) {
		s.fail("a tensor that isn't of this step")
		return view{}, false
	}
	b := s.buffers[t.Ref-1]
	if t.Rows != s.rows(b.set) || t.Off < 0 || t.Cols < 0 || t.Off+t.Cols > t.Stride || t.Rows*t.Stride != b.size {
		s.fail("a tensor %+v that views a buffer of %d rows, %d elements", t, s.rows(b.set), b.size)
		return view{}, false
	}
	return view{buffer: int(t.Ref) - 1, off: t.Off, stride: t.Stride, rows: t.Rows, cols: t.Cols}, true
}

func (s *step) set(v view) rowSet { return s.buffers[v.buffer].set }

// weight finds a weight of the engine and checks its shape; 0 means any size.
func (s *step) weight(w nn.Weight, matrix bool, in int) *weight {
	if w.Ref < 1 || w.Ref > len(s.e.weights) {
		s.fail("weight %d is not of this engine", w.Ref)
		return nil
	}
	p := &s.e.weights[w.Ref-1]
	if (p.matrix != nil) != matrix || (in != 0 && matrix && p.matrix.Cols() != in) || (in != 0 && !matrix && len(p.vector) != in) {
		s.fail("weight %d [%d, %d] used on %d columns", w.Ref, w.Out, w.In, in)
		return nil
	}
	return p
}

// activationsOf finds the activations for products of cols columns.
func (s *step) activationsOf(cols int) *activations {
	i := slices.IndexFunc(s.acts, func(a *activations) bool { return a.Cols() == cols })
	if i < 0 {
		i = len(s.acts)
		s.acts = append(s.acts, &activations{})
	}
	a := s.acts[i]
	if !a.ready {
		a.Reset(len(s.Tokens), cols)
		a.ready, a.holds = true, view{buffer: -1}
	}
	return a
}

// anglesOf finds the table of a rotary embedding and has it filled.
func (s *step) anglesOf(r *nn.Rope) *ropeTable {
	i := slices.IndexFunc(s.ropes, func(t *ropeTable) bool { return t.rope == r })
	if i < 0 {
		i = len(s.ropes)
		s.ropes = append(s.ropes, &ropeTable{rope: r, freq: r.Frequencies(s.e.context)})
	}
	t := s.ropes[i]
	if !t.ready {
		t.ready = true
		n := len(s.Tokens) * len(t.freq)
		t.cos, t.sin = resize(t.cos, n), resize(t.sin, n)
		s.addRows(op{kind: opAngles, rope: t}, allRows)
	}
	return t
}

// resize makes a slice of n elements, of any content, allocating only when it
// was never that long.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

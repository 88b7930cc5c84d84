package cpu

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// phaseKind says how a phase's work is split.
type phaseKind uint8

const (
	phaseRows    phaseKind = iota // by rows; each thread takes a row through all ops
	phaseLinear                   // by panels of the weight
	phaseAttend                   // by query block, KV head and, where few queries see much, by chunk
	phaseGroup                    // not split
	phasePairs                    // by pairs of a row and an expert
	phaseExperts                  // by panels of the experts that somebody chose
	phaseState                    // by span, and by columns or heads
)

// phase is a run of ops between two meetings of the threads.
type phase struct {
	kind     phaseKind
	set      rowSet
	from, to int  // ops
	serial   bool // so short that one thread does it while the others wait

	units int          // of work, to be taken in portions
	least int          // units that are worth taking
	next  atomic.Int64 // the first unit nobody took
}

const (
	// serialElems is how many elements a phase over rows must touch for more
	// than one thread to be worth it.
	serialElems = 8 << 10
	// leastMACs is how many multiplications are worth taking at once.
	leastMACs = 32 << 10
	panelRows = 16
)

// addPhase begins a phase.
func (s *step) addPhase(kind phaseKind, set rowSet) *phase {
	// Grown by hand: a phase holds an atomic and must not be copied.
	if len(s.phases) == cap(s.phases) {
		more := make([]phase, len(s.phases), max(64, 2*cap(s.phases)))
		for i := range s.phases {
			p, q := &s.phases[i], &more[i]
			q.kind, q.set, q.from, q.to, q.units, q.least = p.kind, p.set, p.from, p.to, p.units, p.least
		}
		s.phases = more
	}
	s.phases = s.phases[:len(s.phases)+1]
	p := &s.phases[len(s.phases)-1]
	p.kind, p.set, p.from, p.to = kind, set, len(s.ops), len(s.ops)
	p.serial, p.units, p.least = false, 0, 1
	p.next.Store(0)
	return p
}

// add appends an op to the phase and notes which buffers are alive for it.
func (s *step) add(p *phase, o op) {
	at := len(s.phases) - 1
	for _, v := range [3]view{o.dst, o.a, o.b} {
		if v.stride == 0 {
			continue // no such operand
		}
		b := &s.buffers[v.buffer]
		if b.first < 0 {
			b.first = at
		}
		b.last = at
	}
	s.ops = append(s.ops, o)
	p.to = len(s.ops)
}

// addRows appends an op that treats each row on its own. It joins the phase
// before if that goes over the same rows.
func (s *step) addRows(o op, set rowSet) {
	var p *phase
	if n := len(s.phases); n > 0 && s.phases[n-1].kind == phaseRows && s.phases[n-1].set == set {
		p = &s.phases[n-1]
	} else {
		p = s.addPhase(phaseRows, set)
		p.units = s.rows(set)
	}
	s.add(p, o)
}

// addLinear appends a matrix product.
func (s *step) addLinear(o op) {
	p := s.addPhase(phaseLinear, s.set(o.dst))
	s.add(p, o)
	if o.dst.rows > 0 {
		p.units = o.weight.matrix.Panels()
		p.least = 1 + leastMACs/(panelRows*o.weight.matrix.Cols()*o.dst.rows)
	}
}

// addAttend appends an attention.
func (s *step) addAttend(o op) {
	p := s.addPhase(phaseAttend, allRows)
	s.add(p, o)
	p.units = s.attendUnits(&o)
}

// attendUnits is the number of units of an attention over the batch.
func (s *step) attendUnits(o *op) int {
	s.splitAttention(o.queryRowGroup)
	return len(s.units) * o.attention.KVHeads
}

// plan places the buffers in the slab and decides which phases are serial.
func (s *step) plan() {
	size := s.place()
	const floatsPerLine = 16
	if need := size + floatsPerLine; cap(s.slab) < need || cap(s.slab) > 16<<20 && need < cap(s.slab)/8 {
		// Too small, or left huge by a batch that wanted all logits.
		s.slab = make([]float32, need)
		skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(s.slab)))/4) & (floatsPerLine - 1)
		s.slab = s.slab[skip:]
	}
	for i := range s.phases {
		p := &s.phases[i]
		if p.kind != phaseRows {
			continue
		}
		elems := 0
		for j := p.from; j < p.to; j++ {
			elems += max(s.ops[j].dst.cols, s.ops[j].a.cols)
		}
		p.serial = p.units <= 1 || elems*p.units <= serialElems
		p.least = 1 + serialElems/(4*max(elems, 1))
	}
}

// place gives every buffer an offset so that no two that are alive in the same
// phase overlap: each in its turn goes into the first gap that fits. The result
// is the size of the slab.
func (s *step) place() int {
	alive := s.alive[:0]
	total := 0
	for i := range s.buffers {
		b := &s.buffers[i]
		size := (b.size + 15) &^ 15
		alive = slices.DeleteFunc(alive, func(j int) bool { return s.buffers[j].last < b.first })
		at, where := 0, 0
		for _, j := range alive { // by offset
			if s.buffers[j].offset-at >= size {
				break
			}
			at = max(at, s.buffers[j].offset+(s.buffers[j].size+15)&^15)
			where++
		}
		b.offset = at
		alive = slices.Insert(alive, where, i)
		total = max(total, at+size)
	}
	s.alive = alive[:0]
	return total
}

package cpu

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/inferflux/inferflux/simd"
)

const (
	// queryBlock is how many queries, over tokens and heads, go through attention
	// together.
	queryBlock = 96
	// fewTokens are so few that reading keys and values is most of their attention.
	fewTokens = 8
	// maxParts is how many float32 may be spent on parts of blocks of more tokens.
	maxParts = 4 << 20
)

// queryTask is a block of a span's tokens, whose queries go through attention
// together.
type queryTask struct {
	span, from, to int32 // rows of the batch
	// chunks is the number of chunks of positions that may be computed by different
	// threads; 0 if one computes all of them. Then what each gives, for each KV head,
	// lies at part in the step's parts, of the given size; pending counts the chunks
	// of each head that are still to come.
	chunks, pending int32
	part, size      int
}

// attendUnit is what one thread computes at a time, for one KV head.
type attendUnit struct{ task, chunk int32 }

// attention is how a step's attention is split, the same for every layer.
type attention struct {
	group   int // query heads that share a KV head; 0: not split yet
	tasks   []queryTask
	units   []attendUnit
	parts   []float32
	pending []atomic.Int32
}

// splitAttention cuts the spans into tasks, those that cost most first so that
// no thread is left with a long one at the end, and tasks into units. How it does
// so changes nothing about the results.
func (s *step) splitAttention(group int) {
	if s.group == group {
		return
	}
	if s.group != 0 {
		s.fail("layers whose KV heads serve %d and %d query heads", s.group, group)
		return
	}
	s.group = group
	n := max(queryBlock/group, 1) // tokens of a task
	s.tasks, s.units = s.tasks[:0], s.units[:0]
	for i := range s.Seqs {
		for from := s.First[i]; from < s.First[i+1]; from += n {
			s.tasks = append(s.tasks, queryTask{span: int32(i), from: int32(from), to: int32(min(from+n, s.First[i+1]))})
		}
	}
	cost := func(t queryTask) int { return int(t.to-t.from) * int(s.Positions[t.to-1]+1) }
	slices.SortStableFunc(s.tasks, func(a, b queryTask) int { return cmp.Compare(cost(b), cost(a)) })

	shape := &s.e.kv.shape
	all := 0
	for _, t := range s.tasks {
		all += cost(t) * shape.heads
	}
	parts, pending := 0, 0
	for i := range s.tasks {
		t := &s.tasks[i]
		tokens := int(t.to - t.from)
		chunks := int(s.Positions[t.to-1])/simd.AttentionChunk + 1
		size := simd.PartSize(shape.KVLayout, tokens*group)
		total := parts + shape.heads*chunks*size
		long := 2*s.e.pool.threads*cost(*t) > all // another thread may be left waiting for this one
		if chunks == 1 || tokens*group > simd.MaxChunkQueries || tokens > fewTokens && !(long && total <= maxParts) {
			s.units = append(s.units, attendUnit{task: int32(i)})
			continue
		}
		t.chunks, t.part, t.size, t.pending = int32(chunks), parts, size, int32(pending)
		parts, pending = total, pending+shape.heads
		for c := range chunks {
			s.units = append(s.units, attendUnit{int32(i), int32(c)})
		}
	}
	s.parts = resize(s.parts, parts)
	if len(s.pending) < pending {
		s.pending = make([]atomic.Int32, pending)
	}
	for i := range s.tasks {
		for h := range shape.heads {
			if t := &s.tasks[i]; t.chunks > 0 {
				s.pending[int(t.pending)+h].Store(t.chunks)
			}
		}
	}
}

// attend computes work i of a phase: a unit for one KV head. Whoever computes the
// last chunk of a task merges all of them, in their order.
func (s *step) attend(o *op, i int, l *lane) {
	shape := &s.e.kv.shape
	u, head := s.units[i/shape.heads], i%shape.heads
	t := &s.tasks[u.task]
	at := s.queries(o, t, head, l)
	if i += s.e.pool.threads; i/shape.heads < len(s.units) { // most likely this thread's next
		at.After = s.firstBlock(s.units[i/shape.heads], o.attention.Layer, i%shape.heads)
	}
	if t.chunks == 0 {
		at.Run(&l.scratch)
		s.scatter(o, t, head, l)
		return
	}
	parts := s.parts[t.part+head*int(t.chunks)*t.size:][:int(t.chunks)*t.size]
	from, to := at.Chunks() // not all of them, if there is a window
	if c := int(u.chunk); c >= from {
		at.RunChunk(&l.scratch, c, parts[c*t.size:][:t.size])
	}
	pending := &s.pending[int(t.pending)+head]
	if pending.Add(-1) > 0 {
		return
	}
	pending.Store(t.chunks) // for the next layer
	at.Merge(parts[from*t.size : to*t.size])
	s.scatter(o, t, head, l)
}

// firstBlock is where a unit begins to read.
func (s *step) firstBlock(u attendUnit, layer, head int) []byte {
	pages := s.Seqs[s.tasks[u.task].span].Pages
	return s.e.kv.block(pages[int(u.chunk)*simd.AttentionChunk/pageTokens], layer, head)
}

// queries sets up a task's attention for one KV head. The queries of a single
// token lie together already; others are gathered.
func (s *step) queries(o *op, t *queryTask, head int, l *lane) *simd.Attention {
	a, shape := &o.attention, &s.e.kv.shape
	group := o.queryRowGroup
	n, width := int(t.to-t.from)*group, group*a.HeadDim
	l.first, l.last = resize(l.first, n), resize(l.last, n)
	for i := range n {
		pos := s.Positions[int(t.from)+i/group]
		l.first[i], l.last[i] = 0, pos
		if a.Window > 0 {
			l.first[i] = max(0, pos-int32(a.Window)+1)
		}
	}
	var sinks []float32
	if o.sinks != nil {
		l.sinks = resize(l.sinks, n)
		for i := range n {
			l.sinks[i] = o.sinks.vector[head*group+i%group]
		}
		sinks = l.sinks
	}
	l.attention = simd.Attention{
		First: l.first, Last: l.last, Scale: a.Scale, SoftCap: a.SoftCap, Sinks: sinks,
		Layout: shape.KVLayout, Arena: s.e.kv.arena, Pages: s.Seqs[t.span].Pages,
		PageStride: shape.pageBytes(), Offset: shape.block(a.Layer, head),
	}
	if n == group {
		l.attention.Q = s.row(o.a, int(t.from))[head*width:][:width]
		l.attention.Out = s.row(o.dst, int(t.from))[head*width:][:width]
		return &l.attention
	}
	l.q, l.out = resize(l.q, n*a.HeadDim), resize(l.out, n*a.HeadDim)
	for r := t.from; r < t.to; r++ {
		copy(l.q[int(r-t.from)*width:][:width], s.row(o.a, int(r))[head*width:])
	}
	l.attention.Q, l.attention.Out = l.q, l.out
	return &l.attention
}

// scatter writes what was computed for gathered queries to their rows.
func (s *step) scatter(o *op, t *queryTask, head int, l *lane) {
	width := o.queryRowGroup * o.attention.HeadDim
	if t.to-t.from == 1 {
		return
	}
	for r := t.from; r < t.to; r++ {
		copy(s.row(o.dst, int(r))[head*width:][:width], l.out[int(r-t.from)*width:])
	}
}

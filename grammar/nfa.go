package grammar

import (
	"encoding/binary"
	"maps"
	"slices"
	"unicode/utf8"
)

// An expr is a part of a rule's body, over bytes.
type expr interface{ isExpr() }

type (
	literal  string    // these bytes
	byteSet  [][2]byte // one byte of these ranges
	seq      []expr    // one after the other
	alt      []expr    // any one of them; none matches nothing
	ref      int32     // a call of a rule
	language struct{ *dfa }
	anchor   bool // the start (false) or the end (true) of the text
	repeat   struct {
		x        expr
		min, max int // max < 0: no bound
	}
)

func (literal) isExpr()  {}
func (byteSet) isExpr()  {}
func (seq) isExpr()      {}
func (alt) isExpr()      {}
func (ref) isExpr()      {}
func (language) isExpr() {}
func (anchor) isExpr()   {}
func (repeat) isExpr()   {}

func optional(x expr) expr { return repeat{x, 0, 1} }
func star(x expr) expr     { return repeat{x, 0, -1} }

type nfaState struct {
	eps        []int32
	begin, end []int32 // followed only at the start or the end of the text
	edges      []edge
	calls      []call
}

// A builder makes a nondeterministic automaton.
type builder struct {
	lim    *budget
	states []nfaState
	marks  []int32 // of closure: the round in which a state was seen
	round  int32
}

// nodeCost is what a node costs of the budget: as it takes memory too, more than a step.
const nodeCost = 20

func (b *builder) node() int32 {
	b.lim.spend(nodeCost)
	b.states = append(b.states, nfaState{})
	return int32(len(b.states) - 1)
}

func (b *builder) eps(from, to int32) {
	b.states[from].eps = append(b.states[from].eps, to)
}

// add appends x at from, and returns the node where x has been read.
func (b *builder) add(x expr, from int32) int32 {
	switch x := x.(type) {
	case literal:
		for i := range len(x) {
			to := b.node()
			b.states[from].edges = append(b.states[from].edges, edge{x[i], x[i], to})
			from = to
		}
		return from
	case byteSet:
		to := b.node()
		for _, r := range x {
			b.states[from].edges = append(b.states[from].edges, edge{r[0], r[1], to})
		}
		return to
	case seq:
		for _, y := range x {
			from = b.add(y, from)
		}
		return from
	case alt:
		to := b.node()
		for _, y := range x {
			// A node of its own, as a loop in y must not lead into the others.
			in := b.node()
			b.eps(from, in)
			b.eps(b.add(y, in), to)
		}
		return to
	case ref:
		to := b.node()
		b.states[from].calls = append(b.states[from].calls, call{int32(x), to})
		return to
	case anchor:
		to := b.node()
		if x {
			b.states[from].end = append(b.states[from].end, to)
		} else {
			b.states[from].begin = append(b.states[from].begin, to)
		}
		return to
	case language:
		return b.embed(x.dfa, from)
	case repeat:
		return b.repeat(x, from)
	}
	panic("grammar: unknown expression")
}

func (b *builder) repeat(x repeat, from int32) int32 {
	for range x.min {
		from = b.add(x.x, from)
	}
	if x.max < 0 {
		loop := b.node()
		b.eps(from, loop)
		b.eps(b.add(x.x, loop), loop)
		out := b.node()
		b.eps(loop, out)
		return out
	}
	out := b.node()
	for range x.max - x.min {
		b.eps(from, out)
		from = b.add(x.x, from)
	}
	b.eps(from, out)
	return out
}

// embed copies d.
func (b *builder) embed(d *dfa, from int32) int32 {
	first := int32(len(b.states))
	for range d.states {
		b.node()
	}
	out := b.node()
	for i, s := range d.states {
		t := &b.states[first+int32(i)]
		for _, e := range s.edges {
			t.edges = append(t.edges, edge{e.lo, e.hi, first + e.to})
		}
		for _, c := range s.calls {
			t.calls = append(t.calls, call{c.rule, first + c.to})
		}
		if s.accept {
			t.eps = append(t.eps, out)
		}
	}
	b.eps(from, first)
	return out
}

// closure adds to set, in place, what its states lead to without a byte.
func (b *builder) closure(set []int32, begin, end bool) []int32 {
	b.round++
	if len(b.marks) < len(b.states) {
		b.marks = append(b.marks, make([]int32, len(b.states)-len(b.marks))...)
	}
	out := set[:0]
	visit := func(to []int32) {
		for _, t := range to {
			if b.marks[t] != b.round {
				b.marks[t] = b.round
				out = append(out, t)
			}
		}
	}
	visit(slices.Clone(set))
	for i := 0; i < len(out); i++ {
		s := &b.states[out[i]]
		visit(s.eps)
		if begin {
			visit(s.begin)
		}
		if end {
			visit(s.end)
		}
	}
	slices.Sort(out)
	b.lim.spend(len(out))
	return out
}

// determinize makes the automaton between two nodes deterministic (the subset
// construction; a call counts as a symbol).
func (b *builder) determinize(start, end int32) *dfa {
	index := make(map[string]int32)
	var sets [][]int32
	var key []byte
	number := func(set []int32, begin bool) int32 {
		set = b.closure(set, begin, false)
		key = key[:0]
		for _, s := range set {
			key = binary.LittleEndian.AppendUint32(key, uint32(s))
		}
		if begin {
			key = append(key, '^')
		}
		n, ok := index[string(key)]
		if !ok {
			n = int32(len(sets))
			index[string(key)] = n
			sets = append(sets, set)
		}
		return n
	}
	number([]int32{start}, true)
	var out dfa
	for len(sets) > len(out.states) {
		i := len(out.states)
		set := sets[i]
		_, accept := slices.BinarySearch(b.closure(slices.Clone(set), i == 0, true), end)
		s := dfaState{accept: accept}
		var edges []edge
		calls := make(map[int32][]int32)
		var bounds [257]bool
		for _, n := range set {
			for _, e := range b.states[n].edges {
				edges = append(edges, e)
				bounds[e.lo], bounds[int(e.hi)+1] = true, true
			}
			for _, c := range b.states[n].calls {
				calls[c.rule] = append(calls[c.rule], c.to)
			}
		}
		for lo := 0; len(edges) > 0 && lo < 256; {
			hi := lo + 1
			for hi < 256 && !bounds[hi] {
				hi++
			}
			var to []int32
			for _, e := range edges {
				if int(e.lo) <= lo && lo <= int(e.hi) {
					to = append(to, e.to)
				}
			}
			if len(to) > 0 {
				s.edges = appendEdge(s.edges, edge{byte(lo), byte(hi - 1), number(to, false)})
			}
			b.lim.spend(len(edges))
			lo = hi
		}
		for _, rule := range slices.Sorted(maps.Keys(calls)) {
			s.calls = append(s.calls, call{rule, number(calls[rule], false)})
		}
		out.states = append(out.states, s)
	}
	return minimize(b.lim, trim(&out))
}

// compileExpr makes x deterministic.
func compileExpr(lim *budget, x expr) *dfa {
	b := builder{lim: lim}
	start := b.node()
	return b.determinize(start, b.add(x, start))
}

// runes is the expression of one character of lo..hi, in UTF-8. Surrogates are
// left out, as UTF-8 has none.
func runes(lo, hi rune) expr {
	if lo < 0xe000 && hi >= 0xd800 {
		var parts alt
		if lo < 0xd800 {
			parts = append(parts, runes(lo, 0xd7ff))
		}
		if hi >= 0xe000 {
			parts = append(parts, runes(0xe000, hi))
		}
		return parts
	}
	var parts alt
	for _, limit := range []rune{0x7f, 0x7ff, 0xffff, utf8.MaxRune} {
		if lo > hi {
			break
		}
		if top := min(hi, limit); lo <= top {
			parts = appendUTF8(parts, lo, top)
			lo = top + 1
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return parts
}

// appendUTF8 appends the sequences of byte ranges for lo..hi, whose encodings
// are of one length.
func appendUTF8(parts alt, lo, hi rune) alt {
	n := utf8.RuneLen(lo)
	for i := 1; i < n; i++ {
		// Split where the last i bytes don't run through all their values.
		mask := rune(1)<<(6*i) - 1
		if lo&^mask == hi&^mask {
			continue
		}
		if lo&mask != 0 {
			return appendUTF8(appendUTF8(parts, lo, lo|mask), (lo|mask)+1, hi)
		}
		if hi&mask != mask {
			return appendUTF8(appendUTF8(parts, lo, hi&^mask-1), hi&^mask, hi)
		}
	}
	var a, z [4]byte
	utf8.EncodeRune(a[:], lo)
	utf8.EncodeRune(z[:], hi)
	var s seq
	for i := range n {
		s = append(s, byteSet{{a[i], z[i]}})
	}
	return append(parts, s)
}

// anyRune is any one character.
func anyRune() expr { return runes(0, utf8.MaxRune) }

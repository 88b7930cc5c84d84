package grammar

import (
	"encoding/binary"
	"slices"
)

// An edge leads to state to on any byte of lo..hi.
type edge struct {
	lo, hi byte
	to     int32
}

// A call runs a rule and goes on in state to when it has ended.
type call struct {
	rule, to int32
}

type dfaState struct {
	edges  []edge // sorted, not overlapping
	calls  []call // at most one for a rule
	accept bool
}

// A dfa is a deterministic automaton over bytes, with calls of rules as further
// symbols. State 0 is its start. Every state leads to an accepting one, except
// that the start of an empty language doesn't. A dfa doesn't change once made.
type dfa struct {
	states []dfaState
}

// next returns the state that b leads to, or -1.
func (s *dfaState) next(b byte) int32 {
	for _, e := range s.edges {
		if b <= e.hi {
			if b >= e.lo {
				return e.to
			}
			return -1
		}
	}
	return -1
}

// empty says whether d accepts nothing.
func (d *dfa) empty() bool {
	return d == nil || !d.states[0].accept && len(d.states[0].edges)+len(d.states[0].calls) == 0
}

// matches says whether d, which has no calls, accepts text.
func (d *dfa) matches(text string) bool {
	s := int32(0)
	for i := range len(text) {
		if s = d.states[s].next(text[i]); s < 0 {
			return false
		}
	}
	return d.states[s].accept
}

// both is a pair of states of a product; -1 is the dead state.
type both struct{ a, b int32 }

// product walks a and b, which have no calls, side by side, and accepts where
// accept says so.
func product(lim *budget, a, b *dfa, accept func(a, b bool) bool) *dfa {
	index := map[both]int32{{0, 0}: 0}
	todo := []both{{0, 0}}
	var out dfa
	for len(todo) > len(out.states) {
		p := todo[len(out.states)]
		var ea, eb []edge
		var fa, fb bool
		if p.a >= 0 {
			ea, fa = a.states[p.a].edges, a.states[p.a].accept
		}
		if p.b >= 0 {
			eb, fb = b.states[p.b].edges, b.states[p.b].accept
		}
		s := dfaState{accept: accept(fa, fb)}
		for at := 0; at < 256; {
			na, hiA := cut(ea, at)
			nb, hiB := cut(eb, at)
			hi := min(hiA, hiB)
			q := both{na, nb}
			if na >= 0 && nb >= 0 || na >= 0 && accept(true, false) || nb >= 0 && accept(false, true) {
				to, ok := index[q]
				if !ok {
					to = int32(len(todo))
					index[q] = to
					todo = append(todo, q)
				}
				s.edges = appendEdge(s.edges, edge{byte(at), byte(hi), to})
			}
			at = hi + 1
		}
		lim.spend(nodeCost + 2*len(s.edges))
		out.states = append(out.states, s)
	}
	return minimize(lim, trim(&out))
}

// cut returns where the byte at leads and the last byte up to which that holds.
func cut(edges []edge, at int) (to int32, hi int) {
	for _, e := range edges {
		if at < int(e.lo) {
			return -1, int(e.lo) - 1
		}
		if at <= int(e.hi) {
			return e.to, int(e.hi)
		}
	}
	return -1, 255
}

func appendEdge(edges []edge, e edge) []edge {
	if n := len(edges); n > 0 && edges[n-1].to == e.to && int(edges[n-1].hi)+1 == int(e.lo) {
		edges[n-1].hi = e.hi
		return edges
	}
	return append(edges, e)
}

func intersect(lim *budget, a, b *dfa) *dfa {
	return product(lim, a, b, func(a, b bool) bool { return a && b })
}

func unite(lim *budget, a, b *dfa) *dfa {
	return product(lim, a, b, func(a, b bool) bool { return a || b })
}

// subtract accepts what a does and b doesn't.
func subtract(lim *budget, a, b *dfa) *dfa {
	return product(lim, a, b, func(a, b bool) bool { return a && !b })
}

// trim drops the states from which nothing is accepted, and those not reached.
func trim(d *dfa) *dfa {
	n := len(d.states)
	back := make([][]int32, n)
	var todo []int32
	live := make([]bool, n)
	for i, s := range d.states {
		for _, e := range s.edges {
			back[e.to] = append(back[e.to], int32(i))
		}
		for _, c := range s.calls {
			back[c.to] = append(back[c.to], int32(i))
		}
		if s.accept {
			live[i] = true
			todo = append(todo, int32(i))
		}
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, p := range back[s] {
			if !live[p] {
				live[p] = true
				todo = append(todo, p)
			}
		}
	}
	number := make([]int32, n)
	for i := range number {
		number[i] = -1
	}
	number[0] = 0
	order := []int32{0}
	visit := func(to int32) int32 {
		if !live[to] {
			return -1
		}
		if number[to] < 0 {
			number[to] = int32(len(order))
			order = append(order, to)
		}
		return number[to]
	}
	var out dfa
	for i := 0; i < len(order); i++ {
		s := d.states[order[i]]
		t := dfaState{accept: s.accept}
		for _, e := range s.edges {
			if to := visit(e.to); to >= 0 {
				t.edges = appendEdge(t.edges, edge{e.lo, e.hi, to})
			}
		}
		for _, c := range s.calls {
			if to := visit(c.to); to >= 0 {
				t.calls = append(t.calls, call{c.rule, to})
			}
		}
		out.states = append(out.states, t)
	}
	return &out
}

// minimizeLimit bounds the states that minimize looks at all together: Moore's algorithm is
// quadratic on chains.
const minimizeLimit = 300

// minimize merges the states that accept the same (Moore's algorithm). Of a large automaton
// it only merges those that lead to the same states.
func minimize(lim *budget, d *dfa) *dfa {
	n := len(d.states)
	switch {
	case n < 2:
		return d
	case n > minimizeLimit:
		return mergeEnds(lim, d)
	}
	class := make([]int32, n)
	for i, s := range d.states {
		if s.accept {
			class[i] = 1
		}
	}
	count := 0
	var key []byte
	for {
		next, found := refine(d.states, class, key)
		lim.spend(n)
		if found == count {
			break
		}
		class, count = next, found
	}
	if count == n {
		return d
	}
	return merged(d, class, count)
}

// merged is d with one state for each class. Classes are numbered in the order of their first
// states, so the start is 0.
func merged(d *dfa, class []int32, count int) *dfa {
	out := dfa{states: make([]dfaState, count)}
	seen := make([]bool, count)
	for i, s := range d.states {
		c := class[i]
		if seen[c] {
			continue
		}
		seen[c] = true
		t := dfaState{accept: s.accept}
		for _, e := range s.edges {
			t.edges = appendEdge(t.edges, edge{e.lo, e.hi, class[e.to]})
		}
		for _, k := range s.calls {
			t.calls = append(t.calls, call{k.rule, class[k.to]})
		}
		out.states[c] = t
	}
	return &out
}

// mergeEnds merges states that lead to the same states, from the ends on. It finds all that
// are equal where there are no loops, in one pass.
func mergeEnds(lim *budget, d *dfa) *dfa {
	same := make([]int32, len(d.states)) // the state that one is merged into
	const unseen, open = -1, -2
	for i := range same {
		same[i] = unseen
	}
	index := make(map[string]int32)
	var key []byte
	stack := []int32{0}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		s := &d.states[i]
		if same[i] == unseen {
			same[i] = open
			lim.spend(1 + len(s.edges))
			for _, e := range s.edges {
				if same[e.to] == unseen {
					stack = append(stack, e.to)
				}
			}
			for _, k := range s.calls {
				if same[k.to] == unseen {
					stack = append(stack, k.to)
				}
			}
			continue
		}
		stack = stack[:len(stack)-1]
		if same[i] != open {
			continue
		}
		// Edges to a state that is still open, in a loop, count as they are: a state
		// stands for itself until it is known to be another.
		key = s.appendKey(key[:0], 0, func(to int32) int32 {
			if same[to] == open {
				return to
			}
			return same[to]
		})
		to, ok := index[string(key)]
		if !ok {
			to = i
			index[string(key)] = i
		}
		same[i] = to
	}
	// Numbered in the order of their first states.
	class := make([]int32, len(d.states))
	number := make(map[int32]int32)
	for i := range class {
		c, ok := number[same[i]]
		if !ok {
			c = int32(len(number))
			number[same[i]] = c
		}
		class[i] = c
	}
	if len(number) == len(class) {
		return d
	}
	return merged(d, class, len(number))
}

// refine splits the classes of states by where their edges lead, and returns the
// new ones, numbered in the order of their first states, and how many they are.
func refine(states []dfaState, class []int32, key []byte) ([]int32, int) {
	next := make([]int32, len(states))
	index := make(map[string]int32)
	for i := range states {
		key = states[i].appendKey(key[:0], class[i], func(to int32) int32 { return class[to] })
		c, ok := index[string(key)]
		if !ok {
			c = int32(len(index))
			index[string(key)] = c
		}
		next[i] = c
	}
	return next, len(index)
}

// appendKey appends what tells a state from others of its class: whether it accepts, and where
// it leads, by the classes of states.
func (s *dfaState) appendKey(key []byte, own int32, class func(int32) int32) []byte {
	put := func(n int32) { key = binary.LittleEndian.AppendUint32(key, uint32(n)) }
	put(own)
	if s.accept {
		key = append(key, 'a')
	}
	for i := 0; i < len(s.edges); {
		e := s.edges[i]
		to := class(e.to)
		for i++; i < len(s.edges) && int(s.edges[i].lo) == int(e.hi)+1 && class(s.edges[i].to) == to; i++ {
			e.hi = s.edges[i].hi
		}
		key = append(key, ' ', e.lo, e.hi)
		put(to)
	}
	for _, c := range s.calls {
		key = append(key, '!')
		put(c.rule)
		put(class(c.to))
	}
	return key
}

// literals accepts the texts given and nothing else.
func literals(lim *budget, texts []string) *dfa {
	var b builder
	b.lim = lim
	start := b.node()
	end := b.node()
	sorted := slices.Clone(texts)
	slices.Sort(sorted)
	for _, t := range slices.Compact(sorted) {
		b.eps(b.add(literal(t), start), end)
	}
	return b.determinize(start, end)
}

package grammar

import (
	"fmt"
	"math/bits"
	"sync"
)

// A stateMask is what the vocabulary says of a state: the tokens that can be read without
// knowing the stack, and where in its trie others go on after the rule's end.
type stateMask struct {
	class  []uint32 // tokens of a class, shared by many states; may be nil
	tokens []int32  // the others if few
	words  []uint32 // if many
	after  []branch
}

// several says whether more than one token can be read without knowing the stack. It may
// overlook it where those of a class and others are one each.
func (m *stateMask) several() bool {
	if len(m.tokens) > 1 || len(m.words) > 0 {
		return true
	}
	n := 0
	for _, word := range m.class {
		if n += bits.OnesCount32(word); n > 1 {
			return true
		}
	}
	return false
}

// A branch is the nodes of the vocabulary's trie where a byte comes after a rule's end.
type branch struct {
	char  byte
	nodes []int32
}

// maxKept bounds the bytes of the masks that a Compiled keeps. What is beyond is
// computed each time.
const maxKept = 64 << 20

// Mask sets bit i%32 of dst[i/32] for each token i that may come next, clears the
// others, and returns how many are set. A single one is forced: it can be accepted
// without running the model. dst must have [Vocabulary.MaskWords] words or more; those
// beyond are cleared. The error wraps [ErrLimit]: the grammar is too ambiguous to be
// followed.
func (s *State) Mask(dst []uint32) (allowed int, err error) {
	v := s.c.vocab
	if len(dst) < v.MaskWords() {
		return 0, fmt.Errorf("a mask of %d words is too short for a vocabulary of %d: it needs %d", len(dst), v.Size(), v.MaskWords())
	}
	clear(dst)
	if s.over {
		return 0, nil
	}
	now := s.now()
	w := walkers.Get().(*walker)
	defer walkers.Put(w)
	w.begin(s.c, dst, maxVisits)
	w.start(now.items)
	if w.closer.err != nil {
		return 0, w.closer.err
	}
	if now.ends {
		for _, id := range v.eos {
			dst[id/32] |= 1 << (id % 32)
		}
	}
	for _, word := range dst {
		allowed += bits.OnesCount32(word)
	}
	return allowed, nil
}

// A walker walks the vocabulary's trie for one mask.
type walker struct {
	c           *Compiled
	closer      closer
	dst         []uint32
	left        int // trie nodes it may still look at
	levels      []reading
	after, here reading
	single      []item // of walk
}

// walkers keeps walkers' memory for the next masks.
var walkers = sync.Pool{New: func() any { return new(walker) }}

func (w *walker) begin(c *Compiled, dst []uint32, visits int) {
	w.c, w.dst, w.left = c, dst, visits
	w.closer.p, w.closer.err = c.program, nil
	if n := c.vocab.longest + 1; len(w.single) < n {
		w.single = make([]item, n)
	}
}

// start marks the tokens that go on in any of the items.
func (w *walker) start(items []item) {
	for _, it := range items {
		m := w.c.masks[it.state].Load()
		if m == nil {
			m = w.compute(it.state)
		}
		for i, word := range m.class {
			w.dst[i] |= word
		}
		for i, word := range m.words {
			w.dst[i] |= word
		}
		for _, t := range m.tokens {
			w.dst[t/32] |= 1 << (t % 32)
		}
		if it.stack != nil && len(m.after) > 0 {
			w.returned(it.stack, m.after)
		}
	}
}

// returned marks the tokens that go on after a rule's end.
func (w *walker) returned(f *frame, branches []branch) {
	w.closer.reset()
	w.closer.visit(item{f.ret, f.below})
	w.after.items = w.after.items[:0]
	w.closer.close(&w.after)
	for _, b := range branches {
		w.closer.step(w.after.items, b.char, &w.here)
		if len(w.here.items) == 0 && !w.here.ends {
			continue
		}
		for _, node := range b.nodes {
			w.mark(node, w.dst)
			for _, it := range w.here.items {
				if w.closer.err != nil {
					return
				}
				w.walk(it, node, w.dst, known{})
			}
		}
	}
}

// compute walks the vocabulary for a state, and keeps the result if there is room.
func (w *walker) compute(s int32) *stateMask {
	v := w.c.vocab
	words := make([]uint32, v.MaskWords())
	m := new(stateMask)
	k := w.known(s)
	m.class = k.tokens
	pops := w.walk(item{s, bottom}, 0, words, k)
	n := 0
	for _, word := range words {
		n += bits.OnesCount32(word)
	}
	if n > len(words) {
		m.words = words
	} else {
		m.tokens = make([]int32, 0, n)
		for i, word := range words {
			for ; word != 0; word &= word - 1 {
				m.tokens = append(m.tokens, int32(i*32+bits.TrailingZeros32(word)))
			}
		}
	}
	size := int64(4*(len(m.words)+len(m.tokens)) + 96)
	if w.c.program.states[s].called { // else nothing goes on where the text ends
		m.after = v.trie.branches(pops)
		for _, b := range m.after {
			size += int64(4*len(b.nodes) + 32)
		}
	}
	if w.closer.err != nil || w.c.kept.Add(size) > maxKept {
		w.c.kept.Add(-size)
	} else if !w.c.masks[s].CompareAndSwap(nil, m) {
		w.c.kept.Add(-size)
	}
	return m
}

// known is what needn't be walked for: tokens of a class that are allowed, and those
// that aren't.
type known struct {
	tokens []uint32 // nil if there is none
	most   []uint8  // of the class
	upTo   uint8    // nodes with no more characters are known
}

// known finds what a state's automaton says of a class of tokens.
func (w *walker) known(s int32) known {
	p := w.c.program
	best, chars, exact := (*class)(nil), 0, false
	for _, c := range *w.c.vocab.classes.Load() {
		if !c.set.within(p.chars[s]) {
			continue
		}
		if n, e := p.count(s, c.set); n > chars {
			best, chars, exact = c, n, e
		}
		if chars > 1 {
			break // the others are smaller
		}
	}
	switch {
	case best == nil:
		return known{}
	case chars == endless:
		return known{best.upTo[classChars], best.most, foreign - 1}
	case exact:
		return known{best.upTo[chars-1], best.most, foreign - 1}
	}
	return known{best.upTo[chars-1], best.most, uint8(chars)}
}

// many stands for a level of a walk that can be read in more than one way: it has a
// reading.
const many = -1

// walk marks in dst the tokens below a node of the trie that can be read from an item,
// and returns the nodes at which its stack's bottom is left, if it has one, while longer tokens
// go on. What is known is passed by.
func (w *walker) walk(from item, node int32, dst []uint32, k known) (pops []int32) {
	states, t := w.c.program.states, &w.c.vocab.trie
	base := t.depth[node]
	single := w.single // by depth: the item, or many
	single[0] = from
	end := t.end[node]
	i := node + 1
	for i < end {
		w.left--
		if k.most != nil && k.most[i] <= k.upTo {
			i = t.end[i]
			continue
		}
		d := int(t.depth[i] - base)
		if above := single[d-1]; above.state != many {
			to := states[above.state].next(t.char[i])
			if to < 0 {
				i = t.end[i]
				continue
			}
			if !states[to].branches {
				single[d] = item{to, above.stack}
				w.mark(i, dst)
				i++
				continue
			}
			w.closer.reset()
			w.closer.visit(item{to, above.stack})
			here := w.level(d)
			here.items, here.popped = here.items[:0], false
			w.closer.close(here)
		} else {
			here := w.level(d)
			w.closer.step(w.levels[d-1].items, t.char[i], here)
		}
		here := &w.levels[d]
		single[d].state = many
		if here.popped && t.end[i] > i+1 {
			pops = append(pops, i)
		}
		if w.left < 0 && w.closer.err == nil {
			w.closer.err = fmt.Errorf("%w: the grammar is too ambiguous: a mask takes more than %d steps", ErrLimit, maxVisits)
		}
		if w.closer.err != nil {
			return pops
		}
		if here.popped || here.ends || len(here.items) > 0 {
			w.mark(i, dst)
		}
		if len(here.items) == 0 {
			i = t.end[i]
			continue
		}
		if len(here.items) == 1 {
			single[d] = here.items[0]
		}
		i++
	}
	return pops
}

// mark sets the tokens that end at a node.
func (w *walker) mark(node int32, dst []uint32) {
	t := &w.c.vocab.trie
	for e := t.first[node]; e >= 0; e = t.next[e] {
		id := t.token[e]
		dst[id/32] |= 1 << (id % 32)
	}
}

// level returns the reading at a depth of the walk.
func (w *walker) level(d int) *reading {
	for len(w.levels) <= d {
		w.levels = append(w.levels, reading{})
	}
	return &w.levels[d]
}

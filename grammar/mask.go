package grammar

import (
	"fmt"
	"math/bits"
)

// A stateMask is what the vocabulary's trie says of a state: the tokens that can
// be read without knowing the stack, and the nodes at which the rule may end
// while longer tokens go on.
type stateMask struct {
	tokens []int32  // if few
	words  []uint32 // if many
	pops   []int32
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
	w := walker{c: s.c, closer: closer{p: s.c.program}, dst: dst, left: maxVisits}
	w.items(now.items, 0)
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

// A walker walks the trie for one mask.
type walker struct {
	c      *Compiled
	closer closer
	dst    []uint32
	left   int // trie nodes it may still look at
	levels []reading
}

// items marks the tokens that go on from a trie node in any of the items.
func (w *walker) items(items []item, node int32) {
	for _, it := range items {
		if w.closer.err != nil {
			return
		}
		var pops []int32
		if node == 0 {
			pops = w.root(it.state)
		} else {
			pops = w.walk(it.state, node, w.dst, nil)
		}
		if len(pops) == 0 || it.stack == nil {
			continue
		}
		w.closer.reset()
		w.closer.visit(item{it.stack.ret, it.stack.below})
		var after reading
		w.closer.close(&after)
		for _, p := range pops {
			w.items(after.items, p)
		}
	}
}

// root marks the tokens that a state allows whatever the stack, and returns where
// its rule may end.
func (w *walker) root(s int32) []int32 {
	m := w.c.masks[s].Load()
	if m == nil {
		m = w.compute(s)
	}
	for _, t := range m.tokens {
		w.dst[t/32] |= 1 << (t % 32)
	}
	for i, word := range m.words {
		w.dst[i] |= word
	}
	return m.pops
}

// compute walks the whole trie for a state, and keeps the result if there is room.
func (w *walker) compute(s int32) *stateMask {
	words := make([]uint32, w.c.vocab.MaskWords())
	m := &stateMask{pops: w.walk(s, 0, words, nil)}
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
	size := int64(4*(len(m.words)+len(m.tokens)+len(m.pops)) + 96)
	if w.closer.err != nil || w.c.kept.Add(size) > maxKept {
		w.c.kept.Add(-size)
	} else if !w.c.masks[s].CompareAndSwap(nil, m) {
		w.c.kept.Add(-size)
	}
	return m
}

// walk marks in dst the tokens below a trie node that can be read from state s
// without leaving its rule, and appends the nodes where the rule may end to pops.
func (w *walker) walk(s, node int32, dst []uint32, pops []int32) []int32 {
	v := w.c.vocab
	states := w.c.program.states
	base := v.depth[node]
	w.level(0).items = append(w.level(0).items[:0], item{s, bottom})
	end := v.end[node]
	for i := node + 1; i < end; {
		w.left--
		d := int(v.depth[i] - base)
		here := w.level(d)
		above := &w.levels[d-1]
		if len(above.items) == 1 {
			it := above.items[0]
			to := states[it.state].next(v.char[i])
			if to < 0 {
				i = v.end[i]
				continue
			}
			if t := &states[to]; t.accept || len(t.calls) > 0 {
				w.closer.reset()
				w.closer.visit(item{to, it.stack})
				here.items, here.popped = here.items[:0], false
				w.closer.close(here)
			} else {
				here.items, here.popped = append(here.items[:0], item{to, it.stack}), false
			}
		} else {
			w.closer.step(above.items, v.char[i], here)
		}
		if here.popped && v.end[i] > i+1 {
			pops = append(pops, i)
		}
		if w.left < 0 && w.closer.err == nil {
			w.closer.err = fmt.Errorf("%w: the grammar is too ambiguous: a mask takes more than %d steps", ErrLimit, maxVisits)
		}
		if w.closer.err != nil {
			return pops
		}
		if here.popped || len(here.items) > 0 {
			for t := v.first[i]; t >= 0; t = v.same[t] {
				dst[t/32] |= 1 << (t % 32)
			}
		}
		if len(here.items) == 0 {
			i = v.end[i]
		} else {
			i++
		}
	}
	return pops
}

// level returns the reading at a depth of the walk.
func (w *walker) level(d int) *reading {
	for len(w.levels) <= d {
		w.levels = append(w.levels, reading{})
	}
	return &w.levels[d]
}

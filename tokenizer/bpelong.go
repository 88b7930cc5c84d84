package tokenizer

import "slices"

// longMerge merges words of any length in O(n log n): the symbols are a linked
// list over the word's bytes, and a heap holds the pairs that merge. It is
// scratch memory for one call at a time.
type longMerge struct {
	// Indexed by the byte at which a symbol begins. ids is dead for a symbol
	// that was merged into the one before.
	ids, prev, next []int32
	heap            []candidate
}

const dead = -2

// candidate is a possible merge of the two symbols that together span from
// at to end. It is out of date when they no longer do: symbols only grow, so
// if two still span these bytes they are the same two.
type candidate struct {
	key     uint64 // rank<<32 | at: the order of merging
	end, id int32
}

func (c candidate) at() int32 { return int32(uint32(c.key)) }

// keep is the capacity in bytes of a word that is worth holding on to.
const keep = 1 << 16

func (h *longMerge) merge(m *merger, dst []int32, word string, begin int) []int32 {
	n := len(word)
	if cap(h.ids) < n {
		h.ids, h.prev, h.next = make([]int32, n), make([]int32, n), make([]int32, n)
	}
	h.ids, h.prev, h.next = h.ids[:n], h.prev[:n], h.next[:n]
	h.heap = slices.Grow(h.heap[:0], n)
	last := int32(-1)
	for i := 0; i < n; {
		id, end := m.letter(word, i)
		h.ids[i], h.prev[i], h.next[i] = id, last, end
		last, i = int32(i), int(end)
	}
	for i := int32(0); h.next[i] < int32(n); i = h.next[i] {
		if c, ok := h.candidate(m, word, i); ok {
			h.heap = append(h.heap, c)
		}
	}
	for i := len(h.heap)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	for len(h.heap) > 0 {
		c := h.heap[0]
		end := len(h.heap) - 1
		h.heap[0] = h.heap[end]
		h.heap = h.heap[:end]
		h.down(0)

		a := c.at()
		b := h.next[a]
		if h.ids[a] == dead || b == int32(n) || h.next[b] != c.end {
			continue
		}
		h.ids[a], h.ids[b] = c.id, dead
		h.next[a] = c.end
		if c.end < int32(n) {
			h.prev[c.end] = a
			h.push(m, word, a)
		}
		if h.prev[a] >= 0 {
			h.push(m, word, h.prev[a])
		}
	}
	for i := int32(0); i < int32(n); i = h.next[i] {
		if h.ids[i] >= 0 {
			dst = append(dst, h.ids[i])
		} else {
			dst = m.outside(dst, word[i:h.next[i]], begin)
		}
	}
	if n > keep {
		*h = longMerge{}
	}
	return dst
}

// candidate is the merge of the symbol at i with its right neighbour.
func (h *longMerge) candidate(m *merger, word string, i int32) (candidate, bool) {
	j := h.next[i]
	rank, id := m.pair(h.ids[i], h.ids[j], word, i, h.next[j])
	return candidate{uint64(rank)<<32 | uint64(i), h.next[j], id}, rank != none
}

func (h *longMerge) push(m *merger, word string, i int32) {
	c, ok := h.candidate(m, word, i)
	if !ok {
		return
	}
	h.heap = append(h.heap, c)
	for k := len(h.heap) - 1; k > 0; {
		parent := (k - 1) / 2
		if h.heap[parent].key <= h.heap[k].key {
			break
		}
		h.heap[parent], h.heap[k] = h.heap[k], h.heap[parent]
		k = parent
	}
}

// down restores the heap below k.
func (h *longMerge) down(k int) {
	for {
		child := 2*k + 1
		if child >= len(h.heap) {
			return
		}
		if child+1 < len(h.heap) && h.heap[child+1].key < h.heap[child].key {
			child++
		}
		if h.heap[k].key <= h.heap[child].key {
			return
		}
		h.heap[k], h.heap[child] = h.heap[child], h.heap[k]
		k = child
	}
}

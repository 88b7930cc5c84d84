package tokenizer

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"unicode/utf8"
)

// none is the rank of a pair that doesn't merge.
const none = math.MaxUint32

// merger is byte-pair encoding: a word begins as its characters (or bytes), and
// the adjacent pair of lowest rank merges, the leftmost first, until no pair
// does. What merges is given by a list of pairs, or by scores: then any two
// neighbours merge that together read a token, the highest score first.
type merger struct {
	vocab *vocab
	pairs *pairTable // nil when scores decide
	ranks []uint32   // by token, from scores; nil when pairs decide

	byteLevel bool
	// bytes are the tokens of single bytes: the letters of a byte-level word,
	// or what a character outside the vocabulary falls back to. -1 for none.
	bytes [256]int32
	// fallback says that every byte has its token.
	fallback bool
	unknown  int32 // stands for what can't be encoded; -1 for none
	fuse     bool  // one unknown token for a run of them

	// whole says of each token whether its own text merges into just it, so
	// that a word that is found in the vocabulary needs no merging. It is worked
	// out when first asked for: two bits a token, 0 for not known yet.
	whole []atomic.Uint32
	trust bool // take it of all normal tokens (ignore_merges)
}

const (
	knownBroken = 2
	knownWhole  = 3
)

// shortWord is the most characters that are merged by scanning all pairs for
// each merge; beyond that, a heap keeps the order.
const shortWord = 64

// encode appends the tokens of a word, which isn't empty. begin is where in dst
// the text began that the word is a part of.
func (m *merger) encode(dst []int32, word string, begin int, heap *longMerge) []int32 {
	if len(word) <= m.vocab.longest {
		if id := m.vocab.find(word); id >= 0 && m.isWhole(id, word, heap) {
			return append(dst, id)
		}
	}
	return m.merge(dst, word, begin, heap)
}

// isWhole reports whether word, the text of token id, merges into just id.
func (m *merger) isWhole(id int32, word string, heap *longMerge) bool {
	if m.trust {
		return m.vocab.kinds[id] == Normal
	}
	bits, shift := &m.whole[id/16], id%16*2
	switch bits.Load() >> shift & 3 {
	case knownWhole:
		return true
	case knownBroken:
		return false
	}
	var buf [shortWord]int32
	ids := m.merge(buf[:0], word, 0, heap)
	if len(ids) == 1 && ids[0] == id {
		bits.Or(knownWhole << shift)
		return true
	}
	bits.Or(knownBroken << shift)
	return false
}

// merge appends the tokens that a word merges into.
func (m *merger) merge(dst []int32, word string, begin int, heap *longMerge) []int32 {
	var (
		ids   [shortWord + 1]int32
		ends  [shortWord + 1]int32 // of each symbol in word
		ranks [shortWord + 1]uint32
		into  [shortWord + 1]int32
	)
	n := 0
	for i := 0; i < len(word); n++ {
		if n == shortWord {
			return heap.merge(m, dst, word, begin)
		}
		ids[n], ends[n] = m.letter(word, i)
		i = int(ends[n])
	}
	at := int32(0)
	for i := range n - 1 {
		ranks[i], into[i] = m.pair(ids[i], ids[i+1], word, at, ends[i+1])
		at = ends[i]
	}
	for n > 1 {
		best, at := uint32(none), 0
		for i, r := range ranks[:n-1] {
			if r < best {
				best, at = r, i
			}
		}
		if best == none {
			break
		}
		n--
		ids[at], ends[at] = into[at], ends[at+1]
		copy(ids[at+1:n], ids[at+2:n+1])
		copy(ends[at+1:n], ends[at+2:n+1])
		copy(ranks[at:n-1], ranks[at+1:n])
		copy(into[at:n-1], into[at+1:n])
		start := int32(0)
		if at > 0 {
			start = ends[at-1]
			before := int32(0)
			if at > 1 {
				before = ends[at-2]
			}
			ranks[at-1], into[at-1] = m.pair(ids[at-1], ids[at], word, before, ends[at])
		}
		if at < n-1 {
			ranks[at], into[at] = m.pair(ids[at], ids[at+1], word, start, ends[at+1])
		}
	}
	at = 0
	for i := range n {
		if ids[i] >= 0 {
			dst = append(dst, ids[i])
		} else {
			dst = m.outside(dst, word[at:ends[i]], begin)
		}
		at = ends[i]
	}
	return dst
}

// letter is the first symbol of word[i:]: its token, or -1, and its end.
func (m *merger) letter(word string, i int) (id, end int32) {
	if m.byteLevel {
		return m.bytes[word[i]], int32(i + 1)
	}
	n := 1
	if word[i] >= utf8.RuneSelf {
		_, n = utf8.DecodeRuneInString(word[i:])
	}
	return m.vocab.find(word[i : i+n]), int32(i + n)
}

// pair is the rank at which tokens a and b merge, which together read
// word[start:end], and the token they become.
func (m *merger) pair(a, b int32, word string, start, end int32) (rank uint32, id int32) {
	if a < 0 || b < 0 {
		return none, -1
	}
	if m.pairs != nil {
		return m.pairs.find(a, b)
	}
	if id := m.vocab.find(word[start:end]); id >= 0 {
		return m.ranks[id], id
	}
	return none, -1
}

// outside appends what stands for a character that isn't in the vocabulary.
func (m *merger) outside(dst []int32, char string, begin int) []int32 {
	switch {
	case m.fallback:
		for i := range len(char) {
			dst = append(dst, m.bytes[char[i]])
		}
	case m.unknown >= 0 && !(m.fuse && len(dst) > begin && dst[len(dst)-1] == m.unknown):
		dst = append(dst, m.unknown)
	}
	return dst
}

// scoreRank turns a score into a rank: the higher the score, the lower the
// rank. It orders the bits of a float32 as unsigned integers.
func scoreRank(score float32) uint32 {
	b := math.Float32bits(score)
	if b>>31 == 0 {
		b = ^(b | 1<<31)
	}
	return min(b, none-1)
}

// pairTable is an open-addressing hash table from a pair of tokens to the rank
// of their merge and the token it makes.
type pairTable struct {
	slots []pairSlot
	shift uint
	// factor is the multiplier of the hash, drawn at random so that no file can
	// be made to collide.
	factor uint64
}

type pairSlot struct {
	key  uint64 // left<<32 | right, plus one; 0 is free
	rank uint32
	id   int32
}

func newPairTable(n int) *pairTable {
	log := uint(bits.Len(uint(n + n/2)))
	return &pairTable{slots: make([]pairSlot, 1<<log), shift: 64 - log, factor: rand.Uint64() | 1}
}

// slot finds the slot that holds the key, or the free one where it belongs.
func (t *pairTable) slot(key uint64) *pairSlot {
	i := key * t.factor >> t.shift // multiply-shift; the table is never full
	for {
		s := &t.slots[i]
		if s.key == key || s.key == 0 {
			return s
		}
		if i++; i == uint64(len(t.slots)) {
			i = 0
		}
	}
}

func pairKey(a, b int32) uint64 { return (uint64(a)<<32 | uint64(b)) + 1 }

// add keeps the last rank given for a pair, as a map would.
func (t *pairTable) add(a, b int32, rank uint32, id int32) {
	key := pairKey(a, b)
	*t.slot(key) = pairSlot{key, rank, id}
}

func (t *pairTable) find(a, b int32) (rank uint32, id int32) {
	s := t.slot(pairKey(a, b))
	if s.key == 0 {
		return none, -1
	}
	return s.rank, s.id
}

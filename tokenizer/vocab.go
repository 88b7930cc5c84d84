package tokenizer

import (
	"hash/maphash"
	"math/bits"
	"strings"
)

// Bounds far above any real vocabulary, low enough that ids, offsets and table
// sizes can't overflow.
const (
	maxVocab = 1 << 24 // tokens
	maxBytes = 1 << 31 // of all tokens together
)

// vocab is the list of tokens: for every id its bytes as they appear in text
// (so " the", not "Ġthe" or "▁the"), its kind, and a hash table from bytes to
// id. All bytes lie in one block, so that a vocabulary costs little more than
// its text.
type vocab struct {
	blob    []byte
	offsets []uint32 // len(kinds)+1: token id is blob[offsets[id]:offsets[id+1]]
	kinds   []Kind
	// literal marks tokens that are spelled as their bytes are: added tokens,
	// and those whose spelling isn't in the vocabulary's alphabet.
	literal []bool
	// slots is an open-addressing table of ids plus one; 0 is a free slot.
	// Tokens that text can't be merged into (control, unknown, byte) aren't in.
	slots []int32
	seed  maphash.Seed
	// named finds tokens by spelling that slots can't: those spelled literally.
	named map[string]int32
	// longest is the bytes of the longest token.
	longest int
}

func newVocab(tokens, bytes int) *vocab {
	v := &vocab{
		blob:    make([]byte, 0, bytes),
		offsets: make([]uint32, 1, tokens+1),
		kinds:   make([]Kind, 0, tokens),
		literal: make([]bool, 0, tokens),
		seed:    maphash.MakeSeed(),
		named:   make(map[string]int32),
	}
	// At most half full, so that probe chains stay short.
	v.slots = make([]int32, 1<<bits.Len(uint(2*tokens)))
	return v
}

// add appends a token: its bytes, its kind and whether text can be merged into
// it (mergeable). The first of several tokens with the same bytes wins.
func (v *vocab) add(piece string, k Kind, literal, mergeable bool) {
	v.blob = append(v.blob, piece...)
	v.offsets = append(v.offsets, uint32(len(v.blob)))
	v.kinds = append(v.kinds, k)
	v.literal = append(v.literal, literal)
	v.longest = max(v.longest, len(piece))
	if _, taken := v.named[piece]; literal && !taken && piece != "" {
		v.named[strings.Clone(piece)] = int32(len(v.kinds) - 1)
	}
	if mergeable && piece != "" {
		slot, found := v.slot(piece)
		if found < 0 {
			v.slots[slot] = int32(len(v.kinds))
		}
	}
}

func (v *vocab) size() int { return len(v.kinds) }

func (v *vocab) has(id int32) bool { return id >= 0 && int(id) < len(v.kinds) }

// piece is the bytes of a token.
func (v *vocab) piece(id int32) []byte {
	a, b := v.offsets[id], v.offsets[id+1]
	return v.blob[a:b:b]
}

// slot finds the slot of a text: the id stored there, or -1 and the free slot.
func (v *vocab) slot(text string) (slot int, id int32) {
	mask := uint64(len(v.slots) - 1)
	for h := maphash.String(v.seed, text) & mask; ; h = (h + 1) & mask {
		id := v.slots[h] - 1
		if id < 0 {
			return int(h), -1
		}
		if string(v.blob[v.offsets[id]:v.offsets[id+1]]) == text {
			return int(h), id
		}
	}
}

// find is the token that text can be merged into and that reads text, or -1.
func (v *vocab) find(text string) int32 {
	_, id := v.slot(text)
	return id
}

// isControl reports whether a control token is spelled like this.
func (v *vocab) isControl(spelling string) bool {
	id, ok := v.named[spelling]
	return ok && v.kinds[id].isControl()
}

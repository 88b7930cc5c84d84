package grammar

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// A Vocabulary is a tokenizer's tokens as a trie, made once and shared by all
// constraints. It doesn't change.
type Vocabulary struct {
	tokens  [][]byte
	eos     []int32
	special []bool

	// The trie in pre-order: node 0 is the root, the subtree of node i is i..end[i].
	char  []byte
	depth []uint16
	end   []int32
	first []int32 // a token that ends at the node, or -1
	same  []int32 // by token: the next one with the same bytes, or -1
}

// maxToken bounds a token's bytes; longer ones are never allowed.
const maxToken = 1024

// NewVocabulary returns the vocabulary whose token i stands for the bytes tokens[i].
// Tokens of special (control tokens: they have no text in an answer) and of eos
// (those that end it) are never part of a constrained text; those of eos are
// allowed where the text may end. Tokens without bytes are never allowed.
// The slices must not be changed afterwards.
func NewVocabulary(tokens [][]byte, special, eos []int32) (*Vocabulary, error) {
	if len(tokens) >= math.MaxInt32/2 {
		return nil, fmt.Errorf("a vocabulary of %d tokens is too large", len(tokens))
	}
	v := &Vocabulary{tokens: tokens, eos: slices.Clone(eos), special: make([]bool, len(tokens)), same: make([]int32, len(tokens))}
	for _, ids := range [][]int32{special, eos} {
		for _, id := range ids {
			if id < 0 || int(id) >= len(tokens) {
				return nil, fmt.Errorf("special token %d is not one of a vocabulary of %d", id, len(tokens))
			}
			v.special[id] = true
		}
	}
	var order []int32
	for i, t := range tokens {
		v.same[i] = -1
		if !v.special[i] && len(t) > 0 && len(t) <= maxToken {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int {
		if c := bytes.Compare(tokens[a], tokens[b]); c != 0 {
			return c
		}
		return int(a - b)
	})
	v.build(order)
	return v, nil
}

func (v *Vocabulary) build(order []int32) {
	node := func(c byte, depth int) {
		v.char = append(v.char, c)
		v.depth = append(v.depth, uint16(depth))
		v.end = append(v.end, 0)
		v.first = append(v.first, -1)
	}
	node(0, 0)
	path := []int32{0} // the nodes on the way to the last token
	var last []byte
	for _, id := range order {
		t := v.tokens[id]
		shared := 0
		for shared < len(last) && shared < len(t) && last[shared] == t[shared] {
			shared++
		}
		for len(path) > shared+1 {
			v.end[path[len(path)-1]] = int32(len(v.char))
			path = path[:len(path)-1]
		}
		for i := shared; i < len(t); i++ {
			path = append(path, int32(len(v.char)))
			node(t[i], i+1)
		}
		at := path[len(path)-1]
		v.same[id], v.first[at] = v.first[at], id
		last = t
	}
	for _, n := range path {
		v.end[n] = int32(len(v.char))
	}
}

// Size returns the number of tokens, special ones included.
func (v *Vocabulary) Size() int { return len(v.tokens) }

// MaskWords returns the words of a mask: a bit a token, token i in bit i%32 of
// word i/32, as package sample has it.
func (v *Vocabulary) MaskWords() int { return (len(v.tokens) + 31) / 32 }

package grammar

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// A Vocabulary is a tokenizer's tokens as a trie, made once and shared by all
// constraints.
type Vocabulary struct {
	tokens  [][]byte
	eos     []int32
	special []bool
	longest int // bytes of a token

	trie    trie
	making  sync.Mutex                           // held while a class is added
	classes atomic.Pointer[[]*class]             // those with the most characters first
	shared  map[*dfa][]atomic.Pointer[stateMask] // of the rules that many constraints have
}

// A trie holds texts and the tokens that they stand for, in pre-order: node 0 is the root, the
// subtree of node i is i..end[i].
type trie struct {
	char  []byte
	depth []uint16
	end   []int32
	first []int32 // of the entries that end at the node, or -1
	next  []int32 // by entry: the next one that ends at the same node, or -1
	token []int32 // by entry
}

// An entry is a text and the token that it stands for.
type entry struct {
	text  []byte
	token int32
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
	v := &Vocabulary{tokens: tokens, eos: slices.Clone(eos), special: make([]bool, len(tokens)), shared: make(map[*dfa][]atomic.Pointer[stateMask])}
	for _, ids := range [][]int32{special, eos} {
		for _, id := range ids {
			if id < 0 || int(id) >= len(tokens) {
				return nil, fmt.Errorf("special token %d is not one of a vocabulary of %d", id, len(tokens))
			}
			v.special[id] = true
		}
	}
	var entries []entry
	for i, t := range tokens {
		if !v.special[i] && len(t) > 0 && len(t) <= maxToken {
			entries = append(entries, entry{t, int32(i)})
			v.longest = max(v.longest, len(t))
		}
	}
	v.trie = newTrie(entries)
	v.classes.Store(new([]*class))
	for _, set := range usual {
		v.addClass(set)
	}
	for _, d := range []*dfa{common().jsonString, common().jsonNumber, common().space} {
		v.shared[d] = make([]atomic.Pointer[stateMask], len(d.states))
	}
	return v, v.prepare()
}

// prepare finds the masks that nearly every constraint on JSON needs, so that no
// request waits for them.
func (v *Vocabulary) prepare() error {
	c, err := Compile(context.Background(), Spec{Kind: JSONSchema, Source: `{}`}, v)
	if err != nil {
		return err
	}
	var w walker
	w.begin(c, nil, math.MaxInt)
	for _, r := range c.program.rules {
		if v.shared[r.rule] == nil {
			continue
		}
		for i := range r.rule.states {
			if len(r.rule.states[i].edges) > 0 {
				w.compute(r.base + int32(i))
			}
		}
	}
	return w.closer.err
}

func newTrie(entries []entry) trie {
	slices.SortFunc(entries, func(a, b entry) int {
		if c := bytes.Compare(a.text, b.text); c != 0 {
			return c
		}
		return int(a.token - b.token)
	})
	var t trie
	node := func(c byte, depth int) {
		t.char = append(t.char, c)
		t.depth = append(t.depth, uint16(depth))
		t.end = append(t.end, 0)
		t.first = append(t.first, -1)
	}
	node(0, 0)
	path := []int32{0} // the nodes on the way to the last text
	var last []byte
	for i, e := range entries {
		shared := 0
		for shared < len(last) && shared < len(e.text) && last[shared] == e.text[shared] {
			shared++
		}
		for len(path) > shared+1 {
			t.end[path[len(path)-1]] = int32(len(t.char))
			path = path[:len(path)-1]
		}
		for i := shared; i < len(e.text); i++ {
			path = append(path, int32(len(t.char)))
			node(e.text[i], i+1)
		}
		at := path[len(path)-1]
		t.next = append(t.next, t.first[at])
		t.token = append(t.token, e.token)
		t.first[at] = int32(i)
		last = e.text
	}
	for _, n := range path {
		t.end[n] = int32(len(t.char))
	}
	return t
}

// branches lists the children of nodes by their bytes.
func (t *trie) branches(nodes []int32) (all []branch) {
	var counts [256]int
	total := 0
	each := func(visit func(child int32)) {
		for _, n := range nodes {
			for i := n + 1; i < t.end[n]; i = t.end[i] {
				visit(i)
			}
		}
	}
	each(func(i int32) {
		counts[t.char[i]]++
		total++
	})
	var place [256]int
	list := make([]int32, total)
	at := 0
	for b, n := range counts {
		place[b] = len(all)
		if n > 0 {
			all = append(all, branch{byte(b), list[at : at : at+n]})
			at += n
		}
	}
	each(func(i int32) {
		b := &all[place[t.char[i]]]
		b.nodes = append(b.nodes, i)
	})
	return all
}

// Size returns the number of tokens, special ones included.
func (v *Vocabulary) Size() int { return len(v.tokens) }

// MaskWords returns the words of a mask: a bit a token, token i in bit i%32 of
// word i/32, as package sample has it.
func (v *Vocabulary) MaskWords() int { return (len(v.tokens) + 31) / 32 }

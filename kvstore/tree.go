package kvstore

import "slices"

// tree is a radix tree over the tokens of a scope's entries. Every leaf holds an
// entry and only leaves do: an entry that is a prefix of another one isn't kept.
type tree struct{ root node }

type node struct {
	label    []int32 // the tokens from the parent to here; empty for the root alone
	parent   *node
	children map[int32]*node // by the first token of their label
	entry    *entry          // of a leaf
	lightest *entry          // the one of fewest bytes at or below
}

// match is the number of leading tokens that the tree knows, and of the entries
// that share them the one of fewest bytes; nil if there are none.
func (t *tree) match(tokens []int32) (int, *entry) {
	n, matched := &t.root, 0
	for matched < len(tokens) {
		c := n.children[tokens[matched]]
		if c == nil {
			break
		}
		k := shared(c.label, tokens[matched:])
		n, matched = c, matched+k
		if k < len(c.label) {
			break
		}
	}
	if matched == 0 {
		return 0, nil
	}
	return matched, n.lightest
}

// insert adds an entry that no other covers. It returns the one that is a prefix
// of it, if there is one, which the tree then doesn't hold any more.
func (t *tree) insert(e *entry) (superseded *entry) {
	n, rest := &t.root, e.tokens
	for {
		c := n.children[rest[0]]
		if c == nil {
			break
		}
		k := shared(c.label, rest)
		if k < len(c.label) {
			c = c.split(k)
		}
		n, rest = c, rest[k:]
	}
	if superseded = n.entry; superseded != nil {
		// Its leaf becomes that of the longer one.
		superseded.node = nil
		n.label = e.tokens[len(e.tokens)-len(rest)-len(n.label):]
		n.entry, e.node = e, n
	} else {
		if n.children == nil {
			n.children = map[int32]*node{}
		}
		e.node = &node{label: rest, parent: n, entry: e, lightest: e}
		n.children[rest[0]] = e.node
	}
	for ; n != nil; n = n.parent {
		switch {
		case superseded != nil && n.lightest == superseded:
			n.weigh()
		case lighter(e, n.lightest):
			n.lightest = e
		}
	}
	return superseded
}

// remove takes an entry out.
func (t *tree) remove(e *entry) {
	leaf := e.node
	n := leaf.parent
	delete(n.children, leaf.label[0])
	e.node = nil
	if n != &t.root && len(n.children) == 1 {
		n = n.join()
	}
	for ; n != nil; n = n.parent {
		if n.lightest == e {
			n.weigh()
		}
	}
}

func (t *tree) empty() bool { return len(t.root.children) == 0 }

// split puts a node between n and its parent, that has the first k tokens of
// n's label.
func (n *node) split(k int) *node {
	top := &node{label: n.label[:k], parent: n.parent, children: map[int32]*node{n.label[k]: n}, lightest: n.lightest}
	n.parent.children[n.label[0]] = top
	n.parent, n.label = top, n.label[k:]
	return top
}

// join puts the only child of n into its place.
func (n *node) join() *node {
	for _, c := range n.children {
		c.label = slices.Concat(n.label, c.label)
		c.parent = n.parent
		n.parent.children[c.label[0]] = c
		return c
	}
	return n
}

func (n *node) weigh() {
	n.lightest = n.entry
	for _, c := range n.children {
		if lighter(c.lightest, n.lightest) {
			n.lightest = c.lightest
		}
	}
}

// lighter orders entries by bytes, and by age where they are equal so that the
// order of a map doesn't matter.
func lighter(a, b *entry) bool {
	if a == nil || b == nil {
		return a != nil
	}
	if a.bytes != b.bytes {
		return a.bytes < b.bytes
	}
	return slices.Compare(a.tokens, b.tokens) < 0
}

// shared is the number of leading tokens that a and b have in common.
func shared(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

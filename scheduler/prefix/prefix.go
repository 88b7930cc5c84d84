// Package prefix remembers the KV of sequences that have ended, for requests that
// begin like one of them.
//
// A [Cache] is a radix tree over token ids, one for each tenant. Its leaves own KV
// sequences of the engine, each with no more room than it holds, so that what two of
// them share is in memory once. A lookup finds the longest beginning that is held, to
// the token; the engine's Fork makes a sequence of it without copying.
//
//	src, n := cache.Lookup(tenant, prompt)   // the first n tokens are held by src
//	seq, err := kv.Fork(src, n, room)
//	…                                        // the request runs
//	cache.Insert(tenant, tokens, seq)        // the cache owns seq now
//
// # What goes when memory is short
//
// [Cache.Evict] takes the leaf that was used longest ago and gives up what it alone
// holds: down to where it branches off, if nothing else is left there, else all of
// it. So a conversation is forgotten from its end, and what many began with, such as a
// system prompt, last. A leaf that several requests have used is passed over, each
// time for half as many (the clock algorithm with counts).
//
// One goroutine uses a Cache, the one that owns the engine's KV.
package prefix

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/inferflux/inferflux/backend"
)

// Options configure a cache.
type Options struct {
	KV backend.KV
	// Limit is the most tokens held, counted by the tree; 0: what there is memory for.
	Limit int
	// Evicted, if set, is told of what is about to go: tokens that seq holds. It may
	// export them, but not change the sequence.
	Evicted func(e Entry, seq backend.SeqID)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Entry is one end of the tree.
type Entry struct {
	Tenant string
	Tokens []int32 // all, from the start
	Used   time.Time
	Hits   int // by how many lookups, halved when it was passed over
}

// Stats say what is held, and count since the start what came and went.
type Stats struct {
	Entries, Tokens                      int
	Insertions, Evictions, EvictedTokens uint64
}

// Cache is the tree.
type Cache struct {
	o     Options
	roots map[string]*node
	ends  ends // leaves, by when they were used
	tick  uint64
	stats Stats
}

// node is a place in a tree: the end of an edge from its parent. Leaves have a
// sequence, other nodes have not, as theirs would share all with a leaf's.
type node struct {
	tenant   string
	parent   *node
	edge     []int32 // tokens from the parent's place to this
	depth    int     // tokens from the root
	children map[int32]*node

	seq   backend.SeqID // of a leaf
	used  uint64
	when  time.Time
	hits  int
	place int // in ends; -1: not a leaf
}

// New makes an empty cache.
func New(o Options) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Cache{o: o, roots: map[string]*node{}}
}

// descend follows tokens as far as they are held: to a node or into the edge that
// leads to it. n is how many there are.
func (c *Cache) descend(tenant string, tokens []int32) (at *node, n int) {
	at = c.roots[tenant]
	if at == nil {
		return nil, 0
	}
	for n < len(tokens) {
		next := at.children[tokens[n]]
		if next == nil {
			return at, n
		}
		k := common(next.edge, tokens[n:])
		n += k
		if at = next; k < len(next.edge) {
			return at, n
		}
	}
	return at, n
}

func common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// Held is how many tokens are held of a beginning. It doesn't count as use.
func (c *Cache) Held(tenant string, tokens []int32) int {
	_, n := c.descend(tenant, tokens)
	return n
}

// Lookup finds the sequence that holds the longest beginning of tokens, and marks it as
// used; n is how many it holds, 0 if none does. The sequence stays the cache's, and may be gone after the
// next call.
func (c *Cache) Lookup(tenant string, tokens []int32) (seq backend.SeqID, n int) {
	at, n := c.descend(tenant, tokens)
	if n == 0 {
		return 0, 0
	}
	leaf := at.leaf()
	if leaf.used != c.tick { // else it is asked for again
		leaf.hits++
	}
	c.touch(leaf)
	return leaf.seq, n
}

// leaf is the last used of those below, or near it: the last used child at each branch.
func (at *node) leaf() *node {
	for len(at.children) > 0 {
		var best *node
		for _, child := range at.children {
			if best == nil || child.used > best.used {
				best = child
			}
		}
		at = best
	}
	return at
}

// touch marks a leaf, and what leads to it, as used now.
func (c *Cache) touch(leaf *node) {
	c.tick++
	for at := leaf; at != nil; at = at.parent {
		at.used = c.tick
	}
	leaf.when = c.o.Now()
	heap.Fix(&c.ends, leaf.place)
}

// Insert takes over a sequence that holds tokens, and no more. If all of them are held
// already, it is freed.
func (c *Cache) Insert(tenant string, tokens []int32, seq backend.SeqID) error {
	if len(tokens) == 0 {
		return c.free(seq)
	}
	if err := c.o.KV.Resize(seq, len(tokens)); err != nil {
		return errors.Join(fmt.Errorf("keep a prefix of %d tokens: %w", len(tokens), err), c.free(seq))
	}
	if c.roots[tenant] == nil {
		c.roots[tenant] = &node{tenant: tenant, place: -1}
	}
	at, n := c.descend(tenant, tokens)
	if n == len(tokens) {
		c.touch(at.leaf())
		return c.free(seq)
	}
	c.stats.Insertions++
	leaf := &node{tenant: tenant, edge: slices.Clone(tokens[n:]), depth: len(tokens), seq: seq}
	var failed error
	switch {
	case n < at.depth:
		at = c.split(at, n)
	case at.place >= 0:
		// It goes on where a leaf ended.
		failed = c.free(at.seq)
		heap.Remove(&c.ends, at.place)
		leaf.hits = at.hits
	}
	leaf.parent = at
	at.add(leaf)
	c.stats.Tokens += len(leaf.edge)
	heap.Push(&c.ends, leaf)
	c.touch(leaf)
	c.compress(at)
	for c.o.Limit > 0 && c.stats.Tokens > c.o.Limit {
		if _, err := c.Evict(); err != nil {
			return errors.Join(failed, err)
		}
	}
	return failed
}

// add makes a node a child, by the first token of its edge.
func (at *node) add(child *node) {
	if at.children == nil {
		at.children = map[int32]*node{}
	}
	at.children[child.edge[0]] = child
}

// split puts a node into the edge that leads to at, at a depth.
func (c *Cache) split(at *node, depth int) *node {
	k := depth - at.parent.depth
	middle := &node{tenant: at.tenant, parent: at.parent, edge: at.edge[:k:k], depth: depth, used: at.used, place: -1}
	middle.parent.add(middle)
	at.parent, at.edge = middle, at.edge[k:]
	middle.add(at)
	return middle
}

// compress joins a node with its only child.
func (c *Cache) compress(at *node) {
	if at.parent == nil || len(at.children) != 1 {
		return
	}
	for _, child := range at.children {
		child.edge = slices.Concat(at.edge, child.edge)
		child.parent = at.parent
		at.parent.add(child)
	}
}

// Evict gives up what one leaf alone holds. It reports false if there is none.
func (c *Cache) Evict() (bool, error) {
	if len(c.ends) == 0 {
		return false, nil
	}
	for c.ends[0].hits > 1 {
		leaf := c.ends[0]
		leaf.hits /= 2
		c.tick++
		leaf.used = c.tick
		heap.Fix(&c.ends, 0)
	}
	return true, c.evict(c.ends[0])
}

func (c *Cache) evict(leaf *node) error {
	if c.o.Evicted != nil {
		c.o.Evicted(leaf.entry(), leaf.seq)
	}
	c.stats.Evictions++
	c.stats.EvictedTokens += uint64(len(leaf.edge))
	c.stats.Tokens -= len(leaf.edge)
	heap.Remove(&c.ends, leaf.place)
	parent := leaf.parent
	delete(parent.children, leaf.edge[0])
	switch {
	case len(parent.children) > 0:
	case parent.parent == nil:
		delete(c.roots, parent.tenant)
	default:
		if err := c.keepBeginning(parent, leaf); err != nil {
			return errors.Join(fmt.Errorf("keep the beginning of a prefix: %w", err), c.free(leaf.seq))
		}
	}
	return c.free(leaf.seq)
}

// keepBeginning makes a leaf of the place where others had branched off from one that is given up,
// or, if a sequence can't be taken back to there, of the nearest before it.
func (c *Cache) keepBeginning(at, leaf *node) error {
	for at.parent != nil && len(at.children) == 0 {
		if n := backend.Restorable(c.o.KV, leaf.seq, at.depth); n > at.parent.depth {
			// A fork without further room needs no memory.
			seq, err := c.o.KV.Fork(leaf.seq, n, n)
			if err != nil {
				return err
			}
			c.stats.Tokens -= at.depth - n
			at.edge, at.depth = at.edge[:n-at.parent.depth], n
			at.seq, at.hits, at.used, at.when = seq, leaf.hits, leaf.used, leaf.when
			heap.Push(&c.ends, at)
			return nil
		}
		c.stats.Tokens -= len(at.edge)
		delete(at.parent.children, at.edge[0])
		at = at.parent
	}
	if at.parent == nil && len(at.children) == 0 {
		delete(c.roots, at.tenant)
	}
	return nil
}

func (c *Cache) free(seq backend.SeqID) error {
	if err := c.o.KV.Free(seq); err != nil {
		return fmt.Errorf("free a prefix: %w", err)
	}
	return nil
}

// Clear gives up everything of a tenant, or of all, without telling Evicted. It
// returns how many entries there were.
func (c *Cache) Clear(all bool, tenant string) (n int, err error) {
	for _, leaf := range slices.Clone(c.ends) {
		if all || leaf.tenant == tenant {
			n++
			heap.Remove(&c.ends, leaf.place)
			err = errors.Join(err, c.free(leaf.seq))
		}
	}
	for name, root := range c.roots {
		if all || name == tenant {
			c.stats.Tokens -= root.tokens()
			delete(c.roots, name)
		}
	}
	return n, err
}

// tokens counts those of the edges to a node and to all below it.
func (at *node) tokens() int {
	n := len(at.edge)
	for _, child := range at.children {
		n += child.tokens()
	}
	return n
}

// Stats says how things stand.
func (c *Cache) Stats() Stats {
	s := c.stats
	s.Entries = len(c.ends)
	return s
}

// All yields the entries and their sequences, the last used first.
func (c *Cache) All(yield func(e Entry, seq backend.SeqID) bool) {
	leaves := slices.Clone(c.ends)
	slices.SortFunc(leaves, func(a, b *node) int { return cmp.Compare(b.used, a.used) })
	for _, l := range leaves {
		if !yield(l.entry(), l.seq) {
			return
		}
	}
}

// entry writes the tokens out.
func (at *node) entry() Entry {
	e := Entry{Tenant: at.tenant, Tokens: make([]int32, at.depth), Used: at.when, Hits: at.hits}
	for n := at; n.parent != nil; n = n.parent {
		copy(e.Tokens[n.parent.depth:], n.edge)
	}
	return e
}

// ends is a heap of leaves, the one used longest ago first.
type ends []*node

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].used < e[j].used }
func (e ends) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].place, e[j].place = i, j
}

// Push implements heap.Interface.
func (e *ends) Push(x any) {
	n := x.(*node)
	n.place = len(*e)
	*e = append(*e, n)
}

// Pop implements heap.Interface.
func (e *ends) Pop() any {
	n := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	n.place = -1
	return n
}

package grammar

import (
	"math/bits"
	"slices"
)

// A charset is a set of characters: some of ASCII's, and all others or none of them.
type charset struct {
	ascii [2]uint64
	other bool
}

func (c *charset) add(b byte)      { c.ascii[b>>6] |= 1 << (b & 63) }
func (c *charset) has(b byte) bool { return b < 0x80 && c.ascii[b>>6]>>(b&63)&1 == 1 }

// within says whether all of c is in d.
func (c charset) within(d charset) bool {
	return c.ascii[0]&^d.ascii[0] == 0 && c.ascii[1]&^d.ascii[1] == 0 && (d.other || !c.other)
}

func (c charset) size() int {
	n := bits.OnesCount64(c.ascii[0]) + bits.OnesCount64(c.ascii[1])
	if c.other {
		n += 0x80
	}
	return n
}

// ranges is the set of the characters of ASCII given as pairs of a first and a last.
func ranges(pairs string) (c charset) {
	for i := 0; i < len(pairs); i += 2 {
		for b := pairs[i]; b <= pairs[i+1]; b++ {
			c.add(b)
		}
	}
	return c
}

// plain is what JSON strings are made of, but for quotes, escapes and controls.
var plain = func() charset {
	c := ranges(" !#[]~")
	c.other = true
	return c
}()

// classChars is the number of characters up to which a class counts exactly.
const classChars = 16

// maxClasses bounds the classes that a vocabulary has: each takes half a megabyte of memory for
// 128,000 tokens.
const maxClasses = 32

// minClass is the number of characters from which a class is worth its memory: with
// less, few tokens are walked for.
const minClass = 8

// A class is what a vocabulary has of the strings of one charset: where an automaton can read
// any n of its characters, all tokens of up to n of them are allowed, and needn't be walked for.
type class struct {
	set  charset
	upTo [classChars + 1][]uint32 // tokens of up to i+1 characters, then of any number

	// most is, by node of the trie, the most characters that one of its tokens has, or
	// foreign if one isn't of the class.
	most []uint8
}

const foreign = 255

func (v *Vocabulary) newClass(set charset) *class {
	t := &v.trie
	c := &class{set: set, most: make([]uint8, len(t.char))}
	for i := range c.upTo {
		c.upTo[i] = make([]uint32, v.MaskWords())
	}
	// By depth: the node, and how its text is read.
	path := make([]int32, 1, 64)
	texts := make([]utf8Text, 1, 64)
	for i := int32(1); i < int32(len(t.char)); i++ {
		d := int(t.depth[i])
		path, texts = append(path[:d], i), append(texts[:d], texts[d-1])
		text := &texts[d]
		text.read(set, t.char[i])
		if t.first[i] < 0 && !text.foreign {
			continue
		}
		chars := uint8(foreign)
		if !text.foreign && text.left == 0 && text.chars < foreign {
			chars = uint8(text.chars)
			words := c.upTo[min(int(chars), classChars+1)-1]
			for e := t.first[i]; e >= 0; e = t.next[e] {
				words[t.token[e]/32] |= 1 << (t.token[e] % 32)
			}
		}
		for j := d; j >= 0 && c.most[path[j]] < chars; j-- {
			c.most[path[j]] = chars
		}
	}
	for n := 1; n < len(c.upTo); n++ {
		for i, word := range c.upTo[n-1] {
			c.upTo[n][i] |= word
		}
	}
	return c
}

// A utf8Text is a text of a charset that is read byte by byte.
type utf8Text struct {
	chars   int
	foreign bool // it isn't of the charset
	left    int  // bytes of a character that are still to come
	lo, hi  byte // of the next of them
}

func (t *utf8Text) read(set charset, b byte) {
	switch {
	case t.foreign:
	case t.left > 0:
		t.foreign = b < t.lo || b > t.hi
		t.left--
		t.lo, t.hi = 0x80, 0xbf
		if t.left == 0 {
			t.chars++
		}
	case b < 0x80:
		t.foreign = !set.has(b)
		t.chars++
	default:
		i := slices.IndexFunc(leads, func(l lead) bool { return l.first <= b && b <= l.last })
		if t.foreign = i < 0 || !set.other; !t.foreign {
			t.left, t.lo, t.hi = leads[i].more, leads[i].lo, leads[i].hi
		}
	}
}

// A lead is a range of bytes that begin a character of UTF-8 of several bytes (RFC 3629,
// section 4): how many come after them, and the range of the first of these.
type lead struct {
	first, last byte
	more        int
	lo, hi      byte
}

var leads = []lead{
	{0xc2, 0xdf, 1, 0x80, 0xbf},
	{0xe0, 0xe0, 2, 0xa0, 0xbf},
	{0xe1, 0xec, 2, 0x80, 0xbf},
	{0xed, 0xed, 2, 0x80, 0x9f},
	{0xee, 0xef, 2, 0x80, 0xbf},
	{0xf0, 0xf0, 3, 0x90, 0xbf},
	{0xf1, 0xf3, 3, 0x80, 0xbf},
	{0xf4, 0xf4, 3, 0x80, 0x8f},
}

// usual are the charsets that vocabularies have classes of from the start.
var usual = []charset{
	plain,
	ranges(" !#[]~"), ranges("09AZaz"), ranges("AZaz"), ranges("09az"), ranges("09AZ"), ranges("09AZ__az"),
	ranges("--09AZ__az"), ranges("-.09AZ__az"), ranges("--09az"), ranges("09AFaf"), ranges("09af"), ranges("az"), ranges("AZ"), ranges("09"),
}

// addClass makes the class of a charset, unless there is one, or no room for another.
func (v *Vocabulary) addClass(set charset) {
	known := func() bool {
		return slices.ContainsFunc(*v.classes.Load(), func(c *class) bool { return c.set == set })
	}
	if known() {
		return
	}
	v.making.Lock()
	defer v.making.Unlock()
	all := *v.classes.Load()
	if known() || len(all) >= maxClasses {
		return
	}
	all = append(slices.Clone(all), v.newClass(set))
	slices.SortStableFunc(all, func(a, b *class) int { return b.set.size() - a.set.size() })
	v.classes.Store(&all)
}

// prepareClasses finds the characters that each state of a program reads, and makes the
// classes that its counted repetitions need.
func (v *Vocabulary) prepareClasses(p *program) {
	const repeated = 6 // states that read the same, from which on a class is worth its time
	counts := make(map[charset]int)
	p.chars = make([]charset, len(p.states))
	for i := range p.states {
		p.chars[i] = p.reads(int32(i))
		// What ends JSON's strings or begins an escape there is left out: a class for each
		// charset with and without them would be one too many.
		set := p.chars[i]
		set.ascii[0] &= plain.ascii[0]
		set.ascii[1] &= plain.ascii[1]
		if set.size() >= minClass && !plain.within(set) {
			counts[set]++
		}
	}
	for set, n := range counts {
		if n >= repeated {
			v.addClass(set)
		}
	}
}

// reads returns the characters that can be read from a state within its rule; what calls
// read is not among them.
func (p *program) reads(s int32) (c charset) {
	edges := p.states[s].edges
	for _, e := range edges {
		if e.lo >= 0x80 {
			break
		}
		for b := e.lo; b <= min(e.hi, 0x7f); b++ {
			c.add(b)
		}
	}
	c.other = len(edges) > 0 && edges[len(edges)-1].hi >= 0xf4 && p.others(s, func(int32) {})
	return c
}

// others says whether all characters beyond ASCII can be read from a state, and visits the
// states that they lead to.
func (p *program) others(s int32, visit func(int32)) bool {
	for _, l := range leads {
		if !p.cover(s, l.first, l.last, l.more, l.lo, l.hi, visit) {
			return false
		}
	}
	return true
}

// cover says whether all texts that begin with a byte of first..last, go on with one of
// lo..hi and then with continuation bytes, more in all, can be read from s.
func (p *program) cover(s int32, first, last byte, more int, lo, hi byte, visit func(int32)) bool {
	at := int(first)
	for _, e := range p.states[s].edges {
		if int(e.hi) < at {
			continue
		}
		if int(e.lo) > at || at > int(last) {
			break
		}
		if more == 0 {
			visit(e.to)
		} else if !p.cover(e.to, lo, hi, more-1, 0x80, 0xbf, visit) {
			return false
		}
		at = int(e.hi) + 1
	}
	return at > int(last)
}

const (
	// endless is the number of characters where any number can be read.
	endless = 1 << 20
	// maxCounted bounds the states that are looked at to count.
	maxCounted = 2000
)

// count returns how many characters of a set can certainly be read from a state, whichever they
// are: up to classChars, or endless. If it is exact, then no more than these can be, nor
// can the rule end or call another on the way.
func (p *program) count(s int32, set charset) (n int, exact bool) {
	seen := map[int32]int{s: 0} // the last level that a state was in
	level, next := []int32{s}, []int32(nil)
	exact = true
	for n = 0; n < classChars; n++ {
		closed := 0
		for _, t := range level {
			exact = exact && !p.states[t].branches
			if c := &p.chars[t]; !set.within(*c) {
				closed++
				edges := p.states[t].edges
				exact = exact && c.ascii[0]&set.ascii[0]|c.ascii[1]&set.ascii[1] == 0 && !(set.other && len(edges) > 0 && edges[len(edges)-1].hi >= 0x80)
			}
		}
		if closed > 0 {
			return n, exact && closed == len(level)
		}
		fresh := false
		next = next[:0]
		visit := func(to int32) {
			at, ok := seen[to]
			if fresh = fresh || !ok; !ok || at != n+1 {
				seen[to] = n + 1
				next = append(next, to)
			}
		}
		for _, t := range level {
			for _, e := range p.states[t].edges {
				if e.lo < 0x80 && set.meets(e.lo, e.hi) {
					visit(e.to)
				}
			}
			if set.other {
				p.others(t, visit)
			}
		}
		if !fresh {
			return endless, false // nothing leads elsewhere
		}
		if len(seen) > maxCounted {
			return n + 1, false
		}
		level, next = next, level
	}
	return n, false
}

// meets says whether a range of bytes has one of the set's ASCII.
func (c *charset) meets(lo, hi byte) bool {
	for b := lo; b <= min(hi, 0x7f); b++ {
		if c.has(b) {
			return true
		}
	}
	return false
}

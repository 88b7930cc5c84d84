package jinja

import (
	"cmp"
	"strings"
)

// equal is Python's ==.
func (x *execution) equal(a, b any) bool {
	x.work(1)
	if ai, af, aInt, ok := number(a); ok {
		bi, bf, bInt, ok := number(b)
		if aInt && bInt {
			return ok && ai == bi
		}
		return ok && af == bf
	}
	if as, ok := text(a); ok {
		bs, ok := text(b)
		if ok && len(as) == len(bs) {
			x.workBytes(len(as))
		}
		return ok && as == bs
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	case *sequence:
		b, ok := b.(*sequence)
		if !ok || a.kind != b.kind || len(a.items) != len(b.items) {
			return false
		}
		if a == b {
			return true
		}
		defer x.descend()()
		for i := range a.items {
			if !x.equal(a.items[i], b.items[i]) {
				return false
			}
		}
		return true
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		defer x.descend()()
		for i, k := range a.keys {
			if v, ok := b.get(k); !ok || !x.equal(a.values[i], v) {
				return false
			}
		}
		return true
	case rangeOf, bigInt:
		return a == b
	}
	return a == b // identity
}

// order is Python's ordering of a and b: numbers, strings, lists and tuples.
// The second result is false when they have none.
func (x *execution) order(a, b any) (int, bool) {
	x.work(1)
	if ai, af, aInt, ok := number(a); ok {
		bi, bf, bInt, ok := number(b)
		if aInt && bInt {
			return cmp.Compare(ai, bi), ok
		}
		return cmp.Compare(af, bf), ok
	}
	if as, ok := text(a); ok {
		bs, ok := text(b)
		x.workBytes(min(len(as), len(bs)))
		return strings.Compare(as, bs), ok
	}
	as, ok := a.(*sequence)
	bs, ok2 := b.(*sequence)
	if !ok || !ok2 || as.kind != bs.kind || as.kind > isTuple {
		return 0, false
	}
	defer x.descend()()
	for i := range min(len(as.items), len(bs.items)) {
		if !x.equal(as.items[i], bs.items[i]) {
			return x.order(as.items[i], bs.items[i])
		}
	}
	return cmp.Compare(len(as.items), len(bs.items)), true
}

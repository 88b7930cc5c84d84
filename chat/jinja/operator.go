package jinja

import (
	"math"
	"math/bits"
	"slices"
	"strings"
)

func (x *execution) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return x.equal(a, b)
	case "!=":
		return !x.equal(a, b)
	case "in":
		return x.contains(b, a)
	case "not in":
		return !x.contains(b, a)
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(*undefined); ok {
			x.failf("%s", u.message)
		}
	}
	c, ok := x.order(a, b)
	if !ok {
		x.failf("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	}
	switch op {
	case "<":
		return c < 0
	case ">":
		return c > 0
	case "<=":
		return c <= 0
	default:
		return c >= 0
	}
}

// contains is `item in container`.
func (x *execution) contains(container, item any) bool {
	switch c := container.(type) {
	case string, markup:
		s, _ := text(c)
		sub, ok := text(item)
		if !ok {
			x.failf("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		x.workBytes(len(s) + len(sub))
		return strings.Contains(s, sub)
	case *Dict:
		x.checkKey(item)
		if _, ok := hashKey(item); !ok {
			x.failf("unhashable type: '%s'", typeName(item))
		}
		_, ok := c.get(item)
		return ok
	}
	return slices.ContainsFunc(x.iterate(container), func(v any) bool { return x.equal(v, item) })
}

func (x *execution) sign(v any, minus bool) any {
	i, f, isInt, ok := number(v)
	switch {
	case !ok:
		x.operandError("unary +/-", v, v)
	case !minus && isInt:
		return i
	case !minus:
		return f
	case isInt && i == math.MinInt64:
		x.failf("integer overflow")
	case isInt:
		return -i
	}
	return -f
}

func (x *execution) operandError(op string, a, b any) {
	for _, v := range []any{a, b} {
		if u, ok := v.(*undefined); ok {
			x.failf("%s", u.message)
		}
	}
	x.failf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

func (x *execution) binary(op string, a, b any) any {
	if v, ok := x.sequenceOperation(op, a, b); ok {
		return v
	}
	ai, af, aInt, aOK := number(a)
	bi, bf, bInt, bOK := number(b)
	if !aOK || !bOK {
		x.operandError(op, a, b)
	}
	zero := bInt && bi == 0 || !bInt && bf == 0
	if zero && (op == "/" || op == "//" || op == "%") {
		x.failf("division by zero")
	}
	if aInt && bInt && op != "/" && !(op == "**" && bi < 0) {
		return x.integerOperation(op, ai, bi)
	}
	switch op {
	case "+":
		return af + bf
	case "-":
		return af - bf
	case "*":
		return af * bf
	case "/":
		return af / bf
	case "//":
		return math.Floor(af / bf)
	case "%":
		m := math.Mod(af, bf)
		if m != 0 && (m < 0) != (bf < 0) {
			m += bf
		}
		return m
	}
	if af == 0 && bf < 0 {
		x.failf("0.0 cannot be raised to a negative power")
	}
	return math.Pow(af, bf)
}

func (x *execution) integerOperation(op string, a, b int64) any {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c
		}
	case "*":
		if c, ok := multiply(a, b); ok {
			return c
		}
	case "//", "%":
		if a == math.MinInt64 && b == -1 {
			break
		}
		q, r := a/b, a%b
		if r != 0 && (r < 0) != (b < 0) {
			q--
			r += b
		}
		if op == "//" {
			return q
		}
		return r
	case "**":
		power, ok := int64(1), true
		// Past 63 steps every base but 0, 1 and -1 has overflowed.
		for n := min(b, 64+b&1); n > 0 && ok; n-- {
			power, ok = multiply(power, a)
		}
		if ok {
			return power
		}
	}
	x.failf("integer overflow")
	return nil
}

func multiply(a, b int64) (int64, bool) {
	c := a * b
	abs := func(v int64) uint64 {
		if v < 0 {
			return -uint64(v)
		}
		return uint64(v)
	}
	high, low := bits.Mul64(abs(a), abs(b))
	return c, high == 0 && low <= math.MaxInt64
}

// sequenceOperation is an operator on strings, lists and tuples.
func (x *execution) sequenceOperation(op string, a, b any) (any, bool) {
	as, aText := text(a)
	bs, bText := text(b)
	switch {
	case op == "+" && aText && bText:
		_, aSafe := a.(markup)
		_, bSafe := b.(markup)
		if aSafe && !bSafe {
			bs = escapeHTML(bs)
		} else if bSafe && !aSafe {
			as = escapeHTML(as)
		}
		x.workBytes(len(as) + len(bs))
		if aSafe || bSafe {
			return markup(as + bs), true
		}
		return as + bs, true
	case op == "%" && aText:
		return like(a, x.percent(as, b)), true
	case op == "+":
		l, ok := a.(*sequence)
		r, ok2 := b.(*sequence)
		if !ok || !ok2 || l.kind != r.kind || l.kind > isTuple {
			return nil, false
		}
		x.workItems(len(l.items) + len(r.items))
		return &sequence{l.kind, slices.Concat(l.items, r.items)}, true
	case op == "*":
		if _, _, isInt, ok := number(a); ok && isInt {
			a, b = b, a
		}
		n, _, isInt, ok := number(b)
		if !ok || !isInt {
			return nil, false
		}
		n = max(n, 0)
		if s, ok := text(a); ok {
			return like(a, x.repeat(s, n)), true
		}
		if s, ok := a.(*sequence); ok && s.kind <= isTuple {
			if n > 0 && int64(len(s.items)) > baseWork/n {
				x.failf("the repeated list is too long")
			}
			x.workItems(len(s.items) * int(n))
			return &sequence{s.kind, slices.Repeat(s.items, int(n))}, true
		}
	}
	return nil, false
}

func (x *execution) repeat(s string, n int64) string {
	n = max(n, 0)
	if n > 0 && int64(len(s)) > baseWork/n {
		x.failf("the repeated string is too long")
	}
	x.workBytes(len(s) * int(n))
	return strings.Repeat(s, int(n))
}

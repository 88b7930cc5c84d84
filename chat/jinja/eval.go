package jinja

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

func (x *execution) eval(e expr) any {
	x.work(1)
	x.nest()
	v := x.evalNode(e)
	x.nested--
	return v
}

func (x *execution) evalNode(e expr) any {
	switch e := e.(type) {
	case *literalExpr:
		return e.value
	case *nameExpr:
		return x.lookup(e.name)
	case *seqExpr:
		s := &sequence{kind: isList, items: make([]any, len(e.items))}
		if e.tuple {
			s.kind = isTuple
		}
		for i, item := range e.items {
			s.items[i] = x.eval(item)
		}
		return s
	case *dictExpr:
		d := new(Dict)
		for i, k := range e.keys {
			x.setKey(d, x.eval(k), x.eval(e.values[i]))
		}
		return d
	case *attrExpr:
		return x.attr(x.eval(e.object), e.name)
	case *itemExpr:
		object := x.eval(e.object)
		if s, ok := e.index.(*sliceExpr); ok {
			return x.slice(object, s)
		}
		return x.item(object, x.eval(e.index))
	case *callExpr:
		fn := x.eval(e.fn)
		return x.call(fn, x.positional(e.args), x.keywords(e.args))
	case *filterExpr:
		return e.fn(x, append([]any{x.eval(e.operand)}, x.positional(e.args)...), x.keywords(e.args))
	case *testExpr:
		return e.fn(x, append([]any{x.eval(e.operand)}, x.positional(e.args)...), x.keywords(e.args))
	case *notExpr:
		return !truth(x.eval(e.operand))
	case *signExpr:
		return x.sign(x.eval(e.operand), e.minus)
	case *binaryExpr:
		return x.binary(e.op, x.eval(e.left), x.eval(e.right))
	case *logicExpr:
		left := x.eval(e.left)
		if truth(left) == e.or {
			return left
		}
		return x.eval(e.right)
	case *compareExpr:
		left := x.eval(e.first)
		for i, op := range e.ops {
			right := x.eval(e.operands[i])
			if !x.compare(op, left, right) {
				return false
			}
			left = right
		}
		return true
	case *concatExpr:
		return x.concat(e.parts)
	case *condExpr:
		switch {
		case truth(x.eval(e.cond)):
			return x.eval(e.then)
		case e.orElse != nil:
			return x.eval(e.orElse)
		}
		return &undefined{fmt.Sprintf("the inline if-expression on line %d evaluated to false and no else section was defined.", x.line)}
	}
	x.failf("unexpected expression %T", e)
	return nil
}

func (x *execution) lookup(name string) any {
	if v, ok := x.scope.get(name); ok {
		return v
	}
	if f, ok := globals[name]; ok {
		return f
	}
	return &undefined{fmt.Sprintf("'%s' is undefined", name)}
}

// checkKey takes the work of hashing a key, and fails when it can't be one.
func (x *execution) checkKey(key any) {
	x.work(4)
	switch k := key.(type) {
	case string:
		x.workBytes(len(k))
	case *sequence:
		defer x.descend()()
		for _, item := range k.items {
			x.work(32) // a tuple's key is made of its elements', as text
			if s, ok := text(item); ok {
				x.work(len(s))
			}
			x.checkKey(item)
		}
	}
}

func (x *execution) setKey(d *Dict, key, value any) {
	x.checkKey(key)
	if !d.set(key, value) {
		x.failf("unhashable type: '%s'", typeName(key))
	}
}

func (x *execution) positional(a arguments) []any {
	if len(a.positional) == 0 && a.star == nil {
		return nil
	}
	args := make([]any, len(a.positional))
	for i, e := range a.positional {
		args[i] = x.eval(e)
	}
	if a.star != nil {
		args = append(args, x.iterate(x.eval(a.star))...)
	}
	return args
}

func (x *execution) keywords(a arguments) *Dict {
	d := new(Dict)
	for i, name := range a.names {
		d.set(name, x.eval(a.named[i]))
	}
	if a.starStar != nil {
		m, ok := x.eval(a.starStar).(*Dict)
		if !ok {
			x.failf("argument after ** must be a mapping")
		}
		for i, k := range m.keys {
			if _, ok := k.(string); !ok {
				x.failf("keywords must be strings")
			}
			d.set(k, m.values[i])
		}
	}
	return d
}

func (x *execution) call(fn any, args []any, kwargs *Dict) any {
	switch f := fn.(type) {
	case *function:
		return f.call(x, args, kwargs)
	case *instance:
		if f.call != nil {
			return f.call(x, args, kwargs)
		}
	case *undefined:
		x.failf("%s", f.message)
	}
	x.failf("'%s' object is not callable", typeName(fn))
	return nil
}

// attr is `object.name`: an attribute or method, else an item.
func (x *execution) attr(object any, name string) any {
	if v, ok := x.attribute(object, name); ok {
		return v
	}
	if d, ok := object.(*Dict); ok {
		if v, ok := d.get(name); ok {
			return v
		}
	}
	return x.missing(object, name)
}

// item is `object[key]`: an item, else an attribute or method.
func (x *execution) item(object, key any) any {
	switch o := object.(type) {
	case *Dict:
		x.checkKey(key)
		if v, ok := o.get(key); ok {
			return v
		}
	case *sequence:
		if i, _, isInt, ok := number(key); ok && isInt && o.kind <= isTuple {
			if i < 0 {
				i += int64(len(o.items))
			}
			if i >= 0 && i < int64(len(o.items)) {
				return o.items[i]
			}
		}
	case string, markup:
		if i, _, isInt, ok := number(key); ok && isInt {
			s, _ := text(o)
			if c, ok := x.character(s, i); ok {
				return like(o, c)
			}
		}
	case rangeOf:
		if i, _, isInt, ok := number(key); ok && isInt {
			if i < 0 {
				i += o.len()
			}
			if i >= 0 && i < o.len() {
				return o.start + i*o.step
			}
		}
	}
	if name, ok := text(key); ok {
		if v, ok := x.attribute(object, name); ok {
			return v
		}
	}
	return x.missing(object, key)
}

// missing is what looking up key in object gives when it isn't there. Looking
// into what is itself undefined fails.
func (x *execution) missing(object, key any) any {
	if u, ok := object.(*undefined); ok {
		x.failf("%s", u.message)
	}
	kind := typeName(object) + " object"
	if object == nil {
		kind = "None"
	}
	if _, ok := key.(string); ok {
		return &undefined{fmt.Sprintf("'%s' has no attribute %s", kind, x.repr(key))}
	}
	return &undefined{fmt.Sprintf("%s has no element %s", kind, x.repr(key))}
}

// attribute finds attributes and methods of every type.
func (x *execution) attribute(object any, name string) (any, bool) {
	switch o := object.(type) {
	case *instance:
		return o.attr(name)
	case *namespace:
		return o.attrs.get(name)
	case string, markup:
		if m, ok := stringMethods[name]; ok {
			return bind(name, m, o), true
		}
	case *Dict:
		if m, ok := dictMethods[name]; ok {
			return bind(name, m, o), true
		}
		if slices.Contains(dictMutators, name) {
			return unsafe(o, name), true
		}
	case *sequence:
		if m, ok := listMethods[name]; ok && o.kind <= isTuple {
			return bind(name, m, o), true
		}
		if o.kind == isList && slices.Contains(listMutators, name) {
			return unsafe(o, name), true
		}
	}
	return nil, false
}

// bind makes a method's function: the receiver is its first argument.
func bind(name string, method builtin, receiver any) *function {
	return &function{name, func(x *execution, args []any, kwargs *Dict) any {
		return method(x, append([]any{receiver}, args...), kwargs)
	}}
}

func unsafe(object any, name string) *undefined {
	return &undefined{fmt.Sprintf("access to attribute '%s' of '%s' object is unsafe.", name, typeName(object))}
}

// character is the code point at index i, from the end when negative.
func (x *execution) character(s string, i int64) (string, bool) {
	x.workBytes(len(s))
	if i < 0 {
		i += int64(utf8.RuneCountInString(s))
	}
	if i < 0 || i >= int64(len(s)) {
		return "", false
	}
	for _, r := range s {
		if i == 0 {
			return string(r), true
		}
		i--
	}
	return "", false
}

// slice is `object[start:stop:step]`.
func (x *execution) slice(object any, e *sliceExpr) any {
	part := func(e expr) (int64, bool) {
		if e == nil {
			return 0, false
		}
		v := x.eval(e)
		if v == nil {
			return 0, false
		}
		i, _, isInt, ok := number(v)
		if !ok || !isInt {
			x.failf("slice indices must be integers or None")
		}
		return i, true
	}
	start, hasStart := part(e.start)
	stop, hasStop := part(e.stop)
	step, hasStep := part(e.step)
	if !hasStep {
		step = 1
	}
	if step == 0 {
		x.failf("slice step cannot be zero")
	}
	indices := func(n int) (from, to, by int) {
		bound := func(i int64, given bool, otherwise, low, high int) int {
			if !given {
				return otherwise
			}
			if i < 0 {
				i += int64(n)
			}
			return int(max(int64(low), min(i, int64(high))))
		}
		by = int(max(-int64(n)-1, min(step, int64(n)+1)))
		if by > 0 {
			return bound(start, hasStart, 0, 0, n), bound(stop, hasStop, n, 0, n), by
		}
		return bound(start, hasStart, n-1, -1, n-1), bound(stop, hasStop, -1, -1, n-1), by
	}
	switch o := object.(type) {
	case string, markup:
		s, _ := text(o)
		x.workBytes(2 * len(s))
		runes := []rune(s)
		from, to, by := indices(len(runes))
		if by == 1 {
			return like(o, string(runes[from:max(from, to)]))
		}
		return like(o, string(stride(runes, from, to, by)))
	case *sequence:
		if o.kind > isTuple {
			break
		}
		from, to, by := indices(len(o.items))
		kept := stride(o.items, from, to, by)
		x.workItems(len(kept))
		return &sequence{o.kind, kept}
	case rangeOf:
		items := x.iterate(o)
		from, to, by := indices(len(items))
		return NewList(stride(items, from, to, by)...)
	case *undefined:
		x.failf("%s", o.message)
	}
	return x.missing(object, "slice")
}

func stride[T any](items []T, from, to, by int) []T {
	var kept []T
	for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
		kept = append(kept, items[i])
	}
	return kept
}

// like gives s the type of the string it came from.
func like(original any, s string) any {
	if _, ok := original.(markup); ok {
		return markup(s)
	}
	return s
}

func (x *execution) concat(parts []expr) string {
	var b strings.Builder
	for _, p := range parts {
		s := x.str(x.eval(p))
		x.workBytes(len(s))
		b.WriteString(s)
	}
	return b.String()
}

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

// iterate returns what a loop over v visits. The result is not to be changed.
func (x *execution) iterate(v any) []any {
	switch v := v.(type) {
	case *sequence:
		return v.items
	case *generator:
		items := v.items
		v.items = nil
		return items
	case *Dict:
		return v.keys
	case string, markup:
		s, _ := text(v)
		x.workItems(len(s))
		items := make([]any, 0, len(s))
		for _, r := range s {
			items = append(items, string(r))
		}
		return items
	case rangeOf:
		x.workItems(int(v.len()))
		items := make([]any, v.len())
		for i := range items {
			items[i] = v.start + int64(i)*v.step
		}
		return items
	case *undefined:
		return nil
	}
	x.failf("'%s' object is not iterable", typeName(v))
	return nil
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

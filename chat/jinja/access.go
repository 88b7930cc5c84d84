package jinja

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

func (x *execution) lookup(name string) any {
	if v, ok := x.scope.get(name); ok {
		return v
	}
	if f, ok := globals[name]; ok {
		return f
	}
	return &undefined{fmt.Sprintf("'%s' is undefined", name)}
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

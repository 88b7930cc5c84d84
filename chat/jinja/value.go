package jinja

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A template's values are nil (None), bool, int64, float64, string and the types
// below. Strings are UTF-8; templates count them in code points. All are
// immutable once made, as in Jinja's ImmutableSandboxedEnvironment, save
// namespaces.
type (
	// markup is a string that is safe for HTML: mixing it with a plain string
	// escapes that one.
	markup string
	// bigInt is a JSON integer beyond int64. It can be printed and compared for
	// equality, nothing else.
	bigInt string
	// sequence is a list, a tuple or a view of a dictionary.
	sequence struct {
		kind  sequenceKind
		items []any
	}
	// generator is what lazy filters return: it can be iterated once.
	generator struct{ items []any }
	rangeOf   struct{ start, stop, step int64 }
	namespace struct{ attrs Dict }
	// function is anything callable.
	function struct {
		name string
		call builtin
	}
	// instance is a value with attributes only: loop, cycler, macro.
	instance struct {
		typeName string
		attr     func(name string) (any, bool)
		call     builtin // nil when it can't be called
	}
	// undefined is the value of what doesn't exist. It prints as nothing and is
	// false and empty; any other use fails with its message.
	undefined struct{ message string }
)

type sequenceKind uint8

const (
	isList sequenceKind = iota
	isTuple
	isKeys
	isValues
	isItems
)

// Dict is a dictionary in insertion order. Keys are strings unless a template
// made it.
type Dict struct {
	keys   []any
	values []any
	index  map[any]int
}

// hashKey maps keys that are equal in Python to equal Go keys.
func hashKey(key any) (any, bool) {
	switch k := key.(type) {
	case nil, int64, string, bigInt:
		return k, true
	case bool:
		return toInt(k), true
	case markup:
		return string(k), true
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<62 {
			return int64(k), true
		}
		return k, true
	case *undefined:
		return undefined{}, true
	case *sequence:
		if k.kind != isTuple {
			return nil, false
		}
		var b strings.Builder
		for _, item := range k.items {
			h, ok := hashKey(item)
			if !ok {
				return nil, false
			}
			fmt.Fprintf(&b, "%T %v\x00", h, h)
		}
		return [1]string{b.String()}, true
	}
	return nil, false
}

// Get looks a key up.
func (d *Dict) Get(key string) (any, bool) { return d.get(key) }

func (d *Dict) get(key any) (any, bool) {
	h, ok := hashKey(key)
	if !ok {
		return nil, false
	}
	i, ok := d.index[h]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// Set adds or replaces an entry.
func (d *Dict) Set(key string, value any) { d.set(key, value) }

// set reports whether key can be one.
func (d *Dict) set(key, value any) bool {
	h, ok := hashKey(key)
	if !ok {
		return false
	}
	if i, ok := d.index[h]; ok {
		d.values[i] = value
		return true
	}
	if d.index == nil {
		d.index = make(map[any]int)
	}
	d.index[h] = len(d.keys)
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
	return true
}

func (d *Dict) items() []any {
	items := make([]any, len(d.keys))
	for i, k := range d.keys {
		items[i] = &sequence{isTuple, []any{k, d.values[i]}}
	}
	return items
}

// All iterates over the entries whose keys are strings, in order.
func (d *Dict) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for i, k := range d.keys {
			if name, ok := k.(string); ok && !yield(name, d.values[i]) {
				return
			}
		}
	}
}

// NewList makes a list of values.
func NewList(items ...any) any { return &sequence{isList, items} }

// Elements iterates over the elements of a list; over nothing if v isn't one.
func Elements(v any) iter.Seq[any] {
	list, ok := v.(*sequence)
	if !ok {
		return func(func(any) bool) {}
	}
	return slices.Values(list.items)
}

func (r rangeOf) len() int64 {
	// In uint64, where the distance of any two int64 fits.
	var n uint64
	switch {
	case r.step > 0 && r.start < r.stop:
		n = (uint64(r.stop)-uint64(r.start)-1)/uint64(r.step) + 1
	case r.step < 0 && r.start > r.stop:
		n = (uint64(r.start)-uint64(r.stop)-1)/-uint64(r.step) + 1
	}
	return int64(min(n, math.MaxInt64))
}

// typeName is the name of the value's Python type.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, bigInt:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *Dict:
		return "dict"
	case *sequence:
		return [...]string{"list", "tuple", "dict_keys", "dict_values", "dict_items"}[v.kind]
	case *generator:
		return "generator"
	case rangeOf:
		return "range"
	case *namespace:
		return "Namespace"
	case *instance:
		return v.typeName
	case *function:
		return "function"
	case *undefined:
		return "Undefined"
	}
	return fmt.Sprintf("%T", v)
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *sequence:
		return len(v.items) > 0
	case *Dict:
		return len(v.keys) > 0
	case rangeOf:
		return v.len() > 0
	}
	return true
}

// text returns the string that v is.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// number returns v as an integer or a float; isInt tells which.
func number(v any) (i int64, f float64, isInt, ok bool) {
	switch v := v.(type) {
	case int64:
		return v, float64(v), true, true
	case bool:
		i := toInt(v)
		return i, float64(i), true, true
	case float64:
		return 0, v, false, true
	}
	return 0, 0, false, false
}

func toInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

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

// str is Python's str().
func (x *execution) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *undefined:
		return ""
	}
	return x.repr(v)
}

// repr is Python's repr().
func (x *execution) repr(v any) string {
	var b strings.Builder
	x.writeRepr(&b, v)
	x.workBytes(b.Len())
	return b.String()
}

func (x *execution) writeRepr(b *strings.Builder, v any) {
	x.work(1)
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case bigInt:
		b.WriteString(string(v))
	case float64:
		b.WriteString(formatFloat(v))
	case string:
		x.workBytes(len(v))
		quote(b, v)
	case markup:
		x.workBytes(len(v))
		b.WriteString("Markup(")
		quote(b, string(v))
		b.WriteByte(')')
	case *sequence:
		x.writeSequence(b, v)
	case *Dict:
		x.writeDict(b, v)
	case rangeOf:
		fmt.Fprintf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			fmt.Fprintf(b, ", %d", v.step)
		}
		b.WriteByte(')')
	case *namespace:
		b.WriteString("<Namespace ")
		x.writeDict(b, &v.attrs)
		b.WriteByte('>')
	case *undefined:
		b.WriteString("Undefined")
	default:
		fmt.Fprintf(b, "<%s>", typeName(v))
	}
}

func (x *execution) writeSequence(b *strings.Builder, s *sequence) {
	defer x.descend()()
	open, end := "[", "]"
	switch s.kind {
	case isTuple:
		open, end = "(", ")"
		if len(s.items) == 1 {
			end = ",)"
		}
	case isKeys, isValues, isItems:
		open, end = typeName(s)+"([", "])"
	}
	b.WriteString(open)
	for i, item := range s.items {
		if i > 0 {
			b.WriteString(", ")
		}
		x.writeRepr(b, item)
	}
	b.WriteString(end)
}

func (x *execution) writeDict(b *strings.Builder, d *Dict) {
	defer x.descend()()
	b.WriteByte('{')
	for i, key := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		x.writeRepr(b, key)
		b.WriteString(": ")
		x.writeRepr(b, d.values[i])
	}
	b.WriteByte('}')
}

// formatFloat is Python's repr of a float: the shortest digits that read back,
// with an exponent below 1e-4 and from 1e16.
func formatFloat(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case a != 0 && (a < 1e-4 || a >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote writes Python's repr of a string.
func quote(b *strings.Builder, s string) {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b.WriteByte(q)
	for i, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteRune(r) // an invalid byte, which Python's strings can't hold
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
}

package jinja

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
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

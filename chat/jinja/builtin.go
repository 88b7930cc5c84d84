package jinja

import (
	"math"
	"strings"
)

// builtin is a function, filter, test or method; a filter's or test's operand and
// a method's receiver are its first argument.
type builtin func(x *execution, args []any, kwargs *Dict) any

// absent stands for a parameter that a call doesn't give.
type absent struct{}

// params sorts a call's arguments under the names of fn's parameters, of which
// the first required ones must be given.
func (x *execution) params(fn string, args []any, kwargs *Dict, required int, names ...string) []any {
	if len(args) > len(names) {
		x.failf("%s() takes at most %d arguments (%d given)", fn, len(names), len(args))
	}
	bound := make([]any, len(names))
	for i := range bound {
		bound[i] = absent{}
	}
	copy(bound, args)
	used := 0
	for i, name := range names {
		v, ok := kwargs.get(name)
		if !ok {
			if i < required && i >= len(args) {
				x.failf("%s() is missing the argument '%s'", fn, name)
			}
			continue
		}
		if i < len(args) {
			x.failf("%s() got multiple values for argument '%s'", fn, name)
		}
		bound[i] = v
		used++
	}
	if used < len(kwargs.keys) {
		for _, k := range kwargs.keys {
			found := false
			for _, name := range names {
				found = found || k == name
			}
			if !found {
				x.failf("%s() got an unexpected keyword argument '%v'", fn, k)
			}
		}
	}
	return bound
}

// given reports whether a parameter has a value other than None.
func given(v any) bool { return v != absent{} && v != nil }

// flag is a boolean parameter, false when left out.
func flag(v any) bool { return v != absent{} && truth(v) }

func (x *execution) integer(v any, otherwise int64) int64 {
	if v == (absent{}) {
		return otherwise
	}
	i, _, isInt, ok := number(v)
	if !ok || !isInt {
		x.failf("'%s' object cannot be interpreted as an integer", typeName(v))
	}
	return i
}

// need returns the text of an argument that must be a string.
func (x *execution) need(v any) string {
	s, ok := text(v)
	if !ok {
		if u, ok := v.(*undefined); ok {
			x.failf("%s", u.message)
		}
		x.failf("a string is expected, got '%s'", typeName(v))
	}
	x.workBytes(len(s))
	return s
}

// soft is a filter's operand as text: markup stays itself, all else is printed.
func (x *execution) soft(v any) string {
	s := x.str(v)
	x.workBytes(len(s))
	return s
}

func escapeHTML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;").Replace(s)
}

// maxRange is the sandbox's limit on a range.
const maxRange = 100_000

var globals = map[string]any{
	"range":           &function{"range", callRange},
	"dict":            &function{"dict", callDict},
	"namespace":       &function{"namespace", callNamespace},
	"joiner":          &function{"joiner", callJoiner},
	"cycler":          &function{"cycler", callCycler},
	"raise_exception": &function{"raise_exception", callRaise},
	"strftime_now":    &function{"strftime_now", callStrftime},
}

func callRange(x *execution, args []any, kwargs *Dict) any {
	a := x.params("range", args, kwargs, 1, "start", "stop", "step")
	r := rangeOf{0, x.integer(a[0], 0), x.integer(a[2], 1)}
	if a[1] != (absent{}) {
		r.start, r.stop = r.stop, x.integer(a[1], 0)
	}
	if r.step == 0 {
		x.failf("range() arg 3 must not be zero")
	}
	if r.len() > maxRange {
		x.failf("range too big: the sandbox blocks ranges larger than %d", maxRange)
	}
	return r
}

func callDict(x *execution, args []any, kwargs *Dict) any {
	if len(args) > 1 {
		x.failf("dict expected at most 1 argument, got %d", len(args))
	}
	d := new(Dict)
	for _, arg := range args {
		if m, ok := arg.(*Dict); ok {
			for i, k := range m.keys {
				x.setKey(d, k, m.values[i])
			}
			continue
		}
		for _, pair := range x.iterate(arg) {
			kv := x.iterate(pair)
			if len(kv) != 2 {
				x.failf("a dictionary is made of pairs, got %d elements", len(kv))
			}
			x.setKey(d, kv[0], kv[1])
		}
	}
	for i, k := range kwargs.keys {
		x.setKey(d, k, kwargs.values[i])
	}
	return d
}

func callNamespace(x *execution, args []any, kwargs *Dict) any {
	d := callDict(x, args, kwargs).(*Dict)
	for _, k := range d.keys {
		if s, ok := text(k); ok && strings.HasPrefix(s, "_") {
			x.failf("chat templates cannot store underscore-prefixed attributes on a namespace, but got '%s'", s)
		}
	}
	return &namespace{*d}
}

func callJoiner(x *execution, args []any, kwargs *Dict) any {
	a := x.params("joiner", args, kwargs, 0, "sep")
	sep := any(", ")
	if a[0] != (absent{}) {
		sep = a[0]
	}
	used := false
	return &function{"joiner", func(x *execution, args []any, kwargs *Dict) any {
		if !used {
			used = true
			return ""
		}
		return sep
	}}
}

func callCycler(x *execution, args []any, kwargs *Dict) any {
	if len(args) == 0 {
		x.failf("at least one item has to be provided")
	}
	at := 0
	method := func(name string, f func() any) *function {
		return &function{name, func(*execution, []any, *Dict) any { return f() }}
	}
	return &instance{typeName: "Cycler", attr: func(name string) (any, bool) {
		switch name {
		case "current":
			return args[at], true
		case "next":
			return method("next", func() any {
				v := args[at]
				at = (at + 1) % len(args)
				return v
			}), true
		case "reset":
			return method("reset", func() any {
				at = 0
				return nil
			}), true
		}
		return nil, false
	}}
}

func callRaise(x *execution, args []any, kwargs *Dict) any {
	a := x.params("raise_exception", args, kwargs, 1, "message")
	panic(&Raised{Message: x.str(a[0])})
}

func callStrftime(x *execution, args []any, kwargs *Dict) any {
	a := x.params("strftime_now", args, kwargs, 1, "format")
	return strftime(x.now, x.need(a[0]))
}

// toFloat is Python's float() of a value that a template may have.
func (x *execution) toFloat(v any) (float64, bool) {
	if _, f, _, ok := number(v); ok {
		return f, true
	}
	if s, ok := text(v); ok {
		return parseFloat(s)
	}
	return 0, false
}

// truncate is Python's int() of a float.
func (x *execution) truncate(f float64) int64 {
	if math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		x.failf("cannot convert float %s to an integer", formatFloat(f))
	}
	return int64(f)
}

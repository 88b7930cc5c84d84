package jinja

import (
	"strings"
	"unicode"
)

// testTable is what may follow `is`.
var testTable map[string]builtin

func init() {
	testTable = map[string]builtin{
		"defined":     kind(func(v any) bool { _, ok := v.(*undefined); return !ok }),
		"undefined":   kind(func(v any) bool { _, ok := v.(*undefined); return ok }),
		"none":        kind(func(v any) bool { return v == nil }),
		"boolean":     kind(func(v any) bool { _, ok := v.(bool); return ok }),
		"true":        kind(func(v any) bool { return v == true }),
		"false":       kind(func(v any) bool { return v == false }),
		"integer":     kind(func(v any) bool { return typeName(v) == "int" }),
		"float":       kind(func(v any) bool { _, ok := v.(float64); return ok }),
		"number":      kind(func(v any) bool { _, _, _, ok := number(v); return ok || typeName(v) == "int" }),
		"string":      kind(func(v any) bool { _, ok := text(v); return ok }),
		"mapping":     kind(func(v any) bool { _, ok := v.(*Dict); return ok }),
		"iterable":    kind(isIterable),
		"sequence":    kind(isSequence),
		"callable":    kind(isCallable),
		"escaped":     kind(func(v any) bool { _, ok := v.(markup); return ok }),
		"lower":       caseTest(unicode.IsLower, unicode.IsUpper),
		"upper":       caseTest(unicode.IsUpper, unicode.IsLower),
		"odd":         divisible(2, false),
		"even":        divisible(2, true),
		"divisibleby": testDivisibleBy,
		"in":          testIn,
		"sameas":      testSameAs,
		"filter":      kind(func(v any) bool { s, ok := text(v); return ok && filterTable[s] != nil }),
		"test":        kind(func(v any) bool { s, ok := text(v); return ok && testTable[s] != nil }),
	}
	for op, names := range map[string]string{
		"==": "== eq equalto", "!=": "!= ne", ">": "> gt greaterthan", ">=": ">= ge", "<": "< lt lessthan", "<=": "<= le",
	} {
		for name := range strings.FieldsSeq(names) {
			testTable[name] = func(x *execution, args []any, kwargs *Dict) any {
				a := x.params(name, args, kwargs, 2, "value", "other")
				return x.compare(op, a[0], a[1])
			}
		}
	}
}

func kind(is func(any) bool) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		return is(x.params("test", args, kwargs, 1, "value")[0])
	}
}

func isIterable(v any) bool {
	switch v := v.(type) {
	case string, markup, *sequence, *Dict, *generator, rangeOf, *undefined:
		return true
	case *instance:
		return v.typeName == "LoopContext"
	}
	return false
}

func isSequence(v any) bool {
	switch v := v.(type) {
	case string, markup, *Dict, rangeOf:
		return true
	case *sequence:
		return v.kind <= isTuple
	}
	return false
}

func isCallable(v any) bool {
	switch v := v.(type) {
	case *function, *undefined:
		return true
	case *instance:
		return v.call != nil
	}
	return false
}

// caseTest is Python's islower or isupper: some letter of that case, none of the other.
func caseTest(is, other func(rune) bool) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		a := x.params("test", args, kwargs, 1, "value")
		s := x.soft(a[0])
		return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, other) < 0
	}
}

func divisible(by int64, want bool) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		a := x.params("test", args, kwargs, 1, "value")
		return x.equal(x.binary("%", a[0], by), int64(0)) == want
	}
}

func testDivisibleBy(x *execution, args []any, kwargs *Dict) any {
	a := x.params("divisibleby", args, kwargs, 2, "value", "num")
	return x.equal(x.binary("%", a[0], a[1]), int64(0))
}

func testIn(x *execution, args []any, kwargs *Dict) any {
	a := x.params("in", args, kwargs, 2, "value", "seq")
	return x.contains(a[1], a[0])
}

// testSameAs is Python's `is`, as far as it doesn't depend on how values are stored.
func testSameAs(x *execution, args []any, kwargs *Dict) any {
	a := x.params("sameas", args, kwargs, 2, "value", "other")
	return typeName(a[0]) == typeName(a[1]) && x.equal(a[0], a[1])
}

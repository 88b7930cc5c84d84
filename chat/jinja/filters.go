package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// filterTable is Jinja's built-in filters but those that chat templates have no
// use for. It is filled by init, since filters such as map look others up.
var filterTable map[string]builtin

func init() {
	filterTable = map[string]builtin{
		"abs":         filterAbs,
		"attr":        filterAttr,
		"batch":       filterBatch,
		"capitalize":  textFilter(capitalize),
		"center":      filterCenter,
		"count":       filterLength,
		"d":           filterDefault,
		"default":     filterDefault,
		"dictsort":    filterDictsort,
		"e":           filterEscape,
		"escape":      filterEscape,
		"first":       filterFirst,
		"float":       filterFloat,
		"forceescape": filterForceEscape,
		"format":      filterFormat,
		"from_json":   filterFromJSON,
		"groupby":     filterGroupby,
		"indent":      filterIndent,
		"int":         filterInt,
		"items":       filterItems,
		"join":        filterJoin,
		"last":        filterLast,
		"length":      filterLength,
		"list":        filterList,
		"lower":       textFilter(strings.ToLower),
		"map":         filterMap,
		"max":         extremum("max", 1),
		"min":         extremum("min", -1),
		"reject":      selection("reject", false, false),
		"rejectattr":  selection("rejectattr", true, false),
		"replace":     filterReplace,
		"reverse":     filterReverse,
		"round":       filterRound,
		"safe":        filterSafe,
		"select":      selection("select", false, true),
		"selectattr":  selection("selectattr", true, true),
		"slice":       filterSlice,
		"sort":        filterSort,
		"string":      filterString,
		"sum":         filterSum,
		"title":       textFilter(filterTitle),
		"tojson":      filterToJSON,
		"trim":        filterTrim,
		"truncate":    filterTruncate,
		"unique":      filterUnique,
		"upper":       textFilter(upper),
		"urlencode":   filterURLEncode,
		"wordcount":   filterWordcount,
	}
}

func textFilter(f func(string) string) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		a := x.params("filter", args, kwargs, 1, "s")
		return like(a[0], f(x.soft(a[0])))
	}
}

func filterAbs(x *execution, args []any, kwargs *Dict) any {
	a := x.params("abs", args, kwargs, 1, "x")
	i, f, isInt, ok := number(a[0])
	switch {
	case !ok:
		x.operandError("abs()", a[0], a[0])
	case isInt:
		if i < 0 {
			return x.sign(i, true)
		}
		return i
	}
	return math.Abs(f)
}

func filterAttr(x *execution, args []any, kwargs *Dict) any {
	a := x.params("attr", args, kwargs, 2, "obj", "name")
	name := x.need(a[1])
	if v, ok := x.attribute(a[0], name); ok {
		return v
	}
	return x.missing(a[0], name)
}

func filterCenter(x *execution, args []any, kwargs *Dict) any {
	a := x.params("center", args, kwargs, 1, "value", "width")
	return stringMethods["center"](x, []any{x.soft(a[0]), x.integer(a[1], 80)}, new(Dict))
}

func filterDefault(x *execution, args []any, kwargs *Dict) any {
	a := x.params("default", args, kwargs, 1, "value", "default_value", "boolean")
	_, isUndefined := a[0].(*undefined)
	if isUndefined || flag(a[2]) && !truth(a[0]) {
		if a[1] == (absent{}) {
			return ""
		}
		return a[1]
	}
	return a[0]
}

func filterEscape(x *execution, args []any, kwargs *Dict) any {
	a := x.params("escape", args, kwargs, 1, "s")
	if m, ok := a[0].(markup); ok {
		return m
	}
	return filterForceEscape(x, args, kwargs)
}

func filterForceEscape(x *execution, args []any, kwargs *Dict) any {
	a := x.params("forceescape", args, kwargs, 1, "value")
	s := escapeHTML(x.soft(a[0]))
	x.workBytes(len(s))
	return markup(s)
}

func filterSafe(x *execution, args []any, kwargs *Dict) any {
	a := x.params("safe", args, kwargs, 1, "value")
	return markup(x.soft(a[0]))
}

func filterFloat(x *execution, args []any, kwargs *Dict) any {
	a := x.params("float", args, kwargs, 1, "value", "default")
	if u, ok := a[0].(*undefined); ok {
		x.failf("%s", u.message)
	}
	if f, ok := x.toFloat(a[0]); ok {
		return f
	}
	if a[1] != (absent{}) {
		return a[1]
	}
	return 0.0
}

func filterInt(x *execution, args []any, kwargs *Dict) any {
	a := x.params("int", args, kwargs, 1, "value", "default", "base")
	if u, ok := a[0].(*undefined); ok {
		x.failf("%s", u.message)
	}
	if s, ok := text(a[0]); ok {
		digits := strings.TrimFunc(s, isSpace)
		base := x.integer(a[2], 10)
		if base == 0 || base >= 2 && base <= 36 {
			if prefix := map[int64]string{16: "0x", 8: "0o", 2: "0b"}[base]; prefix != "" {
				digits = strings.TrimPrefix(strings.ToLower(digits), prefix)
			}
			if n, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), int(base), 64); err == nil {
				return n
			}
		}
	}
	if f, ok := x.toFloat(a[0]); ok && !math.IsNaN(f) && math.Abs(f) < 1<<63 {
		if i, _, isInt, ok := number(a[0]); ok && isInt {
			return i
		}
		return int64(f)
	}
	if a[1] != (absent{}) {
		return a[1]
	}
	return int64(0)
}

func filterFormat(x *execution, args []any, kwargs *Dict) any {
	if len(args) > 1 && len(kwargs.keys) > 0 {
		x.failf("can't handle positional and keyword arguments at the same time")
	}
	format := x.soft(args[0])
	if len(kwargs.keys) > 0 {
		return like(args[0], x.percent(format, kwargs))
	}
	return like(args[0], x.percent(format, &sequence{isTuple, args[1:]}))
}

func filterIndent(x *execution, args []any, kwargs *Dict) any {
	a := x.params("indent", args, kwargs, 1, "s", "width", "first", "blank")
	s := x.soft(a[0])
	pad, ok := text(a[1])
	if !ok {
		pad = x.repeat(" ", x.integer(a[1], 4))
	}
	blank := flag(a[3])
	// Jinja adds a newline so that text that ends with one keeps it.
	lines := splitLines(s+"\n", false)
	for i := range lines {
		if i > 0 && (blank || lines[i] != "") {
			x.workBytes(len(pad))
			lines[i] = pad + lines[i]
		}
	}
	s = strings.Join(lines, "\n")
	if flag(a[2]) {
		s = pad + s
	}
	return like(a[0], s)
}

func filterReplace(x *execution, args []any, kwargs *Dict) any {
	a := x.params("replace", args, kwargs, 3, "s", "old", "new", "count")
	count := int64(-1)
	if given(a[3]) {
		count = x.integer(a[3], -1)
	}
	return x.replace(x.soft(a[0]), x.soft(a[1]), x.soft(a[2]), count)
}

func filterRound(x *execution, args []any, kwargs *Dict) any {
	a := x.params("round", args, kwargs, 1, "value", "precision", "method")
	precision := x.integer(a[1], 0)
	i, f, isInt, ok := number(a[0])
	if !ok {
		x.operandError("round()", a[0], a[0])
	}
	if precision < -300 || precision > 300 {
		x.failf("round() can't round to %d digits", precision)
	}
	power := math.Pow(10, float64(precision))
	switch a[2] {
	case absent{}, "common":
		if isInt && precision >= 0 {
			return i
		}
		if precision >= 0 && !math.IsInf(f, 0) {
			// By way of decimal digits, which are rounded exactly.
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(precision), 64), 64)
			return f
		}
		r := math.RoundToEven(f*power) / power
		if isInt {
			return x.truncate(r)
		}
		return r
	case "ceil":
		return math.Ceil(f*power) / power
	case "floor":
		return math.Floor(f*power) / power
	}
	x.failf("method must be common, ceil or floor")
	return nil
}

func filterString(x *execution, args []any, kwargs *Dict) any {
	a := x.params("string", args, kwargs, 1, "object")
	return like(a[0], x.soft(a[0]))
}

// filterTitle capitalizes after white space, dashes and opening brackets only,
// unlike the string's method.
func filterTitle(s string) string {
	var b strings.Builder
	within := false
	for _, r := range s {
		switch {
		case r == '-' || isSpace(r) || strings.ContainsRune("({[<", r):
			within = false
			b.WriteRune(r)
		case within:
			b.WriteString(strings.ToLower(string(r)))
		default:
			within = true
			b.WriteString(upper(string(r)))
		}
	}
	return b.String()
}

func filterTrim(x *execution, args []any, kwargs *Dict) any {
	a := x.params("trim", args, kwargs, 1, "value", "chars")
	return like(a[0], strings.TrimFunc(x.soft(a[0]), x.cutset(a[1])))
}

func filterTruncate(x *execution, args []any, kwargs *Dict) any {
	a := x.params("truncate", args, kwargs, 1, "s", "length", "killwords", "end", "leeway")
	s, length, leeway := x.soft(a[0]), x.integer(a[1], 255), x.integer(a[4], 5)
	end := "..."
	if a[3] != (absent{}) {
		end = x.need(a[3])
	}
	keep := length - int64(utf8.RuneCountInString(end))
	if keep < 0 || leeway < 0 {
		x.failf("truncate() needs a length of at least that of its end")
	}
	x.workBytes(4 * len(s))
	runes := []rune(s)
	if int64(len(runes)) <= length+leeway {
		return a[0]
	}
	cut := string(runes[:keep])
	if !flag(a[2]) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return like(a[0], cut+end)
}

func filterURLEncode(x *execution, args []any, kwargs *Dict) any {
	a := x.params("urlencode", args, kwargs, 1, "value")
	s := x.soft(a[0])
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.-~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	x.workBytes(b.Len())
	return b.String()
}

func filterWordcount(x *execution, args []any, kwargs *Dict) any {
	a := x.params("wordcount", args, kwargs, 1, "s")
	return int64(len(strings.FieldsFunc(x.soft(a[0]), func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
	})))
}

package jinja

import (
	"math"
	"slices"
	"sort"
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

func filterBatch(x *execution, args []any, kwargs *Dict) any {
	a := x.params("batch", args, kwargs, 2, "value", "linecount", "fill_with")
	items, n := x.iterate(a[0]), x.integer(a[1], 0)
	if n <= 0 {
		x.failf("batch() needs a positive size")
	}
	var batches []any
	for chunk := range slices.Chunk(items, int(min(n, int64(len(items)+1)))) {
		chunk = slices.Clone(chunk)
		for given(a[2]) && int64(len(chunk)) < n {
			x.work(4)
			chunk = append(chunk, a[2])
		}
		x.workItems(len(chunk))
		batches = append(batches, NewList(chunk...))
	}
	return &generator{batches}
}

func filterCenter(x *execution, args []any, kwargs *Dict) any {
	a := x.params("center", args, kwargs, 1, "value", "width")
	return stringMethods["center"](x, []any{x.soft(a[0]), x.integer(a[1], 80)}, new(Dict))
}

func filterDefault(x *execution, args []any, kwargs *Dict) any {
	a := x.params("default", args, kwargs, 1, "value", "default_value", "boolean")
	_, isUndefined := a[0].(*undefined)
	if isUndefined || x.boolean(a[2], false) && !truth(a[0]) {
		if a[1] == (absent{}) {
			return ""
		}
		return a[1]
	}
	return a[0]
}

// folded is a sort key: strings without regard to case, unless sensitive.
func folded(v any, sensitive bool) any {
	if s, ok := text(v); ok && !sensitive {
		return strings.ToLower(s)
	}
	return v
}

// sortBy sorts items in place by keys, stably.
func (x *execution) sortBy(items []any, keys []any, reverse bool) {
	x.work(4 * len(items))
	sort.Stable(&sorting{x, items, keys, reverse})
}

type sorting struct {
	x           *execution
	items, keys []any
	reverse     bool
}

func (s *sorting) Len() int { return len(s.items) }
func (s *sorting) Swap(i, j int) {
	s.x.work(1)
	s.items[i], s.items[j] = s.items[j], s.items[i]
	s.keys[i], s.keys[j] = s.keys[j], s.keys[i]
}
func (s *sorting) Less(i, j int) bool {
	if s.reverse {
		return s.x.compare(">", s.keys[i], s.keys[j])
	}
	return s.x.compare("<", s.keys[i], s.keys[j])
}

func filterDictsort(x *execution, args []any, kwargs *Dict) any {
	a := x.params("dictsort", args, kwargs, 1, "value", "case_sensitive", "by", "reverse")
	d, ok := a[0].(*Dict)
	if !ok {
		x.failf("dictsort needs a mapping, got '%s'", typeName(a[0]))
	}
	by := d.keys
	switch a[2] {
	case absent{}, "key":
	case "value":
		by = d.values
	default:
		x.failf("you can only sort by either \"key\" or \"value\"")
	}
	keys := make([]any, len(by))
	for i, k := range by {
		keys[i] = folded(k, x.boolean(a[1], false))
	}
	items := d.items()
	x.sortBy(items, keys, x.boolean(a[3], false))
	return NewList(items...)
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

func filterFirst(x *execution, args []any, kwargs *Dict) any {
	a := x.params("first", args, kwargs, 1, "seq")
	if g, ok := a[0].(*generator); ok && len(g.items) > 0 {
		v := g.items[0]
		g.items = g.items[1:]
		return v
	}
	if items := x.iterate(a[0]); len(items) > 0 {
		return items[0]
	}
	return &undefined{"No first item, sequence was empty."}
}

func filterLast(x *execution, args []any, kwargs *Dict) any {
	a := x.params("last", args, kwargs, 1, "seq")
	if _, ok := a[0].(*generator); ok {
		x.failf("'generator' object is not reversible")
	}
	if items := x.iterate(a[0]); len(items) > 0 {
		return items[len(items)-1]
	}
	return &undefined{"No last item, sequence was empty."}
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

// getter makes the lookup of an attribute path such as "function.name" or 0.
func (x *execution) getter(path any, otherwise any) func(any) any {
	var parts []any
	if s, ok := text(path); ok {
		for part := range strings.SplitSeq(s, ".") {
			if n, err := strconv.ParseInt(part, 10, 64); err == nil && n >= 0 {
				parts = append(parts, n)
			} else {
				parts = append(parts, part)
			}
		}
	} else if given(path) {
		parts = append(parts, path)
	}
	return func(v any) any {
		for _, part := range parts {
			x.work(1)
			v = x.item(v, part)
			if _, ok := v.(*undefined); ok && otherwise != (absent{}) {
				v = otherwise
			}
		}
		return v
	}
}

func filterGroupby(x *execution, args []any, kwargs *Dict) any {
	a := x.params("groupby", args, kwargs, 2, "value", "attribute", "default", "case_sensitive")
	get := x.getter(a[1], a[2])
	sensitive := x.boolean(a[3], false)
	items := slices.Clone(x.iterate(a[0]))
	keys := make([]any, len(items))
	for i, item := range items {
		keys[i] = folded(get(item), sensitive)
	}
	x.sortBy(items, keys, false)
	var groups []any
	for i := 0; i < len(items); {
		j := i + 1
		for j < len(items) && x.equal(keys[i], keys[j]) {
			j++
		}
		groups = append(groups, &sequence{isTuple, []any{get(items[i]), NewList(items[i:j]...)}})
		i = j
	}
	return NewList(groups...)
}

func filterIndent(x *execution, args []any, kwargs *Dict) any {
	a := x.params("indent", args, kwargs, 1, "s", "width", "first", "blank")
	s := x.soft(a[0])
	pad, ok := text(a[1])
	if !ok {
		pad = x.repeat(" ", x.integer(a[1], 4))
	}
	blank := x.boolean(a[3], false)
	// Jinja adds a newline so that text that ends with one keeps it.
	lines := splitLines(s+"\n", false)
	for i := range lines {
		if i > 0 && (blank || lines[i] != "") {
			x.workBytes(len(pad))
			lines[i] = pad + lines[i]
		}
	}
	s = strings.Join(lines, "\n")
	if x.boolean(a[2], false) {
		s = pad + s
	}
	return like(a[0], s)
}

func filterItems(x *execution, args []any, kwargs *Dict) any {
	a := x.params("items", args, kwargs, 1, "value")
	switch v := a[0].(type) {
	case *undefined:
		return &generator{}
	case *Dict:
		x.work(8 * len(v.keys))
		return &generator{v.items()}
	}
	x.failf("Can only get item pairs from a mapping.")
	return nil
}

func filterJoin(x *execution, args []any, kwargs *Dict) any {
	a := x.params("join", args, kwargs, 1, "value", "d", "attribute")
	sep := ""
	if a[1] != (absent{}) {
		sep = x.str(a[1])
	}
	get := x.getter(a[2], absent{})
	items := x.iterate(a[0])
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = x.str(get(item))
		x.workBytes(len(parts[i]) + len(sep))
	}
	return strings.Join(parts, sep)
}

func filterLength(x *execution, args []any, kwargs *Dict) any {
	a := x.params("length", args, kwargs, 1, "obj")
	switch v := a[0].(type) {
	case string, markup:
		s, _ := text(v)
		x.workBytes(len(s))
		return int64(utf8.RuneCountInString(s))
	case *sequence:
		return int64(len(v.items))
	case *Dict:
		return int64(len(v.keys))
	case rangeOf:
		return v.len()
	case *undefined:
		return int64(0)
	case *instance:
		if n, ok := v.attr("length"); ok {
			return n
		}
	}
	x.failf("object of type '%s' has no len()", typeName(a[0]))
	return nil
}

func filterList(x *execution, args []any, kwargs *Dict) any {
	a := x.params("list", args, kwargs, 1, "value")
	items := x.iterate(a[0])
	x.workItems(len(items))
	return NewList(slices.Clone(items)...)
}

// iterateTruthy is iterate for the filters that take None for nothing.
func (x *execution) iterateTruthy(v any) []any {
	if !truth(v) {
		return nil
	}
	return x.iterate(v)
}

func filterMap(x *execution, args []any, kwargs *Dict) any {
	items := x.iterateTruthy(args[0])
	mapped := make([]any, len(items))
	var apply func(any) any
	if len(args) == 1 {
		a := x.params("map", nil, kwargs, 1, "attribute", "default")
		apply = x.getter(a[0], a[1])
	} else {
		name := x.need(args[1])
		f := find(filterTable, "filter", name)
		apply = func(v any) any { return f(x, append([]any{v}, args[2:]...), kwargs) }
	}
	for i, item := range items {
		x.work(2)
		mapped[i] = apply(item)
	}
	return &generator{mapped}
}

// selection makes select, reject and their attr forms: keep the items for which
// the test gives what is wanted.
func selection(name string, byAttribute, wanted bool) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		get := func(v any) any { return v }
		rest := args[1:]
		if byAttribute {
			if len(rest) == 0 {
				x.failf("%s needs an attribute", name)
			}
			get = x.getter(rest[0], absent{})
			rest = rest[1:]
		}
		test := func(v any) bool { return truth(v) }
		if len(rest) > 0 {
			t := find(testTable, "test", x.need(rest[0]))
			test = func(v any) bool { return truth(t(x, append([]any{v}, rest[1:]...), kwargs)) }
		}
		var kept []any
		for _, item := range x.iterateTruthy(args[0]) {
			x.work(2)
			if test(get(item)) == wanted {
				kept = append(kept, item)
			}
		}
		return &generator{kept}
	}
}

func extremum(name string, sign int) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		a := x.params(name, args, kwargs, 1, "value", "case_sensitive", "attribute")
		get := x.getter(a[2], absent{})
		items := x.iterate(a[0])
		if len(items) == 0 {
			return &undefined{"No aggregated item, sequence was empty."}
		}
		op := map[int]string{1: ">", -1: "<"}[sign]
		sensitive := x.boolean(a[1], false)
		best := items[0]
		key := folded(get(best), sensitive)
		for _, item := range items[1:] {
			if k := folded(get(item), sensitive); x.compare(op, k, key) {
				best, key = item, k
			}
		}
		return best
	}
}

func filterReplace(x *execution, args []any, kwargs *Dict) any {
	a := x.params("replace", args, kwargs, 3, "s", "old", "new", "count")
	count := int64(-1)
	if given(a[3]) {
		count = x.integer(a[3], -1)
	}
	return x.replace(x.soft(a[0]), x.soft(a[1]), x.soft(a[2]), count)
}

func filterReverse(x *execution, args []any, kwargs *Dict) any {
	a := x.params("reverse", args, kwargs, 1, "value")
	if s, ok := text(a[0]); ok {
		x.workBytes(4 * len(s))
		runes := []rune(s)
		slices.Reverse(runes)
		return like(a[0], string(runes))
	}
	items := slices.Clone(x.iterate(a[0]))
	x.workItems(len(items))
	slices.Reverse(items)
	return &generator{items}
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

func filterSlice(x *execution, args []any, kwargs *Dict) any {
	a := x.params("slice", args, kwargs, 2, "value", "slices", "fill_with")
	items, n := x.iterate(a[0]), x.integer(a[1], 0)
	if n <= 0 {
		x.failf("slice() needs a positive number of slices")
	}
	x.work(int(min(n, baseWork))*8 + len(items))
	size, extra := len(items)/int(n), len(items)%int(n)
	var columns []any
	at := 0
	for i := range int(n) {
		end := at + size
		if i < extra {
			end++
		}
		column := slices.Clone(items[at:end])
		if given(a[2]) && i >= extra {
			column = append(column, a[2])
		}
		columns = append(columns, NewList(column...))
		at = end
	}
	return &generator{columns}
}

func filterSort(x *execution, args []any, kwargs *Dict) any {
	a := x.params("sort", args, kwargs, 1, "value", "reverse", "case_sensitive", "attribute")
	sensitive := x.boolean(a[2], false)
	items := slices.Clone(x.iterate(a[0]))
	gets := []func(any) any{x.getter(a[3], absent{})}
	if s, ok := text(a[3]); ok && strings.Contains(s, ",") {
		gets = nil
		for part := range strings.SplitSeq(s, ",") {
			gets = append(gets, x.getter(part, absent{}))
		}
	}
	keys := make([]any, len(items))
	for i, item := range items {
		parts := make([]any, len(gets))
		for j, get := range gets {
			parts[j] = folded(get(item), sensitive)
		}
		keys[i] = parts[0]
		if len(parts) > 1 {
			keys[i] = NewList(parts...)
		}
	}
	x.sortBy(items, keys, x.boolean(a[1], false))
	return NewList(items...)
}

func filterString(x *execution, args []any, kwargs *Dict) any {
	a := x.params("string", args, kwargs, 1, "object")
	return like(a[0], x.soft(a[0]))
}

func filterSum(x *execution, args []any, kwargs *Dict) any {
	a := x.params("sum", args, kwargs, 1, "iterable", "attribute", "start")
	get := x.getter(a[1], absent{})
	var total any = int64(0)
	if a[2] != (absent{}) {
		total = a[2]
	}
	for _, item := range x.iterate(a[0]) {
		x.work(2)
		total = x.binary("+", total, get(item))
	}
	return total
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
	if !x.boolean(a[2], false) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return like(a[0], cut+end)
}

func filterUnique(x *execution, args []any, kwargs *Dict) any {
	a := x.params("unique", args, kwargs, 1, "value", "case_sensitive", "attribute")
	get := x.getter(a[2], absent{})
	seen := new(Dict)
	var kept []any
	for _, item := range x.iterate(a[0]) {
		key := folded(get(item), x.boolean(a[1], false))
		x.checkKey(key)
		if _, ok := seen.get(key); !ok {
			x.setKey(seen, key, nil)
			kept = append(kept, item)
		}
	}
	return &generator{kept}
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

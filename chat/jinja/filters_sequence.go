package jinja

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

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
		keys[i] = folded(k, flag(a[1]))
	}
	items := d.items()
	x.sortBy(items, keys, flag(a[3]))
	return NewList(items...)
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
	sensitive := flag(a[3])
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
		test := truth
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
		sensitive := flag(a[1])
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
	sensitive := flag(a[2])
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
	x.sortBy(items, keys, flag(a[1]))
	return NewList(items...)
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

func filterUnique(x *execution, args []any, kwargs *Dict) any {
	a := x.params("unique", args, kwargs, 1, "value", "case_sensitive", "attribute")
	get := x.getter(a[2], absent{})
	seen := new(Dict)
	var kept []any
	for _, item := range x.iterate(a[0]) {
		key := folded(get(item), flag(a[1]))
		x.checkKey(key)
		if _, ok := seen.get(key); !ok {
			x.setKey(seen, key, nil)
			kept = append(kept, item)
		}
	}
	return &generator{kept}
}

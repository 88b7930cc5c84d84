package grammar

import "slices"

// rule returns the number of the rule for the values of v.
func (c *schemaCompiler) rule(v conj) int32 {
	key := v.key()
	if r, ok := c.index[key]; ok {
		return r
	}
	r := c.newRule(nil)
	c.index[key] = r
	c.todo = append(c.todo, pending{r, v})
	return r
}

type pending struct {
	rule  int32
	value conj
}

func (c *schemaCompiler) newRule(d *dfa) int32 {
	c.rules = append(c.rules, d)
	return int32(len(c.rules) - 1)
}

// shared returns the number of the rule for a language, which is made once.
func (c *schemaCompiler) shared(d *dfa, make func() *dfa) ref {
	if r, ok := c.langs[d]; ok {
		return ref(r)
	}
	r := c.newRule(make())
	c.langs[d] = r
	return ref(r)
}

// inlined is the number of states up to which a language is copied to where it is
// used rather than called. Copies let common beginnings be read only once.
const inlined = 48

// emit makes the rule of a value.
func (c *schemaCompiler) emit(v *value) *dfa {
	b := &builder{lim: c.lim}
	start, end := b.node(), b.node()
	add := func(x expr) { b.eps(b.add(x, start), end) }
	if v.null {
		add(literal("null"))
	}
	if v.bools&1 != 0 {
		add(literal("false"))
	}
	if v.bools&2 != 0 {
		add(literal("true"))
	}
	if v.num != nil {
		if v.num == common().decimal {
			add(language{common().jsonNumber})
		} else {
			add(language{spellings(c.lim, v.num)})
		}
	}
	if v.str != nil {
		add(c.stringExpr(v.str))
	}
	for _, a := range v.arrays {
		c.emitArray(b, a, start, end)
	}
	for _, o := range v.objects {
		c.emitObject(b, o, start, end)
	}
	return b.determinize(start, end)
}

func (c *schemaCompiler) stringExpr(d *dfa) expr {
	if d == common().text {
		return c.shared(d, func() *dfa { return common().jsonString })
	}
	written := c.written[d]
	if written == nil {
		written = func() *dfa { return quoted(c.lim, encode(c.lim, d)) }
	}
	if len(d.states) <= inlined {
		return language{written()}
	}
	return c.shared(d, written)
}

func (c *schemaCompiler) space() ref {
	return c.shared(common().space, func() *dfa { return common().space })
}

// emitArray adds the arrays of a between two nodes.
func (c *schemaCompiler) emitArray(b *builder, a *array, start, end int32) {
	if a.max >= 0 && a.min > a.max {
		return
	}
	// A place is the number of items read, up to where it no longer matters, and of
	// those the ones that each contains has counted.
	last := max(len(a.prefix), a.min, a.max, 1)
	type place struct {
		items int
		found [2]int
	}
	if len(a.contains) > 2 {
		panic(abort{&SchemaError{Pointer: a.contains[0].value.pointer(), Keyword: "contains", Reason: "more than two of them at once are not supported"}})
	}
	index := make(map[place]int32)
	var todo []place
	at := func(p place) int32 {
		n, ok := index[p]
		if !ok {
			n = b.node()
			index[p] = n
			todo = append(todo, p)
		}
		return n
	}
	b.eps(b.add(literal("["), start), at(place{}))
	for i := 0; i < len(todo); i++ {
		p := todo[i]
		from := at(p)
		done := p.items >= a.min
		for k, want := range a.contains {
			done = done && p.found[k] >= want.min
		}
		if done {
			x := seq{c.space(), literal("]")}
			if p.items == 0 {
				x = seq{literal("]")}
			}
			b.eps(b.add(x, from), end)
		}
		if a.max >= 0 && p.items >= a.max {
			continue
		}
		item := from
		if p.items > 0 {
			item = b.add(literal(","), item)
		}
		item = b.add(c.space(), item)
		// Each item may count for any of the contains, or for none.
	sets:
		for set := range 1 << len(a.contains) {
			q := place{min(p.items+1, last), p.found}
			v := a.at(p.items)
			for k, want := range a.contains {
				if set>>k&1 == 0 {
					continue
				}
				if q.found[k]++; q.found[k] > want.min {
					continue sets // it has counted enough
				}
				v = v.and(want.value)
			}
			b.eps(b.add(ref(c.rule(v)), item), at(q))
		}
	}
}

// emitObject adds the objects of o between two nodes: the properties in their order,
// then the others.
func (c *schemaCompiler) emitObject(b *builder, o *object, start, end int32) {
	if o.max >= 0 && o.min > o.max {
		return
	}
	names := propertyNamesOf(o)
	listed := literals(c.lim, names)
	type class struct {
		key   expr
		value conj
	}
	var rest []class
	for _, k := range o.rest {
		d := k.names
		if len(names) > 0 {
			d = subtract(c.lim, d, listed)
		}
		if !d.empty() {
			rest = append(rest, class{c.stringExpr(d), k.value})
		}
	}
	if o.min > 1 && len(rest) > 0 {
		required := 0
		for _, p := range o.props {
			if p.required {
				required++
			}
		}
		if required < o.min {
			panic(abort{&SchemaError{Pointer: c.current.pointer(), Keyword: "minProperties",
				Reason: "above 1 it is supported only with additionalProperties false or as many required properties: names that repeat can't be told from new ones"}})
		}
	}
	most := max(1, o.min, o.max)
	level := make([]int32, most+1) // by the number of properties read
	fresh := func() []int32 {
		l := make([]int32, most+1)
		for i := range l {
			l[i] = b.node()
		}
		return l
	}
	level = append(level[:0], fresh()...)
	b.eps(b.add(literal("{"), start), level[0])
	member := func(from int32, n int, key expr, v conj, to int32) {
		if n > 0 {
			from = b.add(literal(","), from)
		}
		x := seq{c.space(), key, literal(":"), c.space(), ref(c.rule(v))}
		b.eps(b.add(x, from), to)
	}
	step := func(n int) int { return min(n+1, most) }
	for _, p := range o.props {
		next := fresh()
		never := slices.ContainsFunc(p.value, func(t term) bool { return t.n == falseSchema && !t.not })
		for n, from := range level {
			if !p.required {
				b.eps(from, next[n])
			}
			if !never && (o.max < 0 || n < o.max) {
				member(from, n, literal(quote(p.name)), p.value, next[step(n)])
			}
		}
		level = next
	}
	for n, from := range level {
		if o.max < 0 || n < o.max {
			for _, k := range rest {
				member(from, n, k.key, k.value, level[step(n)])
			}
		}
		if n >= o.min {
			x := seq{c.space(), literal("}")}
			if n == 0 {
				x = seq{literal("}")}
			}
			b.eps(b.add(x, from), end)
		}
	}
}

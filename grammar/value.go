package grammar

import (
	"fmt"
	"maps"
	"slices"
)

// A term is a schema, or a constant that a value must equal, or the negation of one.
type term struct {
	n             *node
	constant, not bool
}

// A conj is a list of terms that must all hold; an empty one holds for anything.
// Schemas below the one looked at stay terms, so that recursion ends.
type conj []term

// falseSchema is the schema that nothing meets.
var falseSchema = &node{id: -1, kind: 'b'}

func (v conj) and(w conj) conj {
	out := slices.Clone(v)
	for _, t := range w {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b term) int { return a.n.id - b.n.id })
	return out
}

// key identifies a conj.
func (v conj) key() string {
	s := ""
	for _, t := range v {
		s += fmt.Sprintf("%d,%t,%t;", t.n.id, t.constant, t.not)
	}
	return s
}

// A value is a set of JSON values, by type. Languages are nil where there are none.
type value struct {
	null    bool
	bools   uint8 // 1: false, 2: true
	num     *dfa  // decimals in their shortest form
	str     *dfa  // UTF-8, not escaped
	arrays  []*array
	objects []*object
}

// An array is a set of arrays.
type array struct {
	prefix   []conj
	rest     conj // of the items after prefix
	min, max int  // of the items; max < 0: no bound
	contains []contains
}

// contains wants min items or more that meet value.
type contains struct {
	value conj
	min   int
}

// An object is a set of objects.
type object struct {
	props    []property
	rest     []keys // of the properties that aren't in props; classes don't overlap
	min, max int    // of the properties; max < 0: no bound
}

type property struct {
	name     string
	value    conj
	required bool
}

// keys is a class of property names and what their values must meet.
type keys struct {
	names *dfa
	value conj
}

func anyArray() *array   { return &array{max: -1} }
func anyObject() *object { return &object{rest: []keys{{common().text, nil}}, max: -1} }

func anyValue() *value {
	return &value{null: true, bools: 3, num: common().decimal, str: common().text, arrays: []*array{anyArray()}, objects: []*object{anyObject()}}
}

// all says whether o is every object.
func (o *object) all() bool {
	return len(o.props) == 0 && o.min == 0 && o.max < 0 && len(o.rest) == 1 && o.rest[0].names == common().text && len(o.rest[0].value) == 0
}

func (a *array) all() bool {
	return len(a.prefix) == 0 && len(a.rest) == 0 && a.min == 0 && a.max < 0 && len(a.contains) == 0
}

// of returns what the value of a property must meet.
func (o *object) of(name string) (v conj, required bool) {
	for _, p := range o.props {
		if p.name == name {
			return p.value, p.required
		}
	}
	for _, k := range o.rest {
		if k.names.matches(name) {
			return k.value, false
		}
	}
	return conj{{n: falseSchema}}, false
}

func (c *schemaCompiler) meetLang(a, b *dfa) *dfa {
	switch {
	case a == b:
		return a
	case a == nil || b == nil:
		return nil
	case a == common().text || a == common().decimal:
		return b
	case b == common().text || b == common().decimal:
		return a
	}
	if d := intersect(c.lim, a, b); !d.empty() {
		return d
	}
	return nil
}

func (c *schemaCompiler) joinLang(a, b *dfa) *dfa {
	switch {
	case a == b || b == nil:
		return a
	case a == nil:
		return b
	case a == common().text || a == common().decimal:
		return a
	case b == common().text || b == common().decimal:
		return b
	}
	return unite(c.lim, a, b)
}

// meet is the intersection of two values.
func (c *schemaCompiler) meet(a, b *value) *value {
	v := &value{null: a.null && b.null, bools: a.bools & b.bools, num: c.meetLang(a.num, b.num), str: c.meetLang(a.str, b.str)}
	for _, x := range a.arrays {
		for _, y := range b.arrays {
			v.arrays = append(v.arrays, meetArrays(x, y))
		}
	}
	for _, x := range a.objects {
		for _, y := range b.objects {
			v.objects = append(v.objects, c.meetObjects(x, y))
		}
	}
	c.checkShapes(v)
	return v
}

func (c *schemaCompiler) checkShapes(v *value) {
	c.lim.spend(len(v.arrays) + len(v.objects))
	if len(v.arrays)+len(v.objects) > maxShapes {
		panic(abort{fmt.Errorf("%w: the schema's combinations have more than %d alternatives", ErrLimit, maxShapes)})
	}
}

// join is the union of two values.
func (c *schemaCompiler) join(a, b *value) *value {
	v := &value{null: a.null || b.null, bools: a.bools | b.bools, num: c.joinLang(a.num, b.num), str: c.joinLang(a.str, b.str)}
	v.arrays = append(slices.Clone(a.arrays), b.arrays...)
	v.objects = append(slices.Clone(a.objects), b.objects...)
	c.checkShapes(v)
	return v
}

func meetMax(a, b int) int {
	switch {
	case a < 0:
		return b
	case b < 0:
		return a
	}
	return min(a, b)
}

func meetArrays(a, b *array) *array {
	if a.all() {
		return b
	}
	if b.all() {
		return a
	}
	out := &array{rest: a.rest.and(b.rest), min: max(a.min, b.min), max: meetMax(a.max, b.max)}
	for i := range max(len(a.prefix), len(b.prefix)) {
		out.prefix = append(out.prefix, a.at(i).and(b.at(i)))
	}
	out.contains = append(slices.Clone(a.contains), b.contains...)
	return out
}

// at returns what item i must meet.
func (a *array) at(i int) conj {
	if i < len(a.prefix) {
		return a.prefix[i]
	}
	return a.rest
}

func (c *schemaCompiler) meetObjects(a, b *object) *object {
	if a.all() {
		return b
	}
	if b.all() {
		return a
	}
	out := &object{min: max(a.min, b.min), max: meetMax(a.max, b.max)}
	for i, from := range []*object{a, b} {
		for _, p := range from.props {
			c.lim.spend(len(a.props) + len(b.props))
			if i == 1 && slices.ContainsFunc(a.props, func(q property) bool { return q.name == p.name }) {
				continue
			}
			va, ra := a.of(p.name)
			vb, rb := b.of(p.name)
			out.props = append(out.props, property{p.name, va.and(vb), ra || rb})
		}
	}
	for _, x := range a.rest {
		for _, y := range b.rest {
			if names := c.meetLang(x.names, y.names); names != nil {
				out.rest = append(out.rest, keys{names, x.value.and(y.value)})
			}
		}
	}
	return out
}

// complement returns the values that aren't in v, or why they can't be told.
func (c *schemaCompiler) complement(v *value) (*value, string) {
	out := &value{null: !v.null, bools: 3 &^ v.bools, num: common().decimal, str: common().text}
	if v.num != nil {
		out.num = c.without(common().decimal, v.num)
	}
	if v.str != nil {
		out.str = c.without(common().text, v.str)
	}
	out.arrays = []*array{anyArray()}
	for _, a := range v.arrays {
		not, reason := notArray(a)
		if reason != "" {
			return nil, reason
		}
		out = c.meet(out, &value{null: true, bools: 3, num: common().decimal, str: common().text, arrays: not})
	}
	arrays := out.arrays
	out.objects = []*object{anyObject()}
	for _, o := range v.objects {
		not, reason := c.notObject(o)
		if reason != "" {
			return nil, reason
		}
		out = c.meet(out, &value{null: true, bools: 3, num: common().decimal, str: common().text, objects: not})
	}
	out.arrays = arrays
	return out, ""
}

func (c *schemaCompiler) without(all, d *dfa) *dfa {
	if d == all {
		return nil
	}
	if d = subtract(c.lim, all, d); d.empty() {
		return nil
	}
	return d
}

func negate(t term) conj { return conj{{t.n, t.constant, !t.not}} }

func notArray(a *array) (out []*array, reason string) {
	if a.min > 0 {
		out = append(out, &array{max: a.min - 1})
	}
	if a.max >= 0 {
		out = append(out, &array{min: a.max + 1, max: -1})
	}
	for i, v := range a.prefix {
		for _, t := range v {
			out = append(out, &array{prefix: append(make([]conj, i), negate(t)), min: i + 1, max: -1})
		}
	}
	if len(a.rest) > 0 && (a.max < 0 || a.max > len(a.prefix)) {
		if len(a.prefix) > 0 {
			return nil, "the negation of items after prefixItems can't be decided"
		}
		for _, t := range a.rest {
			out = append(out, &array{max: -1, contains: []contains{{negate(t), 1}}})
		}
	}
	for _, k := range a.contains {
		if k.min != 1 {
			return nil, "the negation of minContains can't be decided"
		}
		for _, t := range k.value {
			if len(k.value) > 1 {
				return nil, "the negation of combined contains can't be decided"
			}
			out = append(out, &array{rest: negate(t), max: -1})
		}
		if len(k.value) == 0 {
			out = append(out, &array{max: 0})
		}
	}
	return out, ""
}

func (c *schemaCompiler) notObject(o *object) (out []*object, reason string) {
	with := func(p property) *object {
		a := anyObject()
		a.props = []property{p}
		return a
	}
	covered := subtract(c.lim, common().text, literals(c.lim, propertyNamesOf(o)))
	for _, p := range o.props {
		if p.required {
			out = append(out, with(property{p.name, conj{{n: falseSchema}}, false}))
		}
		for _, t := range p.value {
			out = append(out, with(property{p.name, negate(t), true}))
		}
	}
	for _, k := range o.rest {
		if len(k.value) > 0 {
			return nil, "the negation of additionalProperties, patternProperties or propertyNames can't be decided"
		}
		covered = subtract(c.lim, covered, k.names)
	}
	if !covered.empty() {
		return nil, "the negation of additionalProperties, patternProperties or propertyNames can't be decided"
	}
	if o.min > 0 {
		a := anyObject()
		a.max = o.min - 1
		out = append(out, a)
	}
	if o.max >= 0 {
		a := anyObject()
		a.min = o.max + 1
		out = append(out, a)
	}
	return out, ""
}

func propertyNamesOf(o *object) []string {
	names := make(map[string]bool)
	for _, p := range o.props {
		names[p.name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

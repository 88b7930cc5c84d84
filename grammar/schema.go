package grammar

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A schemaCompiler turns a JSON Schema into rules: one for each set of schemas that
// the same part of a document must meet.
type schemaCompiler struct {
	lim     *budget
	root    *node
	anchors map[string]*node
	values  map[term]*value // nil while it is being found
	index   map[string]int32
	langs   map[*dfa]int32
	written map[*dfa]func() *dfa // of formats: how JSON writes them
	lengths map[[2]int]*dfa      // by the least and the most characters
	rules   []*dfa
	todo    []pending
	current conj
	open    []term // those being found
}

func compileSchema(lim *budget, source string) *program {
	c := &schemaCompiler{
		lim:     lim,
		root:    parseJSON(lim, source),
		anchors: make(map[string]*node),
		values:  make(map[term]*value),
		index:   make(map[string]int32),
		langs:   make(map[*dfa]int32),
		written: make(map[*dfa]func() *dfa),
		lengths: make(map[[2]int]*dfa),
	}
	c.findAnchors(c.root)
	c.rule(conj{{n: c.root}})
	for i := 0; i < len(c.todo); i++ {
		p := c.todo[i]
		c.current = p.value
		c.rules[p.rule] = c.emit(c.eval(p.value))
	}
	return link(lim, c.rules, 0, func(int) string { return "schema" })
}

// pointer returns where a conj was written.
func (v conj) pointer() string {
	if len(v) == 0 {
		return ""
	}
	return v[0].n.pointer
}

func (c *schemaCompiler) findAnchors(n *node) {
	if a := n.members["$anchor"]; a != nil && a.kind == 's' {
		if _, ok := c.anchors[a.text]; ok {
			n = nil // which one is meant can't be told
		}
		c.anchors[a.text] = n
		if n == nil {
			return
		}
	}
	for _, k := range n.keys {
		c.findAnchors(n.members[k])
	}
	for _, m := range n.items {
		c.findAnchors(m)
	}
}

// fail refuses the keyword of schema n.
func fail(n *node, keyword, format string, args ...any) {
	pointer := n.pointer
	if keyword != "" {
		pointer += "/" + escapePointer(keyword)
	}
	panic(abort{&SchemaError{Pointer: pointer, Keyword: keyword, Reason: fmt.Sprintf(format, args...)}})
}

// eval returns the values that meet all of v.
func (c *schemaCompiler) eval(v conj) *value {
	if len(v) == 0 {
		return anyValue()
	}
	out := c.term(v[0])
	for _, t := range v[1:] {
		out = c.meet(out, c.term(t))
	}
	return out
}

func (c *schemaCompiler) term(t term) *value {
	v, ok := c.values[t]
	if ok && v == nil {
		panic(abort{&cycleError{&SchemaError{Pointer: t.n.pointer, Reason: "it refers to itself without end"}}})
	}
	if ok {
		return v
	}
	if c.open = append(c.open, t); len(c.open) > 4*maxDepth {
		fail(t.n, "", "it refers to others more than %d deep", 4*maxDepth)
	}
	c.values[t] = nil
	switch {
	case t.not:
		var reason string
		if v, reason = c.complement(c.term(term{t.n, t.constant, false})); reason != "" {
			fail(t.n, "", "%s", reason)
		}
	case t.constant:
		v = c.constant(t.n)
	default:
		v = c.schema(t.n)
	}
	c.values[t] = v
	c.open = c.open[:len(c.open)-1]
	return v
}

// constant returns the values equal to n.
func (c *schemaCompiler) constant(n *node) *value {
	switch n.kind {
	case 'n':
		return &value{null: true}
	case 'b':
		if n.truth {
			return &value{bools: 2}
		}
		return &value{bools: 1}
	case '0':
		text := decimalText(n.number)
		if text == "" {
			fail(n, "", "the number has too many digits")
		}
		return &value{num: literals(c.lim, []string{text})}
	case 's':
		return &value{str: literals(c.lim, []string{n.text})}
	case 'a':
		a := &array{min: len(n.items), max: len(n.items)}
		for _, m := range n.items {
			a.prefix = append(a.prefix, conj{{n: m, constant: true}})
		}
		return &value{arrays: []*array{a}}
	}
	o := &object{max: -1}
	for _, k := range n.keys {
		o.props = append(o.props, property{k, conj{{n: n.members[k], constant: true}}, true})
	}
	return &value{objects: []*object{o}}
}

// constants returns the values equal to one of the list.
func (c *schemaCompiler) constants(list []*node) *value {
	out := &value{}
	var texts []string
	var numbers []string
	for _, n := range list {
		switch n.kind {
		case 's':
			texts = append(texts, n.text)
		case '0':
			text := decimalText(n.number)
			if text == "" {
				fail(n, "", "the number has too many digits")
			}
			numbers = append(numbers, text)
		default:
			out = c.join(out, c.constant(n))
		}
	}
	if len(texts) > 0 {
		out.str = literals(c.lim, texts)
	}
	if len(numbers) > 0 {
		out.num = literals(c.lim, numbers)
	}
	return out
}

// schema returns the values that the schema n accepts.
func (c *schemaCompiler) schema(n *node) *value {
	switch n.kind {
	case 'b':
		if n.truth {
			return anyValue()
		}
		return &value{}
	case 'o':
	default:
		fail(n, "", "a schema must be an object or a boolean")
	}
	for _, k := range n.keys {
		if s := support(k); s.Support == Refused {
			fail(n, k, "it is not supported: %s", s.Note)
		}
	}
	c.lim.spend(1 + len(n.keys))
	v := c.types(n)
	v.num = c.numbers(n, v.num)
	v.str = c.strings(n, v.str)
	if len(v.arrays) > 0 {
		v.arrays = []*array{c.array(n)}
	}
	if len(v.objects) > 0 {
		v.objects = []*object{c.object(n)}
	}
	for _, keyword := range []string{"$id", "id"} {
		id := n.members[keyword]
		if id != nil && id.kind != 's' {
			fail(n, keyword, "it must be a string")
		}
		if id != nil && n != c.root && refers(n) {
			fail(n, keyword, "below the root it is supported only where there is no $ref, whose meaning it would change")
		}
	}
	if k := n.members["const"]; k != nil {
		v = c.meet(v, c.constant(k))
	}
	if k := n.members["enum"]; k != nil {
		if k.kind != 'a' {
			fail(n, "enum", "it must be an array")
		}
		v = c.meet(v, c.constants(k.items))
	}
	if k := n.members["$ref"]; k != nil {
		v = c.meet(v, c.term(term{n: c.resolve(n, k)}))
	}
	return c.combinations(n, v)
}

// refers says whether there is a $ref in a schema.
func refers(n *node) bool {
	if n.members["$ref"] != nil {
		return true
	}
	for _, m := range n.members {
		if refers(m) {
			return true
		}
	}
	return slices.ContainsFunc(n.items, refers)
}

// types starts with what the keyword type allows.
func (c *schemaCompiler) types(n *node) *value {
	k := n.members["type"]
	if k == nil {
		return anyValue()
	}
	names := k.items
	if k.kind == 's' {
		names = []*node{k}
	}
	all, v := anyValue(), &value{}
	if len(names) == 0 {
		fail(n, "type", "it must be a string or a list of strings")
	}
	for _, name := range names {
		switch name.text {
		case "null":
			v.null = true
		case "boolean":
			v.bools = 3
		case "integer":
			if v.num == nil {
				v.num = common().integer
			}
		case "number":
			v.num = all.num
		case "string":
			v.str = all.str
		case "array":
			v.arrays = all.arrays
		case "object":
			v.objects = all.objects
		default:
			fail(n, "type", "%q is not a type", name.text)
		}
	}
	return v
}

// resolve returns the schema that a $ref in n means.
func (c *schemaCompiler) resolve(n, ref *node) *node {
	if ref.kind != 's' {
		fail(n, "$ref", "it must be a string")
	}
	target := ref.text
	id := c.root.members["$id"]
	if id == nil {
		id = c.root.members["id"] // draft 4
	}
	if id != nil && id.kind == 's' {
		target = strings.TrimPrefix(target, strings.TrimSuffix(id.text, "#"))
	}
	fragment, ok := strings.CutPrefix(target, "#")
	if !ok && target != "" {
		fail(n, "$ref", "%q is outside of the schema: nothing is fetched", ref.text)
	}
	fragment, err := url.PathUnescape(fragment)
	if err != nil {
		fail(n, "$ref", "%q is not a reference", ref.text)
	}
	if fragment != "" && fragment[0] != '/' {
		if a := c.anchors[fragment]; a != nil {
			return a
		}
		fail(n, "$ref", "there is no anchor %q, or more than one", fragment)
	}
	at := c.root
	if fragment == "" {
		return at
	}
	for _, part := range strings.Split(fragment[1:], "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		var next *node
		if at.kind == 'a' {
			if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(at.items) {
				next = at.items[i]
			}
		} else {
			next = at.members[part]
		}
		if next == nil {
			fail(n, "$ref", "the schema has no %q", ref.text)
		}
		at = next
	}
	return at
}

// regex compiles a pattern of the schema n.
func (c *schemaCompiler) regex(n *node, keyword, pattern string) (d *dfa) {
	err := guard(func() { d = searchRegex(c.lim, pattern) })
	if e := new(SyntaxError); errors.As(err, &e) {
		fail(n, keyword, "%s: %q", e.Reason, pattern)
	}
	if err != nil {
		panic(abort{err})
	}
	return d
}

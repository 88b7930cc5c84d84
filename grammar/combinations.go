package grammar

// combinations narrows v by the keywords that combine schemas.
func (c *schemaCompiler) combinations(n *node, v *value) *value {
	list := func(keyword string) []*node {
		k := n.members[keyword]
		if k == nil {
			return nil
		}
		if k.kind != 'a' || len(k.items) == 0 {
			fail(n, keyword, "it must be an array of schemas")
		}
		return k.items
	}
	for _, m := range list("allOf") {
		v = c.meet(v, c.term(term{n: m}))
	}
	if any := list("anyOf"); any != nil {
		out := &value{}
		for _, m := range any {
			out = c.join(out, c.meet(v, c.term(term{n: m})))
		}
		v = out
	}
	if one := list("oneOf"); one != nil {
		v = c.oneOf(n, v, one)
	}
	if k := n.members["not"]; k != nil {
		v = c.meet(v, c.not(n, "not", k))
	}
	if k := n.members["if"]; k != nil {
		v = c.condition(n, k, v)
	}
	return c.dependents(n, v)
}

// not returns the complement of the schema k, of a keyword of n.
func (c *schemaCompiler) not(n *node, keyword string, k *node) *value {
	v, reason := c.complement(c.term(term{n: k}))
	if reason != "" {
		fail(n, keyword, "%s", reason)
	}
	return v
}

func (c *schemaCompiler) oneOf(n *node, v *value, one []*node) *value {
	out := &value{}
	parts := make([]*value, len(one))
	for i, m := range one {
		parts[i] = c.meet(v, c.term(term{n: m}))
	}
	for i, part := range parts {
		for j, other := range parts {
			if i == j || c.empty(c.meet(parts[i], other), proofDepth) {
				continue
			}
			not, reason := c.complement(c.term(term{n: one[j]}))
			if reason != "" {
				fail(n, "oneOf", "alternatives %d and %d can't be shown to exclude each other, and %s: use anyOf if they do",
					min(i, j), max(i, j), reason)
			}
			part = c.meet(part, not)
		}
		out = c.join(out, part)
	}
	return out
}

// condition applies if, then and else.
func (c *schemaCompiler) condition(n, k *node, v *value) *value {
	yes, no := n.members["then"], n.members["else"]
	if yes == nil && no == nil {
		return v
	}
	a := c.meet(v, c.term(term{n: k}))
	if yes != nil {
		a = c.meet(a, c.term(term{n: yes}))
	}
	b := c.meet(v, c.not(n, "if", k))
	if no != nil {
		b = c.meet(b, c.term(term{n: no}))
	}
	return c.join(a, b)
}

// dependents applies dependentRequired and dependentSchemas: each is a choice
// between a property's absence and what its presence asks for.
func (c *schemaCompiler) dependents(n *node, v *value) *value {
	apply := func(name string, present *value) {
		without, with := anyValue(), anyValue()
		without.objects[0].props = []property{{name, conj{{n: falseSchema}}, false}}
		with.objects[0].props = []property{{name, nil, true}}
		scalars := *v
		scalars.objects = nil
		objects := &value{objects: v.objects}
		out := c.join(c.meet(objects, without), c.meet(c.meet(objects, with), present))
		v = c.join(&scalars, out)
	}
	if k := n.members["dependentRequired"]; k != nil {
		c.mustBeObject(n, "dependentRequired", k)
		for _, name := range k.keys {
			apply(name, requiring(c.names(n, "dependentRequired", k.members[name])))
		}
	}
	if k := n.members["dependentSchemas"]; k != nil {
		c.mustBeObject(n, "dependentSchemas", k)
		for _, name := range k.keys {
			apply(name, c.term(term{n: k.members[name]}))
		}
	}
	if k := n.members["dependencies"]; k != nil { // up to draft 7: either
		c.mustBeObject(n, "dependencies", k)
		for _, name := range k.keys {
			if m := k.members[name]; m.kind == 'a' {
				apply(name, requiring(c.names(n, "dependencies", m)))
			} else {
				apply(name, c.term(term{n: m}))
			}
		}
	}
	return v
}

// requiring is what has all of some properties, if it is an object.
func requiring(names []string) *value {
	v := anyValue()
	for _, name := range names {
		v.objects[0].require(name)
	}
	return v
}

// unevaluated returns the schema of unevaluatedItems or unevaluatedProperties, nil if
// it allows all. Beside a keyword that applies other schemas to the same value, it would depend
// on which of them hold, which isn't followed.
func (c *schemaCompiler) unevaluated(n *node, keyword string) *node {
	k := n.members[keyword]
	if k == nil || k.kind == 'b' && k.truth {
		return nil
	}
	for _, other := range []string{"$ref", "allOf", "anyOf", "contains", "dependentSchemas", "else", "if", "not", "oneOf", "then"} {
		if n.members[other] != nil {
			fail(n, keyword, "it is not supported beside %s", other)
		}
	}
	return k
}

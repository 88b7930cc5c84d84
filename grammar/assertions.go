package grammar

import (
	"math/big"
	"strings"
)

// count returns the value of a keyword that counts, or absent.
func count(n *node, keyword string, absent int) int {
	return countUpTo(n, keyword, absent, false)
}

// countUpTo is count; if it may be cut, the value is no more than maxText.
func countUpTo(n *node, keyword string, absent int, cut bool) int {
	k := n.members[keyword]
	if k == nil {
		return absent
	}
	if k.kind != '0' || !k.number.IsInt() || k.number.Sign() < 0 {
		fail(n, keyword, "it must be a whole number that isn't negative")
	}
	if cut && k.number.Cmp(big.NewRat(maxText, 1)) > 0 {
		return maxText
	}
	if k.number.Cmp(big.NewRat(maxRepeat, 1)) > 0 {
		fail(n, keyword, "it is above %d, the most that is supported", maxRepeat)
	}
	return int(k.number.Num().Int64())
}

// numbers narrows d by the keywords for numbers.
func (c *schemaCompiler) numbers(n *node, d *dfa) *dfa {
	for _, k := range []struct {
		keyword string
		make    func(x *big.Rat) *dfa
	}{
		{"minimum", func(x *big.Rat) *dfa { return atLeast(c.lim, x, true) }},
		{"exclusiveMinimum", func(x *big.Rat) *dfa { return atLeast(c.lim, x, false) }},
		{"maximum", func(x *big.Rat) *dfa { return atMost(c.lim, x, true) }},
		{"exclusiveMaximum", func(x *big.Rat) *dfa { return atMost(c.lim, x, false) }},
		{"multipleOf", func(x *big.Rat) *dfa {
			if x.Sign() <= 0 {
				fail(n, "multipleOf", "it must be above 0")
			}
			return multiples(c.lim, x)
		}},
	} {
		m := n.members[k.keyword]
		if m == nil {
			continue
		}
		if m.kind == 'b' && strings.HasPrefix(k.keyword, "exclusive") {
			// Draft 4: it says how the keyword without "exclusive" is meant.
			plain := n.members[strings.ToLower(strings.TrimPrefix(k.keyword, "exclusive"))]
			if !m.truth || plain == nil {
				continue
			}
			m = plain
		}
		if m.kind != '0' {
			fail(n, k.keyword, "it must be a number")
		}
		if d == nil {
			continue
		}
		bound := k.make(m.number)
		if bound == nil {
			fail(n, k.keyword, "%s has too many digits to be enforced", m.number.RatString())
		}
		d = c.meetLang(d, bound)
	}
	if k := n.members["format"]; k != nil && d != nil {
		if bounds := numberFormats[k.text]; bounds[0] != "" {
			low, _ := new(big.Rat).SetString(bounds[0])
			high, _ := new(big.Rat).SetString(bounds[1])
			for _, bound := range []*dfa{common().integer, atLeast(c.lim, low, true), atMost(c.lim, high, true)} {
				d = c.meetLang(d, bound)
			}
		}
	}
	return d
}

// strings narrows d by the keywords for strings.
func (c *schemaCompiler) strings(n *node, d *dfa) *dfa {
	if k := n.members["pattern"]; k != nil {
		if k.kind != 's' {
			fail(n, "pattern", "it must be a string")
		}
		d = c.meetLang(d, c.regex(n, "pattern", k.text))
	}
	if k := n.members["format"]; k != nil {
		if k.kind != 's' {
			fail(n, "format", "it must be a string")
		}
		format, ok := formats[k.text]
		if _, number := numberFormats[k.text]; !ok && !number {
			fail(n, "format", "%q is not supported", k.text)
		}
		if ok && d != nil {
			text := format.text()
			c.written[text] = format.written
			d = c.meetLang(d, text)
		}
	}
	low, high := count(n, "minLength", 0), countUpTo(n, "maxLength", -1, true)
	if (low > 0 || high >= 0) && d != nil {
		if high >= 0 && low > high {
			return nil
		}
		if least, most := span(c.lim, d); least >= low && (high < 0 || most >= 0 && most <= high) {
			return d // they say nothing new
		}
		bounds := [2]int{low, high}
		if c.lengths[bounds] == nil {
			c.lengths[bounds] = lengths(c.lim, low, high)
		}
		d = c.meetLang(d, c.lengths[bounds])
	}
	return d
}

// array reads the keywords for arrays.
func (c *schemaCompiler) array(n *node) *array {
	a := &array{min: count(n, "minItems", 0), max: count(n, "maxItems", -1)}
	if k := n.members["prefixItems"]; k != nil {
		if k.kind != 'a' {
			fail(n, "prefixItems", "it must be an array")
		}
		for _, m := range k.items {
			a.prefix = append(a.prefix, conj{{n: m}})
		}
	}
	rest := n.members["items"]
	if rest != nil && rest.kind == 'a' {
		// Up to draft 2019-09 a list is what prefixItems is now, and additionalItems is items.
		if n.members["prefixItems"] != nil {
			fail(n, "items", "a list of schemas can't stand beside prefixItems")
		}
		for _, m := range rest.items {
			a.prefix = append(a.prefix, conj{{n: m}})
		}
		rest = n.members["additionalItems"]
	}
	if k := rest; k != nil {
		a.rest = conj{{n: k}}
		if k.kind == 'b' && k.truth {
			a.rest = nil
		}
	}
	if k := c.unevaluated(n, "unevaluatedItems"); k != nil && n.members["items"] == nil {
		a.rest = conj{{n: k}}
	}
	least := count(n, "minContains", 1)
	if k := n.members["contains"]; k != nil && least > 0 {
		a.contains = []contains{{conj{{n: k}}, least}}
	}
	if k := n.members["uniqueItems"]; k != nil {
		if k.kind != 'b' {
			fail(n, "uniqueItems", "it must be a boolean")
		}
		if k.truth && (a.max < 0 || a.max > 1) {
			fail(n, "uniqueItems", "it is supported only with maxItems 1 at most: a grammar can't remember what an array already holds")
		}
	}
	return a
}

// maxPatterns bounds patternProperties: names are told apart by which of them match.
const maxPatterns = 6

// object reads the keywords for objects.
func (c *schemaCompiler) object(n *node) *object {
	o := &object{min: count(n, "minProperties", 0), max: count(n, "maxProperties", -1)}
	type class struct {
		keys
		matched bool
	}
	classes := []class{{keys: keys{common().text, nil}}}
	if k := n.members["patternProperties"]; k != nil {
		c.mustBeObject(n, "patternProperties", k)
		if len(k.keys) > maxPatterns {
			fail(n, "patternProperties", "more than %d are not supported", maxPatterns)
		}
		for _, p := range k.keys {
			d := c.regex(n, "patternProperties", p)
			var split []class
			for _, old := range classes {
				if in := c.meetLang(old.names, d); in != nil {
					split = append(split, class{keys{in, old.value.and(conj{{n: k.members[p]}})}, true})
				}
				if out := subtract(c.lim, old.names, d); !out.empty() {
					split = append(split, class{keys{out, old.value}, old.matched})
				}
			}
			classes = split
		}
	}
	properties := n.members["properties"]
	if properties != nil {
		c.mustBeObject(n, "properties", properties)
		for _, name := range properties.keys {
			v := conj{{n: properties.members[name]}}
			for _, k := range classes {
				if k.matched && k.names.matches(name) {
					v = v.and(k.value)
				}
			}
			o.props = append(o.props, property{name, v, false})
		}
	}
	var additional conj
	if k := n.members["additionalProperties"]; k != nil {
		additional = conj{{n: k}}
		if k.kind == 'b' && k.truth {
			additional = nil
		}
	}
	if k := c.unevaluated(n, "unevaluatedProperties"); k != nil && n.members["additionalProperties"] == nil {
		additional = conj{{n: k}}
	}
	for _, k := range classes {
		if !k.matched {
			k.value = additional
		}
		if len(k.value) == 1 && k.value[0].n.kind == 'b' && !k.value[0].n.truth {
			continue
		}
		o.rest = append(o.rest, k.keys)
	}
	if k := n.members["propertyNames"]; k != nil {
		c.propertyNames(o, c.term(term{n: k}).str)
	}
	if k := n.members["required"]; k != nil {
		for _, name := range c.names(n, "required", k) {
			o.require(name)
		}
	}
	return o
}

// require makes a property required, after those that are listed already.
func (o *object) require(name string) {
	for i := range o.props {
		if o.props[i].name == name {
			o.props[i].required = true
			return
		}
	}
	v, _ := o.of(name)
	o.props = append(o.props, property{name, v, true})
}

func (c *schemaCompiler) propertyNames(o *object, allowed *dfa) {
	for i, p := range o.props {
		if allowed == nil || !allowed.matches(p.name) {
			o.props[i].value = conj{{n: falseSchema}}
		}
	}
	var rest []keys
	for _, k := range o.rest {
		if names := c.meetLang(k.names, allowed); names != nil {
			rest = append(rest, keys{names, k.value})
		}
	}
	o.rest = rest
}

func (c *schemaCompiler) mustBeObject(n *node, keyword string, k *node) {
	if k.kind != 'o' {
		fail(n, keyword, "it must be an object")
	}
}

// names reads a list of property names.
func (c *schemaCompiler) names(n *node, keyword string, k *node) (out []string) {
	if k.kind != 'a' {
		fail(n, keyword, "it must be an array of strings")
	}
	for _, m := range k.items {
		if m.kind != 's' {
			fail(n, keyword, "it must be an array of strings")
		}
		out = append(out, m.text)
	}
	return out
}

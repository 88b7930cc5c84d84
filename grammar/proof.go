package grammar

import "errors"

// proofDepth bounds how deep empty looks: beyond it nothing is taken for empty.
const proofDepth = 4

// empty says whether v certainly holds nothing.
func (c *schemaCompiler) empty(v *value, depth int) bool {
	if v.null || v.bools != 0 || v.num != nil || v.str != nil {
		return false
	}
	never := func(w conj) bool { return len(w) > 0 && depth > 0 && c.never(w, depth-1) }
	for _, a := range v.arrays {
		none := a.max >= 0 && a.min > a.max
		for i := 0; i < min(a.min, len(a.prefix)+1) && !none; i++ {
			none = never(a.at(i))
		}
		if !none {
			return false
		}
	}
	for _, o := range v.objects {
		none := o.max >= 0 && o.min > o.max
		for _, p := range o.props {
			none = none || p.required && never(p.value)
		}
		if !none {
			return false
		}
	}
	return true
}

// never says whether v certainly can't be met. Of a schema that is still being read,
// further up, nothing is certain.
func (c *schemaCompiler) never(v conj, depth int) bool {
	open := len(c.open)
	var none bool
	err := guard(func() { none = c.empty(c.eval(v), depth) })
	if e := new(cycleError); errors.As(err, &e) {
		for _, t := range c.open[open:] {
			delete(c.values, t)
		}
		c.open = c.open[:open]
		return false
	}
	if err != nil {
		panic(abort{err})
	}
	return none
}

// A cycleError says that a schema's meaning depends on itself.
type cycleError struct{ *SchemaError }

func (e *cycleError) Unwrap() error { return e.SchemaError }

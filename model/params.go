package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
)

// Key is a hyper-parameter's name in either format. "%s" in the GGUF name
// stands for the architecture. A dot in the Hugging Face name leads into a
// nested object of config.json. An empty name means that the format lacks it.
type Key struct{ GGUF, HF string }

// Params reads hyper-parameters, each with the bounds it must keep, and
// remembers everything that is wrong with them.
type Params struct {
	c        checkpoint.Checkpoint
	arch     string
	defaults map[Key]int
	errs     []error
}

// Default sets what Int and IntOr return for a key that config.json leaves out: the
// default of the class in transformers. GGUF files leave nothing to defaults.
func (p *Params) Default(k Key, v int) {
	if p.Format() != checkpoint.HuggingFace {
		return
	}
	if p.defaults == nil {
		p.defaults = map[Key]int{}
	}
	p.defaults[k] = v
}

// defaultInt is the Default of a key, or else def.
func (p *Params) defaultInt(k Key, def int) int {
	if v, ok := p.defaults[k]; ok {
		return v
	}
	return def
}

// Format is the checkpoint's format.
func (p *Params) Format() checkpoint.Format { return p.c.Format() }

// Fail records an error.
func (p *Params) Fail(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

func (p *Params) err() error {
	if len(p.errs) == 0 {
		return nil
	}
	return fmt.Errorf("read the hyper-parameters of %s: %w", p.c.Path(), errors.Join(p.errs...))
}

// name is the key in this checkpoint's naming.
func (p *Params) name(k Key) string {
	if p.c.Format() == checkpoint.HuggingFace {
		return k.HF
	}
	return strings.ReplaceAll(k.GGUF, "%s", p.arch)
}

// Has reports whether the key is present, and not null.
func (p *Params) Has(k Key) bool {
	name := p.name(k)
	if name == "" {
		return false
	}
	v, ok := p.c.Metadata().Value(name)
	return ok && v != nil
}

// Null reports whether the key is present and null.
func (p *Params) Null(k Key) bool {
	v, ok := p.c.Metadata().Value(p.name(k))
	return ok && v == nil
}

// Int is a required integer within [low, high]. When it is absent or out of
// bounds, the failure is recorded and low is returned.
func (p *Params) Int(k Key, low, high int) int {
	if !p.Has(k) {
		if v, ok := p.defaults[k]; ok {
			return v
		}
		p.Fail("%s is missing", p.name(k))
		return low
	}
	v, ok := p.c.Metadata().Int(p.name(k))
	if !ok {
		raw, _ := p.c.Metadata().Value(p.name(k))
		p.Fail("%s is %T, expected one integer", p.name(k), raw)
		return low
	}
	if v < low || v > high {
		p.Fail("%s is %d, expected %d to %d", p.name(k), v, low, high)
		return low
	}
	return v
}

// IntOr is Int with a default for an absent key.
func (p *Params) IntOr(k Key, def, low, high int) int {
	if !p.Has(k) {
		return p.defaultInt(k, def)
	}
	return p.Int(k, low, high)
}

// FloatOr is a number within [low, high], with a default for an absent key.
func (p *Params) FloatOr(k Key, def, low, high float64) float64 {
	if !p.Has(k) {
		return def
	}
	v, ok := p.c.Metadata().Float(p.name(k))
	if !ok {
		raw, _ := p.c.Metadata().Value(p.name(k))
		p.Fail("%s is %T, expected a number", p.name(k), raw)
		return def
	}
	if math.IsNaN(v) || v < low || v > high {
		p.Fail("%s is %g, expected %g to %g", p.name(k), v, low, high)
		return def
	}
	return v
}

// Float is FloatOr for a required number.
func (p *Params) Float(k Key, low, high float64) float64 {
	if !p.Has(k) {
		p.Fail("%s is missing", p.name(k))
		return low
	}
	return p.FloatOr(k, low, low, high)
}

// BoolOr is true or false, with a default for an absent key.
func (p *Params) BoolOr(k Key, def bool) bool {
	if !p.Has(k) {
		return def
	}
	b, ok := p.c.Metadata().Bool(p.name(k))
	if !ok {
		raw, _ := p.c.Metadata().Value(p.name(k))
		p.Fail("%s is %T, expected true or false", p.name(k), raw)
		return def
	}
	return b
}

// StringOr is a string, with a default for an absent key.
func (p *Params) StringOr(k Key, def string) string {
	if !p.Has(k) {
		return def
	}
	s, ok := p.c.Metadata().String(p.name(k))
	if !ok {
		raw, _ := p.c.Metadata().Value(p.name(k))
		p.Fail("%s is %T, expected a string", p.name(k), raw)
		return def
	}
	return s
}

// Strings is a list of strings, none if the key is absent.
func (p *Params) Strings(k Key) []string {
	if !p.Has(k) {
		return nil
	}
	list, ok := p.c.Metadata().Strings(p.name(k))
	if !ok {
		raw, _ := p.c.Metadata().Value(p.name(k))
		p.Fail("%s is %T, expected a list of strings", p.name(k), raw)
	}
	return list
}

// Ints is a list of integers, none if the key is absent.
func (p *Params) Ints(k Key) []int {
	if !p.Has(k) {
		return nil
	}
	list, ok := p.c.Metadata().Ints(p.name(k))
	if !ok {
		raw, _ := p.c.Metadata().Value(p.name(k))
		p.Fail("%s is %T, expected a list of integers", p.name(k), raw)
	}
	return list
}

// Floats is a required list of n positive numbers, nil if there is no such list.
func (p *Params) Floats(k Key, n int) []float64 {
	list, ok := p.c.Metadata().Floats(p.name(k))
	if !ok || len(list) != n || slices.ContainsFunc(list, func(v float64) bool { return !(v > 0) || math.IsInf(v, 0) }) {
		p.Fail("%s is not a list of %d positive numbers", p.name(k), n)
		return nil
	}
	return list
}

// Rows is the number of rows of a tensor, such as the vocabulary's of the
// embedding, within [low, high].
func (p *Params) Rows(n Name, low, high int) int {
	name := n.in(p.c.Format(), 0)
	t, ok := p.c.Tensor(name)
	if !ok {
		p.Fail("tensor %s is missing", name)
		return low
	}
	if len(t.Shape) != 2 || t.Shape[0] < low || t.Shape[0] > high {
		p.Fail("tensor %s has the shape %v, expected %d to %d rows", name, t.Shape, low, high)
		return low
	}
	return t.Shape[0]
}

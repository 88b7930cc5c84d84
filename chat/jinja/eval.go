package jinja

import (
	"fmt"
	"strings"
)

func (x *execution) eval(e expr) any {
	x.work(1)
	x.nest()
	v := x.evalNode(e)
	x.nested--
	return v
}

func (x *execution) evalNode(e expr) any {
	switch e := e.(type) {
	case *literalExpr:
		return e.value
	case *nameExpr:
		return x.lookup(e.name)
	case *seqExpr:
		s := &sequence{kind: isList, items: make([]any, len(e.items))}
		if e.tuple {
			s.kind = isTuple
		}
		for i, item := range e.items {
			s.items[i] = x.eval(item)
		}
		return s
	case *dictExpr:
		d := new(Dict)
		for i, k := range e.keys {
			x.setKey(d, x.eval(k), x.eval(e.values[i]))
		}
		return d
	case *attrExpr:
		return x.attr(x.eval(e.object), e.name)
	case *itemExpr:
		object := x.eval(e.object)
		if s, ok := e.index.(*sliceExpr); ok {
			return x.slice(object, s)
		}
		return x.item(object, x.eval(e.index))
	case *callExpr:
		fn := x.eval(e.fn)
		return x.call(fn, x.positional(e.args), x.keywords(e.args))
	case *filterExpr:
		return e.fn(x, append([]any{x.eval(e.operand)}, x.positional(e.args)...), x.keywords(e.args))
	case *testExpr:
		return e.fn(x, append([]any{x.eval(e.operand)}, x.positional(e.args)...), x.keywords(e.args))
	case *notExpr:
		return !truth(x.eval(e.operand))
	case *signExpr:
		return x.sign(x.eval(e.operand), e.minus)
	case *binaryExpr:
		return x.binary(e.op, x.eval(e.left), x.eval(e.right))
	case *logicExpr:
		left := x.eval(e.left)
		if truth(left) == e.or {
			return left
		}
		return x.eval(e.right)
	case *compareExpr:
		left := x.eval(e.first)
		for i, op := range e.ops {
			right := x.eval(e.operands[i])
			if !x.compare(op, left, right) {
				return false
			}
			left = right
		}
		return true
	case *concatExpr:
		return x.concat(e.parts)
	case *condExpr:
		switch {
		case truth(x.eval(e.cond)):
			return x.eval(e.then)
		case e.orElse != nil:
			return x.eval(e.orElse)
		}
		return &undefined{fmt.Sprintf("the inline if-expression on line %d evaluated to false and no else section was defined.", x.line)}
	}
	x.failf("unexpected expression %T", e)
	return nil
}

// checkKey takes the work of hashing a key, and fails when it can't be one.
func (x *execution) checkKey(key any) {
	x.work(4)
	switch k := key.(type) {
	case string:
		x.workBytes(len(k))
	case *sequence:
		defer x.descend()()
		for _, item := range k.items {
			x.work(32) // a tuple's key is made of its elements', as text
			if s, ok := text(item); ok {
				x.work(len(s))
			}
			x.checkKey(item)
		}
	}
}

func (x *execution) setKey(d *Dict, key, value any) {
	x.checkKey(key)
	if !d.set(key, value) {
		x.failf("unhashable type: '%s'", typeName(key))
	}
}

func (x *execution) positional(a arguments) []any {
	if len(a.positional) == 0 && a.star == nil {
		return nil
	}
	args := make([]any, len(a.positional))
	for i, e := range a.positional {
		args[i] = x.eval(e)
	}
	if a.star != nil {
		args = append(args, x.iterate(x.eval(a.star))...)
	}
	return args
}

func (x *execution) keywords(a arguments) *Dict {
	d := new(Dict)
	for i, name := range a.names {
		d.set(name, x.eval(a.named[i]))
	}
	if a.starStar != nil {
		m, ok := x.eval(a.starStar).(*Dict)
		if !ok {
			x.failf("argument after ** must be a mapping")
		}
		for i, k := range m.keys {
			if _, ok := k.(string); !ok {
				x.failf("keywords must be strings")
			}
			d.set(k, m.values[i])
		}
	}
	return d
}

func (x *execution) call(fn any, args []any, kwargs *Dict) any {
	switch f := fn.(type) {
	case *function:
		return f.call(x, args, kwargs)
	case *instance:
		if f.call != nil {
			return f.call(x, args, kwargs)
		}
	case *undefined:
		x.failf("%s", f.message)
	}
	x.failf("'%s' object is not callable", typeName(fn))
	return nil
}

func (x *execution) concat(parts []expr) string {
	var b strings.Builder
	for _, p := range parts {
		s := x.str(x.eval(p))
		x.workBytes(len(s))
		b.WriteString(s)
	}
	return b.String()
}

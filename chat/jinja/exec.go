package jinja

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// baseWork is the work every rendering may do, in units of about one visited
	// node or four bytes of text made or searched: one or two seconds of computing
	// and 80 MB of text at the most. Rendering a conversation of a hundred turns
	// takes some ten thousand.
	baseWork = 20_000_000
	// workPerByte is added for every byte of input, so that long conversations
	// aren't held to it.
	workPerByte = 64
	// maxDepth bounds recursion: of macros and loops, and into nested values.
	maxDepth = 200
	// maxNested bounds the evaluations that wait for another's result, and with it
	// the goroutine's stack, whose overflow would end the process: to some ten megabytes.
	maxNested = 10_000
)

// execution is one rendering. Its methods panic with an error of this package
// where Python would raise; Render recovers it.
type execution struct {
	out    *strings.Builder
	scope  *scope
	line   int
	left   int // work left
	depth  int // nested calls of macros and recursive loops, or values
	nested int // evaluations and blocks under way
	now    time.Time
	signal signal
}

// signal is how statements tell the enclosing loop to stop or go on.
type signal uint8

const (
	proceed signal = iota
	breaking
	continuing
)

// scope holds the variables of a block. There are few, so they are searched in
// line.
type scope struct {
	parent *scope
	names  []string
	values []any
}

func (s *scope) set(name string, value any) {
	if i := slices.Index(s.names, name); i >= 0 {
		s.values[i] = value
		return
	}
	s.names = append(s.names, name)
	s.values = append(s.values, value)
}

func (s *scope) get(name string) (any, bool) {
	for ; s != nil; s = s.parent {
		if i := slices.Index(s.names, name); i >= 0 {
			return s.values[i], true
		}
	}
	return nil, false
}

func (x *execution) failf(format string, args ...any) {
	panic(&Error{Line: x.line, Message: fmt.Sprintf(format, args...)})
}

// work takes n units from what the rendering may do.
func (x *execution) work(n int) {
	x.left -= n
	if x.left < 0 {
		x.failf("the template does too much work for its input: it loops or grows without end")
	}
}

// workBytes takes the work of handling n bytes of text.
func (x *execution) workBytes(n int) { x.work(n/4 + 1) }

// workItems takes the work of making a list of n elements.
func (x *execution) workItems(n int) { x.work(4 * n) }

// descend counts a level of recursion; the result leaves it.
func (x *execution) descend() (leave func()) {
	x.depth++
	if x.depth > maxDepth {
		x.failf("maximum recursion depth exceeded")
	}
	return func() { x.depth-- }
}

// push opens a scope inside parent; the result closes it.
func (x *execution) push(parent *scope) (pop func()) {
	outer := x.scope
	x.scope = &scope{parent: parent}
	return func() { x.scope = outer }
}

// capture renders body to a string.
func (x *execution) capture(body []stmt) string {
	outer := x.out
	x.out = new(strings.Builder)
	x.run(body)
	s := x.out.String()
	x.out = outer
	return s
}

func (x *execution) write(s string) {
	x.workBytes(len(s))
	x.out.WriteString(s)
}

func (x *execution) run(body []stmt) {
	x.nest()
	for _, s := range body {
		x.work(1)
		x.statement(s)
		if x.signal != proceed {
			break
		}
	}
	x.nested--
}

// nest counts an evaluation or block under way; its caller takes it back.
func (x *execution) nest() {
	if x.nested++; x.nested > maxNested {
		x.failf("maximum recursion depth exceeded")
	}
}

func (x *execution) statement(s stmt) {
	switch s := s.(type) {
	case *textStmt:
		x.write(s.text)
	case *outputStmt:
		x.line = s.line
		x.write(x.str(x.eval(s.expr)))
	case *ifStmt:
		x.line = s.line
		for i, c := range s.conds {
			if truth(x.eval(c)) {
				x.run(s.bodies[i])
				return
			}
		}
		if len(s.bodies) > len(s.conds) {
			x.run(s.bodies[len(s.conds)])
		}
	case *forStmt:
		x.line = s.line
		x.loop(s, x.eval(s.iter), 0)
	case *setStmt:
		x.line = s.line
		x.assign(s.target, x.eval(s.value))
	case *captureStmt:
		pop := x.push(x.scope)
		var v any = x.capture(s.body)
		pop()
		x.line = s.line
		for _, f := range s.filters {
			v = f.fn(x, append([]any{v}, x.positional(f.args)...), x.keywords(f.args))
		}
		if s.target == nil {
			x.write(x.str(v))
		} else {
			x.assign(s.target, v)
		}
	case *withStmt:
		x.line = s.line
		values := make([]any, len(s.values))
		for i, v := range s.values {
			values[i] = x.eval(v)
		}
		defer x.push(x.scope)()
		for i, t := range s.targets {
			x.assign(t, values[i])
		}
		x.run(s.body)
	case *macroStmt:
		x.scope.set(s.name, x.macro(s.macroDef))
	case *callStmt:
		x.line = s.line
		c := s.call.(*callExpr)
		kwargs := x.keywords(c.args)
		kwargs.set("caller", x.macro(s.block))
		x.write(x.str(x.call(x.eval(c.fn), x.positional(c.args), kwargs)))
	case breakStmt:
		x.signal = breaking
	case continueStmt:
		x.signal = continuing
	}
}

func (x *execution) assign(target expr, v any) {
	switch t := target.(type) {
	case *nameExpr:
		x.scope.set(t.name, v)
	case *attrExpr:
		ns, ok := x.eval(t.object).(*namespace)
		if !ok {
			x.failf("cannot assign attribute on non-namespace object")
		}
		if strings.HasPrefix(t.name, "_") {
			x.failf("chat templates cannot store underscore-prefixed attributes on a namespace, but got '%s'", t.name)
		}
		ns.attrs.Set(t.name, v)
	case *seqExpr:
		items := x.iterate(v)
		if len(items) != len(t.items) {
			x.failf("cannot unpack %d values into %d names", len(items), len(t.items))
		}
		for i, item := range items {
			x.assign(t.items[i], item)
		}
	}
}

// loop runs a for statement over v. depth counts the recursive loops around it.
func (x *execution) loop(s *forStmt, v any, depth int) {
	defer x.descend()()
	outer := x.scope
	items := x.iterate(v)
	if s.filter != nil {
		var kept []any
		for _, item := range items {
			x.work(8)
			pop := x.push(outer)
			x.assign(s.target, item)
			if truth(x.eval(s.filter)) {
				kept = append(kept, item)
			}
			pop()
		}
		items = kept
	}
	state := &loopState{items: items, depth: depth}
	if s.recursive {
		state.recurse = func(x *execution, v any) string {
			defer x.push(outer)()
			text := x.out
			x.out = new(strings.Builder)
			x.loop(s, v, depth+1)
			inner := x.out.String()
			x.out = text
			return inner
		}
	}
	object := state.object()
	for i, item := range items {
		x.work(8)
		state.index = i
		pop := x.push(outer)
		x.scope.set("loop", object)
		x.assign(s.target, item)
		x.run(s.body)
		pop()
		signal := x.signal
		x.signal = proceed
		if signal == breaking {
			break
		}
	}
	if len(items) == 0 {
		defer x.push(outer)()
		x.run(s.orElse)
	}
}

// loopState is what the variable loop shows.
type loopState struct {
	items   []any
	index   int
	depth   int
	changed *sequence
	recurse func(*execution, any) string
}

func (l *loopState) object() *instance {
	o := &instance{typeName: "LoopContext", attr: l.attr}
	o.call = func(x *execution, args []any, kwargs *Dict) any {
		if l.recurse == nil {
			x.failf("the loop must have the 'recursive' marker to be called recursively")
		}
		a := x.params("loop", args, kwargs, 1, "iterable")
		return l.recurse(x, a[0])
	}
	return o
}

func (l *loopState) attr(name string) (any, bool) {
	neighbour := func(i int, which string) any {
		if i < 0 || i >= len(l.items) {
			return &undefined{"there is no " + which + " item"}
		}
		return l.items[i]
	}
	n := int64(len(l.items))
	i := int64(l.index)
	switch name {
	case "index":
		return i + 1, true
	case "index0":
		return i, true
	case "revindex":
		return n - i, true
	case "revindex0":
		return n - i - 1, true
	case "first":
		return i == 0, true
	case "last":
		return i == n-1, true
	case "length":
		return n, true
	case "depth":
		return int64(l.depth) + 1, true
	case "depth0":
		return int64(l.depth), true
	case "previtem":
		return neighbour(l.index-1, "previous"), true
	case "nextitem":
		return neighbour(l.index+1, "next"), true
	case "cycle":
		return &function{"cycle", func(x *execution, args []any, _ *Dict) any {
			if len(args) == 0 {
				x.failf("no items for cycling given")
			}
			return args[l.index%len(args)]
		}}, true
	case "changed":
		return &function{"changed", func(x *execution, args []any, _ *Dict) any {
			now := &sequence{isTuple, args}
			if l.changed != nil && x.equal(l.changed, now) {
				return false
			}
			l.changed = now
			return true
		}}, true
	}
	return nil, false
}

// macro makes a callable of a definition. Its body sees the scope it was defined in.
func (x *execution) macro(def *macroDef) *instance {
	defined := x.scope
	return &instance{
		typeName: "Macro",
		attr: func(name string) (any, bool) {
			if name == "name" {
				return def.name, true
			}
			return nil, false
		},
		call: func(x *execution, args []any, kwargs *Dict) any {
			return x.callMacro(def, defined, args, kwargs)
		},
	}
}

func (x *execution) callMacro(def *macroDef, defined *scope, args []any, kwargs *Dict) string {
	defer x.descend()()
	caller := x.scope
	defer func() { x.scope = caller }()
	x.scope = &scope{parent: defined}

	rest := new(Dict)
	given := make(map[string]any)
	for i, k := range kwargs.keys {
		name := k.(string)
		switch j := slices.Index(def.params, name); {
		case j >= len(args):
			given[name] = kwargs.values[i]
		case j >= 0:
			x.failf("macro '%s' got multiple values for argument '%s'", def.name, name)
		case name == "caller" && def.usesCaller:
			x.scope.set("caller", kwargs.values[i])
		default:
			rest.set(name, kwargs.values[i])
		}
	}
	for i, name := range def.params {
		v, ok := given[name]
		switch d := i - (len(def.params) - len(def.defaults)); {
		case ok:
		case i < len(args):
			v = args[i]
		case d >= 0:
			v = x.eval(def.defaults[d])
		default:
			v = &undefined{fmt.Sprintf("parameter '%s' was not provided", name)}
		}
		x.scope.set(name, v)
	}
	if def.usesVarargs {
		x.scope.set("varargs", &sequence{isTuple, args[min(len(args), len(def.params)):]})
	} else if len(args) > len(def.params) {
		x.failf("macro '%s' takes not more than %d argument(s)", def.name, len(def.params))
	}
	if def.usesKwargs {
		x.scope.set("kwargs", rest)
	} else if len(rest.keys) > 0 {
		x.failf("macro '%s' takes no keyword argument '%s'", def.name, rest.keys[0])
	}
	if _, ok := x.scope.get("caller"); def.usesCaller && !ok {
		x.scope.set("caller", &undefined{"No caller defined"})
	}
	return x.capture(def.body)
}

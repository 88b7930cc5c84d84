package jinja

import (
	"slices"
	"strconv"
	"strings"
)

// tuple parses an expression, or several separated by commas: a tuple. Within
// stops a tuple may end after a comma. cond lets the elements be conditional
// expressions, which a loop's iterable can't be (its `if` is the loop's filter).
func (p *parser) tuple(cond, commas bool, stops ...string) expr {
	element := p.expression
	if !cond {
		element = p.or
	}
	first := element()
	if !commas || !p.isOp(",") {
		return first
	}
	items := []expr{first}
	for p.skipOp(",") {
		if k := p.peek().kind; k == tokenVariableEnd || k == tokenBlockEnd || p.isOp(")") || p.isName(stops...) {
			break
		}
		items = append(items, element())
	}
	return &seqExpr{items: items, tuple: true}
}

func (p *parser) expression() expr {
	defer p.enter()()
	e := p.or()
	for n := 0; p.skipName("if"); n++ {
		p.chain(n)
		c := &condExpr{cond: p.or(), then: e}
		if p.skipName("else") {
			c.orElse = p.expression()
		}
		e = c
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for n := 0; p.skipName("or"); n++ {
		p.chain(n)
		e = &logicExpr{true, e, p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for n := 0; p.skipName("and"); n++ {
		p.chain(n)
		e = &logicExpr{false, e, p.not()}
	}
	return e
}

func (p *parser) not() expr {
	if p.skipName("not") {
		defer p.enter()()
		return &notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	c := &compareExpr{first: p.sum()}
	for {
		op := ""
		switch {
		case p.isOp("==", "!=", "<", ">", "<=", ">="):
			op = p.next().text
		case p.skipName("in"):
			op = "in"
		case p.isName("not") && p.tokens[p.pos+1].kind == tokenName && p.tokens[p.pos+1].text == "in":
			p.pos += 2
			op = "not in"
		}
		if op == "" {
			break
		}
		c.ops = append(c.ops, op)
		c.operands = append(c.operands, p.sum())
	}
	if len(c.ops) == 0 {
		return c.first
	}
	return c
}

// binary parses a left-associative chain of ops.
func (p *parser) binary(operand func() expr, ops ...string) expr {
	e := operand()
	for n := 0; p.isOp(ops...); n++ {
		p.chain(n)
		op := p.next().text
		e = &binaryExpr{op, e, operand()}
	}
	return e
}

func (p *parser) sum() expr { return p.binary(p.concat, "+", "-") }

func (p *parser) concat() expr {
	first := p.product()
	if !p.isOp("~") {
		return first
	}
	parts := []expr{first}
	for p.skipOp("~") {
		parts = append(parts, p.product())
	}
	return &concatExpr{parts}
}

func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }

func (p *parser) power() expr {
	return p.binary(func() expr { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) expr {
	defer p.enter()()
	var e expr
	switch {
	case p.skipOp("-"):
		e = &signExpr{p.unary(false), true}
	case p.skipOp("+"):
		e = &signExpr{p.unary(false), false}
	default:
		e = p.primary()
	}
	e = p.postfix(e)
	if !filters {
		return e
	}
	for n := 0; ; n++ {
		p.chain(n)
		switch {
		case p.skipOp("|"):
			f := p.filter()
			f.operand = e
			e = f
		case p.skipName("is"):
			e = p.test(e)
		case p.isOp("("):
			e = &callExpr{e, p.arguments()}
		default:
			return e
		}
	}
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case tokenName:
		switch t.text {
		case "true", "True":
			return &literalExpr{true}
		case "false", "False":
			return &literalExpr{false}
		case "none", "None":
			return &literalExpr{nil}
		}
		if len(p.macros) > 0 {
			m := p.macros[len(p.macros)-1]
			m.usesVarargs = m.usesVarargs || t.text == "varargs"
			m.usesKwargs = m.usesKwargs || t.text == "kwargs"
			m.usesCaller = m.usesCaller || t.text == "caller"
		}
		return &nameExpr{t.text}
	case tokenString:
		if p.peek().kind != tokenString {
			return &literalExpr{t.text}
		}
		parts := []string{t.text}
		for p.peek().kind == tokenString {
			parts = append(parts, p.next().text)
		}
		return &literalExpr{strings.Join(parts, "")}
	case tokenInteger:
		base := 10
		if len(t.text) > 1 && t.text[1] > '9' {
			base = 0 // by its prefix: 0x, 0o, 0b
		}
		n, err := strconv.ParseInt(t.text, base, 64)
		if err != nil {
			p.failf("the integer %s is too large", t.text)
		}
		return &literalExpr{n}
	case tokenFloat:
		f, _ := strconv.ParseFloat(t.text, 64) // out of range is infinity, as in Python
		return &literalExpr{f}
	case tokenOperator:
		switch t.text {
		case "(":
			if p.skipOp(")") {
				return &seqExpr{tuple: true}
			}
			e := p.tuple(true, true)
			p.expectOp(")")
			return e
		case "[":
			list := &seqExpr{}
			for !p.isOp("]") {
				if len(list.items) > 0 {
					p.expectOp(",")
					if p.isOp("]") {
						break
					}
				}
				list.items = append(list.items, p.expression())
			}
			p.expectOp("]")
			return list
		case "{":
			d := &dictExpr{}
			for !p.isOp("}") {
				if len(d.keys) > 0 {
					p.expectOp(",")
					if p.isOp("}") {
						break
					}
				}
				d.keys = append(d.keys, p.expression())
				p.expectOp(":")
				d.values = append(d.values, p.expression())
			}
			p.expectOp("}")
			return d
		}
	}
	p.failf("unexpected '%s'", t)
	return nil
}

func (p *parser) postfix(e expr) expr {
	for n := 0; ; n++ {
		p.chain(n)
		switch {
		case p.skipOp("."):
			switch t := p.next(); t.kind {
			case tokenName:
				e = &attrExpr{e, t.text}
			case tokenInteger:
				i, err := strconv.ParseInt(t.text, 10, 64)
				if err != nil {
					p.failf("the integer %s is too large", t.text)
				}
				e = &itemExpr{e, &literalExpr{i}}
			default:
				p.failf("expected name or number, got '%s'", t)
			}
		case p.skipOp("["):
			e = &itemExpr{e, p.subscript()}
		case p.isOp("("):
			e = &callExpr{e, p.arguments()}
		default:
			return e
		}
	}
}

// subscript parses an index or a slice and the closing bracket.
func (p *parser) subscript() expr {
	if p.isOp("]") {
		p.failf("expected an expression in the subscript")
	}
	var parts [3]expr
	n := 0
	for ; n < 3; n++ {
		if !p.isOp(":", "]") {
			parts[n] = p.expression()
		}
		if !p.skipOp(":") {
			break
		}
	}
	p.expectOp("]")
	if n == 0 {
		return parts[0]
	}
	return &sliceExpr{parts[0], parts[1], parts[2]}
}

func (p *parser) arguments() arguments {
	var a arguments
	p.expectOp("(")
	for first := true; !p.isOp(")"); first = false {
		if !first {
			p.expectOp(",")
			if p.isOp(")") {
				break
			}
		}
		switch {
		case p.skipOp("**"):
			if a.starStar != nil {
				p.failf("invalid syntax for function call expression")
			}
			a.starStar = p.expression()
		case p.skipOp("*"):
			if a.star != nil || a.starStar != nil {
				p.failf("invalid syntax for function call expression")
			}
			a.star = p.expression()
		case p.peek().kind == tokenName && p.tokens[p.pos+1].kind == tokenOperator && p.tokens[p.pos+1].text == "=":
			name := p.next().text
			p.next()
			if slices.Contains(a.names, name) {
				p.failf("keyword argument repeated: %s", name)
			}
			a.names = append(a.names, name)
			a.named = append(a.named, p.expression())
		default:
			if len(a.names) > 0 || a.star != nil || a.starStar != nil {
				p.failf("invalid syntax for function call expression")
			}
			a.positional = append(a.positional, p.expression())
		}
	}
	p.expectOp(")")
	return a
}

// dotted parses the name of a filter or test.
func (p *parser) dotted() string {
	name := p.expect(tokenName).text
	for p.skipOp(".") {
		name += "." + p.expect(tokenName).text
	}
	return name
}

// find looks a filter or test up. One that doesn't exist fails when it is used
// and not before, since templates ask for those of other engines in branches that
// may never be taken.
func find(table map[string]builtin, what, name string) builtin {
	if f := table[name]; f != nil {
		return f
	}
	return func(x *execution, _ []any, _ *Dict) any {
		x.failf("no %s named '%s'", what, name)
		return nil
	}
}

// filter parses a filter's name and arguments.
func (p *parser) filter() *filterExpr {
	f := &filterExpr{name: p.dotted()}
	f.fn = find(filterTable, "filter", f.name)
	if p.isOp("(") {
		f.args = p.arguments()
	}
	return f
}

// filters parses the filters of a filter block (the first without its bar) or of
// a set block.
func (p *parser) filters(inline bool) []*filterExpr {
	var fs []*filterExpr
	for p.peek().kind != tokenBlockEnd {
		if !inline || len(fs) > 0 {
			p.expectOp("|")
		}
		p.chain(len(fs))
		fs = append(fs, p.filter())
	}
	if inline && len(fs) == 0 {
		p.failf("expected a filter")
	}
	return fs
}

func (p *parser) test(operand expr) expr {
	negated := p.skipName("not")
	t := &testExpr{operand: operand, name: p.dotted()}
	t.fn = find(testTable, "test", t.name)
	if p.isOp("(") {
		t.args = p.arguments()
	} else if k := p.peek().kind; k == tokenName || k == tokenString || k == tokenInteger || k == tokenFloat || p.isOp("[", "{") {
		if !p.isName("else", "or", "and") {
			if p.isName("is") {
				p.failf("you cannot chain multiple tests with is")
			}
			t.args.positional = []expr{p.postfix(p.primary())}
		}
	}
	if negated {
		return &notExpr{t}
	}
	return t
}

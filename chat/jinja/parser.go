package jinja

import (
	"fmt"
	"slices"
)

// maxNesting bounds how deep blocks and expressions may nest, and how long a
// chain of operators may be, since the tree is walked recursively.
const maxNesting = 200

// parser builds the tree of a template, by recursive descent. Its methods panic
// with an *Error, which parse recovers.
type parser struct {
	tokens []token
	pos    int
	depth  int
	loops  int         // for loops around the current place, within the current macro
	macros []*macroDef // macros around the current place
}

func parse(source string) (body []stmt, err error) {
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Error:
			err = e
		default:
			panic(e)
		}
	}()
	body = p.statements()
	if t := p.peek(); t.kind != tokenEOF {
		p.failf("unexpected %s", t)
	}
	return body, nil
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokenEOF {
		p.pos++
	}
	return t
}

func (p *parser) failf(format string, args ...any) {
	panic(&Error{Line: p.peek().line, Message: fmt.Sprintf(format, args...)})
}

// enter counts a level of nesting; the result leaves it.
func (p *parser) enter() (leave func()) {
	p.depth++
	if p.depth > maxNesting {
		p.failf("the template nests more than %d levels deep", maxNesting)
	}
	return func() { p.depth-- }
}

// chain checks the length of a run of operators on one level.
func (p *parser) chain(n int) {
	if n > maxNesting {
		p.failf("more than %d operators in a row", maxNesting)
	}
}

func (p *parser) isName(names ...string) bool {
	t := p.peek()
	return t.kind == tokenName && slices.Contains(names, t.text)
}

func (p *parser) isOp(ops ...string) bool {
	t := p.peek()
	return t.kind == tokenOperator && slices.Contains(ops, t.text)
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		p.failf("expected '%s', got '%s'", op, p.peek())
	}
}

func (p *parser) expect(kind tokenKind) token {
	if p.peek().kind != kind {
		p.failf("expected %s, got '%s'", kind, p.peek())
	}
	return p.next()
}

// statements parses until a block that begins with one of ends, whose name is
// the current token then, or to the end of the template.
func (p *parser) statements(ends ...string) []stmt {
	defer p.enter()()
	var body []stmt
	for {
		switch t := p.peek(); t.kind {
		case tokenEOF:
			if len(ends) > 0 {
				p.failf("unexpected end of template: expected '%s'", ends[len(ends)-1])
			}
			return body
		case tokenData:
			p.next()
			body = append(body, &textStmt{t.text})
		case tokenVariableBegin:
			p.next()
			body = append(body, &outputStmt{t.line, p.tuple(true, true)})
			p.expect(tokenVariableEnd)
		case tokenBlockBegin:
			p.next()
			if p.isName(ends...) {
				return body
			}
			body = append(body, p.statement()...)
		default:
			p.failf("unexpected '%s'", t)
		}
	}
}

// block parses the body that follows a tag, up to and past its end tag.
func (p *parser) block(end string) []stmt {
	p.expect(tokenBlockEnd)
	body := p.statements(end)
	p.next()
	p.expect(tokenBlockEnd)
	return body
}

func (p *parser) statement() []stmt {
	t := p.expect(tokenName)
	var s stmt
	switch t.text {
	case "if":
		return []stmt{p.ifStatement(t.line)}
	case "for":
		return []stmt{p.forStatement(t.line)}
	case "set":
		return []stmt{p.setStatement(t.line)}
	case "macro":
		def := &macroDef{name: p.expect(tokenName).text}
		p.signature(def)
		p.macroBody(def, "endmacro")
		return []stmt{&macroStmt{t.line, def}}
	case "call":
		def := &macroDef{name: "caller"}
		if p.isOp("(") {
			p.signature(def)
		}
		call := p.expression()
		if _, ok := call.(*callExpr); !ok {
			p.failf("expected a call")
		}
		p.macroBody(def, "endcall")
		return []stmt{&callStmt{t.line, call, def}}
	case "filter":
		s := &captureStmt{line: t.line}
		s.filters = p.filters(true)
		s.body = p.block("endfilter")
		return []stmt{s}
	case "with":
		return []stmt{p.withStatement(t.line)}
	case "generation":
		// transformers marks the assistant's part with it; the text is the body's.
		return []stmt{&withStmt{line: t.line, body: p.block("endgeneration")}}
	case "break":
		s = breakStmt{}
	case "continue":
		s = continueStmt{}
	default:
		p.failf("unknown or unsupported tag '%s'", t.text)
	}
	if p.loops == 0 {
		p.failf("'%s' outside a loop", t.text)
	}
	p.expect(tokenBlockEnd)
	return []stmt{s}
}

func (p *parser) ifStatement(line int) stmt {
	s := &ifStmt{line: line}
	for {
		s.conds = append(s.conds, p.tuple(false, false))
		p.expect(tokenBlockEnd)
		s.bodies = append(s.bodies, p.statements("elif", "else", "endif"))
		switch p.next().text {
		case "elif":
			continue
		case "else":
			s.bodies = append(s.bodies, p.block("endif"))
		default:
			p.expect(tokenBlockEnd)
		}
		return s
	}
}

func (p *parser) forStatement(line int) stmt {
	s := &forStmt{line: line}
	s.target = p.target("in")
	if !p.skipName("in") {
		p.failf("expected 'in', got '%s'", p.peek())
	}
	s.iter = p.tuple(false, true, "recursive")
	if p.skipName("if") {
		s.filter = p.expression()
	}
	s.recursive = p.skipName("recursive")
	p.expect(tokenBlockEnd)
	p.loops++
	s.body = p.statements("endfor", "else")
	p.loops--
	if p.next().text == "else" {
		s.orElse = p.block("endfor")
	} else {
		p.expect(tokenBlockEnd)
	}
	return s
}

func (p *parser) setStatement(line int) stmt {
	target := p.target("=")
	if p.skipOp("=") {
		s := &setStmt{line, target, p.tuple(true, true)}
		p.expect(tokenBlockEnd)
		return s
	}
	s := &captureStmt{line: line, target: target}
	s.filters = p.filters(false)
	s.body = p.block("endset")
	return s
}

func (p *parser) withStatement(line int) stmt {
	s := &withStmt{line: line}
	for p.peek().kind != tokenBlockEnd {
		if len(s.targets) > 0 {
			p.expectOp(",")
		}
		s.targets = append(s.targets, p.target("="))
		p.expectOp("=")
		s.values = append(s.values, p.expression())
	}
	s.body = p.block("endwith")
	return s
}

func (p *parser) signature(def *macroDef) {
	p.expectOp("(")
	for !p.isOp(")") {
		if len(def.params) > 0 {
			p.expectOp(",")
		}
		def.params = append(def.params, p.expect(tokenName).text)
		if p.skipOp("=") {
			def.defaults = append(def.defaults, p.expression())
		} else if len(def.defaults) > 0 {
			p.failf("non-default argument follows default argument")
		}
	}
	p.expectOp(")")
}

func (p *parser) macroBody(def *macroDef, end string) {
	loops := p.loops
	p.loops = 0
	p.macros = append(p.macros, def)
	def.body = p.block(end)
	p.macros = p.macros[:len(p.macros)-1]
	p.loops = loops
}

// target parses what can be assigned to, up to the name or operator end: names,
// tuples of them, attributes of a namespace.
func (p *parser) target(end string) expr {
	var items []expr
	for {
		if p.skipOp("(") {
			items = append(items, p.target(")"))
			p.expectOp(")")
		} else {
			name := p.expect(tokenName).text
			if slices.Contains(constantNames, name) {
				p.failf("can't assign to '%s'", name)
			}
			if p.skipOp(".") {
				items = append(items, &attrExpr{&nameExpr{name}, p.expect(tokenName).text})
			} else {
				items = append(items, &nameExpr{name})
			}
		}
		comma := p.skipOp(",")
		if !comma && len(items) == 1 {
			return items[0]
		}
		if !comma || p.isOp(end) || p.isName(end) || p.peek().kind == tokenBlockEnd {
			return &seqExpr{items: items, tuple: true}
		}
	}
}

var constantNames = []string{"true", "false", "none", "True", "False", "None"}

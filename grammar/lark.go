package grammar

import (
	"errors"
	"strings"
)

// compileLark reads a subset of Lark's notation: rules "name: alternatives" and terminals "NAME:
// alternatives" of "strings", "strings"i, "a".."z", /regular expressions/ with the flags i
// and s, names, groups, [optional parts] and the repetitions * + ? ~n ~m..n. The text starts
// with the rule start.
//
// Terminals are read as rules: there is no lexer that prefers the longest one. What depends on
// one is refused: %ignore, %declare, priorities and templates. %import knows the terminals of
// Lark's library of common ones that larkLibrary lists.
func compileLark(lim *budget, source string) *program {
	g := newBNF(lim, Lark, source)
	for g.larkSpace(true); g.at < len(g.in); g.larkSpace(true) {
		if g.peek() == '%' {
			g.larkDirective()
			continue
		}
		if c := g.peek(); c == '?' || c == '!' {
			g.take(1) // how a tree is shaped
		}
		name := g.name(isLarkName)
		if name == "" {
			g.fail("a rule's name must come here, not %q", g.peek())
		}
		g.larkSpace(false)
		if g.peek() == '.' || g.peek() == '{' {
			g.fail("priorities and templates are not supported")
		}
		if g.peek() != ':' {
			g.fail("a : must follow the name %q", name)
		}
		g.take(1)
		g.larkSpace(false)
		g.define(name, g.larkAlternatives(false))
		if g.at < len(g.in) && g.peek() != '\n' && g.peek() != '\r' {
			g.fail("%q has no meaning here", g.peek())
		}
	}
	return g.program("start")
}

// larkLibrary holds the terminals of Lark's common library that can be imported.
var larkLibrary = map[string]string{
	"DIGIT": `[0-9]`, "HEXDIGIT": `[0-9a-fA-F]`, "INT": `[0-9]+`, "SIGNED_INT": `[+-]?[0-9]+`,
	"DECIMAL": `[0-9]+\.[0-9]*|\.[0-9]+`, "FLOAT": `[0-9]+[eE][+-]?[0-9]+|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?`,
	"NUMBER":        `[0-9]+([eE][+-]?[0-9]+)?|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?`,
	"SIGNED_NUMBER": `[+-]?([0-9]+([eE][+-]?[0-9]+)?|([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)`,
	"LCASE_LETTER":  `[a-z]`, "UCASE_LETTER": `[A-Z]`, "LETTER": `[A-Za-z]`, "WORD": `[A-Za-z]+`,
	"CNAME": `[A-Za-z_][A-Za-z_0-9]*`, "WS_INLINE": `[ \t]+`, "WS": `[ \t\f\r\n]+`,
	"CR": `\r`, "LF": `\n`, "NEWLINE": `(\r?\n)+`, "ESCAPED_STRING": `"([^"\\\n]|\\[^\n])*"`,
}

func isLarkName(c byte) bool { return c != '-' && isGBNFName(c) }

// larkSpace skips space and comments, and the ends of lines if newlines is set.
func (g *bnf) larkSpace(newlines bool) {
	for g.at < len(g.in) {
		switch c := g.peek(); {
		case c == ' ' || c == '\t', newlines && (c == '\n' || c == '\r'):
			g.take(1)
		case g.starts("//") || c == '#':
			for g.at < len(g.in) && g.peek() != '\n' {
				g.take(1)
			}
		default:
			return
		}
	}
}

// larkDirective reads %import; other directives are refused.
func (g *bnf) larkDirective() {
	end := strings.IndexByte(g.in[g.at:]+"\n", '\n')
	fields := strings.Fields(g.in[g.at : g.at+end])
	if fields[0] != "%import" || len(fields) != 2 && (len(fields) != 4 || fields[2] != "->") {
		g.fail("%s is not supported, only %%import common.NAME", fields[0])
	}
	name, ok := strings.CutPrefix(fields[1], "common.")
	pattern, known := larkLibrary[name]
	if !ok || !known {
		g.fail("%s can't be imported", fields[1])
	}
	g.define(fields[len(fields)-1][strings.LastIndexByte(fields[len(fields)-1], '.')+1:], language{parseRegex(g.lim, pattern)})
	g.take(end)
}

// larkMore says whether the next line goes on with an alternative, and skips to it.
func (g *bnf) larkMore(nested bool) bool {
	at, line := g.at, g.line
	g.larkSpace(true)
	if g.peek() == '|' {
		return true
	}
	if !nested {
		g.at, g.line = at, line
	}
	return false
}

func (g *bnf) larkAlternatives(nested bool) expr {
	a := alt{g.larkSequence(nested)}
	for g.larkMore(nested) {
		g.take(1)
		g.larkSpace(nested)
		a = append(a, g.larkSequence(nested))
	}
	return a
}

func (g *bnf) larkSequence(nested bool) expr {
	s := seq{}
	for {
		var x expr
		switch c := g.peek(); {
		case c == '"':
			x = g.larkString()
		case c == '/':
			x = g.larkRegex()
		case c == '(' || c == '[':
			g.take(1)
			g.larkSpace(true)
			x = g.nest(func() expr { return g.larkAlternatives(true) })
			closing := byte(')')
			if c == '[' {
				closing = ']'
				x = optional(x)
			}
			if g.peek() != closing {
				g.fail("a %c is missing", closing)
			}
			g.take(1)
		case isLarkName(c):
			x = ref(g.rule(g.name(isLarkName)))
		case (c == '*' || c == '+' || c == '?' || c == '~') && len(s) > 0:
			s[len(s)-1] = g.larkRepeat(s[len(s)-1])
			g.larkSpace(nested)
			continue
		case g.starts("->"):
			g.take(2) // the name of an alternative
			g.larkSpace(false)
			g.name(isLarkName)
			g.larkSpace(nested)
			return s
		default:
			return s
		}
		s = append(s, x)
		g.larkSpace(nested)
	}
}

func (g *bnf) larkRepeat(x expr) expr {
	switch g.take(1) {
	case "*":
		return star(x)
	case "+":
		return repeat{x, 1, -1}
	case "?":
		return optional(x)
	}
	g.larkSpace(false)
	digits := func() string { return g.name(func(c byte) bool { return c >= '0' && c <= '9' }) }
	text := digits()
	if g.starts("..") {
		g.take(2)
		text += "," + digits()
	}
	counts := bnf{lim: g.lim, kind: g.kind, in: text + "}", line: g.line}
	low, high := counts.counts(",")
	if high < 0 {
		g.fail("a repetition's second count is missing")
	}
	return repeat{x, low, high}
}

func (g *bnf) larkString() expr {
	text := g.quoted()
	switch {
	case g.peek() == 'i':
		g.take(1)
		var s seq
		for _, r := range text {
			s = append(s, foldRune(r))
		}
		return s
	case g.starts(".."):
		g.take(2)
		if g.peek() != '"' {
			g.fail(`a range must be of two strings: "a".."z"`)
		}
		lo, hi := []rune(text), []rune(g.quoted())
		if len(lo) != 1 || len(hi) != 1 || lo[0] > hi[0] {
			g.fail("a range must be of two characters, the lower first")
		}
		return runes(lo[0], hi[0])
	}
	return literal(text)
}

func (g *bnf) larkRegex() expr {
	g.take(1)
	start := g.at
	for g.peek() != '/' {
		if g.at == len(g.in) || g.peek() == '\n' {
			g.fail("a / is missing")
		}
		if g.peek() == '\\' && g.at+1 < len(g.in) {
			g.take(1)
		}
		g.take(1)
	}
	pattern := g.in[start:g.at]
	g.take(1)
	if flags := g.name(func(c byte) bool { return c >= 'a' && c <= 'z' }); flags != "" {
		if strings.Trim(flags, "is") != "" {
			g.fail("of a regular expression's flags only i and s are supported, not %q", flags)
		}
		pattern = "(?" + flags + ")" + pattern
	}
	var d *dfa
	err := guard(func() { d = parseRegex(g.lim, pattern) })
	if e := new(SyntaxError); errors.As(err, &e) {
		g.fail("/%s/: %s", pattern, e.Reason)
	}
	if err != nil {
		panic(abort{err})
	}
	return language{d}
}

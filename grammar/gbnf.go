package grammar

import (
	"slices"
	"unicode/utf8"
)

// compileGBNF reads a grammar as llama.cpp writes it: rules "name ::= alternatives" of
// "literals", [classes], . for any character, names, groups, and the repetitions
// * + ? {m} {m,} {m,n}. The text starts with the rule root.
func compileGBNF(lim *budget, source string) *program {
	g := newBNF(lim, GBNF, source)
	for g.gbnfSpace(true); g.at < len(g.in); g.gbnfSpace(true) {
		name := g.name(isGBNFName)
		if name == "" {
			g.fail("a rule's name must come here, not %q", g.peek())
		}
		g.gbnfSpace(false)
		if !g.starts("::=") {
			g.fail("::= must follow the name %q", name)
		}
		g.take(3)
		g.gbnfSpace(true)
		g.define(name, g.gbnfAlternatives(false))
		if g.at < len(g.in) && g.peek() != '\n' && g.peek() != '\r' {
			g.fail("%q has no meaning here", g.peek())
		}
	}
	return g.program("root")
}

func isGBNFName(c byte) bool {
	return c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// gbnfSpace skips space and comments, and the ends of lines if newlines is set.
func (g *bnf) gbnfSpace(newlines bool) {
	for g.at < len(g.in) {
		switch c := g.peek(); {
		case c == ' ' || c == '\t', newlines && (c == '\n' || c == '\r'):
			g.take(1)
		case c == '#':
			for g.at < len(g.in) && g.peek() != '\n' {
				g.take(1)
			}
		default:
			return
		}
	}
}

func (g *bnf) gbnfAlternatives(nested bool) expr {
	a := alt{g.gbnfSequence(nested)}
	for g.peek() == '|' {
		g.take(1)
		g.gbnfSpace(true)
		a = append(a, g.gbnfSequence(nested))
	}
	return a
}

func (g *bnf) gbnfSequence(nested bool) expr {
	s := seq{}
	for {
		var x expr
		switch c := g.peek(); {
		case c == '"':
			x = literal(g.quoted())
		case c == '[':
			x = g.gbnfClass()
		case c == '.':
			g.take(1)
			x = anyRune()
		case c == '(':
			g.take(1)
			g.gbnfSpace(true)
			x = g.nest(func() expr { return g.gbnfAlternatives(true) })
			if g.peek() != ')' {
				g.fail("a ) is missing")
			}
			g.take(1)
		case isGBNFName(c):
			x = ref(g.rule(g.name(isGBNFName)))
		case (c == '*' || c == '+' || c == '?' || c == '{') && len(s) > 0:
			g.take(1)
			low, high := 0, -1
			switch c {
			case '+':
				low = 1
			case '?':
				high = 1
			case '{':
				low, high = g.counts(",")
			}
			s[len(s)-1] = repeat{s[len(s)-1], low, high}
			g.gbnfSpace(nested)
			continue
		default:
			return s
		}
		s = append(s, x)
		g.gbnfSpace(nested)
	}
}

// gbnfClass reads a class of characters.
func (g *bnf) gbnfClass() expr {
	g.take(1)
	not := g.peek() == '^'
	if not {
		g.take(1)
	}
	var ranges [][2]rune
	for g.peek() != ']' {
		if g.at == len(g.in) {
			g.fail("a ] is missing")
		}
		lo := g.char()
		hi := lo
		if g.peek() == '-' && !g.starts("-]") {
			g.take(1)
			if hi = g.char(); hi < lo {
				g.fail("a range's end is below its start")
			}
		}
		ranges = append(ranges, [2]rune{lo, hi})
	}
	g.take(1)
	if !not {
		var a alt
		for _, r := range ranges {
			a = append(a, runes(r[0], r[1]))
		}
		return a
	}
	slices.SortFunc(ranges, func(a, b [2]rune) int { return int(a[0] - b[0]) })
	var a alt
	next := rune(0)
	for _, r := range ranges {
		if r[0] > next {
			a = append(a, runes(next, r[0]-1))
		}
		next = max(next, r[1]+1)
	}
	if next <= utf8.MaxRune {
		a = append(a, runes(next, utf8.MaxRune))
	}
	return a
}

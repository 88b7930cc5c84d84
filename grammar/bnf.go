package grammar

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A bnf collects the rules of a grammar in GBNF or Lark's notation.
type bnf struct {
	lim   *budget
	kind  Kind
	in    string
	at    int
	line  int
	depth int
	names []string
	index map[string]int
	rules []expr // nil until defined
}

func newBNF(lim *budget, kind Kind, source string) *bnf {
	if !utf8.ValidString(source) {
		panic(abort{&SyntaxError{Kind: kind, Reason: "it isn't valid UTF-8"}})
	}
	return &bnf{lim: lim, kind: kind, in: source, line: 1, index: make(map[string]int)}
}

func (g *bnf) fail(format string, args ...any) {
	panic(abort{&SyntaxError{Kind: g.kind, Line: g.line, Reason: fmt.Sprintf(format, args...)}})
}

// rule returns the number of the rule of a name.
func (g *bnf) rule(name string) int {
	i, ok := g.index[name]
	if !ok {
		i = len(g.names)
		g.index[name] = i
		g.names = append(g.names, name)
		g.rules = append(g.rules, nil)
	}
	return i
}

func (g *bnf) define(name string, x expr) {
	i := g.rule(name)
	if g.rules[i] != nil {
		g.fail("rule %q is defined twice", name)
	}
	g.rules[i] = x
}

// program links the rules. Small rules that don't call themselves are copied to where
// they are called: a text is then read with fewer stacks.
func (g *bnf) program(root string) *program {
	start, ok := g.index[root]
	if !ok || g.rules[start] == nil {
		g.line = 0
		g.fail("there is no rule %q to start with", root)
	}
	for i, x := range g.rules {
		if x == nil {
			g.line = 0
			g.fail("rule %q is used but not defined", g.names[i])
		}
	}
	compiled := make([]*dfa, len(g.rules))
	for i, x := range g.rules {
		compiled[i] = compileExpr(g.lim, x)
	}
	// Rules without calls go into those that call them; that may leave these without.
	for changed := true; changed; {
		changed = false
		for i, d := range compiled {
			b := builder{lim: g.lim}
			begin := b.node()
			end := b.embed(d, begin)
			found := false
			for s := range b.states {
				calls := b.states[s].calls
				b.states[s].calls = nil
				for _, c := range calls {
					if body := compiled[c.rule]; int(c.rule) != i && len(body.states) <= inlined && leaf(body) {
						found = true
						b.eps(b.embed(body, int32(s)), c.to)
					} else {
						b.states[s].calls = append(b.states[s].calls, c)
					}
				}
			}
			if found {
				compiled[i], changed = b.determinize(begin, end), true
			}
		}
	}
	return link(g.lim, compiled, start, func(i int) string { return g.names[i] })
}

func leaf(d *dfa) bool {
	for _, s := range d.states {
		if len(s.calls) > 0 {
			return false
		}
	}
	return true
}

// peek returns the next byte, or 0 at the end.
func (g *bnf) peek() byte {
	if g.at < len(g.in) {
		return g.in[g.at]
	}
	return 0
}

func (g *bnf) starts(prefix string) bool { return strings.HasPrefix(g.in[g.at:], prefix) }

func (g *bnf) take(n int) string {
	s := g.in[g.at : g.at+n]
	g.at += n
	g.line += strings.Count(s, "\n")
	g.lim.spend(1)
	return s
}

// name reads a name, "" if there is none.
func (g *bnf) name(ok func(c byte) bool) string {
	n := 0
	for g.at+n < len(g.in) && ok(g.in[g.at+n]) {
		n++
	}
	return g.take(n)
}

// escape reads what follows a backslash.
func (g *bnf) escape() rune {
	if g.at == len(g.in) {
		g.fail("the text ends in a backslash")
	}
	switch c := g.take(1)[0]; c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'f':
		return '\f'
	case 'x', 'u', 'U':
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		if g.at+digits > len(g.in) {
			g.fail(`\%c must be followed by %d hexadecimal digits`, c, digits)
		}
		n, err := strconv.ParseUint(g.take(digits), 16, 32)
		if err != nil || n > utf8.MaxRune || n >= 0xd800 && n < 0xe000 {
			g.fail(`\%c must be followed by the %d hexadecimal digits of a character`, c, digits)
		}
		return rune(n)
	case '"', '\\', '[', ']', '-', '^', '\'', '/':
		return rune(c)
	default:
		g.fail(`the escape \%c isn't known`, c)
		return 0
	}
}

// char reads one character, or the escape of one.
func (g *bnf) char() rune {
	if g.peek() == '\\' {
		g.take(1)
		return g.escape()
	}
	r, n := utf8.DecodeRuneInString(g.in[g.at:])
	if n == 0 {
		g.fail("the text ends too early")
	}
	g.take(n)
	return r
}

// quoted reads a text up to the quote that it starts with.
func (g *bnf) quoted() string {
	quote := g.take(1)[0]
	var out strings.Builder
	for g.peek() != quote {
		if g.at == len(g.in) || g.peek() == '\n' {
			g.fail("a %c is missing", quote)
		}
		out.WriteRune(g.char())
	}
	g.take(1)
	return out.String()
}

// counts reads what follows a {: m}, m,} ,n} or m,n}.
func (g *bnf) counts(separator string) (low, high int) {
	end := strings.IndexByte(g.in[g.at:], '}')
	if end < 0 {
		g.fail("a } is missing")
	}
	text := g.take(end + 1)
	a, b, ranged := strings.Cut(text[:end], separator)
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > maxRepeat {
			g.fail("a repetition's counts must be numbers up to %d", maxRepeat)
		}
		return n
	}
	if a != "" || !ranged {
		low = number(a)
	}
	switch {
	case !ranged:
		high = low
	case b == "":
		high = -1
	default:
		high = number(b)
	}
	if high >= 0 && high < low {
		g.fail("a repetition's first count is above its second")
	}
	return low, high
}

// nest bounds the nesting of parentheses.
func (g *bnf) nest(f func() expr) expr {
	if g.depth++; g.depth > maxDepth {
		g.fail("parentheses are nested more than %d deep", maxDepth)
	}
	x := f()
	g.depth--
	return x
}

package grammar

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func regexError(format string, args ...any) abort {
	return abort{&SyntaxError{Kind: Regex, Reason: fmt.Sprintf(format, args...)}}
}

// parseRegex returns the texts that a pattern matches as a whole. The syntax is RE2's,
// with what ECMA 262 writes otherwise (\uXXXX, \cX, \/, [^]), and look-aheads at
// the very start.
func parseRegex(lim *budget, pattern string) *dfa {
	return compileRegex(lim, pattern, false)
}

// searchRegex returns the texts that have a match of the pattern anywhere, as
// JSON Schema wants it.
func searchRegex(lim *budget, pattern string) *dfa {
	return compileRegex(lim, pattern, true)
}

func compileRegex(lim *budget, pattern string, search bool) *dfa {
	if !utf8.ValidString(pattern) {
		panic(regexError("the pattern isn't valid UTF-8"))
	}
	rest := strings.TrimPrefix(pattern, "^")
	anchored := rest != pattern || !search
	if strings.HasPrefix(rest, "(?=") || strings.HasPrefix(rest, "(?!") {
		return lookahead(lim, rest, anchored, search)
	}
	x := regexExpr(lim, pattern)
	if search {
		x = seq{star(anyRune()), x, star(anyRune())}
	}
	return compileExpr(lim, x)
}

// lookahead compiles ^(?=a)(?!b)rest, which is an intersection.
func lookahead(lim *budget, rest string, anchored, search bool) *dfa {
	if !anchored {
		panic(regexError("a look-ahead is supported only at the start, after ^"))
	}
	type condition struct {
		pattern string
		not     bool
	}
	var conditions []condition
	for strings.HasPrefix(rest, "(?=") || strings.HasPrefix(rest, "(?!") {
		end := groupEnd(rest)
		if end < 0 {
			panic(regexError("missing closing ) of a look-ahead"))
		}
		conditions = append(conditions, condition{rest[3:end], rest[2] == '!'})
		rest = rest[end+1:]
		if rest != "" && strings.ContainsRune("*+?{", rune(rest[0])) {
			panic(regexError("a repeated look-ahead is not supported"))
		}
	}
	x := regexExpr(lim, rest)
	if topLevelAlternation(rest) {
		panic(regexError("a look-ahead in one of several alternatives is not supported: put the alternatives in a group"))
	}
	if search {
		x = seq{x, star(anyRune())}
	}
	d := compileExpr(lim, x)
	for _, c := range conditions {
		condition := compileExpr(lim, seq{regexExpr(lim, c.pattern), star(anyRune())})
		if c.not {
			d = subtract(lim, d, condition)
		} else {
			d = intersect(lim, d, condition)
		}
	}
	return d
}

// groupEnd returns the index of the parenthesis that closes the one s starts with.
func groupEnd(s string) int {
	depth, class := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func topLevelAlternation(s string) bool {
	depth, class := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			return true
		}
	}
	return false
}

// regexExpr parses a pattern without look-arounds.
func regexExpr(lim *budget, pattern string) expr {
	translated := translate(pattern)
	re, err := syntax.Parse(translated, syntax.Perl)
	if err != nil {
		reason := err.Error()
		if e := new(syntax.Error); errors.As(err, &e) {
			reason = fmt.Sprintf("%s: %q", e.Code, e.Expr)
			if strings.HasPrefix(e.Expr, "(?") {
				reason += " (look-arounds are supported only as look-aheads at the start)"
			}
		}
		panic(regexError("%s", reason))
	}
	return fromSyntax(lim, re)
}

// translate rewrites what ECMA 262 and RE2 write differently.
func translate(p string) string {
	var out strings.Builder
	class := false
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c != '\\' || i+1 == len(p) {
			switch {
			case c == '[' && !class:
				class = true
				switch {
				case strings.HasPrefix(p[i:], "[^]"):
					out.WriteString(`[\x00-\x{10ffff}]`)
					i, class = i+2, false
					continue
				case strings.HasPrefix(p[i:], "[]"):
					panic(regexError("[] matches nothing"))
				}
			case c == '[':
				if strings.HasPrefix(p[i:], "[:") {
					break // a POSIX class, as RE2 has it
				}
				out.WriteByte('\\')
			case c == ']' && class:
				// The one that ends a POSIX class doesn't end ours.
				class = i > 0 && p[i-1] == ':' && strings.Contains(p[:i], "[:")
			}
			out.WriteByte(c)
			continue
		}
		i++
		switch e := p[i]; {
		case e == 'u' && strings.HasPrefix(p[i:], "u{"):
			out.WriteString(`\x`)
		case e == 'u' && i+5 <= len(p):
			n, err := strconv.ParseUint(p[i+1:i+5], 16, 16)
			if err != nil {
				panic(regexError(`\u must be followed by four hexadecimal digits`))
			}
			i += 4
			if n >= 0xd800 && n < 0xdc00 && i+7 <= len(p) && p[i+1] == '\\' && p[i+2] == 'u' {
				if low, err := strconv.ParseUint(p[i+3:i+7], 16, 16); err == nil && low >= 0xdc00 && low < 0xe000 {
					n = 0x10000 + (n-0xd800)<<10 + (low - 0xdc00)
					i += 6
				}
			}
			if n >= 0xd800 && n < 0xe000 {
				panic(regexError(`\u%04x is half of a surrogate pair`, n))
			}
			fmt.Fprintf(&out, `\x{%x}`, n)
		case e == 'c' && i+1 < len(p) && (p[i+1]|32 >= 'a' && p[i+1]|32 <= 'z'):
			i++
			fmt.Fprintf(&out, `\x{%x}`, p[i]&31)
		case e >= '1' && e <= '9':
			panic(regexError(`the back-reference \%c is not supported: what it matches is not a regular language`, e))
		case e == '0' && (i+1 == len(p) || p[i+1] < '0' || p[i+1] > '9'):
			out.WriteString(`\x00`)
		case strings.HasPrefix(p[i:], "p{") || strings.HasPrefix(p[i:], "P{"):
			end := strings.IndexByte(p[i:], '}')
			if end < 0 {
				panic(regexError(`missing } after \%c{`, e))
			}
			name := p[i+2 : i+end]
			if short, ok := propertyNames[name]; ok {
				name = short
			}
			if _, value, ok := strings.Cut(name, "="); ok {
				name = value
				if short, ok := propertyNames[name]; ok {
					name = short
				}
			}
			fmt.Fprintf(&out, `\%c{%s}`, e, name)
			i += end
		case e == 's' && class:
			out.WriteString(spaces)
		case e == 's':
			out.WriteString("[" + spaces + "]")
		case e == 'S' && !class:
			out.WriteString("[^" + spaces + "]")
		case e == 'S':
			panic(regexError(`\S in a class is not supported: write the class as its complement`))
		case e < 0x80 && (e <= ' ' || unicode.IsPunct(rune(e)) || unicode.IsSymbol(rune(e))):
			fmt.Fprintf(&out, `\x%02x`, e)
		default:
			out.WriteByte('\\')
			out.WriteByte(e)
		}
	}
	return out.String()
}

// spaces is what \s stands for in ECMA 262, as the inside of a class.
const spaces = `\t\n\v\f\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}`

// propertyNames are ECMA 262's long names of Unicode's general categories.
var propertyNames = map[string]string{
	"Letter": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Titlecase_Letter": "Lt", "Modifier_Letter": "Lm",
	"Other_Letter": "Lo", "Mark": "M", "Number": "N", "Decimal_Number": "Nd", "digit": "Nd", "Letter_Number": "Nl",
	"Other_Number": "No", "Punctuation": "P", "punct": "P", "Symbol": "S", "Math_Symbol": "Sm", "Currency_Symbol": "Sc",
	"Separator": "Z", "Space_Separator": "Zs", "Control": "Cc", "cntrl": "Cc",
}

func fromSyntax(lim *budget, re *syntax.Regexp) expr {
	lim.spend(1)
	var parts []expr
	for _, s := range re.Sub {
		parts = append(parts, fromSyntax(lim, s))
	}
	switch re.Op {
	case syntax.OpNoMatch:
		return alt{}
	case syntax.OpEmptyMatch:
		return seq{}
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return literal(string(re.Rune))
		}
		var s seq
		for _, r := range re.Rune {
			s = append(s, foldRune(r))
		}
		return s
	case syntax.OpCharClass:
		var a alt
		for i := 0; i < len(re.Rune); i += 2 {
			a = append(a, runes(re.Rune[i], re.Rune[i+1]))
		}
		if len(a) > 8 {
			// Made small first: a letter of any script has hundreds of ranges.
			return language{compileExpr(lim, a)}
		}
		return a
	case syntax.OpAnyCharNotNL:
		return alt{runes(0, '\n'-1), runes('\n'+1, utf8.MaxRune)}
	case syntax.OpAnyChar:
		return anyRune()
	case syntax.OpBeginText:
		return anchor(false)
	case syntax.OpEndText:
		return anchor(true)
	case syntax.OpBeginLine, syntax.OpEndLine:
		panic(regexError("the flag m is not supported"))
	case syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		panic(regexError(`\b and \B are not supported`))
	case syntax.OpCapture:
		return parts[0]
	case syntax.OpStar:
		return star(parts[0])
	case syntax.OpPlus:
		return repeat{parts[0], 1, -1}
	case syntax.OpQuest:
		return optional(parts[0])
	case syntax.OpRepeat:
		return repeat{parts[0], re.Min, re.Max}
	case syntax.OpConcat:
		return seq(parts)
	case syntax.OpAlternate:
		return alt(parts)
	}
	panic(regexError("%s is not supported", re.Op))
}

// foldRune is the characters that equal r but for case.
func foldRune(r rune) expr {
	a := alt{literal(string(r))}
	for c := unicode.SimpleFold(r); c != r; c = unicode.SimpleFold(c) {
		a = append(a, literal(string(c)))
	}
	return a
}

package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenEOF tokenKind = iota
	tokenData
	tokenVariableBegin
	tokenVariableEnd
	tokenBlockBegin
	tokenBlockEnd
	tokenName
	tokenString
	tokenInteger
	tokenFloat
	tokenOperator
)

func (k tokenKind) String() string {
	return [...]string{
		"end of template", "template data", "begin of print statement", "end of print statement",
		"begin of statement block", "end of statement block", "name", "string", "integer", "float", "operator",
	}[k]
}

type token struct {
	kind tokenKind
	text string // a string's value, not its literal
	line int
}

func (t token) String() string {
	switch t.kind {
	case tokenName, tokenOperator, tokenInteger, tokenFloat:
		return t.text
	}
	return t.kind.String()
}

// lexer splits a template's source into tokens under the settings that
// transformers gives Jinja: trim_blocks and lstrip_blocks on, no line statements,
// one newline at the end of the source dropped.
type lexer struct {
	source string
	pos    int
	line   int
	tokens []token
	// lineStart is whether what was read last ended a line: only then may
	// lstrip_blocks strip text without a newline in it.
	lineStart bool
}

func lex(source string) (tokens []token, err error) {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	source = strings.ReplaceAll(source, "\r", "\n")
	source = strings.TrimSuffix(source, "\n")
	l := &lexer{source: source, line: 1, lineStart: true}
	for l.pos < len(l.source) {
		if err := l.root(); err != nil {
			return nil, err
		}
	}
	l.emit(tokenEOF, "")
	return l.tokens, nil
}

func (l *lexer) errorf(format string, args ...any) error {
	return &Error{Line: l.line, Message: fmt.Sprintf(format, args...)}
}

func (l *lexer) emit(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

// advance moves past n bytes.
func (l *lexer) advance(n int) {
	passed := l.source[l.pos : l.pos+n]
	l.line += strings.Count(passed, "\n")
	l.pos += n
	l.lineStart = strings.HasSuffix(passed, "\n")
}

func (l *lexer) rest() string { return l.source[l.pos:] }

// root reads text up to a tag, and the tag.
func (l *lexer) root() error {
	rest := l.rest()
	begin := -1
	for from := 0; ; {
		i := strings.IndexByte(rest[from:], '{')
		if i < 0 {
			break
		}
		i += from
		if i+1 < len(rest) && (rest[i+1] == '{' || rest[i+1] == '%' || rest[i+1] == '#') {
			begin = i
			break
		}
		from = i + 1
	}
	if begin < 0 {
		l.emit(tokenData, rest)
		l.advance(len(rest))
		return nil
	}
	kind := rest[begin+1]
	open := 2
	var sign byte
	if begin+2 < len(rest) && (rest[begin+2] == '-' || rest[begin+2] == '+') {
		sign = rest[begin+2]
		open = 3
	}
	text := stripBefore(rest[:begin], sign, kind == '{', l.lineStart)
	if text != "" {
		l.emit(tokenData, text)
	}
	if kind == '%' {
		if n := rawTag(rest[begin+open:]); n > 0 {
			l.advance(begin + open + n)
			return l.raw()
		}
	}
	l.advance(begin + open)
	switch kind {
	case '#':
		return l.comment()
	case '{':
		l.emit(tokenVariableBegin, "")
		return l.expression(tokenVariableEnd)
	default:
		l.emit(tokenBlockBegin, "")
		return l.expression(tokenBlockEnd)
	}
}

// stripBefore is the text before a tag after whitespace control: everything for
// a minus sign, otherwise the indentation of a block or comment on its own line.
func stripBefore(text string, sign byte, variable, lineStart bool) string {
	if sign == '-' {
		return strings.TrimRightFunc(text, isSpace)
	}
	if sign == '+' || variable {
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	// Without whitespace there is nothing to strip, so an empty tail needs no care.
	if (line > 0 || lineStart) && strings.TrimLeftFunc(text[line:], isSpace) == "" {
		return text[:line]
	}
	return text
}

// rawTag is the length of what follows `{%` in a `{% raw %}` tag, or 0.
func rawTag(s string) int {
	rest := strings.TrimLeftFunc(s, isSpace)
	rest, ok := strings.CutPrefix(rest, "raw")
	if !ok {
		return 0
	}
	rest = strings.TrimLeftFunc(rest, isSpace)
	if after, ok := strings.CutPrefix(rest, "-%}"); ok {
		rest = strings.TrimLeftFunc(after, isSpace)
	} else if after, ok := strings.CutPrefix(rest, "%}"); ok {
		rest = after
	} else {
		return 0
	}
	return len(s) - len(rest)
}

// raw reads up to and past `{% endraw %}`.
func (l *lexer) raw() error {
	rest := l.rest()
	if rest == "" { // Jinja minds a missing end only if something follows
		return nil
	}
	for from := 0; ; {
		i := strings.Index(rest[from:], "{%")
		if i < 0 {
			return l.errorf("missing end of raw directive")
		}
		i += from
		from = i + 2
		tag := rest[from:]
		var sign byte
		if tag != "" && (tag[0] == '-' || tag[0] == '+') {
			sign = tag[0]
			tag = tag[1:]
		}
		tag, ok := strings.CutPrefix(strings.TrimLeftFunc(tag, isSpace), "endraw")
		if !ok {
			continue
		}
		tag = strings.TrimLeftFunc(tag, isSpace)
		n := closing(tag, "%}", true)
		if n == 0 {
			continue
		}
		if text := stripBefore(rest[:i], sign, false, l.lineStart); text != "" {
			l.emit(tokenData, text)
		}
		l.advance(len(rest) - len(tag) + n)
		return nil
	}
}

func (l *lexer) comment() error {
	rest := l.rest()
	if rest == "" {
		return nil
	}
	i := strings.Index(rest, "#}")
	if i < 0 {
		return l.errorf("missing end of comment tag")
	}
	if i > 0 && (rest[i-1] == '-' || rest[i-1] == '+') {
		i--
	}
	l.advance(i + closing(rest[i:], "#}", true))
	return nil
}

// closing is the length of the closing tag that s begins with, including the
// whitespace that it swallows; 0 when s doesn't begin with one.
func closing(s, tag string, trimNewline bool) int {
	if after, ok := strings.CutPrefix(s, "-"+tag); ok {
		return len(s) - len(strings.TrimLeftFunc(after, isSpace))
	}
	if trimNewline && strings.HasPrefix(s, "+"+tag) {
		return 1 + len(tag)
	}
	if after, ok := strings.CutPrefix(s, tag); ok {
		if trimNewline && strings.HasPrefix(after, "\n") {
			return len(tag) + 1
		}
		return len(tag)
	}
	return 0
}

// operators, longest first.
var operators = []string{
	"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

// expression reads the inside of a tag and its end.
func (l *lexer) expression(end tokenKind) error {
	tag := "%}"
	if end == tokenVariableEnd {
		tag = "}}"
	}
	var open []byte // brackets not closed yet: within them the tag's end is an operator
	for l.pos < len(l.source) {
		rest := l.rest()
		if len(open) == 0 {
			if n := closing(rest, tag, end == tokenBlockEnd); n > 0 {
				l.emit(end, "")
				l.advance(n)
				return nil
			}
		}
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case isSpace(r):
			l.advance(size)
		case r >= '0' && r <= '9':
			if err := l.number(); err != nil {
				return err
			}
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.Is(unicode.M, r)
			})
			if n < 0 {
				n = len(rest)
			}
			l.emit(tokenName, rest[:n])
			l.advance(n)
		case r == '"' || r == '\'':
			if err := l.quoted(); err != nil {
				return err
			}
		default:
			op := ""
			for _, o := range operators {
				if strings.HasPrefix(rest, o) {
					op = o
					break
				}
			}
			switch op {
			case "":
				return l.errorf("unexpected character %q", r)
			case "{":
				open = append(open, '}')
			case "(":
				open = append(open, ')')
			case "[":
				open = append(open, ']')
			case "}", ")", "]":
				if len(open) == 0 {
					return l.errorf("unexpected '%s'", op)
				}
				if want := open[len(open)-1]; want != op[0] {
					return l.errorf("unexpected '%s', expected '%c'", op, want)
				}
				open = open[:len(open)-1]
			}
			l.emit(tokenOperator, op)
			l.advance(len(op))
		}
	}
	return l.errorf("unexpected end of template, expected '%s'", tag)
}

// number reads an integer (decimal, 0b, 0o, 0x) or a float.
func (l *lexer) number() error {
	rest := l.rest()
	digits := func(from int, in string) int {
		for from < len(rest) && (strings.IndexByte(in, rest[from]) >= 0 ||
			rest[from] == '_' && from+1 < len(rest) && strings.IndexByte(in, rest[from+1]) >= 0) {
			from++
		}
		return from
	}
	const decimal = "0123456789"
	n := 0
	kind := tokenInteger
	if len(rest) > 2 && rest[0] == '0' && strings.IndexByte("bBoOxX", rest[1]) >= 0 {
		n = digits(2, map[byte]string{'b': "01", 'o': "01234567", 'x': "0123456789abcdefABCDEF"}[rest[1]|0x20])
	}
	if n <= 2 {
		n = digits(0, decimal)
		if n+1 < len(rest) && rest[n] == '.' && strings.IndexByte(decimal, rest[n+1]) >= 0 {
			n = digits(n+1, decimal)
			kind = tokenFloat
		}
		if n < len(rest) && rest[n]|0x20 == 'e' {
			e := n + 1
			if e < len(rest) && (rest[e] == '+' || rest[e] == '-') {
				e++
			}
			if m := digits(e, decimal); m > e {
				n = m
				kind = tokenFloat
			}
		}
	}
	l.emit(kind, strings.ReplaceAll(rest[:n], "_", ""))
	l.advance(n)
	return nil
}

// quoted reads a string literal.
func (l *lexer) quoted() error {
	rest := l.rest()
	quote := rest[0]
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case quote:
			value, err := unescape(rest[1:i])
			if err != nil {
				return l.errorf("%v", err)
			}
			l.emit(tokenString, value)
			l.advance(i + 1)
			return nil
		}
	}
	return l.errorf("unexpected character %q: the string has no end", quote)
}

// unescape reads the escapes of a Python string literal. Unknown ones stay as
// they are.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if j := strings.IndexByte(`abfnrtv\'"`, s[i]); j >= 0 {
			b.WriteByte("\a\b\f\n\r\t\v\\'\""[j])
			continue
		}
		switch c := s[i]; {
		case c == '\n':
		case c >= '0' && c <= '7':
			n := i + 1
			for n < len(s) && n < i+3 && s[n] >= '0' && s[n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(s[i:n], 8, 32)
			b.WriteRune(rune(v))
			i = n - 1
		case c == 'x' || c == 'u' || c == 'U':
			width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			v, err := strconv.ParseUint(s[i+1:min(i+1+width, len(s))], 16, 32)
			if err != nil || i+1+width > len(s) || v > unicode.MaxRune {
				return "", fmt.Errorf("truncated or illegal \\%c escape in a string", c)
			}
			b.WriteRune(rune(v))
			i += width
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// isSpace is Python's str.isspace.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

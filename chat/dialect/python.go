package dialect

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pythonList is calls as Python writes them, one or a list:
//
//	[f(a=1, b="x"), g()]
//
// Each is given out when it is complete.
type pythonList struct {
	end   string
	known bool // only functions that were offered are called
	begun bool
	list  bool
	calls int

	// Of the call being read: how far, within what.
	name  string
	seen  int
	depth int
	quote byte
}

func (l *pythonList) step(p *Parser) bool {
	if l.name != "" {
		return l.call(p)
	}
	separators := ""
	if l.calls > 0 {
		separators = ",;"
	}
	p.skip(separators)
	rest := p.rest()
	switch {
	case rest == "" && !p.final:
		return false
	case !l.begun && strings.HasPrefix(rest, "["):
		l.begun, l.list = true, true
		p.pos++
		return true
	case l.list && l.calls > 0 && strings.HasPrefix(rest, "]"):
		l.list = false
		p.take(p.pos + 1)
		return true
	case l.calls > 0 && !l.list:
		// Another call only after a line break, in a fence or between markers.
		if l.end == "" {
			return p.after(l.end)
		}
		switch p.follows(rest, l.end) {
		case unclear:
			return false
		case yes:
			return p.after(l.end)
		}
	}
	l.begun = true
	n := 0
	for n < len(rest) && isIdentifier(rest[n]) {
		n++
	}
	if n == len(rest) && !p.final && n < maxHeader {
		return false
	}
	name := rest[:n]
	if n == 0 || n == len(rest) || rest[n] != '(' || l.known && p.tools[name] == nil {
		if l.calls > 0 {
			return p.after(l.end)
		}
		p.refuse()
		return true
	}
	if l.calls > 0 {
		p.take(p.pos)
		p.mark = n + 1
	}
	l.name, l.seen, l.depth, l.quote = name, p.pos+n, 0, 0
	p.pos += n
	return true
}

// call looks for the parenthesis that closes the call.
func (l *pythonList) call(p *Parser) bool {
	for ; l.seen < len(p.buf); l.seen++ {
		c := p.buf[l.seen]
		switch {
		case l.quote != 0:
			switch c {
			case '\\':
				if l.seen+1 == len(p.buf) && !p.final {
					return false
				}
				l.seen++
			case l.quote:
				l.quote = 0
			}
		case c == '"' || c == '\'':
			l.quote = c
		case strings.IndexByte("([{", c) >= 0:
			l.depth++
		case strings.IndexByte(")]}", c) >= 0:
			if l.depth--; l.depth == 0 {
				l.complete(p)
				return true
			}
		}
	}
	if !p.final {
		return false
	}
	p.refuse()
	return true
}

func (l *pythonList) complete(p *Parser) {
	arguments, ok := pythonArguments(p.buf[p.pos+1 : l.seen])
	if !ok {
		p.refuse()
		return
	}
	p.pos = l.seen + 1
	p.start("", strings.TrimPrefix(l.name, "default_api."))
	p.arguments(arguments)
	p.finish()
	l.name = ""
	l.calls++
}

func isIdentifier(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

// pythonArguments turns the inside of a call's parentheses into a JSON object:
// keyword arguments with literals as values.
func pythonArguments(s string) (string, bool) {
	r := pythonReader{s: s}
	r.out.WriteByte('{')
	for n := 0; ; n++ {
		r.blank()
		if r.s == "" {
			break
		}
		if n > 0 {
			r.out.WriteString(", ")
		}
		i := 0
		for i < len(r.s) && isIdentifier(r.s[i]) {
			i++
		}
		key := r.s[:i]
		r.s = r.s[i:]
		r.blank()
		if key == "" || !r.eat('=') {
			return "", false
		}
		r.out.WriteString(quote(key) + ": ")
		if !r.value(0) {
			return "", false
		}
		r.blank()
		if r.s != "" && !r.eat(',') {
			return "", false
		}
	}
	r.out.WriteByte('}')
	return r.out.String(), true
}

// pythonReader reads Python's literals and writes JSON.
type pythonReader struct {
	s   string
	out strings.Builder
}

func (r *pythonReader) blank() { r.s = strings.TrimLeft(r.s, space) }

func (r *pythonReader) eat(c byte) bool {
	if r.s == "" || r.s[0] != c {
		return false
	}
	r.s = r.s[1:]
	return true
}

func (r *pythonReader) value(depth int) bool {
	r.blank()
	if r.s == "" || depth > maxNesting {
		return false
	}
	switch c := r.s[0]; c {
	case '"', '\'':
		text, ok := r.text()
		r.out.WriteString(quote(text))
		return ok
	case '[':
		return r.list(']', depth)
	case '(':
		return r.list(')', depth)
	case '{':
		return r.dict(depth)
	}
	i := 0
	for i < len(r.s) && strings.IndexByte(space+",)]}:", r.s[i]) < 0 {
		i++
	}
	word := r.s[:i]
	r.s = r.s[i:]
	switch word {
	case "True", "true":
		word = "true"
	case "False", "false":
		word = "false"
	case "None", "null":
		word = "null"
	default:
		word = strings.ReplaceAll(strings.TrimPrefix(word, "+"), "_", "")
		if !json.Valid([]byte(word)) {
			// 1. and .5 are numbers to Python.
			f, err := strconv.ParseFloat(word, 64)
			b, jerr := json.Marshal(f)
			if err != nil || jerr != nil {
				return false
			}
			word = string(b)
		}
	}
	r.out.WriteString(word)
	return true
}

func (r *pythonReader) list(end byte, depth int) bool {
	r.s = r.s[1:]
	r.out.WriteByte('[')
	for n := 0; ; n++ {
		r.blank()
		if r.eat(end) {
			r.out.WriteByte(']')
			return true
		}
		if n > 0 {
			r.out.WriteString(", ")
		}
		if !r.value(depth + 1) {
			return false
		}
		r.blank()
		if !r.eat(',') && (r.s == "" || r.s[0] != end) {
			return false
		}
	}
}

func (r *pythonReader) dict(depth int) bool {
	r.s = r.s[1:]
	r.out.WriteByte('{')
	for n := 0; ; n++ {
		r.blank()
		if r.eat('}') {
			r.out.WriteByte('}')
			return true
		}
		if n > 0 {
			r.out.WriteString(", ")
		}
		if r.s == "" || r.s[0] != '"' && r.s[0] != '\'' || !r.value(depth+1) {
			return false
		}
		r.blank()
		if !r.eat(':') {
			return false
		}
		r.out.WriteString(": ")
		if !r.value(depth + 1) {
			return false
		}
		r.blank()
		if !r.eat(',') && (r.s == "" || r.s[0] != '}') {
			return false
		}
	}
}

// text reads a string literal.
func (r *pythonReader) text() (string, bool) {
	q := r.s[0]
	var b strings.Builder
	for i := 1; i < len(r.s); i++ {
		c := r.s[i]
		if c == q {
			r.s = r.s[i+1:]
			return b.String(), true
		}
		if c != '\\' || i+1 == len(r.s) {
			b.WriteByte(c)
			continue
		}
		i++
		switch e := r.s[i]; e {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		case '\n':
		case 'x', 'u', 'U':
			digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[e]
			if i+digits >= len(r.s) {
				return "", false
			}
			n, err := strconv.ParseUint(r.s[i+1:i+1+digits], 16, 32)
			if err != nil {
				return "", false
			}
			b.Write(utf8.AppendRune(nil, rune(n)))
			i += digits
		case '\\', '\'', '"':
			b.WriteByte(e)
		default:
			b.WriteByte('\\')
			b.WriteByte(e)
		}
	}
	return "", false
}

package dialect

import (
	"encoding/json"
	"strings"
)

// verdict on a byte of a JSON value.
type verdict uint8

const (
	more verdict = iota // the value goes on
	done                // it ends with the byte
	past                // it ended before the byte
	bad                 // the byte can't be part of it
)

// maxNesting bounds how deep values may nest.
const maxNesting = 256

// scanner reads one JSON value byte by byte. Control characters in strings pass:
// models write them, and escape makes them right.
type scanner struct {
	stack   []byte // of '{' and '[', and ':' for a value of an object
	where   where
	literal []byte // a number or a word so far
	hex     int    // digits of an escape still to come
}

type where uint8

const (
	atValue where = iota // zero: a value is to come
	atFirst              // of a list, which may also end
	atKey
	atFirstKey // of an object, which may also end
	atColon
	afterValue
	inString
	inEscape
	inHex
	inLiteral
)

// inText reports whether the next byte belongs to a string.
func (s *scanner) inText() bool { return s.where == inString }

func (s *scanner) step(c byte) verdict {
	switch s.where {
	case inString:
		switch c {
		case '"':
			return s.ended(done)
		case '\\':
			s.where = inEscape
		}
		return more
	case inEscape:
		if strings.IndexByte(`"\/bfnrtu`, c) < 0 {
			return bad
		}
		s.where = inString
		if c == 'u' {
			s.where, s.hex = inHex, 4
		}
		return more
	case inHex:
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			return bad
		}
		if s.hex--; s.hex == 0 {
			s.where = inString
		}
		return more
	case inLiteral:
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("+-.E", c) >= 0 {
			s.literal = append(s.literal, c)
			if len(s.literal) > 512 {
				return bad
			}
			return more
		}
		if !json.Valid(s.literal) {
			return bad
		}
		if s.ended(past) == past {
			return past
		}
		return s.step(c)
	}
	if strings.IndexByte(space, c) >= 0 {
		return more
	}
	switch s.where {
	case atColon:
		if c != ':' {
			return bad
		}
		s.where = atValue
		return more
	case afterValue:
		top := s.stack[len(s.stack)-1]
		switch {
		case c == ',' && top == '{':
			s.where = atKey
		case c == ',':
			s.where = atValue
		default:
			return s.close(c)
		}
		return more
	case atKey, atFirstKey:
		if c == '}' && s.where == atFirstKey {
			return s.close(c)
		}
		if c != '"' {
			return bad
		}
		s.stack = append(s.stack, 'k')
		s.where = inString
		return more
	}
	// A value.
	switch {
	case c == ']' && s.where == atFirst:
		return s.close(c)
	case c == '{':
		s.where = atFirstKey
	case c == '[':
		s.where = atFirst
	case c == '"':
		s.where = inString
		return more
	case c >= '0' && c <= '9' || c == '-' || c == 't' || c == 'f' || c == 'n':
		s.where, s.literal = inLiteral, append(s.literal[:0], c)
		return more
	default:
		return bad
	}
	if len(s.stack) == maxNesting {
		return bad
	}
	s.stack = append(s.stack, c)
	return more
}

// close ends an object or a list with c.
func (s *scanner) close(c byte) verdict {
	open := s.stack[len(s.stack)-1]
	if open == '{' && c != '}' || open == '[' && c != ']' {
		return bad
	}
	s.stack = s.stack[:len(s.stack)-1]
	return s.ended(done)
}

// ended says what the end of a value means where it stands.
func (s *scanner) ended(whole verdict) verdict {
	if len(s.stack) == 0 {
		return whole
	}
	s.where = afterValue
	if top := len(s.stack) - 1; s.stack[top] == 'k' {
		s.stack, s.where = s.stack[:top], atColon
	}
	return more
}

// escape writes a control character of a string as JSON wants it.
func escape(c byte) string {
	switch c {
	case '\n':
		return `\n`
	case '\t':
		return `\t`
	case '\r':
		return `\r`
	}
	const digits = "0123456789abcdef"
	return `\u00` + string(digits[c>>4]) + string(digits[c&15])
}

// quote is s as a JSON string, without the escapes that HTML wants.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil { // a string always encodes
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// stream gives out the JSON value that begins at the buffer's start as arguments
// of the call, as far as it is there, and takes it. Its end is done or bad (then
// the byte at fault is not taken); an answer that ends before is bad.
func (p *Parser) stream(s *scanner) verdict {
	var piece strings.Builder
	from, i, v := 0, 0, more
	for ; i < len(p.buf) && v == more; i++ {
		inText := s.inText()
		c := p.buf[i]
		if v = s.step(c); v == more && inText && c < ' ' {
			piece.WriteString(p.buf[from:i])
			piece.WriteString(escape(c))
			from = i + 1
		}
	}
	if v == bad || v == past {
		i--
	}
	piece.WriteString(p.buf[from:i])
	p.arguments(piece.String())
	p.take(i)
	if v == more && p.final {
		return bad
	}
	return v
}

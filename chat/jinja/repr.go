package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is Python's str().
func (x *execution) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *undefined:
		return ""
	}
	return x.repr(v)
}

// repr is Python's repr().
func (x *execution) repr(v any) string {
	var b strings.Builder
	x.writeRepr(&b, v)
	x.workBytes(b.Len())
	return b.String()
}

func (x *execution) writeRepr(b *strings.Builder, v any) {
	x.work(1)
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case bigInt:
		b.WriteString(string(v))
	case float64:
		b.WriteString(formatFloat(v))
	case string:
		x.workBytes(len(v))
		quote(b, v)
	case markup:
		x.workBytes(len(v))
		b.WriteString("Markup(")
		quote(b, string(v))
		b.WriteByte(')')
	case *sequence:
		x.writeSequence(b, v)
	case *Dict:
		x.writeDict(b, v)
	case rangeOf:
		fmt.Fprintf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			fmt.Fprintf(b, ", %d", v.step)
		}
		b.WriteByte(')')
	case *namespace:
		b.WriteString("<Namespace ")
		x.writeDict(b, &v.attrs)
		b.WriteByte('>')
	case *undefined:
		b.WriteString("Undefined")
	default:
		fmt.Fprintf(b, "<%s>", typeName(v))
	}
}

func (x *execution) writeSequence(b *strings.Builder, s *sequence) {
	defer x.descend()()
	open, end := "[", "]"
	switch s.kind {
	case isTuple:
		open, end = "(", ")"
		if len(s.items) == 1 {
			end = ",)"
		}
	case isKeys, isValues, isItems:
		open, end = typeName(s)+"([", "])"
	}
	b.WriteString(open)
	for i, item := range s.items {
		if i > 0 {
			b.WriteString(", ")
		}
		x.writeRepr(b, item)
	}
	b.WriteString(end)
}

func (x *execution) writeDict(b *strings.Builder, d *Dict) {
	defer x.descend()()
	b.WriteByte('{')
	for i, key := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		x.writeRepr(b, key)
		b.WriteString(": ")
		x.writeRepr(b, d.values[i])
	}
	b.WriteByte('}')
}

// formatFloat is Python's repr of a float: the shortest digits that read back,
// with an exponent below 1e-4 and from 1e16.
func formatFloat(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case a != 0 && (a < 1e-4 || a >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote writes Python's repr of a string.
func quote(b *strings.Builder, s string) {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b.WriteByte(q)
	for i, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			b.WriteRune(r) // an invalid byte, which Python's strings can't hold
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
}

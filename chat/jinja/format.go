package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spec is how a value is laid out, in printf's or str.format's terms.
type spec struct {
	fill      string
	align     byte // '<', '>', '^', '=', or 0
	sign      byte // '+', ' ', or 0
	alternate bool
	width     int64
	grouping  byte // ',' or '_', or 0
	precision int64
	hasPrec   bool
	verb      byte // 0: the type's own
}

// percent is Python's `format % values`.
func (x *execution) percent(format string, values any) string {
	x.workBytes(len(format))
	var b strings.Builder
	next := 0
	tuple, isTupleValue := values.(*sequence)
	isTupleValue = isTupleValue && tuple.kind == isTuple
	mapping, _ := values.(*Dict)
	usedKey := false
	take := func() any {
		if isTupleValue && next < len(tuple.items) {
			next++
			return tuple.items[next-1]
		}
		if isTupleValue || next > 0 {
			x.failf("not enough arguments for format string")
		}
		next++
		return values
	}
	for i := 0; i < len(format); {
		j := strings.IndexByte(format[i:], '%')
		if j < 0 {
			b.WriteString(format[i:])
			break
		}
		b.WriteString(format[i : i+j])
		i += j + 1
		if i < len(format) && format[i] == '%' {
			b.WriteByte('%')
			i++
			continue
		}
		s := spec{fill: " "}
		var key string
		keyed := false
		if i < len(format) && format[i] == '(' {
			end := strings.IndexByte(format[i:], ')')
			if end < 0 || mapping == nil {
				x.failf("format requires a mapping")
			}
			key, keyed = format[i+1:i+end], true
			i += end + 1
		}
		for ; i < len(format) && strings.IndexByte("-+ #0", format[i]) >= 0; i++ {
			switch format[i] {
			case '-':
				s.align = '<'
			case '+':
				s.sign = '+'
			case ' ':
				s.sign = max(s.sign, ' ')
			case '#':
				s.alternate = true
			case '0':
				s.fill = "0"
			}
		}
		s.width, i = x.formatNumber(format, i)
		if i < len(format) && format[i] == '.' {
			s.precision, i = x.formatNumber(format, i+1)
			s.hasPrec = true
		}
		if i >= len(format) {
			x.failf("incomplete format")
		}
		s.verb = format[i]
		i++
		var v any
		if keyed {
			usedKey = true
			var ok bool
			if v, ok = mapping.get(key); !ok {
				x.failf("format key %s not found", x.repr(key))
			}
		} else {
			v = take()
		}
		b.WriteString(x.percentValue(v, s))
	}
	if !usedKey && mapping == nil && (isTupleValue && next < len(tuple.items) || !isTupleValue && next == 0) {
		x.failf("not all arguments converted during string formatting")
	}
	x.workBytes(b.Len())
	return b.String()
}

func (x *execution) formatNumber(s string, i int) (int64, int) {
	end := i
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == i {
		return 0, i
	}
	n, err := strconv.ParseInt(s[i:end], 10, 32)
	if err != nil || n > 1<<20 {
		x.failf("the width or precision %s of a format is too large", s[i:end])
	}
	return n, end
}

func (x *execution) percentValue(v any, s spec) string {
	if s.align == 0 {
		s.align = '>'
	}
	switch s.verb {
	case 's', 'r', 'a':
		t := x.repr(v)
		if s.verb == 's' {
			t = x.str(v)
		}
		s.fill = " "
		return x.layout("", clip(t, s), s)
	case 'd', 'i', 'u':
		if _, f, isInt, ok := number(v); ok && !isInt {
			v = x.truncate(f)
		}
		s.verb = 'd'
	case 'x', 'X', 'o', 'e', 'E', 'f', 'F', 'g', 'G', 'c':
	default:
		x.failf("unsupported format character '%c'", s.verb)
	}
	if s.fill == "0" && s.align != '<' {
		s.align = '='
	} else {
		s.fill = " "
	}
	return x.formatNumeric(v, s)
}

func clip(t string, s spec) string {
	if !s.hasPrec || int64(utf8.RuneCountInString(t)) <= s.precision {
		return t
	}
	return string([]rune(t)[:s.precision])
}

// layout pads prefix and body to the width: with '=' between the two.
func (x *execution) layout(prefix, body string, s spec) string {
	missing := s.width - int64(utf8.RuneCountInString(prefix)+utf8.RuneCountInString(body))
	if missing <= 0 {
		return prefix + body
	}
	before, between, after := int64(0), int64(0), int64(0)
	switch s.align {
	case '<':
		after = missing
	case '^':
		before = missing / 2
		after = missing - before
	case '=':
		between = missing
	default:
		before = missing
	}
	return x.repeat(s.fill, before) + prefix + x.repeat(s.fill, between) + body + x.repeat(s.fill, after)
}

// formatNumeric lays a number out by its verb.
func (x *execution) formatNumeric(v any, s spec) string {
	i, f, isInt, ok := number(v)
	if !ok {
		x.failf("a number is required to format with '%c', not %s", s.verb, typeName(v))
	}
	var body string
	negative := f < 0 || f == 0 && math.Signbit(f) && !isInt
	switch s.verb {
	case 'd', 'x', 'X', 'o', 'b', 'c':
		if !isInt {
			x.failf("an integer is required to format with '%c', not %s", s.verb, typeName(v))
		}
		if s.verb == 'c' {
			return x.layout("", string(rune(i)), s)
		}
		base := map[byte]int{'d': 10, 'x': 16, 'X': 16, 'o': 8, 'b': 2}[s.verb]
		body = strings.TrimPrefix(strconv.FormatInt(i, base), "-")
		if s.verb == 'X' {
			body = strings.ToUpper(body)
		}
		if n := int(s.precision) - len(body); n > 0 {
			body = x.repeat("0", int64(n)) + body
		}
	default:
		precision := 6
		if s.hasPrec {
			precision = int(s.precision)
		}
		a := math.Abs(f)
		percent := ""
		if s.verb == '%' {
			a, percent = a*100, "%"
		}
		switch s.verb {
		case 'g', 'G':
			body = general(a, max(precision, 1))
		case 'e', 'E':
			body = strconv.FormatFloat(a, 'e', precision, 64)
		default:
			body = strconv.FormatFloat(a, 'f', precision, 64)
		}
		if math.IsInf(a, 0) || math.IsNaN(a) {
			body = formatFloat(a)
		}
		if s.verb == 'G' || s.verb == 'E' || s.verb == 'F' {
			body = strings.ToUpper(body)
		}
		body += percent
	}
	if s.grouping != 0 {
		body = group(body, string(s.grouping))
	}
	prefix := ""
	if negative {
		prefix = "-"
	} else if s.sign != 0 {
		prefix = string(s.sign)
	}
	if p, ok := map[byte]string{'x': "0x", 'X': "0X", 'o': "0o", 'b': "0b"}[s.verb]; ok && s.alternate {
		prefix += p
	}
	return x.layout(prefix, body, s)
}

// general is %g: the shorter of fixed and exponent, without trailing zeros.
func general(a float64, precision int) string {
	if a == 0 {
		return "0"
	}
	e := strconv.FormatFloat(a, 'e', precision-1, 64)
	mantissa, exponent, _ := strings.Cut(e, "e")
	n, _ := strconv.Atoi(exponent)
	trim := func(s string) string {
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	if n < -4 || n >= precision {
		return trim(mantissa) + "e" + exponent
	}
	return trim(strconv.FormatFloat(a, 'f', precision-1-n, 64))
}

// group puts a separator between thousands.
func group(body, sep string) string {
	end := strings.IndexFunc(body, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(body)
	}
	whole := body[:end]
	var b strings.Builder
	for i, c := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteString(sep)
		}
		b.WriteRune(c)
	}
	return b.String() + body[end:]
}

// methodFormat is Python's str.format.
func methodFormat(x *execution, args []any, kwargs *Dict) any {
	format, values := x.need(args[0]), args[1:]
	var b strings.Builder
	automatic := 0
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '{' && c != '}' {
			b.WriteByte(c)
			continue
		}
		if i+1 < len(format) && format[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(format[i:], '}')
		if c == '}' || end < 0 {
			x.failf("single '%c' encountered in format string", c)
		}
		field := format[i+1 : i+end]
		i += end
		field, layout, _ := strings.Cut(field, ":")
		field, conversion, converted := strings.Cut(field, "!")
		v := x.formatField(field, values, kwargs, &automatic)
		if converted {
			if conversion == "r" {
				v = x.repr(v)
			} else {
				v = x.str(v)
			}
		}
		s := x.formatValue(v, layout)
		if _, safe := args[0].(markup); safe {
			s = escapeHTML(s)
		}
		x.workBytes(len(s))
		b.WriteString(s)
	}
	return like(args[0], b.String())
}

// formatField finds the value that a replacement field names: "", "0", "name",
// "name.attribute" or "name[key]".
func (x *execution) formatField(field string, values []any, kwargs *Dict, automatic *int) any {
	end := strings.IndexAny(field, ".[")
	if end < 0 {
		end = len(field)
	}
	first, rest := field[:end], field[end:]
	var v any
	if n, err := strconv.Atoi(first); err == nil || first == "" {
		if first == "" {
			n = *automatic
			*automatic++
		}
		if n < 0 || n >= len(values) {
			x.failf("replacement index %d out of range for positional args tuple", n)
		}
		v = values[n]
	} else {
		var ok bool
		if v, ok = kwargs.get(first); !ok {
			x.failf("format() has no argument %s", x.repr(first))
		}
	}
	for rest != "" {
		if rest[0] == '.' {
			name := rest[1:]
			if end := strings.IndexAny(name, ".["); end >= 0 {
				name = name[:end]
			}
			v = x.attr(v, name)
			rest = rest[1+len(name):]
			continue
		}
		key, after, ok := strings.Cut(rest[1:], "]")
		if rest[0] != '[' || !ok {
			x.failf("the format field %s is malformed", x.repr(field))
		}
		if n, err := strconv.ParseInt(key, 10, 64); err == nil {
			v = x.item(v, n)
		} else {
			v = x.item(v, key)
		}
		rest = after
	}
	return v
}

// formatValue is Python's format(v, layout):
// [[fill]align][sign][#][0][width][,_][.precision][verb].
func (x *execution) formatValue(v any, layout string) string {
	if layout == "" {
		return x.str(v)
	}
	s := spec{fill: " "}
	rest := layout
	if _, size := utf8.DecodeRuneInString(rest); len(rest) > size && strings.IndexByte("<>=^", rest[size]) >= 0 {
		s.fill, s.align, rest = rest[:size], rest[size], rest[size+1:]
	} else if strings.IndexByte("<>=^", rest[0]) >= 0 {
		s.align, rest = rest[0], rest[1:]
	}
	if rest != "" && strings.IndexByte("+- ", rest[0]) >= 0 {
		if rest[0] != '-' {
			s.sign = rest[0]
		}
		rest = rest[1:]
	}
	if strings.HasPrefix(rest, "#") {
		s.alternate, rest = true, rest[1:]
	}
	if strings.HasPrefix(rest, "0") {
		if s.align == 0 {
			s.fill, s.align = "0", '='
		}
		rest = rest[1:]
	}
	var i int
	s.width, i = x.formatNumber(rest, 0)
	rest = rest[i:]
	if rest != "" && (rest[0] == ',' || rest[0] == '_') {
		s.grouping, rest = rest[0], rest[1:]
	}
	if strings.HasPrefix(rest, ".") {
		s.precision, i = x.formatNumber(rest, 1)
		s.hasPrec, rest = true, rest[i:]
	}
	if rest != "" {
		s.verb, rest = rest[0], rest[1:]
	}
	if rest != "" || s.verb != 0 && strings.IndexByte("sdxXobcneEfFgG%", s.verb) < 0 {
		x.failf("invalid format specifier %s", x.repr(layout))
	}
	if _, _, isInt, ok := number(v); ok && s.verb != 's' {
		if _, isBool := v.(bool); isBool && s.verb == 0 {
			return x.layout("", x.str(v), s)
		}
		switch {
		case s.verb == 0 && isInt:
			s.verb = 'd'
		case s.verb == 0 && s.hasPrec:
			s.verb = 'g'
		case s.verb == 0:
			prefix, body := "", formatFloat(v.(float64))
			if body[0] == '-' {
				prefix, body = "-", body[1:]
			} else if s.sign != 0 {
				prefix = fmt.Sprintf("%c", s.sign)
			}
			return x.layout(prefix, body, s)
		}
		return x.formatNumeric(v, s)
	}
	t, ok := text(v)
	if !ok || s.verb != 0 && s.verb != 's' {
		x.failf("the format %s doesn't fit a value of type '%s'", x.repr(layout), typeName(v))
	}
	if s.align == 0 {
		s.align = '<'
	}
	return x.layout("", clip(t, s), s)
}

package jinja

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// stringMethods are Python's, by name. Like the other tables it is filled by init,
// since some entries reach the table themselves.
var stringMethods map[string]builtin

func init() {
	stringMethods = map[string]builtin{
		"capitalize":   mapping(capitalize),
		"casefold":     mapping(strings.ToLower),
		"lower":        mapping(strings.ToLower),
		"upper":        mapping(upper),
		"title":        mapping(title),
		"swapcase":     mapping(swapCase),
		"strip":        stripping(strings.TrimFunc),
		"lstrip":       stripping(strings.TrimLeftFunc),
		"rstrip":       stripping(strings.TrimRightFunc),
		"startswith":   affix(strings.HasPrefix),
		"endswith":     affix(strings.HasSuffix),
		"removeprefix": removing(strings.TrimPrefix),
		"removesuffix": removing(strings.TrimSuffix),
		"find":         finding("find", strings.Index, false),
		"rfind":        finding("rfind", strings.LastIndex, false),
		"index":        finding("index", strings.Index, true),
		"rindex":       finding("rindex", strings.LastIndex, true),
		"split":        methodSplit,
		"rsplit":       methodRsplit,
		"splitlines":   methodSplitlines,
		"partition":    methodPartition,
		"rpartition":   methodRpartition,
		"replace":      methodReplace,
		"join":         methodJoin,
		"count":        methodCount,
		"format":       methodFormat,
		"center":       padding(func(n int) int { return n / 2 }),
		"ljust":        padding(func(n int) int { return 0 }),
		"rjust":        padding(func(n int) int { return n }),
		"zfill":        methodZfill,
		"isalnum":      every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isalpha":      every(unicode.IsLetter),
		"isdecimal":    every(unicode.IsDigit),
		"isdigit": every(func(r rune) bool {
			return unicode.IsDigit(r) || strings.ContainsRune("²³¹⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", r)
		}),
		"isnumeric": every(unicode.IsNumber),
		"isspace":   every(isSpace),
		"isascii":   predicate(func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0 }),
		"islower":   predicate(func(s string) bool { return s == strings.ToLower(s) && s != strings.ToUpper(s) }),
		"isupper":   predicate(func(s string) bool { return s == strings.ToUpper(s) && s != strings.ToLower(s) }),
		"istitle":   predicate(func(s string) bool { return s == title(s) && s != strings.ToLower(s) }),
	}
}

// receiver is the string that a method was called on, and its other arguments
// under their names.
func (x *execution) receiver(name string, args []any, kwargs *Dict, required int, names ...string) (string, []any) {
	return x.need(args[0]), x.params(name, args[1:], kwargs, required, names...)
}

func mapping(f func(string) string) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		s, _ := x.receiver("method", args, kwargs, 0)
		return like(args[0], f(s))
	}
}

func predicate(f func(string) bool) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		s, _ := x.receiver("method", args, kwargs, 0)
		return f(s)
	}
}

func every(f func(rune) bool) builtin {
	return predicate(func(s string) bool {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !f(r) }) < 0
	})
}

func stripping(trim func(string, func(rune) bool) string) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		s, a := x.receiver("strip", args, kwargs, 0, "chars")
		return like(args[0], trim(s, x.cutset(a[0])))
	}
}

// cutset is the characters that a strip takes off: white space by default.
func (x *execution) cutset(chars any) func(rune) bool {
	if !given(chars) {
		return isSpace
	}
	set := x.need(chars)
	return func(r rune) bool {
		x.workBytes(len(set))
		return strings.ContainsRune(set, r)
	}
}

func affix(has func(s, affix string) bool) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		s, a := x.receiver("startswith", args, kwargs, 1, "prefix", "start", "end")
		s, _ = x.window(s, a[1], a[2])
		if t, ok := a[0].(*sequence); ok && t.kind == isTuple {
			for _, item := range t.items {
				if has(s, x.need(item)) {
					return true
				}
			}
			return false
		}
		return has(s, x.need(a[0]))
	}
}

func removing(trim func(s, affix string) string) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		s, a := x.receiver("removeprefix", args, kwargs, 1, "affix")
		return like(args[0], trim(s, x.need(a[0])))
	}
}

// window is the part of s from code point start to end, and its byte offset.
func (x *execution) window(s string, start, end any) (string, int) {
	if !given(start) && !given(end) {
		return s, 0
	}
	n := int64(utf8.RuneCountInString(s))
	bound := func(v any, otherwise int64) int64 {
		if !given(v) {
			return otherwise
		}
		i := x.integer(v, 0)
		if i < 0 {
			i += n
		}
		return max(0, min(i, n))
	}
	from, to := bound(start, 0), bound(end, n)
	runes := []rune(s)
	x.workBytes(len(s))
	return string(runes[from:max(from, to)]), len(string(runes[:from]))
}

func finding(name string, index func(s, sub string) int, must bool) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		s, a := x.receiver(name, args, kwargs, 1, "sub", "start", "end")
		part, offset := x.window(s, a[1], a[2])
		i := index(part, x.need(a[0]))
		if i < 0 {
			if must {
				x.failf("substring not found")
			}
			return int64(-1)
		}
		return int64(utf8.RuneCountInString(s[:offset+i]))
	}
}

// list makes a list of strings of the receiver's type.
func (x *execution) list(receiver any, parts []string) any {
	x.work(4 * len(parts))
	items := make([]any, len(parts))
	for i, p := range parts {
		items[i] = like(receiver, p)
	}
	return NewList(items...)
}

func methodSplit(x *execution, args []any, kwargs *Dict) any {
	s, a := x.receiver("split", args, kwargs, 0, "sep", "maxsplit")
	limit := x.integer(a[1], -1)
	if given(a[0]) {
		sep := x.need(a[0])
		if sep == "" {
			x.failf("empty separator")
		}
		if limit < 0 || limit > int64(len(s)) {
			return x.list(args[0], strings.Split(s, sep))
		}
		return x.list(args[0], strings.SplitN(s, sep, int(limit)+1))
	}
	var parts []string
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		end := strings.IndexFunc(s, isSpace)
		if end < 0 || limit >= 0 && int64(len(parts)) >= limit {
			end = len(s)
		}
		parts = append(parts, s[:end])
		s = s[end:]
	}
	return x.list(args[0], parts)
}

func methodRsplit(x *execution, args []any, kwargs *Dict) any {
	s, a := x.receiver("rsplit", args, kwargs, 0, "sep", "maxsplit")
	limit := x.integer(a[1], -1)
	var parts []string
	for limit < 0 || int64(len(parts)) < limit {
		var i, width int
		if given(a[0]) {
			sep := x.need(a[0])
			if sep == "" {
				x.failf("empty separator")
			}
			i, width = strings.LastIndex(s, sep), len(sep)
		} else {
			s = strings.TrimRightFunc(s, isSpace)
			i = strings.LastIndexFunc(s, isSpace)
			if i >= 0 {
				_, width = utf8.DecodeRuneInString(s[i:])
			}
		}
		if i < 0 {
			break
		}
		parts = append(parts, s[i+width:])
		s = s[:i]
	}
	if !given(a[0]) {
		s = strings.TrimRightFunc(s, isSpace)
	}
	if given(a[0]) || s != "" {
		parts = append(parts, s)
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return x.list(args[0], parts)
}

// splitLines is Python's str.splitlines.
func splitLines(s string, keep bool) []string {
	var lines []string
	for s != "" {
		end, next := len(s), len(s)
		if i := strings.IndexFunc(s, isLineBreak); i >= 0 {
			_, size := utf8.DecodeRuneInString(s[i:])
			if strings.HasPrefix(s[i:], "\r\n") {
				size = 2
			}
			end, next = i, i+size
		}
		if keep {
			end = next
		}
		lines = append(lines, s[:end])
		s = s[next:]
	}
	return lines
}

func isLineBreak(r rune) bool {
	return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
}

func methodSplitlines(x *execution, args []any, kwargs *Dict) any {
	s, a := x.receiver("splitlines", args, kwargs, 0, "keepends")
	return x.list(args[0], splitLines(s, flag(a[0])))
}

func methodPartition(x *execution, args []any, kwargs *Dict) any {
	return x.partition("partition", args, kwargs, strings.Index, func(s string) [3]string { return [3]string{s, "", ""} })
}

func methodRpartition(x *execution, args []any, kwargs *Dict) any {
	return x.partition("rpartition", args, kwargs, strings.LastIndex, func(s string) [3]string { return [3]string{"", "", s} })
}

func (x *execution) partition(name string, args []any, kwargs *Dict, index func(s, sep string) int, without func(string) [3]string) any {
	s, a := x.receiver(name, args, kwargs, 1, "sep")
	sep := x.need(a[0])
	if sep == "" {
		x.failf("empty separator")
	}
	parts := without(s)
	if i := index(s, sep); i >= 0 {
		parts = [3]string{s[:i], sep, s[i+len(sep):]}
	}
	return &sequence{isTuple, []any{like(args[0], parts[0]), like(args[0], parts[1]), like(args[0], parts[2])}}
}

func methodReplace(x *execution, args []any, kwargs *Dict) any {
	s, a := x.receiver("replace", args, kwargs, 2, "old", "new", "count")
	return like(args[0], x.replace(s, x.need(a[0]), x.need(a[1]), x.integer(a[2], -1)))
}

func (x *execution) replace(s, old, new string, count int64) string {
	n := int64(strings.Count(s, old)) // one more than the code points when old is empty
	if count >= 0 {
		n = min(n, count)
	}
	x.work(int(n))
	if grown := n * int64(len(new)); grown > 0 {
		x.workBytes(int(min(grown, 8*baseWork)))
	}
	return strings.Replace(s, old, new, int(n))
}

func methodJoin(x *execution, args []any, kwargs *Dict) any {
	s, a := x.receiver("join", args, kwargs, 1, "iterable")
	items := x.iterate(a[0])
	parts := make([]string, len(items))
	for i, item := range items {
		part, ok := text(item)
		if !ok {
			x.failf("sequence item %d: expected str instance, %s found", i, typeName(item))
		}
		x.workBytes(len(s) + len(part))
		parts[i] = part
	}
	return like(args[0], strings.Join(parts, s))
}

func methodCount(x *execution, args []any, kwargs *Dict) any {
	s, a := x.receiver("count", args, kwargs, 1, "sub", "start", "end")
	s, _ = x.window(s, a[1], a[2])
	return int64(strings.Count(s, x.need(a[0])))
}

// padding makes ljust, rjust and center: left says how many of n fill characters
// go before the text.
func padding(left func(n int) int) builtin {
	return func(x *execution, args []any, kwargs *Dict) any {
		s, a := x.receiver("ljust", args, kwargs, 1, "width", "fillchar")
		fill := " "
		if given(a[1]) {
			fill = x.need(a[1])
		}
		missing := x.integer(a[0], 0) - int64(utf8.RuneCountInString(s))
		if missing <= 0 {
			return args[0]
		}
		pad := x.repeat(fill, missing)
		before := left(int(missing)) * len(fill)
		return like(args[0], pad[:before]+s+pad[before:])
	}
}

func methodZfill(x *execution, args []any, kwargs *Dict) any {
	s, a := x.receiver("zfill", args, kwargs, 1, "width")
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign = s[:1]
	}
	zeros := x.repeat("0", x.integer(a[0], 0)-int64(utf8.RuneCountInString(s)))
	return like(args[0], sign+zeros+s[len(sign):])
}

// upper is Python's, which maps ß to two letters.
func upper(s string) string { return strings.ReplaceAll(strings.ToUpper(s), "ß", "SS") }

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return toTitle(s[:n]) + strings.ToLower(s[n:])
}

func toTitle(s string) string { return strings.ReplaceAll(strings.ToTitle(s), "ß", "Ss") }

// title begins every run of letters with a capital.
func title(s string) string {
	var b strings.Builder
	within := false
	for _, r := range s {
		if within {
			b.WriteString(strings.ToLower(string(r)))
		} else {
			b.WriteString(toTitle(string(r)))
		}
		within = unicode.IsLetter(r)
	}
	return b.String()
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

// parseFloat is Python's float() of a string.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") { // hexadecimal is Go's, not Python's
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil
	}
	return f, err == nil
}

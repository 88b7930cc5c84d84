package jinja

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// FromJSON decodes a JSON document to a template's value. Objects keep the order
// of their keys; integers stay integers.
func FromJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more after the end of the JSON value")
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the JSON value nests more than %d levels deep", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			list := &sequence{kind: isList}
			for d.More() {
				v, err := decode(d, depth+1)
				if err != nil {
					return nil, err
				}
				list.items = append(list.items, v)
			}
			_, err := d.Token()
			return list, err
		}
		dict := new(Dict)
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			dict.set(k, v)
		}
		_, err := d.Token()
		return dict, err
	case json.Number:
		s := t.String()
		if strings.ContainsAny(s, ".eE") {
			f, _ := t.Float64() // out of range is infinity, as in Python
			return f, nil
		}
		if i, err := t.Int64(); err == nil {
			return i, nil
		}
		return bigInt(s), nil
	}
	return t, nil
}

// filterFromJSON is llama.cpp's: transformers has none, but templates made for
// both use it.
func filterFromJSON(x *execution, args []any, kwargs *Dict) any {
	a := x.params("from_json", args, kwargs, 1, "value")
	s := x.need(a[0])
	x.work(len(s))
	v, err := FromJSON([]byte(s))
	if err != nil {
		x.failf("from_json: %v", err)
	}
	return v
}

// filterToJSON is transformers' own tojson: json.dumps without escaping HTML and,
// by default, without escaping anything beyond ASCII.
func filterToJSON(x *execution, args []any, kwargs *Dict) any {
	a := x.params("tojson", args, kwargs, 1, "x", "ensure_ascii", "indent", "separators", "sort_keys")
	w := &jsonWriter{x: x, comma: ", ", colon: ": "}
	w.ascii = flag(a[1])
	w.sorted = flag(a[4])
	if given(a[2]) {
		w.comma = ","
		w.indented = true
		if s, ok := text(a[2]); ok {
			w.indent = s
		} else {
			w.indent = x.repeat(" ", x.integer(a[2], 0))
		}
	}
	if given(a[3]) {
		separators := x.iterate(a[3])
		if len(separators) != 2 {
			x.failf("separators must be a pair of strings")
		}
		w.comma, w.colon = x.need(separators[0]), x.need(separators[1])
	}
	w.value(a[0], 0)
	return w.b.String()
}

type jsonWriter struct {
	x            *execution
	b            strings.Builder
	comma, colon string
	indented     bool
	indent       string
	ascii        bool
	sorted       bool
}

func (w *jsonWriter) newline(depth int) {
	if !w.indented {
		return
	}
	w.x.workBytes(depth * len(w.indent))
	w.b.WriteByte('\n')
	for range depth {
		w.b.WriteString(w.indent)
	}
}

func (w *jsonWriter) value(v any, depth int) {
	w.x.work(2)
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(v))
	case string:
		w.string(v)
	case markup:
		w.string(string(v))
	case int64, bigInt, float64:
		w.b.WriteString(w.number(v))
	case *sequence:
		if v.kind > isTuple {
			w.x.failf("Object of type %s is not JSON serializable", typeName(v))
		}
		w.container('[', ']', len(v.items), depth, func(i int) { w.value(v.items[i], depth+1) })
	case *Dict:
		keys, values := v.keys, v.values
		if w.sorted {
			keys = append([]any(nil), keys...)
			values = append([]any(nil), values...)
			w.x.sortBy(values, keys, false)
		}
		w.container('{', '}', len(keys), depth, func(i int) {
			w.string(w.key(keys[i]))
			w.b.WriteString(w.colon)
			w.value(values[i], depth+1)
		})
	default:
		w.x.failf("Object of type %s is not JSON serializable", typeName(v))
	}
}

func (w *jsonWriter) container(open, end byte, n, depth int, item func(i int)) {
	defer w.x.descend()()
	w.b.WriteByte(open)
	for i := range n {
		if i > 0 {
			w.b.WriteString(w.comma)
		}
		w.newline(depth + 1)
		item(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.b.WriteByte(end)
}

func (w *jsonWriter) key(k any) string {
	switch k := k.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(k)
	case int64, bigInt, float64:
		return w.number(k)
	}
	s, ok := text(k)
	if !ok {
		w.x.failf("keys must be str, int, float, bool or None, not %s", typeName(k))
	}
	return s
}

func (w *jsonWriter) number(v any) string {
	s := w.x.repr(v)
	switch s {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	}
	return s
}

func (w *jsonWriter) string(s string) {
	w.x.workBytes(len(s))
	w.b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(r)
		case r == '\n':
			w.b.WriteString(`\n`)
		case r == '\r':
			w.b.WriteString(`\r`)
		case r == '\t':
			w.b.WriteString(`\t`)
		case r == '\b':
			w.b.WriteString(`\b`)
		case r == '\f':
			w.b.WriteString(`\f`)
		case r < ' ' || w.ascii && r > '~' && r <= 0xffff:
			fmt.Fprintf(&w.b, `\u%04x`, r)
		case w.ascii && r > '~':
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, high, low)
		default:
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte('"')
}

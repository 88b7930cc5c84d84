package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
)

// A node is a JSON value of a schema, with its members in order and its place.
type node struct {
	id      int // by order of appearance
	pointer string
	kind    byte // 'n'ull, 'b'oolean, '0' number, 's'tring, 'a'rray, 'o'bject
	truth   bool
	number  *big.Rat
	text    string // of a string
	items   []*node
	keys    []string
	members map[string]*node
}

// parseJSON reads one JSON document.
func parseJSON(lim *budget, source string) *node {
	d := json.NewDecoder(strings.NewReader(source))
	d.UseNumber()
	p := jsonParser{lim: lim, d: d}
	n := p.value("", 0)
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		panic(abort{&SchemaError{Reason: "there is something after the schema's end"}})
	}
	return n
}

type jsonParser struct {
	lim   *budget
	d     *json.Decoder
	count int
}

func (p *jsonParser) token() json.Token {
	t, err := p.d.Token()
	if err != nil {
		panic(abort{&SchemaError{Reason: fmt.Sprintf("it isn't JSON: %v (at byte %d)", err, p.d.InputOffset())}})
	}
	return t
}

func (p *jsonParser) value(pointer string, depth int) *node {
	if depth > maxDepth {
		panic(abort{&SchemaError{Pointer: pointer, Reason: fmt.Sprintf("it is nested more than %d deep", maxDepth)}})
	}
	p.lim.spend(1 + len(pointer)/16)
	n := &node{id: p.count, pointer: pointer}
	p.count++
	switch t := p.token().(type) {
	case nil:
		n.kind = 'n'
	case bool:
		n.kind, n.truth = 'b', t
	case json.Number:
		n.kind, n.number = '0', parseNumber(string(t))
		if n.number == nil {
			panic(abort{&SchemaError{Pointer: pointer, Reason: fmt.Sprintf("the number %s is too large or too precise", t)}})
		}
	case string:
		n.kind, n.text = 's', t
	case json.Delim:
		if t == '[' {
			n.kind = 'a'
			for p.d.More() {
				n.items = append(n.items, p.value(pointer+"/"+strconv.Itoa(len(n.items)), depth+1))
			}
		} else {
			n.kind, n.members = 'o', make(map[string]*node)
			for p.d.More() {
				key, _ := p.token().(string)
				if _, ok := n.members[key]; ok {
					panic(abort{&SchemaError{Pointer: pointer, Reason: fmt.Sprintf("the member %q appears twice", key)}})
				}
				n.keys = append(n.keys, key)
				n.members[key] = p.value(pointer+"/"+escapePointer(key), depth+1)
			}
		}
		p.token()
	}
	return n
}

func escapePointer(s string) string { return pointerEscapes.Replace(s) }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// maxDigits bounds the digits of a schema's numbers, on either side of the point.
const maxDigits = 64

// parseNumber returns the value of a JSON number, or nil if it has too many digits.
func parseNumber(s string) *big.Rat {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	if exponent != "" {
		if n, err := strconv.Atoi(exponent); err != nil || n > 4*maxDigits || n < -4*maxDigits {
			return nil
		}
	}
	if len(mantissa) > 2*maxDigits {
		return nil
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil
	}
	return r
}

// quote writes s as JSON does, escaping only what must be.
func quote(s string) string {
	return `"` + encodeText(s) + `"`
}

func encodeText(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < 0x20:
			if short := shortEscape(byte(r)); short != 0 {
				out.WriteByte('\\')
				out.WriteByte(short)
			} else {
				fmt.Fprintf(&out, `\u%04x`, r)
			}
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

func shortEscape(b byte) byte {
	switch b {
	case '\b':
		return 'b'
	case '\f':
		return 'f'
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	}
	return 0
}

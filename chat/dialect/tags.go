package dialect

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// typed writes a parameter that came as bare text as JSON: by its schema where
// that says a string, else as the JSON that it is, else as a string.
func (p *Parser) typed(function, parameter, value string) string {
	if p.isText(function, parameter) {
		return quote(value)
	}
	trimmed := strings.TrimSpace(value)
	switch trimmed {
	case "True", "False":
		return strings.ToLower(trimmed)
	case "None":
		return "null"
	}
	if trimmed != "" && json.Valid([]byte(trimmed)) {
		return trimmed
	}
	return quote(value)
}

func (p *Parser) isText(function, parameter string) bool {
	t := p.tools[function]
	return t != nil && isString(t.Parameters, parameter)
}

// isString reports whether a schema wants a string of a parameter.
func isString(schema json.RawMessage, parameter string) bool {
	var s struct {
		Properties map[string]struct {
			Type json.RawMessage
			Enum []any
		}
	}
	if json.Unmarshal(schema, &s) != nil {
		return false
	}
	property := s.Properties[parameter]
	var one string
	if json.Unmarshal(property.Type, &one) == nil {
		return one == "string"
	}
	var several []string
	if json.Unmarshal(property.Type, &several) == nil && len(several) > 0 {
		for _, t := range several {
			if t != "string" && t != "null" {
				return false
			}
		}
		return true
	}
	for _, v := range property.Enum {
		if _, ok := v.(string); !ok {
			return false
		}
	}
	return len(property.Enum) > 0
}

// member gives out one of the arguments.
func (p *Parser) member(n int, function, key, value string) {
	before := ", "
	if n == 0 {
		before = "{"
	}
	p.arguments(before + quote(key) + ": " + p.typed(function, key, value))
}

// beginText begins an argument that is a string and may be long.
func (p *Parser) beginText(n int, key string) {
	before := ", "
	if n == 0 {
		before = "{"
	}
	p.arguments(before + quote(key) + `: "`)
}

// streamText gives out a string up to the first of ends, which are sorted with the
// longest first, as far as it is there, and takes it. ok says that it is complete.
func (p *Parser) streamText(ends ...string) (ok bool) {
	n, end := 0, 0
search:
	for ; n < len(p.buf); n++ {
		for _, e := range ends {
			switch p.follows(p.buf[n:], e) {
			case unclear:
				break search
			case yes:
				ok, end = true, len(e)
				break search
			}
		}
	}
	if n == len(p.buf) && !p.final {
		// A character's bytes stay together.
		for i := max(0, n-utf8.UTFMax+1); i < n; i++ {
			if utf8.RuneStart(p.buf[i]) && !utf8.FullRuneInString(p.buf[i:]) {
				n = i
			}
		}
	}
	text := quote(p.buf[:n])
	p.arguments(text[1 : len(text)-1])
	p.take(n + end)
	if ok {
		p.arguments(`"`)
	}
	return ok
}

// cutOff ends a call in the middle of a string.
func (p *Parser) cutOff() bool {
	if !p.final {
		return false
	}
	p.finish()
	p.state = text{}
	return true
}

// finishMembers ends a call whose arguments came one by one.
func (p *Parser) finishMembers(n int) {
	if n == 0 {
		p.arguments("{")
	}
	p.arguments("}")
	p.finish()
}

// functionTag is Qwen3-Coder's form of a call:
//
//	<tool_call>
//	<function=name>
//	<parameter=key>
//	value
//	</parameter>
//	</function>
//	</tool_call>
type functionTag struct {
	end     string
	name    string
	members int
	seen    int  // bytes after the position that hold no end of the value
	text    bool // within a string
}

func (f *functionTag) step(p *Parser) bool {
	const function, parameter, closeFunction, closeParameter = "<function=", "<parameter=", "</function>", "</parameter>"
	if f.name == "" {
		return f.head(p, function)
	}
	if f.text {
		if p.streamText("\n"+closeParameter, closeParameter) {
			f.text = false
			return true
		}
		return p.cutOff()
	}
	p.skip("")
	rest := p.rest()
	if rest == "" && !p.final {
		p.take(p.pos)
		return false
	}
	switch p.follows(rest, closeFunction) {
	case unclear:
		return false
	case yes:
		p.pos += len(closeFunction)
		p.finishMembers(f.members)
		p.take(p.pos)
		p.state = &closing{end: f.end}
		return true
	}
	switch p.follows(rest, parameter) {
	case unclear:
		return false
	case yes:
		key, _, ok := strings.Cut(rest[len(parameter):], ">")
		from := len(parameter) + len(key) + 1
		if ok && isName(key) && p.isText(f.name, key) {
			if rest[from:] == "" && !p.final {
				return false
			}
			p.beginText(f.members, key)
			f.members++
			f.text, f.seen = true, 0
			p.take(p.pos + from + len(rest[from:]) - len(strings.TrimPrefix(rest[from:], "\n")))
			return true
		}
		if ok && isName(key) {
			from = max(from, f.seen)
			end := strings.Index(rest[from:], closeParameter)
			if end >= 0 {
				value := rest[len(parameter)+len(key)+1 : from+end]
				value = strings.TrimPrefix(value, "\n")
				value = strings.TrimSuffix(value, "\n")
				p.member(f.members, f.name, key, value)
				f.members++
				p.take(p.pos + from + end + len(closeParameter))
				f.seen = 0
				return true
			}
			f.seen = max(0, len(rest)-len(closeParameter))
		}
		if !p.final && (ok && isName(key) || !ok && len(key) < maxHeader) {
			return false
		}
	}
	p.finishMembers(f.members)
	p.take(p.pos)
	p.state = text{}
	return true
}

// head reads the function's name.
func (f *functionTag) head(p *Parser, function string) bool {
	rest := p.rest()
	if !strings.HasPrefix(p.buf, function) { // else it was the marker
		p.skip("")
		rest = p.rest()
		a := p.follows(rest, function)
		if rest == "" && !p.final || a == unclear {
			return false
		}
		if a == no {
			p.refuse()
			return true
		}
		rest = rest[len(function):]
	}
	name, _, ok := strings.Cut(rest, ">")
	if !ok && !p.final && len(name) < maxHeader {
		return false
	}
	if name = strings.TrimSpace(name); !ok || !isName(name) {
		p.refuse()
		return true
	}
	p.pos = len(p.buf) - len(rest) + strings.IndexByte(rest, '>') + 1
	p.start("", name)
	f.name = name
	return true
}

// argumentTags is GLM 4.5's form of a call:
//
//	<tool_call>name
//	<arg_key>key</arg_key>
//	<arg_value>value</arg_value>
//	</tool_call>
type argumentTags struct {
	end     string
	name    string
	members int
	seen    int  // bytes after the position that hold no end of the value
	text    bool // within a string
}

func (a *argumentTags) step(p *Parser) bool {
	const openKey, closeKey, openValue, closeValue = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"
	if a.name == "" {
		name, _, ok := strings.Cut(p.rest(), "<")
		if !ok && !p.final && len(name) < maxHeader {
			return false
		}
		n := len(name)
		name = strings.TrimSpace(name)
		tag := p.rest()[n:]
		key, end := p.follows(tag, openKey), p.follows(tag, a.end)
		if ok && isName(name) && key != yes && end != yes && (key == unclear || end == unclear) {
			return false
		}
		if !ok || !isName(name) || key == no && end == no {
			p.refuse()
			return true
		}
		p.pos += n
		p.start("", name)
		a.name = name
	}
	if a.text {
		if p.streamText(closeValue) {
			a.text = false
			return true
		}
		return p.cutOff()
	}
	p.skip("")
	rest := p.rest()
	if rest == "" && !p.final {
		p.take(p.pos)
		return false
	}
	end, key := p.follows(rest, a.end), p.follows(rest, openKey)
	if end == yes {
		p.pos += len(a.end)
	}
	if end == unclear || key == unclear {
		return false
	}
	if key == yes {
		name, after, ok := strings.Cut(rest[len(openKey):], closeKey)
		if name = strings.TrimSpace(name); ok && p.isText(a.name, name) {
			value := strings.TrimLeft(after, space)
			switch p.follows(value, openValue) {
			case unclear:
				return false
			case yes:
				p.beginText(a.members, name)
				a.members++
				a.text, a.seen = true, 0
				p.take(len(p.buf) - len(value) + len(openValue))
				return true
			}
		}
		from := max(len(openKey), a.seen)
		if n := strings.Index(rest[from:], closeValue); n >= 0 {
			name, value, ok := strings.Cut(rest[len(openKey):from+n], closeKey)
			value, open := strings.CutPrefix(strings.TrimLeft(value, space), openValue)
			if ok && open {
				p.member(a.members, a.name, strings.TrimSpace(name), value)
				a.members++
				a.seen = 0
				p.take(p.pos + from + n + len(closeValue))
				return true
			}
		} else if !p.final {
			a.seen = max(0, len(rest)-len(closeValue))
			return false
		}
	}
	p.finishMembers(a.members)
	p.take(p.pos)
	p.state = text{}
	return true
}

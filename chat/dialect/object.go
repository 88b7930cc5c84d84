package dialect

import (
	"encoding/json"
	"strings"
)

// jsonList is calls written as JSON objects, one or a list of them:
//
//	{"name": "f", "arguments": {…}}
//
// The function's name is also found under tool_name, its arguments under
// parameters, both within an object under function, and a call's id under id,
// call_id or tool_call_id if it comes before the arguments. Between calls there may be commas and semicolons.
type jsonList struct {
	end    string
	known  bool // only functions that were offered are called
	begun  bool
	list   bool // within brackets
	object *object
	calls  int
}

func (l *jsonList) step(p *Parser) bool {
	if l.object != nil {
		switch l.object.step(p) {
		case more:
			return false
		case bad:
			if !l.object.started {
				p.refuse()
			} else {
				p.finish()
				p.state = text{}
			}
			return true
		}
		p.finish()
		p.take(p.pos)
		l.object = nil
		l.calls++
		return true
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
	case !l.begun && !l.list && strings.HasPrefix(rest, "["):
		l.list = true
		p.pos++
		return true
	case strings.HasPrefix(rest, "{"):
		l.begun = true
		if l.calls > 0 {
			p.take(p.pos)
			p.mark = 1
		}
		p.pos++
		l.object = &object{known: l.known}
		return true
	case l.calls == 0:
		p.refuse()
		return true
	case l.list && strings.HasPrefix(rest, "]"):
		l.list = false
		p.take(p.pos + 1)
		return true
	}
	return p.after(l.end)
}

// after leaves a call, and takes the marker that closes it if it is there, or what
// there is of it in an answer that is cut off.
func (p *Parser) after(end string) bool {
	if end != "" {
		switch p.follows(p.rest(), end) {
		case unclear:
			return false
		case yes:
			p.pos += len(end)
		}
		if p.final && strings.HasPrefix(end, p.rest()) {
			p.pos = len(p.buf)
		}
	}
	p.take(p.pos)
	p.state = text{}
	return true
}

// object is one call as a JSON object, after its opening brace.
type object struct {
	known   bool // only a function that was offered makes it a call
	where   objectAt
	scan    scanner
	from    int // where the key or value begins
	key     string
	nested  bool // within "function"
	id      string
	name    string
	held    string // arguments that came before the name
	started bool
	given   bool // the arguments were given out
}

// maxHeld bounds what is held back of a call whose function isn't known yet.
const maxHeld = 64 << 10

type objectAt uint8

const (
	beforeKey objectAt = iota
	inKey
	beforeColon
	beforeValue
	inValue
	inArguments // given out while they come
	behindValue
)

// step reads on from the parser's position. The result is more, done with the
// position behind the object, or bad.
func (o *object) step(p *Parser) verdict {
	for {
		if o.where == inArguments {
			switch p.stream(&o.scan) {
			case more:
				return more
			case bad:
				return bad
			}
			o.where, o.given = behindValue, true
			continue
		}
		if !o.started && p.pos > maxHeld {
			return bad
		}
		if p.pos == len(p.buf) {
			if p.final {
				return bad
			}
			return more
		}
		c := p.buf[p.pos]
		if o.where != inKey && o.where != inValue && strings.IndexByte(space, c) >= 0 {
			p.pos++
			continue
		}
		if v := o.next(p, c); v != more {
			return v
		}
	}
}

func (o *object) next(p *Parser, c byte) verdict {
	switch o.where {
	case beforeKey:
		if c == '}' {
			return o.close(p)
		}
		if c != '"' {
			return bad
		}
		o.where, o.scan, o.from = inKey, scanner{}, p.pos
	case inKey, inValue:
		switch o.scan.step(c) {
		case bad:
			return bad
		case past:
			p.pos--
			fallthrough
		case done:
			p.pos++
			value := p.buf[o.from:p.pos]
			if o.where == inKey {
				o.where = beforeColon
				if decoded(value, &o.key) == bad || o.known && !isCallKey(o.key) {
					return bad // an answer in JSON need not wait for its end
				}
				return more
			}
			o.where = behindValue
			return o.take(p, value)
		}
		p.pos++
	case beforeColon:
		if c != ':' {
			return bad
		}
		p.pos++
		o.where = beforeValue
	case beforeValue:
		return o.value(p, c)
	case behindValue:
		p.pos++
		switch c {
		case ',':
			o.where = beforeKey
		case '}':
			p.pos--
			return o.close(p)
		default:
			return bad
		}
	}
	return more
}

// value begins one at c.
func (o *object) value(p *Parser, c byte) verdict {
	switch {
	case o.key == "function" && c == '{' && !o.nested && o.name == "":
		o.nested, o.where = true, beforeKey
		p.pos++
		return more
	case isArguments(o.key) && c == '{' && o.name != "" && !o.started:
		if !o.start(p) {
			return bad
		}
		o.where, o.scan = inArguments, scanner{}
		return more
	}
	o.where, o.scan, o.from = inValue, scanner{}, p.pos
	return more
}

// take looks at a value that is complete.
func (o *object) take(p *Parser, value string) verdict {
	if o.started {
		// Nothing after the arguments matters, and the buffer need not keep it.
		p.take(p.pos)
		return more
	}
	switch o.key {
	case "name", "tool_name", "function":
		if decoded(value, &o.name) == bad || o.name == "" {
			return bad
		}
	case "id", "call_id", "tool_call_id":
		if decoded(value, &o.id) == bad {
			o.id = "" // a number, which no API has
		}
	case "arguments", "parameters":
		if strings.HasPrefix(value, `"`) {
			// Arguments as a string of JSON, as OpenAI's API has them.
			if decoded(value, &value) == bad || !json.Valid([]byte(value)) {
				return bad
			}
			value = strings.TrimSpace(value)
		}
		switch {
		case value == "null" || value == "":
			value = "{}"
		case value[0] != '{':
			return bad
		}
		o.held = fix(value)
	}
	return more
}

// close ends an object at the parser's position, the inner one if there are two.
func (o *object) close(p *Parser) verdict {
	p.pos++
	if o.nested {
		o.nested, o.where = false, behindValue
		return more
	}
	if !o.started {
		if o.name == "" || !o.start(p) {
			return bad
		}
		if o.held == "" {
			o.held = "{}"
		}
		p.arguments(o.held)
	}
	return done
}

func (o *object) start(p *Parser) bool {
	if o.known && p.tools[o.name] == nil {
		return false
	}
	p.start(o.id, o.name)
	o.started = true
	return true
}

func isCallKey(key string) bool {
	switch key {
	case "name", "tool_name", "function", "type", "id", "call_id", "tool_call_id":
		return true
	}
	return isArguments(key)
}

func isArguments(key string) bool { return key == "arguments" || key == "parameters" }

// decoded reads a JSON string.
func decoded(value string, into *string) verdict {
	if json.Unmarshal([]byte(fix(value)), into) != nil {
		return bad
	}
	return more
}

// fix escapes the control characters in a JSON value's strings.
func fix(value string) string {
	var b strings.Builder
	var s scanner
	for i := range len(value) {
		inText := s.inText()
		c := value[i]
		s.step(c)
		if inText && c < ' ' {
			b.WriteString(escape(c))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

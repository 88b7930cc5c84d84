package dialect

import "strings"

// maxHeader bounds what stands before the arguments of a call.
const maxHeader = 1024

// A header reads what stands before a call's arguments, from the start of s: the
// function's name, the call's id if there is one, and its own length. final says
// that nothing comes after s. n is 0 when there is too little of it, and negative
// when it isn't a header.
type header func(s string, final bool) (id, name string, n int)

// headed is a call as a header and a JSON object.
type headed struct {
	header header
	end    string
	begun  bool
	scan   scanner
}

func (h *headed) step(p *Parser) bool {
	if !h.begun {
		id, name, n := h.header(p.rest(), p.final)
		switch {
		case n < 0 || n == 0 && (p.final || len(p.rest()) > maxHeader) || n > 0 && name == "":
			p.refuse()
			return true
		case n == 0:
			return false
		}
		p.pos += n
		p.start(id, name)
		h.begun = true
	}
	switch p.stream(&h.scan) {
	case more:
		return false
	case bad:
		p.finish()
		p.state = text{}
	default:
		p.finish()
		p.state = &closing{end: h.end, fence: true}
	}
	return true
}

// closing is what may stand after arguments: the end of a fence, and a marker.
type closing struct {
	end   string
	fence bool
}

func (c *closing) step(p *Parser) bool {
	p.skip("")
	if p.rest() == "" && !p.final {
		return false
	}
	switch a := p.follows(p.rest(), "```"); {
	case !c.fence || a == no:
	case a == unclear:
		return false
	default:
		p.pos += len("```")
		p.skip("")
		if p.rest() == "" && !p.final {
			p.pos = 0
			return false
		}
	}
	if p.after(c.end) {
		return true
	}
	p.pos = 0
	return false
}

// beforeBrace is the length of a header that ends before an opening brace, only
// white space between; as in [header].
func beforeBrace(s string, n int) int {
	blank := len(s[n:]) - len(strings.TrimLeft(s[n:], space))
	switch {
	case len(s) == n+blank:
		return 0
	case s[n+blank] != '{':
		return -1
	}
	return n + blank
}

// mistralHeader: name[ARGS]{…}, or name[CALL_ID]id[ARGS]{…}.
func mistralHeader(s string, _ bool) (id, name string, n int) {
	const args, callID = "[ARGS]", "[CALL_ID]"
	before, _, ok := strings.Cut(s, args)
	if brace := strings.IndexByte(before, '{'); brace >= 0 {
		// Some leave the marker out: name{…}.
		if name = strings.TrimSpace(before[:brace]); isName(name) {
			return "", name, brace
		}
		return "", "", -1
	}
	if !ok {
		return "", "", 0
	}
	name, id, _ = strings.Cut(before, callID)
	name, id = strings.TrimSpace(name), strings.TrimSpace(id)
	if !isName(name) {
		return "", "", -1
	}
	return id, name, beforeBrace(s, len(before)+len(args))
}

// deepseekHeader: function<sep>name, a line break and a fence for JSON in V3 and
// R1; name<sep> since V3.1.
func deepseekHeader(s string, _ bool) (id, name string, n int) {
	const sep, fence = "<｜tool▁sep｜>", "```json"
	before, after, ok := strings.Cut(s, sep)
	if !ok {
		return "", "", 0
	}
	n = len(before) + len(sep)
	blank := len(after) - len(strings.TrimLeft(after, space))
	if blank == len(after) {
		return "", "", 0
	}
	if after[blank] == '{' {
		return "", strings.TrimSpace(before), n + blank
	}
	line, rest, ok := strings.Cut(after[blank:], "\n")
	name = strings.TrimSpace(line)
	if !ok {
		return "", "", 0
	}
	n += blank + len(line) + 1
	if strings.HasPrefix(fence, rest) {
		return "", "", 0
	}
	if strings.HasPrefix(rest, fence) {
		n += len(fence)
	}
	return "", name, beforeBrace(s, n)
}

// kimiHeader: functions.name:0<|tool_call_argument_begin|>{…}; all of the first part is
// the call's id.
func kimiHeader(s string, _ bool) (id, name string, n int) {
	const sep = "<|tool_call_argument_begin|>"
	before, _, ok := strings.Cut(s, sep)
	if !ok {
		return "", "", 0
	}
	id = strings.TrimSpace(before)
	name = strings.TrimPrefix(id, "functions.")
	if colon := strings.LastIndexByte(name, ':'); colon >= 0 {
		name = name[:colon]
	}
	return id, name, beforeBrace(s, len(before)+len(sep))
}

// isName reports whether s can be a function's name.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && strings.IndexByte("_-./:", c) < 0 && c < 0x80 {
				return false
			}
		}
	}
	return s != ""
}

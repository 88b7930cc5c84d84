package dialect

import (
	"strings"
)

const space = " \t\r\n"

// Options says what an answer may hold.
type Options struct {
	// Tools are those the model was offered. Without any, no call is looked for.
	Tools []Tool
	// Prompt is the end of what the model was given: whether it opens the reasoning
	// already.
	Prompt string
}

// A Parser reads one answer. It is not safe for concurrent use.
type Parser struct {
	d       *Dialect
	tools   map[string]*Tool
	markers []marker // in the content
	ends    []marker // in reasoning

	buf   string // not taken yet
	pos   int    // how far the state has looked at buf
	mark  int    // bytes of buf that are content again if no call follows
	final bool   // nothing comes after buf
	state state
	out   []Event

	thinking bool   // text is reasoning
	trim     bool   // white space that comes next is nobody's
	blank    []byte // white space that may be nobody's
	calls    int
	mayThink bool // reasoning may begin
	fresh    bool // at the start of the content, nothing tried yet
}

// A state takes what it can of the parser's buffer. It returns false when it needs
// more of the text; else it has taken something or changed the state.
type state interface{ step(p *Parser) bool }

// marker is a text that means something, and what.
type marker struct {
	text string
	then func(p *Parser, text string) // with the text at the start of the buffer
}

// NewParser returns a parser for one answer.
func (d *Dialect) NewParser(o Options) *Parser {
	p := &Parser{d: d, tools: make(map[string]*Tool, len(o.Tools)), state: opening{}, mayThink: true, fresh: true}
	for i := range o.Tools {
		p.tools[o.Tools[i].Name] = &o.Tools[i]
	}
	drop := func(p *Parser, text string) { p.take(len(text)) }
	add := func(text string, then func(*Parser, string)) { p.markers = append(p.markers, marker{text, then}) }
	harmony := d.tools.name == "harmony"
	if len(o.Tools) > 0 || harmony {
		for _, text := range d.tools.begin {
			add(text, func(p *Parser, text string) { p.open(bracket{text, d.tools.end}) })
		}
		for _, text := range d.tools.drop {
			add(text, drop)
		}
		if d.tools.end != "" && d.tools.end != "```" {
			add(d.tools.end, func(p *Parser, text string) {
				if p.calls == 0 {
					p.write(text)
				}
				p.take(len(text))
			})
		}
	}
	for _, text := range d.reasoning.drop {
		add(text, drop)
	}
	for _, text := range d.reasoning.end {
		p.ends = append(p.ends, marker{text, func(p *Parser, text string) {
			p.take(len(text))
			p.endThinking()
		}})
	}
	if harmony {
		p.ends = p.markers
	}
	if d.Thinks(o.Prompt) {
		p.think()
	}
	return p
}

// Thinking reports whether what comes next is reasoning, as far as is known.
func (p *Parser) Thinking() bool { return p.thinking }

// Calls counts the calls begun so far.
func (p *Parser) Calls() int { return p.calls }

// Push takes the next piece of the answer and returns what is clear with it.
func (p *Parser) Push(text string) []Event {
	p.buf += text
	return p.run()
}

// End returns what was still held back: nothing comes after what was pushed.
func (p *Parser) End() []Event {
	p.final = true
	events := p.run()
	if p.calls == 0 && !p.thinking && len(p.blank) > 0 {
		events = append(events, Event{Kind: Content, Text: string(p.blank)})
	}
	p.blank = nil
	return events
}

func (p *Parser) run() []Event {
	p.out = nil
	for p.state.step(p) {
	}
	return p.out
}

// take drops the first n bytes of the buffer.
func (p *Parser) take(n int) {
	p.buf = p.buf[n:]
	p.pos, p.mark = 0, 0
}

// think begins reasoning.
func (p *Parser) think() {
	p.thinking, p.trim, p.mayThink, p.blank = true, true, false, nil
	p.state = text{}
}

// endThinking begins the content.
func (p *Parser) endThinking() {
	p.thinking, p.trim, p.blank = false, true, nil
	p.mayThink, p.fresh = false, true
	p.state = opening{}
}

// open begins to read a call whose marker is at the start of the buffer.
func (p *Parser) open(b bracket) {
	p.mark, p.pos = max(len(b.begin), 1), len(b.begin)
	p.state = p.d.tools.reader(p, b)
}

// refuse makes content of the marker: no call follows it.
func (p *Parser) refuse() {
	n := p.mark
	p.write(p.buf[:n])
	p.take(n)
	p.state = text{}
}

// write gives out text as content or reasoning, but for the white space at its
// end, which is held back until something follows.
func (p *Parser) write(s string) {
	if p.trim {
		if s = strings.TrimLeft(s, space); s == "" {
			return
		}
		p.trim = false
	}
	body := strings.TrimRight(s, space)
	if body != "" {
		e := Event{Kind: Content, Text: string(p.blank) + body}
		if p.thinking {
			e.Kind = Reasoning
		}
		p.out = append(p.out, e)
		p.blank = p.blank[:0]
	}
	p.blank = append(p.blank, s[len(body):]...)
}

// start begins a call; what of the buffer was read until now is taken.
func (p *Parser) start(id, name string) {
	p.take(p.pos)
	p.thinking, p.blank = false, nil
	p.out = append(p.out, Event{Kind: ToolStart, Index: p.calls, ID: id, Name: name})
	p.calls++
}

func (p *Parser) arguments(text string) {
	if text != "" {
		p.out = append(p.out, Event{Kind: ToolArguments, Index: p.calls - 1, Text: text})
	}
}

// finish ends the call.
func (p *Parser) finish() {
	p.out = append(p.out, Event{Kind: ToolEnd, Index: p.calls - 1})
	p.trim = true
}

// skip moves the position over white space and the bytes of more.
func (p *Parser) skip(more string) {
	for p.pos < len(p.buf) && strings.IndexByte(space+more, p.buf[p.pos]) >= 0 {
		p.pos++
	}
}

// rest is what the state has not looked at.
func (p *Parser) rest() string { return p.buf[p.pos:] }

// answer to whether a text follows.
type answer uint8

const (
	no answer = iota
	yes
	unclear // the text ends within it
)

// follows reports whether s begins with want.
func (p *Parser) follows(s, want string) answer {
	switch {
	case strings.HasPrefix(s, want):
		return yes
	case !p.final && strings.HasPrefix(want, s):
		return unclear
	}
	return no
}

// opening is the start of the answer or of the content after reasoning.
type opening struct{}

func (opening) step(p *Parser) bool {
	trimmed := strings.TrimLeft(p.buf, space)
	if trimmed == "" && !p.final {
		return false
	}
	wait := false
	try := func(want string) bool {
		a := p.follows(trimmed, want)
		wait = wait || a == unclear
		return a == yes
	}
	if p.mayThink {
		for _, begin := range p.d.reasoning.begin {
			if try(begin) {
				p.take(len(p.buf) - len(trimmed) + len(begin))
				p.think()
				return true
			}
		}
	}
	harmony := p.d.tools.name == "harmony"
	if p.fresh && (len(p.tools) > 0 || harmony) {
		for _, s := range p.d.tools.starts {
			switch {
			case s.begin == "":
				if trimmed == "" || !strings.ContainsRune("{[", rune(trimmed[0])) {
					continue
				}
			case harmony:
				a := p.follows(p.buf, s.begin)
				wait = wait || a == unclear
				if a != yes {
					continue
				}
				trimmed = p.buf
			case !try(s.begin):
				continue
			}
			p.fresh = false
			p.write(p.buf[:len(p.buf)-len(trimmed)])
			p.take(len(p.buf) - len(trimmed))
			p.open(s)
			return true
		}
	}
	if wait {
		return false
	}
	p.mayThink, p.fresh = false, false
	p.state = text{}
	return true
}

// text is content or reasoning, up to the next marker.
type text struct{}

func (text) step(p *Parser) bool {
	markers := p.markers
	if p.thinking {
		markers = p.ends
	}
	for i := range len(p.buf) {
		var found *marker
		for j := range markers {
			m := &markers[j]
			if m.text[0] != p.buf[i] {
				continue
			}
			switch p.follows(p.buf[i:], m.text) {
			case unclear:
				p.write(p.buf[:i])
				p.take(i)
				return false
			case yes:
				if found == nil || len(m.text) > len(found.text) {
					found = m
				}
			}
		}
		if found != nil {
			p.write(p.buf[:i])
			p.take(i)
			found.then(p, found.text)
			return true
		}
	}
	p.write(p.buf)
	p.take(len(p.buf))
	return false
}

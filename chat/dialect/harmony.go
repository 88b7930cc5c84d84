package dialect

import "strings"

// harmonyHeader is what stands before a message in the harmony format: who speaks,
// to whom, and in which channel.
//
//	<|channel|>analysis<|message|>reasoning<|end|>
//	<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>
//	<|start|>assistant<|channel|>final<|message|>content<|return|>
type harmonyHeader struct{}

func (harmonyHeader) step(p *Parser) bool {
	const message = "<|message|>"
	head, _, ok := strings.Cut(p.buf, message)
	switch {
	case !ok && (p.final || len(p.buf) > maxHeader):
		p.thinking = false
		p.refuse()
		return true
	case !ok:
		return false
	}
	p.pos = len(head) + len(message)
	if _, to, ok := strings.Cut(head, "to="); ok {
		if i := strings.IndexAny(to, space+"<"); i >= 0 {
			to = to[:i]
		}
		if name := strings.TrimPrefix(to, "functions."); name != "" && to != "user" && to != "all" {
			p.state = &harmonyCall{name: name}
			return true
		}
	}
	_, channel, _ := strings.Cut(head, "<|channel|>")
	channel = strings.TrimLeft(channel, space)
	p.take(p.pos)
	p.thinking = strings.HasPrefix(channel, "analysis")
	p.trim, p.blank = p.thinking || p.calls > 0, p.blank[:0]
	p.state = text{}
	return true
}

// harmonyCall is the message to a function.
type harmonyCall struct {
	name  string
	begun bool
	scan  scanner
}

func (h *harmonyCall) step(p *Parser) bool {
	if !h.begun {
		p.skip("")
		if p.rest() == "" && !p.final {
			return false
		}
		h.begun = true
		empty := p.rest() == "" || p.rest()[0] == '<'
		p.start("", h.name)
		if empty {
			p.arguments("{}")
			p.finish()
			p.state = text{}
			return true
		}
	}
	if p.stream(&h.scan) == more {
		return false
	}
	p.finish()
	p.state = text{}
	return true
}

package openai

import (
	"github.com/inferflux/inferflux/chat/dialect"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

// reply makes parts of one answer: its content, its reasoning, its calls.
type reply struct {
	dialect *dialect.Dialect
	parser  *dialect.Parser // nil: all of it is content
	single  bool            // at most one call
	legacy  bool            // calls are the message's function_call

	reasoningTokens int
	silent          int  // tokens before anything was said: a marker of reasoning, maybe
	ended           bool // nothing more is wanted of the answer
	finish          string
}

// newReply reads an answer to prompt.
func newReply(m *generate.Model, req *request, prompt string) *reply {
	r := &reply{dialect: m.Dialect(), single: req.singleCall || req.legacyCalls, legacy: req.legacyCalls}
	if req.reads(m) {
		r.parser = m.Dialect().NewParser(dialect.Options{Tools: req.offered(), Prompt: prompt})
	}
	return r
}

// reads reports whether answers may hold more than content.
func (r *request) reads(m *generate.Model) bool {
	return r.endpoint == chatEndpoint && (len(r.tools) > 0 || m.Dialect().ReasoningFormat() != "none")
}

// push takes the next delta and returns what it says. With the last part of it
// finish is set.
func (r *reply) push(d *generate.Delta) []dialect.Event {
	if r.parser == nil {
		r.finish = string(d.Finish)
		if d.Text == "" {
			return nil
		}
		return []dialect.Event{{Kind: dialect.Content, Text: d.Text}}
	}
	thinking := r.parser.Thinking()
	events := r.parser.Push(d.Text)
	switch {
	case thinking || r.parser.Thinking():
		r.reasoningTokens += r.silent + len(d.Tokens)
		r.silent = 0
	case len(events) > 0:
		r.silent = 0
	default:
		r.silent += len(d.Tokens)
	}
	if d.Finish != scheduler.Running {
		events = append(events, r.parser.End()...)
		r.finish = string(d.Finish)
	}
	for i := range events {
		if e := &events[i]; e.Kind == dialect.ToolEnd && r.single {
			events, r.ended = events[:i+1], true
			r.finish = string(scheduler.FinishStop)
			break
		}
	}
	if r.finish == string(scheduler.FinishStop) && r.parser.Calls() > 0 {
		r.finish = "tool_calls"
		if r.legacy {
			r.finish = "function_call"
		}
	}
	for i := range events {
		if e := &events[i]; e.Kind == dialect.ToolStart {
			e.ID = r.dialect.CallID(*e)
		}
	}
	return events
}

// toolCall is one of message.tool_calls.
type toolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// answer is one choice while it grows.
type answer struct {
	content, reasoning []byte
	calls              []toolCall
	tokens             []generate.Token
	finish             string
}

func (a *answer) add(events []dialect.Event) {
	for _, e := range events {
		switch e.Kind {
		case dialect.Content:
			a.content = append(a.content, e.Text...)
		case dialect.Reasoning:
			a.reasoning = append(a.reasoning, e.Text...)
		case dialect.ToolStart:
			a.calls = append(a.calls, toolCall{ID: e.ID, Type: "function", Function: functionCall{Name: e.Name}})
		case dialect.ToolArguments:
			a.calls[e.Index].Function.Arguments += e.Text
		}
	}
}

// message is the answer as a turn of the conversation.
func (a *answer) message(legacy bool) chatMessage {
	m := chatMessage{Role: "assistant", ReasoningContent: string(a.reasoning), Reasoning: string(a.reasoning)}
	if content := string(a.content); content != "" || len(a.calls) == 0 {
		m.Content = &content
	}
	switch {
	case legacy && len(a.calls) > 0:
		m.FunctionCall = &a.calls[0].Function
	default:
		m.ToolCalls = a.calls
	}
	return m
}

// appendDelta appends the delta of a streamed chunk.
func (r *reply) appendDelta(dst []byte, e dialect.Event) []byte {
	function := func(dst []byte) []byte {
		dst = append(dst, '{')
		if e.Kind == dialect.ToolStart {
			dst = append(dst, `"name":`...)
			dst = append(appendString(dst, e.Name), ',')
		}
		dst = append(dst, `"arguments":`...)
		return append(appendString(dst, e.Text), '}')
	}
	switch {
	case e.Kind == dialect.Content:
		dst = append(dst, `{"content":`...)
		dst = appendString(dst, e.Text)
	case e.Kind == dialect.Reasoning:
		dst = append(dst, `{"reasoning_content":`...)
		dst = appendString(dst, e.Text)
		dst = append(dst, `,"reasoning":`...)
		dst = appendString(dst, e.Text)
	case r.legacy:
		dst = append(dst, `{"function_call":`...)
		dst = function(dst)
	default:
		dst = append(dst, `{"tool_calls":[{`...)
		dst = append(appendIndex(dst, e.Index), ',')
		if e.Kind == dialect.ToolStart {
			dst = append(dst, `"id":`...)
			dst = appendString(dst, e.ID)
			dst = append(dst, `,"type":"function",`...)
		}
		dst = append(dst, `"function":`...)
		dst = append(function(dst), `}]`...)
	}
	return append(dst, '}')
}

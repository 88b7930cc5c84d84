package openai

import (
	"encoding/json"
	"strings"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/chat/dialect"
	"github.com/inferflux/inferflux/generate"
)

// conversation is what the model's template is given: for a template that knows
// nothing of tools, they are described in the system message, and the calls and
// results of the history are written as text.
func (r *request) conversation(m *generate.Model) chat.Input {
	in := r.chat
	if m.Template() == nil {
		return in
	}
	source := m.Template().ToolSource()
	if !strings.Contains(source, "tool_calls") {
		in.Messages = withoutToolCalls(in.Messages, m.Dialect())
	}
	if len(r.tools) > 0 && !dialect.ShowsTools(source) {
		in.Messages = withSystem(in.Messages, describeTools(in.Tools, m.Dialect()))
		in.Tools = nil
	}
	return in
}

func describeTools(tools json.RawMessage, d *dialect.Dialect) string {
	return "You can call these functions:\n\n" + string(tools) +
		"\n\nTo call one, answer with nothing but:\n\n" + d.Instructions() +
		"\n\nThe next message has its result. When no function is needed, answer in words."
}

// withSystem adds text to the system message.
func withSystem(messages []chat.Message, text string) []chat.Message {
	if len(messages) > 0 && messages[0].Role == "system" && messages[0].Content != nil {
		text = *messages[0].Content + "\n\n" + text
		messages = messages[1:]
	}
	return append([]chat.Message{{Role: "system", Content: &text}}, messages...)
}

// withoutToolCalls writes calls as the text that describeTools asks for, and
// results as messages of the user.
func withoutToolCalls(messages []chat.Message, d *dialect.Dialect) []chat.Message {
	out := make([]chat.Message, len(messages))
	names := map[string]string{} // of functions, by the calls' ids
	for i, m := range messages {
		out[i] = m
		switch {
		case m.ToolCalls != nil:
			var calls []struct {
				ID       string
				Function struct {
					Name      string `json:"name"`
					Arguments string `json:"arguments"`
				}
			}
			if json.Unmarshal(m.ToolCalls, &calls) != nil {
				continue
			}
			var text strings.Builder
			if m.Content != nil && *m.Content != "" {
				text.WriteString(*m.Content + "\n")
			}
			for _, c := range calls {
				names[c.ID] = c.Function.Name
				frame := d.Frame(c.Function.Name)
				text.WriteString(frame.Begin + c.Function.Arguments + frame.End)
			}
			content := strings.TrimSuffix(text.String(), "\n")
			out[i].Content, out[i].ToolCalls = &content, nil
		case m.Role == "tool":
			name := m.Name
			if name == "" {
				name = names[m.ToolCallID]
			}
			content := "The result of " + name + ":\n" + *m.Content
			out[i] = chat.Message{Role: "user", Content: &content}
		}
	}
	return out
}

// Package chat renders a conversation into the prompt text a model was trained
// on, with the model's own Jinja template, exactly as transformers'
// apply_chat_template does. The way back, from an answer to content, reasoning
// and calls of tools, is in package dialect.
//
// A [Template] comes from a GGUF file's metadata ([FromGGUF]), from a Hugging
// Face folder ([FromFolder]) or from text ([Parse]), and is safe for concurrent
// use. The language itself is in package jinja.
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/inferflux/inferflux/chat/jinja"
)

// Message is one turn, in the order and with the fields that templates see.
type Message struct {
	Role string `json:"role"`
	// Content is the text, or nil for JSON null. Lists of text parts are joined
	// before they come here.
	Content *string `json:"content"`
	Name    string  `json:"name,omitempty"`
	// ReasoningContent is also shown to templates as thinking, which gpt-oss reads.
	ReasoningContent string `json:"reasoning_content,omitempty"`
	// ToolCalls is a JSON array. Arguments written as a string of JSON, as OpenAI's
	// API has them, reach the template as the object that most are written for, or as
	// the string if it can take nothing else.
	ToolCalls  json.RawMessage `json:"tool_calls,omitempty"`
	ToolCallID string          `json:"tool_call_id,omitempty"`
}

// Input is what a template is rendered with.
type Input struct {
	Messages            []Message
	Tools               json.RawMessage // a JSON array, or nil
	Documents           json.RawMessage // a JSON array, or nil
	AddGenerationPrompt bool
	// ContinueFinal ends the prompt within the last message, which an answer then
	// continues. AddGenerationPrompt must be false.
	ContinueFinal bool
	// Kwargs are extra variables (chat_template_kwargs), a JSON object or nil.
	Kwargs json.RawMessage
	// Now is what strftime_now formats; the zero time means the present.
	Now time.Time
}

// Options are what a template needs beside its source.
type Options struct {
	// BOS and EOS are the texts of the model's tokens, bos_token and eos_token in the
	// template; empty when the model has none.
	BOS, EOS string
	// ToolUse is the source of the template that takes over when tools are given;
	// empty when the model has but one.
	ToolUse string
}

// ErrNoTemplate is returned for a model that carries no chat template.
var ErrNoTemplate = errors.New("the model has no chat template")

// TemplateError says why a conversation could not be rendered: in the template's
// own words when it called raise_exception (Line is 0 then), otherwise what went
// wrong and where in the template.
type TemplateError struct {
	Message string
	Line    int
}

func (e *TemplateError) Error() string {
	if e.Line == 0 {
		return "the chat template refuses the conversation: " + e.Message
	}
	return fmt.Sprintf("the chat template fails at line %d: %s", e.Line, e.Message)
}

// Template is a model's chat template.
type Template struct {
	source  string
	options Options
	main    *variant
	toolUse *variant // nil without
}

// variant is one of a model's templates.
type variant struct {
	template *jinja.Template
	// stringArguments: the template wants tool calls' arguments as text.
	stringArguments bool
}

// Parse reads a template.
func Parse(source string, o Options) (*Template, error) {
	t := &Template{source: source, options: o}
	var err error
	if t.main, err = parseVariant(source, o); err != nil {
		return nil, fmt.Errorf("parse the chat template: %w", err)
	}
	if o.ToolUse != "" {
		if t.toolUse, err = parseVariant(o.ToolUse, o); err != nil {
			return nil, fmt.Errorf("parse the chat template for tool use: %w", err)
		}
	}
	return t, nil
}

// Source is the template's text (of the one for conversations without tools).
func (t *Template) Source() string { return t.source }

// ToolSource is the text of the one for conversations with tools.
func (t *Template) ToolSource() string {
	if t.options.ToolUse != "" {
		return t.options.ToolUse
	}
	return t.source
}

// Render makes the prompt. A failure of the template is a [*TemplateError]; other
// errors are about the input's JSON.
func (t *Template) Render(in Input) (string, error) {
	v := t.main
	if t.toolUse != nil && hasElements(in.Tools) {
		v = t.toolUse
	}
	text, err := v.render(in, t.options)
	if err == nil && in.ContinueFinal {
		text, err = cutAfterFinal(text, in.Messages)
	}
	return text, err
}

func hasElements(array json.RawMessage) bool {
	var elements []json.RawMessage
	return json.Unmarshal(array, &elements) == nil && len(elements) > 0
}

func (v *variant) render(in Input, o Options) (string, error) {
	vars, size, err := v.variables(in, o)
	if err != nil {
		return "", err
	}
	now := in.Now
	if now.IsZero() {
		now = time.Now()
	}
	text, err := v.template.Render(vars, now, size)
	if raised, ok := errors.AsType[*jinja.Raised](err); ok {
		return "", &TemplateError{Message: raised.Message}
	}
	if failed, ok := errors.AsType[*jinja.Error](err); ok {
		return "", &TemplateError{Message: failed.Message, Line: failed.Line}
	}
	return text, err
}

// variables are what the template sees, and their size in bytes.
func (v *variant) variables(in Input, o Options) (*jinja.Dict, int, error) {
	vars := new(jinja.Dict)
	size := 0
	if o.BOS != "" {
		vars.Set("bos_token", o.BOS)
	}
	if o.EOS != "" {
		vars.Set("eos_token", o.EOS)
	}
	decode := func(name string, data json.RawMessage) (any, error) {
		if len(data) == 0 {
			return nil, nil
		}
		size += len(data)
		value, err := jinja.FromJSON(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return value, nil
	}
	kwargs, err := decode("chat_template_kwargs", in.Kwargs)
	if err != nil {
		return nil, 0, err
	}
	if kwargs != nil {
		d, ok := kwargs.(*jinja.Dict)
		if !ok {
			return nil, 0, errors.New("chat_template_kwargs must be an object")
		}
		for name, value := range d.All() {
			switch name {
			case "messages", "tools", "documents", "add_generation_prompt":
				return nil, 0, fmt.Errorf("chat_template_kwargs can't set %s", name)
			}
			vars.Set(name, value)
		}
	}
	messages := make([]any, len(in.Messages))
	for i, m := range in.Messages {
		d := new(jinja.Dict)
		if m.ReasoningContent != "" {
			d.Set("thinking", m.ReasoningContent)
		}
		d.Set("role", m.Role)
		d.Set("content", nil)
		if m.Content != nil {
			d.Set("content", *m.Content)
			size += len(*m.Content)
		}
		for _, field := range []struct{ name, value string }{
			{"name", m.Name}, {"reasoning_content", m.ReasoningContent}, {"tool_call_id", m.ToolCallID},
		} {
			if field.value != "" {
				d.Set(field.name, field.value)
				size += len(field.value)
			}
		}
		if len(m.ToolCalls) > 0 {
			calls, err := decode(fmt.Sprintf("messages[%d].tool_calls", i), m.ToolCalls)
			if err != nil {
				return nil, 0, err
			}
			if !v.stringArguments {
				objectArguments(calls)
			}
			d.Set("tool_calls", calls)
		}
		messages[i] = d
	}
	vars.Set("messages", jinja.NewList(messages...))
	for _, array := range []struct {
		name string
		data json.RawMessage
	}{{"tools", in.Tools}, {"documents", in.Documents}} {
		value, err := decode(array.name, array.data)
		if err != nil {
			return nil, 0, err
		}
		vars.Set(array.name, value)
	}
	vars.Set("add_generation_prompt", in.AddGenerationPrompt)
	return vars, size, nil
}

// objectArguments replaces, in a list of tool calls, arguments that are the text
// of a JSON object by the object.
func objectArguments(calls any) {
	for call := range jinja.Elements(calls) {
		d, ok := call.(*jinja.Dict)
		if !ok {
			continue
		}
		if f, ok := d.Get("function"); ok {
			if d, ok = f.(*jinja.Dict); !ok {
				continue
			}
		}
		arguments, _ := d.Get("arguments")
		text, ok := arguments.(string)
		if !ok || !strings.HasPrefix(strings.TrimSpace(text), "{") {
			continue
		}
		if object, err := jinja.FromJSON([]byte(text)); err == nil {
			d.Set("arguments", object)
		}
	}
}

// parseVariant parses a template and finds out which form of arguments it takes,
// by trying: the two are equally common in conversations, and a template seldom
// takes both.
func parseVariant(source string, o Options) (*variant, error) {
	template, err := jinja.Parse(source)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(source, "tool_calls") {
		return &variant{template: template}, nil
	}
	question, answer := "?", "!"
	trial := Input{
		Messages: []Message{
			{Role: "user", Content: &question},
			{Role: "assistant", ToolCalls: json.RawMessage(
				`[{"id":"call00000","type":"function","function":{"name":"f","arguments":"{\"key\":1}"}}]`)},
			{Role: "tool", Name: "f", ToolCallID: "call00000", Content: &answer},
		},
		Tools: json.RawMessage(`[{"type":"function","function":{"name":"f","description":"f",` +
			`"parameters":{"type":"object","properties":{"key":{"type":"integer","description":"k"}},"required":["key"]}}}]`),
	}
	objects := &variant{template: template}
	if _, err := objects.render(trial, o); err == nil {
		return objects, nil
	}
	texts := &variant{template: template, stringArguments: true}
	if _, err := texts.render(trial, o); err == nil {
		return texts, nil
	}
	return objects, nil
}

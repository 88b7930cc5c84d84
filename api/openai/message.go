package openai

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/chat"
)

// decodeMessages reads the conversation.
func (r *request) decodeMessages(path string, raw json.RawMessage) *Error {
	list, err := decodeList(path, raw, maxMessages)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return outOfRange(path, "a list of at least one message", "an empty list")
	}
	r.chat.Messages = make([]chat.Message, len(list))
	for i, v := range list {
		if r.chat.Messages[i], err = decodeMessage(fmt.Sprintf("%s[%d]", path, i), v); err != nil {
			return err
		}
	}
	return nil
}

func decodeMessage(path string, raw json.RawMessage) (chat.Message, *Error) {
	var m chat.Message
	object, err := decodeMap(path, raw)
	if err != nil {
		return m, err
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		v, at := object[name], path+"."+shorten(name)
		if isNull(v) {
			continue
		}
		switch name {
		case "role":
			m.Role, err = decodeString(at, v)
		case "content":
			m.Content, err = decodeContent(at, v)
		case "name":
			m.Name, err = decodeString(at, v)
		case "reasoning_content", "reasoning":
			m.ReasoningContent, err = decodeString(at, v)
		case "tool_call_id":
			m.ToolCallID, err = decodeString(at, v)
		case "tool_calls":
			m.ToolCalls, err = decodeToolCalls(at, v)
		case "refusal", "annotations":
			// Parts of an answer of OpenAI's own that clients send back as they
			// got them; empty ones say nothing.
			if s := string(v); s != `""` && s != "[]" {
				err = unsupported(at, "%q is not supported", at)
			}
		case "function_call":
			m.ToolCalls, err = decodeFunctionTurn(at, v)
		case "audio":
			err = unsupported(at, "%q is not supported", at)
		default:
			err = badRequest(at, "unknown field %q", at)
			err.Code = "unknown_parameter"
		}
		if err != nil {
			return m, err
		}
	}
	return m, checkMessage(path, &m)
}

func checkMessage(path string, m *chat.Message) *Error {
	switch m.Role {
	case "":
		return missing(path + ".role")
	case "developer":
		m.Role = "system"
	case "system", "user":
	case "assistant":
		if m.Content == nil && m.ToolCalls == nil {
			return missing(path + ".content")
		}
	case "function": // what the role tool has replaced
		m.Role, m.ToolCallID = "tool", legacyCallID
	case "tool":
		if m.ToolCallID == "" {
			return missing(path + ".tool_call_id")
		}
	default:
		return outOfRange(path+".role", `"system", "developer", "user", "assistant" or "tool"`, fmt.Sprintf("%q", shorten(m.Role)))
	}
	switch {
	case m.Content == nil && m.Role != "assistant":
		return missing(path + ".content")
	case m.ToolCalls != nil && m.Role != "assistant":
		return badRequest(path+".tool_calls", "only messages of the assistant have %q, not those of role %q", "tool_calls", m.Role)
	case m.ToolCallID != "" && m.Role != "tool":
		return badRequest(path+".tool_call_id", "only messages of role \"tool\" have %q, not those of role %q", "tool_call_id", m.Role)
	}
	return nil
}

// decodeContent reads a string, or a list of parts whose text it joins.
func decodeContent(path string, raw json.RawMessage) (*string, *Error) {
	switch kindOf(raw) {
	case "a string":
		text, err := decodeString(path, raw)
		return &text, err
	case "a list":
	default:
		return nil, wrongType(path, "a string or a list of parts", raw)
	}
	parts, err := decodeList(path, raw, maxMessages)
	if err != nil {
		return nil, err
	}
	var joined strings.Builder
	for i, v := range parts {
		at := fmt.Sprintf("%s[%d]", path, i)
		part, err := decodeMap(at, v)
		if err != nil {
			return nil, err
		}
		if part["type"] == nil {
			return nil, missing(at + ".type")
		}
		kind, err := decodeString(at+".type", part["type"])
		if err != nil {
			return nil, err
		}
		if kind != "text" {
			return nil, unsupported(at, "%s is a part of type %q: only text is supported", at, shorten(kind))
		}
		if part["text"] == nil {
			return nil, missing(at + ".text")
		}
		text, err := decodeString(at+".text", part["text"])
		if err != nil {
			return nil, err
		}
		joined.WriteString(text)
	}
	text := joined.String()
	return &text, nil
}

// decodeToolCalls gives the calls as [chat.Message] has them, with the arguments as
// a string of JSON.
func decodeToolCalls(path string, raw json.RawMessage) (json.RawMessage, *Error) {
	list, err := decodeList(path, raw, maxMessages)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	type function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
	type call struct {
		ID       string   `json:"id,omitempty"`
		Type     string   `json:"type"`
		Function function `json:"function"`
	}
	calls := make([]call, len(list))
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		object, err := decodeMap(at, v)
		if err != nil {
			return nil, err
		}
		c := call{Type: "function"}
		if id := object["id"]; id != nil {
			if c.ID, err = decodeString(at+".id", id); err != nil {
				return nil, err
			}
		}
		if kind := object["type"]; kind != nil {
			if c.Type, err = decodeString(at+".type", kind); err != nil {
				return nil, err
			}
			if c.Type != "function" {
				return nil, unsupported(at+".type", "%q can only be \"function\", not %q", at+".type", shorten(c.Type))
			}
		}
		fn, err := decodeMap(at+".function", object["function"])
		if err != nil {
			return nil, err
		}
		if c.Function.Name, err = decodeString(at+".function.name", fn["name"]); err != nil {
			return nil, err
		}
		if c.Function.Arguments, err = decodeArguments(at+".function.arguments", fn["arguments"]); err != nil {
			return nil, err
		}
		calls[i] = c
	}
	encoded, jerr := json.Marshal(calls)
	if jerr != nil {
		return nil, badRequest(path, "%q could not be read: %s", path, jerr)
	}
	return encoded, nil
}

// legacyCallID is the id of calls that have none. Mistral's templates want nine
// letters and digits.
const legacyCallID = "function0"

// decodeFunctionTurn reads the function_call of an earlier answer.
func decodeFunctionTurn(path string, raw json.RawMessage) (json.RawMessage, *Error) {
	call, jerr := json.Marshal([]map[string]any{{"id": legacyCallID, "type": "function", "function": raw}})
	if jerr != nil {
		return nil, badRequest(path, "%q could not be read: %s", path, jerr)
	}
	return decodeToolCalls(path, call)
}

// decodeArguments gives the text of a JSON object, which OpenAI sends as a string;
// clients of other servers send the object itself.
func decodeArguments(path string, raw json.RawMessage) (string, *Error) {
	if kindOf(raw) == "an object" {
		return string(raw), nil
	}
	text, err := decodeString(path, raw)
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(text) == "" {
		return "{}", nil
	}
	if _, bad := parseObject([]byte(text)); bad != nil {
		return "", badRequest(path, "%q must be a string that holds a JSON object: %s", path, bad.Message)
	}
	return text, nil
}

// decodeTemplateKwargs refuses the names that the template gets from elsewhere.
func (r *request) decodeTemplateKwargs(path string, raw json.RawMessage) *Error {
	m, err := decodeMap(path, raw)
	if err != nil {
		return err
	}
	for _, name := range []string{"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"} {
		if _, ok := m[name]; ok {
			return badRequest(path+"."+name, "%q can't be set by %q", name, path)
		}
	}
	r.chat.Kwargs = raw
	return nil
}

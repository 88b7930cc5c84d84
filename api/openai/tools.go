package openai

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/inferflux/inferflux/chat/dialect"
)

// maxTools bounds the functions that a model is offered, as in OpenAI's API.
const maxTools = 128

// tool is a function that a request offers.
type tool struct {
	dialect.Tool
	source json.RawMessage // as the template is shown it
	strict bool
}

// toolChoice is what a request says about calling tools.
type toolChoice struct {
	mode string   // "auto", "none" or "required"; "" when nothing is said
	only []string // the functions that may be called; nil: all
	path string   // of the field that says so
}

// decodeTools reads tools: [{"type": "function", "function": {…}}, …].
func (r *request) decodeTools(path string, raw json.RawMessage) *Error {
	list, err := decodeList(path, raw, maxTools)
	if err != nil {
		return err
	}
	r.modernCalls = len(list) > 0
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		object, err := decodeMap(at, v)
		if err != nil {
			return err
		}
		if err := onlyFields(at, object, "type", "function"); err != nil {
			return err
		}
		kind, err := decodeString(at+".type", object["type"])
		if err != nil {
			return err
		}
		if kind != "function" {
			return unsupported(at+".type", "%q can only be \"function\", not %q", at+".type", shorten(kind))
		}
		if object["function"] == nil {
			return missing(at + ".function")
		}
		if err := r.addTool(at+".function", object["function"], v); err != nil {
			return err
		}
	}
	return nil
}

// decodeFunctions reads the list that tools has replaced.
func (r *request) decodeFunctions(path string, raw json.RawMessage) *Error {
	list, err := decodeList(path, raw, maxTools)
	if err != nil {
		return err
	}
	for i, v := range list {
		source, jerr := json.Marshal(map[string]any{"type": "function", "function": v})
		if jerr != nil {
			return badRequest(path, "%q could not be read: %s", path, jerr)
		}
		if err := r.addTool(fmt.Sprintf("%s[%d]", path, i), v, source); err != nil {
			return err
		}
	}
	r.legacyCalls = len(list) > 0
	return nil
}

// addTool reads the description of one function.
func (r *request) addTool(path string, function, source json.RawMessage) *Error {
	object, err := decodeMap(path, function)
	if err != nil {
		return err
	}
	if err := onlyFields(path, object, "name", "description", "parameters", "strict"); err != nil {
		return err
	}
	t := tool{source: source}
	if object["name"] == nil {
		return missing(path + ".name")
	}
	if t.Name, err = decodeString(path+".name", object["name"]); err != nil {
		return err
	}
	if !validFunctionName(t.Name) {
		return outOfRange(path+".name", "1 to 128 letters, digits, underscores, dots and dashes", fmt.Sprintf("%q", shorten(t.Name)))
	}
	for _, other := range r.tools {
		if other.Name == t.Name {
			return badRequest(path+".name", "two functions are named %q", t.Name)
		}
	}
	if v := object["description"]; v != nil && !isNull(v) {
		if _, err = decodeString(path+".description", v); err != nil {
			return err
		}
	}
	if v := object["parameters"]; v != nil && !isNull(v) {
		if _, err = decodeMap(path+".parameters", v); err != nil {
			return err
		}
		t.Parameters = v
	}
	if v := object["strict"]; v != nil && !isNull(v) {
		if t.strict, err = decodeBool(path+".strict", v); err != nil {
			return err
		}
	}
	r.tools = append(r.tools, t)
	return nil
}

func validFunctionName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// onlyFields refuses an object's fields that are not in names.
func onlyFields(path string, object map[string]json.RawMessage, names ...string) *Error {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(names, name) {
			at := path + "." + shorten(name)
			err := badRequest(at, "unknown field %q", at)
			err.Code = "unknown_parameter"
			return err
		}
	}
	return nil
}

// decodeToolChoice reads "none", "auto", "required", {"type": "function", "function": {"name"}}
// or {"type": "allowed_tools", "allowed_tools": {"mode", "tools"}}.
func (r *request) decodeToolChoice(path string, raw json.RawMessage) *Error {
	r.toolChoice.path = path
	if kindOf(raw) != "an object" {
		return r.decodeToolMode(path, raw, "none", "auto", "required")
	}
	object, err := decodeMap(path, raw)
	if err != nil {
		return err
	}
	kind, err := decodeString(path+".type", object["type"])
	if err != nil {
		return err
	}
	switch kind {
	case "function":
		if err := onlyFields(path, object, "type", "function"); err != nil {
			return err
		}
		name, err := decodeFunctionName(path+".function", object["function"])
		r.toolChoice.mode, r.toolChoice.only = "required", []string{name}
		return err
	case "allowed_tools":
		at := path + ".allowed_tools"
		allowed, err := decodeMap(at, object["allowed_tools"])
		if err != nil {
			return err
		}
		if err := r.decodeToolMode(at+".mode", allowed["mode"], "auto", "required"); err != nil {
			return err
		}
		list, err := decodeList(at+".tools", allowed["tools"], maxTools)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return outOfRange(at+".tools", "a list of at least one function", "an empty list")
		}
		for i, v := range list {
			element := fmt.Sprintf("%s.tools[%d]", at, i)
			object, err := decodeMap(element, v)
			if err != nil {
				return err
			}
			name, err := decodeFunctionName(element+".function", object["function"])
			if err != nil {
				return err
			}
			r.toolChoice.only = append(r.toolChoice.only, name)
		}
		return nil
	}
	return unsupported(path+".type", "%q can be \"function\" or \"allowed_tools\", not %q", path+".type", shorten(kind))
}

// decodeFunctionCall reads the field that tool_choice has replaced.
func (r *request) decodeFunctionCall(path string, raw json.RawMessage) *Error {
	r.toolChoice.path = path
	if kindOf(raw) != "an object" {
		return r.decodeToolMode(path, raw, "none", "auto")
	}
	name, err := decodeFunctionName(path, raw)
	r.toolChoice.mode, r.toolChoice.only = "required", []string{name}
	return err
}

func (r *request) decodeToolMode(path string, raw json.RawMessage, modes ...string) *Error {
	mode, err := decodeString(path, raw)
	if err == nil && !slices.Contains(modes, mode) {
		err = outOfRange(path, fmt.Sprintf("one of %q", modes), fmt.Sprintf("%q", shorten(mode)))
	}
	r.toolChoice.mode = mode
	return err
}

func decodeFunctionName(path string, raw json.RawMessage) (string, *Error) {
	object, err := decodeMap(path, raw)
	if err != nil {
		return "", err
	}
	return decodeString(path+".name", object["name"])
}

// checkTools holds the rules that tie the fields about tools together, and leaves
// the functions that the model is offered.
func (r *request) checkTools() *Error {
	choice := &r.toolChoice
	switch {
	case r.modernCalls && r.legacyCalls:
		return badRequest("functions", `"tools" has replaced "functions": give one of them`)
	case r.given["tool_choice"] && r.given["function_call"]:
		return badRequest("function_call", `"tool_choice" has replaced "function_call": give one of them`)
	case len(r.tools) == 0 && choice.mode == "required":
		return badRequest(choice.path, "%q asks for a call, and there are no functions to call: give %q", choice.path, "tools")
	}
	if choice.mode == "none" {
		r.tools = nil
		return nil
	}
	for _, name := range choice.only {
		if !slices.ContainsFunc(r.tools, func(t tool) bool { return t.Name == name }) {
			return badRequest(choice.path, "%q names a function %q that is not in %q", choice.path, shorten(name), "tools")
		}
	}
	if choice.only != nil {
		r.tools = slices.DeleteFunc(r.tools, func(t tool) bool { return !slices.Contains(choice.only, t.Name) })
	}
	if len(r.tools) == 0 {
		return nil
	}
	sources := make([]json.RawMessage, len(r.tools))
	for i, t := range r.tools {
		sources[i] = t.source
	}
	encoded, err := json.Marshal(sources)
	if err != nil {
		return badRequest("tools", "%q could not be read: %s", "tools", err)
	}
	r.chat.Tools = encoded
	return nil
}

// offered are the functions as a parser of answers wants them.
func (r *request) offered() []dialect.Tool {
	tools := make([]dialect.Tool, len(r.tools))
	for i, t := range r.tools {
		tools[i] = t.Tool
	}
	return tools
}

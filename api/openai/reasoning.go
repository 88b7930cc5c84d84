package openai

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/generate"
)

var efforts = []string{"none", "minimal", "low", "medium", "high", "xhigh"}

func (r *request) decodeEffort(path string, raw json.RawMessage) *Error {
	effort, err := decodeString(path, raw)
	if err == nil && !slices.Contains(efforts, effort) {
		err = outOfRange(path, fmt.Sprintf("one of %q", efforts), fmt.Sprintf("%q", shorten(effort)))
	}
	r.effort = effort
	return err
}

// bindEffort turns the effort into the variables that the model's template knows:
// reasoning_effort, and enable_thinking or thinking. Those that the client sets
// itself stay.
func (r *request) bindEffort(m *generate.Model) *Error {
	if r.effort == "" || m.Template() == nil {
		return nil
	}
	kwargs := map[string]json.RawMessage{}
	if r.chat.Kwargs != nil {
		var err *Error
		if kwargs, err = decodeMap("chat_template_kwargs", r.chat.Kwargs); err != nil {
			return err
		}
	}
	source, known := m.Template().Source(), false
	set := func(name, value string) {
		if !strings.Contains(source, name) {
			return
		}
		known = true
		if _, given := kwargs[name]; !given {
			kwargs[name] = json.RawMessage(value)
		}
	}
	set("reasoning_effort", `"`+templateEffort(r.effort)+`"`)
	thinks := fmt.Sprint(r.effort != "none")
	if strings.Contains(source, "enable_thinking") {
		set("enable_thinking", thinks)
	} else if strings.Contains(source, "{%- if thinking") || strings.Contains(source, "thinking is defined") || strings.Contains(source, "not thinking") {
		set("thinking", thinks)
	}
	none := m.Dialect().ReasoningFormat() == "none"
	switch {
	case none && r.effort == "none":
		return nil
	case !known && none:
		return unsupported("reasoning_effort", "%q can only be \"none\": model %q doesn't reason", "reasoning_effort", m.ID())
	case !known:
		return unsupported("reasoning_effort", "the chat template of model %q has no such switch", m.ID())
	}
	encoded, err := json.Marshal(kwargs)
	if err != nil {
		return badRequest("chat_template_kwargs", "%q could not be read: %s", "chat_template_kwargs", err)
	}
	r.chat.Kwargs = encoded
	return nil
}

// templateEffort is the nearest of the efforts that templates know.
func templateEffort(effort string) string {
	switch effort {
	case "none", "minimal":
		return "low"
	case "xhigh":
		return "high"
	}
	return effort
}

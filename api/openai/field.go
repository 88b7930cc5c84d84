package openai

import (
	"encoding/json"
	"slices"
)

// Field is one field of a request as the API treats it. The decoder runs on the
// same list that the reference page docs/API.md is made from, so the two can't
// disagree.
type Field struct {
	Name string
	// Chat and Completions say which endpoints know the field.
	Chat, Completions bool
	Type              string // "integer", "string or list of strings"
	Range             string // of accepted values; empty when the type says it all
	Default           string
	Treatment         Treatment
	Behaviour         string // what it does, or why it is ignored or refused

	decode func(r *request, path string, raw json.RawMessage) *Error
}

// Treatment is what happens to a field that a client sends.
type Treatment uint8

// The treatments. A field that is not in the list at all is refused as unknown.
const (
	Honoured Treatment = iota
	// Ignored fields are about the client's account, not about the answer.
	Ignored
	// Refused fields have a known meaning that this server can't give them: 400.
	// Their neutral values (null, false, an empty list, …) are accepted.
	Refused
)

// Fields lists every field the API knows, honoured ones first.
func Fields() []Field { return slices.Clone(fields) }

// IgnoredFields names the fields that are accepted and do nothing.
func IgnoredFields() []string {
	var names []string
	for _, f := range fields {
		if f.Treatment == Ignored {
			names = append(names, f.Name)
		}
	}
	return names
}

// endpoint is one of the two that generate.
type endpoint uint8

const (
	chatEndpoint endpoint = iota
	completionEndpoint
)

func (f *Field) knownTo(e endpoint) bool {
	if e == chatEndpoint {
		return f.Chat
	}
	return f.Completions
}

// fieldFor finds a field of an endpoint; a name may have one entry for each.
func fieldFor(name string, e endpoint) *Field {
	for i := range fields {
		if fields[i].Name == name && fields[i].knownTo(e) {
			return &fields[i]
		}
	}
	return nil
}

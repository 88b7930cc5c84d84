// Package dialect knows what a model family's answers mean: which part is
// reasoning, which is a call of a tool, and what is left for the reader.
//
//	d := dialect.Detect(template.Source(), hasToken)   // or Named("hermes", "think")
//	p := d.NewParser(dialect.Options{Tools: tools, Prompt: prompt})
//	for text := range answer {
//		for _, e := range p.Push(text) { … }
//	}
//	for _, e := range p.End() { … }
//
// # Promises
//
// The events don't depend on how the text was cut: put together, they are the
// same for one Push of the whole and for one of every byte. Text that may be the
// beginning of a marker is held back until it is clear whether it is one, and comes
// out as text if it isn't.
//
// No markup reaches the content, and nothing is lost: what looks like a call and
// isn't comes out as content, all of it. Once a call's arguments have begun to come
// they can't be taken back: at a fault in them the call ends with what there is of
// them, and the rest is content. An answer that is cut off ends a call that
// is open with arguments that are cut off too, as in OpenAI's API.
//
// White space between content and calls, after reasoning and round it is nobody's.
package dialect

import (
	"encoding/json"
	"slices"
	"strings"
)

// Kind says what an event is.
type Kind uint8

// The kinds of events. A call is a ToolStart, any number of ToolArguments, whose
// texts put together are a JSON object, and a ToolEnd; calls don't overlap.
const (
	Content       Kind = iota // Text is for the reader
	Reasoning                 // Text is the model's own deliberation
	ToolStart                 // Name, and ID if the format has one
	ToolArguments             // Text is a piece of JSON
	ToolEnd
)

// Event is something that an answer said.
type Event struct {
	Kind  Kind
	Text  string
	Index int    // of the call in the answer, from 0
	ID    string // as the model gave it; most formats have none
	Name  string // of the function
}

// Tool is a function that the model may call.
type Tool struct {
	Name       string
	Parameters json.RawMessage // a JSON Schema, or nil
}

// A Dialect is how a model family writes calls and reasoning. It doesn't change
// and may be shared.
type Dialect struct {
	tools     *toolFormat
	reasoning *reasoningFormat
}

// Named returns the dialect of the named formats, of which [ToolFormats] and
// [ReasoningFormats] are the names; false if there is none of that name.
func Named(tools, reasoning string) (*Dialect, bool) {
	d := &Dialect{}
	for i := range toolFormats {
		if toolFormats[i].name == tools {
			d.tools = &toolFormats[i]
		}
	}
	for i := range reasoningFormats {
		if reasoningFormats[i].name == reasoning {
			d.reasoning = &reasoningFormats[i]
		}
	}
	return d, d.tools != nil && d.reasoning != nil
}

// ToolFormat names how calls are written.
func (d *Dialect) ToolFormat() string { return d.tools.name }

// ReasoningFormat names how reasoning is marked; "none" where it isn't.
func (d *Dialect) ReasoningFormat() string { return d.reasoning.name }

// ReasoningEnd is the marker after which the answer proper begins; empty without
// reasoning.
func (d *Dialect) ReasoningEnd() string {
	if len(d.reasoning.end) == 0 {
		return ""
	}
	return d.reasoning.end[0]
}

// ReasoningBegin is the marker that opens reasoning; empty without reasoning.
func (d *Dialect) ReasoningBegin() string {
	if len(d.reasoning.begin) == 0 {
		return ""
	}
	return d.reasoning.begin[0]
}

// Opening is the marker that frames of calls begin with; empty in formats where a call
// looks like other text until its function is named.
func (d *Dialect) Opening() string {
	begin, opening := d.Frame("f").Begin, ""
	for _, marker := range d.tools.begin {
		if strings.HasPrefix(begin, marker) && len(marker) > len(opening) {
			opening = marker
		}
	}
	return opening
}

// Thinks reports whether an answer to prompt begins within reasoning that the
// prompt has opened, as many templates do.
func (d *Dialect) Thinks(prompt string) bool {
	prompt = strings.TrimRight(prompt, space)
	return slices.ContainsFunc(d.reasoning.begin, func(begin string) bool { return strings.HasSuffix(prompt, begin) })
}

// Markers are the texts that calls and reasoning are marked with. Those that are
// control tokens of the model must be spelled out in what a parser gets.
func (d *Dialect) Markers() []string {
	markers := slices.Concat(d.reasoning.begin, d.reasoning.end, d.reasoning.drop, d.tools.begin, d.tools.drop, d.tools.inner)
	if d.tools.end != "" {
		markers = append(markers, d.tools.end)
	}
	slices.Sort(markers)
	return slices.Compact(markers)
}

// ToolFormats are the names of the formats of calls.
func ToolFormats() []string {
	names := make([]string, len(toolFormats))
	for i := range toolFormats {
		names[i] = toolFormats[i].name
	}
	return names
}

// ReasoningFormats are the names of the formats of reasoning.
func ReasoningFormats() []string {
	names := make([]string, len(reasoningFormats))
	for i := range reasoningFormats {
		names[i] = reasoningFormats[i].name
	}
	return names
}

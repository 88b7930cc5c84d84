package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/grammar"
)

const (
	maxGuidedChoices = 1024
	maxThinking      = 1 << 20 // tokens
)

// constraint is what a field asks of the answer's content.
type constraint struct {
	path string // of the field, for errors
	spec grammar.Spec
}

// constraintFields are response_format, and what vLLM's and llama.cpp's servers have for
// the same.
var constraintFields = []Field{
	{Name: "response_format", Chat: true, Completions: true, Type: "object", Range: "type text, json_object or json_schema", Default: "text",
		Behaviour: "The answer is a JSON object, or JSON that the schema accepts, strict or not: nothing else can be generated. See docs/StructuredOutput.md.",
		decode:    (*request).decodeResponseFormat},
	{Name: "structured_outputs", Chat: true, Completions: true, Type: "object", Range: "one of json, regex, choice, grammar, json_object",
		Behaviour: "The same as the fields guided_…, in one.",
		decode:    (*request).decodeStructuredOutputs},
	guided("guided_json", "object or string", "The answer is JSON that this schema accepts.", schemaSpec),
	guided("json_schema", "object", "The same as guided_json.", schemaSpec),
	guided("guided_regex", "string", "The answer matches this regular expression, from its beginning to its end.", regexSpec),
	guided("guided_choice", "list of strings", "The answer is one of these.", choiceSpec),
	guided("guided_grammar", "string", "The answer is a sentence of this grammar, in GBNF or in Lark's notation.", grammarSpec),
	guided("grammar", "string", "The same as guided_grammar.", grammarSpec),
	{Name: "thinking_budget", Chat: true, Type: "integer", Range: "1 to 1048576", Default: "none",
		Behaviour: "Tokens of reasoning after which it is closed.",
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			n, err := decodeInt(path, raw, 1, maxThinking)
			r.thinkingBudget = int(n)
			return err
		}},
}

func guided(name, kind, behaviour string, read func(path string, raw json.RawMessage) (grammar.Spec, *Error)) Field {
	return Field{Name: name, Chat: true, Completions: true, Type: kind, Behaviour: behaviour,
		decode: func(r *request, path string, raw json.RawMessage) *Error {
			spec, err := read(path, raw)
			if err != nil {
				return err
			}
			return r.constrain(path, spec)
		}}
}

// constrain notes a constraint, of which there can be one.
func (r *request) constrain(path string, spec grammar.Spec) *Error {
	if r.constraint != nil {
		return badRequest(path, "%q and %q both say what the answer must be: give one", r.constraint.path, path)
	}
	r.constraint = &constraint{path, spec}
	return nil
}

func schemaSpec(path string, raw json.RawMessage) (grammar.Spec, *Error) {
	source := string(raw)
	switch kindOf(raw) {
	case "an object", "a boolean":
	case "a string": // of JSON, as vLLM takes it
		text, err := decodeString(path, raw)
		if err != nil {
			return grammar.Spec{}, err
		}
		source = text
	default:
		return grammar.Spec{}, wrongType(path, "a JSON Schema", raw)
	}
	return grammar.Spec{Kind: grammar.JSONSchema, Source: source}, nil
}

func regexSpec(path string, raw json.RawMessage) (grammar.Spec, *Error) {
	source, err := decodeString(path, raw)
	return grammar.Spec{Kind: grammar.Regex, Source: source}, err
}

func choiceSpec(path string, raw json.RawMessage) (grammar.Spec, *Error) {
	choices, err := decodeTexts(path, raw, maxGuidedChoices)
	if err == nil && len(choices) == 0 {
		err = outOfRange(path, "a list of at least one text", "an empty list")
	}
	return grammar.Spec{Kind: grammar.Choice, Choices: choices}, err
}

func grammarSpec(path string, raw json.RawMessage) (grammar.Spec, *Error) {
	source, err := decodeString(path, raw)
	kind := grammar.Lark
	if strings.Contains(source, "::=") {
		kind = grammar.GBNF
	}
	return grammar.Spec{Kind: kind, Source: source}, err
}

func (r *request) decodeResponseFormat(path string, raw json.RawMessage) *Error {
	object, err := decodeMap(path, raw)
	if err != nil {
		return err
	}
	kind, err := decodeString(path+".type", object["type"])
	if err != nil {
		return err
	}
	switch kind {
	case "text":
		return onlyFields(path, object, "type")
	case "json_object":
		if err := onlyFields(path, object, "type", "schema"); err != nil {
			return err
		}
		if schema := object["schema"]; schema != nil && !isNull(schema) { // as llama.cpp's server takes it
			spec, err := schemaSpec(path+".schema", schema)
			if err != nil {
				return err
			}
			return r.constrain(path, spec)
		}
		return r.constrain(path, grammar.Spec{Kind: grammar.JSONObject})
	case "json_schema":
		if err := onlyFields(path, object, "type", "json_schema"); err != nil {
			return err
		}
		at := path + ".json_schema"
		format, err := decodeMap(at, object["json_schema"])
		if err != nil {
			return err
		}
		if err := onlyFields(at, format, "name", "description", "schema", "strict"); err != nil {
			return err
		}
		schema := format["schema"]
		if schema == nil || isNull(schema) {
			return missing(at + ".schema")
		}
		spec, err := schemaSpec(at+".schema", schema)
		if err != nil {
			return err
		}
		return r.constrain(at+".schema", spec)
	}
	return unsupported(path+".type", "%q can be \"text\", \"json_object\" or \"json_schema\", not %q", path+".type", shorten(kind))
}

func (r *request) decodeStructuredOutputs(path string, raw json.RawMessage) *Error {
	object, err := decodeMap(path, raw)
	if err != nil {
		return err
	}
	if err := onlyFields(path, object, "json", "regex", "choice", "grammar", "json_object"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		v, at := object[name], path+"."+name
		if isNull(v) {
			continue
		}
		var spec grammar.Spec
		switch name {
		case "json":
			spec, err = schemaSpec(at, v)
		case "regex":
			spec, err = regexSpec(at, v)
		case "choice":
			spec, err = choiceSpec(at, v)
		case "grammar":
			spec, err = grammarSpec(at, v)
		case "json_object":
			var on bool
			if on, err = decodeBool(at, v); err == nil && !on {
				continue
			}
			spec = grammar.Spec{Kind: grammar.JSONObject}
		}
		if err == nil {
			err = r.constrain(at, spec)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// form is what the answers to a prompt must look like, nil if they may be anything.
func (r *request) form(ctx context.Context, m *generate.Model, prompt string) (*generate.Form, error) {
	d := m.Dialect()
	var f *generate.Form
	strict := false
	switch {
	case r.constraint != nil && r.toolChoice.mode != "required":
		c, err := compileFor(ctx, m, r.constraint.path, r.constraint.spec)
		if err != nil {
			return nil, err
		}
		f, strict = generate.GrammarForm(c), true
		// In the format harmony, calls stand in a channel of their own, before the one in which
		// the answer must be what the grammar allows.
		if len(r.tools) > 0 && d.ToolFormat() != "harmony" {
			calls, single, err := r.calls(ctx, m)
			if err != nil {
				return nil, err
			}
			f = generate.EitherForm(c, calls, !single && !r.singleCall && !r.legacyCalls)
		}
	case len(r.tools) > 0 && (r.toolChoice.mode == "required" || d.Opening() != "" && m.Engine().Capabilities().StructuredOutput):
		calls, single, err := r.calls(ctx, m)
		if err != nil {
			return nil, err
		}
		several := !single && !r.singleCall && !r.legacyCalls
		if strict = r.toolChoice.mode == "required"; strict {
			f = generate.CallsForm(calls, several)
		} else {
			f = generate.OpenForm(d.Opening(), calls, several)
		}
	}
	if r.endpoint != chatEndpoint || d.ReasoningFormat() == "none" || f == nil && r.thinkingBudget == 0 {
		return f, nil
	}
	if d.ReasoningFormat() == "harmony" {
		if r.toolChoice.mode == "required" {
			return f.AfterMessage("<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant", r.thinkingBudget), nil
		}
		if strict {
			// Whatever channels come first, the answer is in this one.
			return f.AfterReasoning("", "<|channel|>final<|message|>", true, 0), nil
		}
		return f, nil
	}
	return f.AfterReasoning(d.ReasoningBegin(), d.ReasoningEnd(), d.Thinks(prompt), r.thinkingBudget), nil
}

// calls are the functions that may be called, and whether an answer ends with a call.
func (r *request) calls(ctx context.Context, m *generate.Model) (calls []generate.Call, single bool, err error) {
	for i, t := range r.tools {
		frame := m.Dialect().Frame(t.Name)
		spec := grammar.Spec{Kind: grammar.JSONObject}
		if t.Parameters != nil {
			spec = grammar.Spec{Kind: grammar.JSONSchema, Source: string(t.Parameters)}
		}
		c, err := compileFor(ctx, m, fmt.Sprintf("tools[%d].function.parameters", i), spec)
		if err != nil && !t.strict && ctx.Err() == nil {
			// Its schema is for the model to read, then; what comes is still an object.
			c, err = compileFor(ctx, m, "tools", grammar.Spec{Kind: grammar.JSONObject})
		}
		if err != nil {
			return nil, false, err
		}
		calls, single = append(calls, generate.Call{Begin: frame.Begin, End: frame.End, Arguments: c}), frame.Single
	}
	return calls, single, nil
}

// compileFor compiles what a field asks for.
func compileFor(ctx context.Context, m *generate.Model, path string, spec grammar.Spec) (*grammar.Compiled, error) {
	if !m.Engine().Capabilities().StructuredOutput {
		return nil, unsupported(path, "the backend of model %q can't hold answers to a form", m.ID())
	}
	c, err := m.Compile(ctx, spec)
	var schema *grammar.SchemaError
	var syntax *grammar.SyntaxError
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, err
	case errors.As(err, &schema), errors.As(err, &syntax), errors.Is(err, grammar.ErrEmpty), errors.Is(err, grammar.ErrLimit):
		return nil, badRequest(path, "%q can't be enforced: %s", path, err)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, badRequest(path, "%q takes too long to compile", path)
	}
	return nil, err
}

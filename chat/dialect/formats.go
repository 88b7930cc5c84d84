package dialect

import "strings"

// A toolFormat is how calls are written.
type toolFormat struct {
	name  string
	begin []string // what opens a call, or a list of them
	end   string   // what closes it; it may be missing
	inner []string // marks the parts of a call
	drop  []string // markers that say nothing
	// starts are markers that count only at the start of the content: text may well
	// hold them later on. The empty one is a call without any marker.
	starts []bracket
	// reader reads what follows a marker.
	reader func(p *Parser, b bracket) state
}

// A bracket is a marker and what closes it.
type bracket struct{ begin, end string }

// A reasoningFormat is how reasoning is marked.
type reasoningFormat struct {
	name       string
	begin, end []string
	drop       []string // markers in the content that say nothing
}

func jsonCalls(_ *Parser, b bracket) state {
	return &jsonList{end: b.end, known: b.begin == "" || b == fence}
}

func pythonicCalls(p *Parser, b bracket) state {
	return braceOr(p, b, &pythonList{end: b.end, known: b.begin == ""})
}

// braceOr reads a JSON object if there is one: every format's other form, in which
// calls can be asked for.
func braceOr(p *Parser, b bracket, orElse state) state {
	return either{json: jsonCalls(p, b), orElse: orElse, braces: "{"}
}

// mistralCalls: [TOOL_CALLS][{…}, …] or [TOOL_CALLS]name[ARGS]{…}.
func mistralCalls(p *Parser, b bracket) state {
	return either{json: jsonCalls(p, b), orElse: &headed{header: mistralHeader}, braces: "{["}
}

// gemmaCalls are Python in a fence for code, else JSON.
func gemmaCalls(p *Parser, b bracket) state {
	if b.begin == "" || b == fence {
		return jsonCalls(p, b)
	}
	return pythonicCalls(p, b)
}

// either reads JSON if one of the braces comes next.
type either struct {
	json, orElse state
	braces       string
}

func (e either) step(p *Parser) bool {
	p.skip("")
	switch rest := p.rest(); {
	case rest == "" && !p.final:
		return false
	case rest != "" && strings.IndexByte(e.braces, rest[0]) >= 0:
		p.state = e.json
	default:
		p.state = e.orElse
	}
	return true
}

var fence = bracket{"```json", "```"}

var toolFormats = []toolFormat{
	// Nous Research's Hermes 2 Pro, Qwen 2.5 and 3, Granite 4 and many others.
	{name: "hermes", begin: []string{"<tool_call>"}, end: "</tool_call>", reader: jsonCalls},
	{name: "qwen3-coder", begin: []string{"<tool_call>", "<function="}, end: "</tool_call>",
		inner:  []string{"</function>", "<parameter=", "</parameter>"},
		reader: func(p *Parser, b bracket) state { return braceOr(p, b, &functionTag{end: b.end}) }},
	{name: "glm", begin: []string{"<tool_call>"}, end: "</tool_call>",
		inner:  []string{"<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"},
		reader: func(p *Parser, b bracket) state { return braceOr(p, b, &argumentTags{end: b.end}) }},
	// Llama 3.1 to 3.3: a bare object, with <|python_tag|> before it at times.
	{name: "llama3", begin: []string{"<|python_tag|>"}, starts: []bracket{{}, fence}, reader: jsonCalls},
	// Llama 3.2's and 4's lists of calls as Python writes them.
	{name: "pythonic", begin: []string{"<|python_start|>"}, end: "<|python_end|>", starts: []bracket{{}}, reader: pythonicCalls},
	// A list of objects up to Mistral Small 3.1, name and arguments since 3.2.
	{name: "mistral", begin: []string{"[TOOL_CALLS]"}, inner: []string{"[ARGS]", "[CALL_ID]"}, reader: mistralCalls},
	{name: "harmony", begin: []string{"<|channel|>", "<|start|>"}, inner: []string{"<|message|>", "<|constrain|>"},
		drop:   []string{"<|end|>", "<|return|>", "<|call|>"},
		starts: []bracket{{begin: " to="}}, // of a message whose beginning is the prompt's
		reader: func(*Parser, bracket) state { return harmonyHeader{} }},
	{name: "deepseek", begin: []string{"<｜tool▁call▁begin｜>"}, end: "<｜tool▁call▁end｜>", inner: []string{"<｜tool▁sep｜>"},
		drop:   []string{"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"},
		reader: func(_ *Parser, b bracket) state { return &headed{header: deepseekHeader, end: b.end} }},
	{name: "kimi", begin: []string{"<|tool_call_begin|>"}, end: "<|tool_call_end|>", inner: []string{"<|tool_call_argument_begin|>"},
		drop:   []string{"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"},
		reader: func(_ *Parser, b bracket) state { return &headed{header: kimiHeader, end: b.end} }},
	{name: "gemma", begin: []string{"```tool_code"}, end: "```", starts: []bracket{fence, {}}, reader: gemmaCalls},
	{name: "phi4", begin: []string{"<|tool_call|>", "functools"}, end: "<|/tool_call|>", reader: jsonCalls},
	{name: "granite", begin: []string{"<|tool_call|>", "<tool_call>"}, end: "</tool_call>", reader: jsonCalls},
	{name: "command-r", begin: []string{"<|START_ACTION|>"}, end: "<|END_ACTION|>",
		drop: []string{"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"}, reader: jsonCalls},
	{name: "lfm2", begin: []string{"<|tool_call_start|>"}, end: "<|tool_call_end|>", reader: pythonicCalls},
	{name: "nemotron", begin: []string{"<TOOLCALL>"}, end: "</TOOLCALL>", reader: jsonCalls},
	// What any model can be told to write.
	{name: "json", starts: []bracket{{}, fence}, reader: jsonCalls},
}

var reasoningFormats = []reasoningFormat{
	{name: "none"},
	{name: "think", begin: []string{"<think>"}, end: []string{"</think>"}},
	{name: "mistral", begin: []string{"[THINK]"}, end: []string{"[/THINK]"}},
	{name: "harmony"}, // its channels are read with the calls
	{name: "granite", begin: []string{"<think>", "Here is my thought process:"}, end: []string{"</think>", "Here is my response:"},
		drop: []string{"<response>", "</response>"}},
	{name: "command-r", begin: []string{"<|START_THINKING|>"}, end: []string{"<|END_THINKING|>"}},
	{name: "seed", begin: []string{"<seed:think>"}, end: []string{"</seed:think>"}},
}

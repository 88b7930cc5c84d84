package dialect

import "strings"

// A Frame is what stands round the arguments of a call, which are a JSON object.
// A text that is made of frames and arguments is read as those calls: so calls can
// be asked for by a grammar.
type Frame struct {
	Begin, End string
	// Single says that an answer ends with a call, so that there can be but one.
	Single bool
}

// Frame returns the frame of a call of the named function. Formats whose arguments
// are not JSON have one for the JSON object that their parsers also read.
func (d *Dialect) Frame(function string) Frame {
	name := quote(function)
	object := func(before, arguments, after string) Frame {
		return Frame{Begin: before + `{"name": ` + name + `, "` + arguments + `": `, End: "}" + after}
	}
	switch d.ToolFormat() {
	case "hermes", "qwen3-coder", "glm":
		return object("<tool_call>\n", "arguments", "\n</tool_call>")
	case "llama3":
		return object("", "parameters", "; ")
	case "pythonic":
		return object("<|python_start|>", "arguments", "<|python_end|>")
	case "lfm2":
		return object("<|tool_call_start|>", "arguments", "<|tool_call_end|>")
	case "nemotron":
		return object("<TOOLCALL>[", "arguments", "]</TOOLCALL>")
	case "phi4":
		return object("<|tool_call|>[", "arguments", "]<|/tool_call|>")
	case "granite":
		return object("<|tool_call|>[", "arguments", "]")
	case "command-r":
		return Frame{Begin: `<|START_ACTION|>[{"tool_name": ` + name + `, "parameters": `, End: "}]<|END_ACTION|>"}
	case "mistral":
		return Frame{Begin: "[TOOL_CALLS]" + function + "[ARGS]"}
	case "harmony":
		return Frame{Begin: "<|channel|>commentary to=functions." + function + " <|constrain|>json<|message|>", End: "<|call|>", Single: true}
	case "deepseek":
		return Frame{Begin: "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>" + function + "<｜tool▁sep｜>", End: "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"}
	case "kimi":
		return Frame{Begin: "<|tool_calls_section_begin|><|tool_call_begin|>functions." + function + ":0<|tool_call_argument_begin|>",
			End: "<|tool_call_end|><|tool_calls_section_end|>"}
	}
	return object("", "arguments", "\n")
}

// Instructions are how a model is told to write a call, whose template doesn't say
// so.
func (d *Dialect) Instructions() string {
	f := d.Frame("function name")
	return f.Begin + "{arguments as JSON}" + strings.TrimRight(f.End, space)
}

package dialect

import "strings"

// Detect finds out a model's dialect from the source of its chat template and, for
// what templates leave out, from the tokens that it has: has reports whether the
// vocabulary holds a token of that text, and may be nil. What nothing is known of
// gets "json" and "none".
func Detect(source string, has func(token string) bool) *Dialect {
	if has == nil {
		has = func(string) bool { return false }
	}
	d, _ := Named(detectTools(source, has), detectReasoning(source, has))
	return d
}

// ShowsTools reports whether a template tells the model about tools by itself.
func ShowsTools(source string) bool {
	return strings.Contains(source, "tools") &&
		// Phi-4-mini's reads them from the system message, where no client puts them.
		!strings.Contains(source, "message['tools']")
}

// detectTools goes from what is one family's own to what many share.
func detectTools(source string, has func(string) bool) string {
	in := func(parts ...string) bool {
		for _, part := range parts {
			if !strings.Contains(source, part) {
				return false
			}
		}
		return true
	}
	switch {
	case in("<|channel|>", "<|message|>"):
		return "harmony"
	case in("<|tool_calls_section_begin|>"):
		return "kimi"
	case in("<｜tool▁call▁begin｜>"):
		return "deepseek"
	case in("<|START_ACTION|>"):
		return "command-r"
	case in("<arg_key>"):
		return "glm"
	case in("<function=", "<parameter="):
		return "qwen3-coder"
	case in("[TOOL_CALLS]"), in("[INST]") && has("[TOOL_CALLS]"):
		return "mistral"
	case in("<|tool_call|>", "<|start_of_role|>"):
		return "granite"
	case in("<|tool_call|>"), in("functools["), has("<|/tool_call|>"):
		return "phi4"
	case in("<tool_call>"):
		return "hermes"
	case in("<|tool_call_start|>"), has("<|tool_call_start|>"):
		return "lfm2"
	case in("<TOOLCALL>"):
		return "nemotron"
	case in("```tool_code"):
		return "gemma"
	case in("<|python_start|>"), in("[func_name1("), has("<|python_start|>"):
		return "pythonic"
	case in("<|python_tag|>"), in("Environment: ipython"), has("<|python_tag|>") && in("tools"):
		return "llama3"
	case in("<start_of_turn>"):
		return "gemma"
	}
	return "json"
}

func detectReasoning(source string, has func(string) bool) string {
	switch in := func(part string) bool { return strings.Contains(source, part) }; {
	case in("<|channel|>") && in("<|message|>"):
		return "harmony"
	case in("<|START_THINKING|>"):
		return "command-r"
	case in("[THINK]"), in("[INST]") && has("[THINK]"):
		return "mistral"
	case in("<seed:think>"):
		return "seed"
	case in("<|start_of_role|>") && (in("thought process") || in("<think>")):
		return "granite"
	case in("<think>"), in("</think>"), has("<think>"):
		return "think"
	}
	return "none"
}

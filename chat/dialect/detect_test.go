package dialect_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/chat/dialect"
)

// TestDetectTemplates goes over the templates that package chat is tested with.
func TestDetectTemplates(t *testing.T) {
	want := map[string]struct {
		tools, reasoning string
		shows            bool
	}{
		"command-r.jinja":     {"json", "none", true},
		"deepseek.jinja":      {"json", "think", false},
		"gemma.jinja":         {"gemma", "none", false},
		"granite.jinja":       {"granite", "none", true},
		"harmony.jinja":       {"harmony", "harmony", true},
		"llama2.jinja":        {"json", "none", false},
		"llama3-tools.jinja":  {"llama3", "none", true},
		"mistral-tools.jinja": {"mistral", "none", true},
		"phi.jinja":           {"json", "none", false},
		"qwen-tools.jinja":    {"hermes", "think", true},
		"smollm2.jinja":       {"json", "none", false},
	}
	paths, err := filepath.Glob("../testdata/templates/*.jinja")
	if err != nil || len(paths) != len(want) {
		t.Fatalf("%d templates (%v), %d expectations", len(paths), err, len(want))
	}
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, want := dialect.Detect(string(source), nil), want[filepath.Base(path)]
		if shows := dialect.ShowsTools(string(source)); d.ToolFormat() != want.tools || d.ReasoningFormat() != want.reasoning || shows != want.shows {
			t.Errorf("%s: %s, %s, shows tools: %v; want %+v", filepath.Base(path), d.ToolFormat(), d.ReasoningFormat(), shows, want)
		}
	}
}

// TestDetect has what tells the families apart in their templates, and the tokens
// that say what a template leaves out.
func TestDetect(t *testing.T) {
	for _, tt := range []struct{ source, token, tools, reasoning string }{
		{"", "", "json", "none"},
		{"<tool_call>\n{\"name\"", "", "hermes", "none"},
		{"<tool_call>\n<function=example>\n<parameter=a>", "", "qwen3-coder", "none"},
		{"<tool_call>{name}<arg_key><think>", "", "glm", "think"},
		{"<|tool_calls_section_begin|><|tool_call_begin|>", "", "kimi", "none"},
		{"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{% set content = content.split('</think>') %}", "", "deepseek", "think"},
		{"<|START_ACTION|><|START_THINKING|>", "", "command-r", "command-r"},
		{"[INST][TOOL_CALLS][THINK]", "", "mistral", "mistral"},
		{"[INST]", "[TOOL_CALLS]", "mistral", "none"},
		{"[INST]", "", "json", "none"},
		{"<|start_of_role|>{{ tools }}<|tool_call|>Here is my thought process:", "", "granite", "granite"},
		{"<|user|><|tool_call|>", "", "phi4", "none"},
		{"<|user|>", "<|/tool_call|>", "phi4", "none"},
		{"Environment: ipython {{ tools }}", "", "llama3", "none"},
		{"{{ tools }} [func_name1(params_name1=params_value1)]", "", "pythonic", "none"},
		{"{{ tools }}", "<|python_start|>", "pythonic", "none"},
		{"{{ tools }}", "<|tool_call_start|>", "lfm2", "none"},
		{"<seed:think><function=f><parameter=p>", "", "qwen3-coder", "seed"},
		{"<|im_start|>", "<think>", "json", "think"},
	} {
		d := dialect.Detect(tt.source, func(token string) bool { return token == tt.token })
		if d.ToolFormat() != tt.tools || d.ReasoningFormat() != tt.reasoning {
			t.Errorf("%q with token %q: %s, %s; want %s, %s", tt.source, tt.token, d.ToolFormat(), d.ReasoningFormat(), tt.tools, tt.reasoning)
		}
	}
}

func TestNamed(t *testing.T) {
	for _, tools := range dialect.ToolFormats() {
		for _, reasoning := range dialect.ReasoningFormats() {
			d, ok := dialect.Named(tools, reasoning)
			if !ok || d.ToolFormat() != tools || d.ReasoningFormat() != reasoning || slices.Contains(d.Markers(), "") {
				t.Errorf("%s, %s: %v, markers %q", tools, reasoning, ok, d.Markers())
			}
		}
	}
	if _, ok := dialect.Named("klingon", "none"); ok {
		t.Error("klingon is no format")
	}
	if _, ok := dialect.Named("json", ""); ok {
		t.Error("the reasoning format has no name")
	}
}

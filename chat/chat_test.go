package chat_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/checkpoint"
)

// metadata is the part of checkpoint.Metadata that chat reads.
type metadata struct {
	checkpoint.Metadata
	texts map[string]string
}

func (m metadata) String(key string) (string, bool) {
	s, ok := m.texts[key]
	return s, ok
}

var tools = json.RawMessage(`[{"type": "function", "function": {"name": "f"}}]`)

func text(s string) *string { return &s }

func user(s string) []chat.Message { return []chat.Message{{Role: "user", Content: text(s)}} }

func TestFromGGUF(t *testing.T) {
	const main = "{{ bos_token }}plain {{ messages[0].content }}{{ eos_token }}"
	const toolUse = "tools {{ tools|length }}"
	const key = "tokenizer.chat_template"
	for _, c := range []struct {
		name                   string
		texts                  map[string]string
		source, plain, toolled string
		err                    error
	}{
		{name: "none", err: chat.ErrNoTemplate},
		{name: "empty", texts: map[string]string{key: ""}, err: chat.ErrNoTemplate},
		{"one", map[string]string{key: main}, main, "<b>plain hi<e>", "<b>plain hi<e>", nil},
		{"two", map[string]string{key: main, key + ".tool_use": toolUse}, main, "<b>plain hi<e>", "tools 1", nil},
		{"default by name", map[string]string{key + ".default": main}, main, "<b>plain hi<e>", "<b>plain hi<e>", nil},
		{"tool use alone", map[string]string{key + ".tool_use": "t{{ tools }}"}, "t{{ tools }}", "tNone", "t[{'type': 'function', 'function': {'name': 'f'}}]", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmpl, err := chat.FromGGUF(metadata{texts: c.texts}, "<b>", "<e>")
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if c.err != nil {
				return
			}
			if tmpl.Source() != c.source {
				t.Errorf("source %q", tmpl.Source())
			}
			if got, err := tmpl.Render(chat.Input{Messages: user("hi")}); err != nil || got != c.plain {
				t.Errorf("without tools %q, %v; want %q", got, err, c.plain)
			}
			if got, err := tmpl.Render(chat.Input{Messages: user("hi"), Tools: tools}); err != nil || got != c.toolled {
				t.Errorf("with tools %q, %v; want %q", got, err, c.toolled)
			}
		})
	}
	if _, err := chat.FromGGUF(metadata{texts: map[string]string{key: "{% if %}"}}, "", ""); err == nil {
		t.Error("a template with a syntax error is accepted")
	}
}

func TestFromFolder(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // with tools
		err   string
	}{
		{name: "nothing", err: "no chat template"},
		{name: "config without", files: map[string]string{"tokenizer_config.json": `{"bos_token": null}`}, err: "no chat template"},
		{name: "string", files: map[string]string{"tokenizer_config.json": `{"chat_template": "{{ bos_token }}a{{ eos_token }}", "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}}`}, want: "<s>a</s>"},
		{name: "null", files: map[string]string{"tokenizer_config.json": `{"chat_template": null}`}, err: "no chat template"},
		{name: "named", files: map[string]string{"tokenizer_config.json": `{"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}, {"name": "rag", "template": "{% if"}]}`}, want: "t"},
		{name: "file first", files: map[string]string{"tokenizer_config.json": `{"chat_template": "a", "bos_token": "<s>"}`, "chat_template.jinja": "{{ bos_token }}b"}, want: "<s>b"},
		{name: "file alone", files: map[string]string{"chat_template.jinja": "b"}, want: "b"},
		{name: "file with tools", files: map[string]string{"chat_template.jinja": "b", "additional_chat_templates/tool_use.jinja": "c"}, want: "c"},
		{name: "malformed", files: map[string]string{"tokenizer_config.json": `{`}, err: "tokenizer_config.json"},
		{name: "wrong type", files: map[string]string{"tokenizer_config.json": `{"chat_template": 3}`}, err: "neither a string nor a list"},
		{name: "syntax error", files: map[string]string{"chat_template.jinja": "\n{% for %}"}, err: "line 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range c.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			tmpl, err := chat.FromFolder(dir)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := tmpl.Render(chat.Input{Messages: user("hi"), Tools: tools}); err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// TestArguments: a template gets tool calls' arguments in the form it can take.
func TestArguments(t *testing.T) {
	const call = "{% for m in messages %}{% for c in m.tool_calls or [] %}"
	const end = "{% endfor %}{% endfor %}"
	for _, c := range []struct{ name, source, arguments, want string }{
		{"object", call + "{{ c.function.arguments.b }}" + end, `{"b": "x", "a": 1}`, "x"},
		{"object as json", call + "{{ c.function.arguments|tojson }}" + end, `{"b":"x","a":1.0}`, `{"b": "x", "a": 1.0}`},
		{"text only", call + "{{ 'args: ' + c.function.arguments }}" + end, `{"b":"x"}`, `args: {"b":"x"}`},
		{"not json", call + "{{ c.function.arguments }}" + end, `b = x`, "b = x"},
		{"broken json", call + "{{ c.function.arguments }}" + end, `{"b": `, `{"b": `},
		{"not an object", call + "{{ c.function.arguments }}" + end, `[1]`, "[1]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmpl, err := chat.Parse(c.source, chat.Options{})
			if err != nil {
				t.Fatal(err)
			}
			arguments, _ := json.Marshal(c.arguments)
			calls := json.RawMessage(`[{"id": "1", "type": "function", "function": {"name": "f", "arguments": ` + string(arguments) + `}}]`)
			got, err := tmpl.Render(chat.Input{Messages: []chat.Message{{Role: "assistant", ToolCalls: calls}}})
			if err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestRenderInput(t *testing.T) {
	for _, c := range []struct {
		name, source string
		input        chat.Input
		want, err    string
	}{
		{name: "defaults", source: "{{ tools }}{{ documents }}{{ add_generation_prompt }}{{ bos_token is defined }}", want: "NoneNoneFalseFalse"},
		{name: "kwargs", source: "{{ a }}{{ b }}", input: chat.Input{Kwargs: json.RawMessage(`{"a": false, "b": [1]}`)}, want: "False[1]"},
		{name: "kwargs override tokens", source: "{{ eos_token }}", input: chat.Input{Kwargs: json.RawMessage(`{"eos_token": "x"}`)}, want: "x"},
		{name: "reasoning", source: "{{ messages }}", input: chat.Input{Messages: []chat.Message{{Role: "assistant", ReasoningContent: "r"}}},
			want: "[{'thinking': 'r', 'role': 'assistant', 'content': None, 'reasoning_content': 'r'}]"},
		{name: "all fields", source: "{{ messages }}", input: chat.Input{Messages: []chat.Message{{Role: "tool", Content: text(""), Name: "n", ToolCallID: "i"}}},
			want: "[{'role': 'tool', 'content': '', 'name': 'n', 'tool_call_id': 'i'}]"},
		{name: "empty tools", source: "{{ tools }}", input: chat.Input{Tools: json.RawMessage(`[]`)}, want: "[]"},
		{name: "null tools", source: "{{ tools }}", input: chat.Input{Tools: json.RawMessage(`null`)}, want: "None"},
		{name: "special tokens in content stay text", source: "{{ messages[0].content }}", input: chat.Input{Messages: user("{{ bos_token }}")}, want: "{{ bos_token }}"},
		{name: "kwargs that clash", source: "x", input: chat.Input{Kwargs: json.RawMessage(`{"messages": []}`)}, err: "can't set messages"},
		{name: "kwargs not an object", source: "x", input: chat.Input{Kwargs: json.RawMessage(`[1]`)}, err: "must be an object"},
		{name: "bad tools", source: "x", input: chat.Input{Tools: json.RawMessage(`[`)}, err: "tools:"},
		{name: "bad tool calls", source: "x", input: chat.Input{Messages: []chat.Message{{ToolCalls: json.RawMessage(`{`)}}}, err: "messages[0].tool_calls:"},
		{name: "raised", source: "\n{{ raise_exception('no tools') }}", err: "refuses the conversation: no tools"},
		{name: "failed", source: "\n{{ messages[0].x.y }}", err: "line 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmpl, err := chat.Parse(c.source, chat.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := tmpl.Render(c.input)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%q, %v; want an error with %q", got, err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// FuzzRender feeds arbitrary JSON where a client's JSON goes.
func FuzzRender(f *testing.F) {
	source, err := os.ReadFile("testdata/templates/qwen-tools.jinja")
	if err != nil {
		f.Fatal(err)
	}
	tmpl, err := chat.Parse(string(source), chat.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("hi", `[{"function": {"name": "f", "arguments": "{}"}}]`, `[{"a": 1}]`, `{"enable_thinking": false}`)
	f.Fuzz(func(t *testing.T, content, calls, tools, kwargs string) {
		text, err := tmpl.Render(chat.Input{
			Messages: []chat.Message{{Role: "user", Content: &content}, {Role: "assistant", ToolCalls: json.RawMessage(calls)}},
			Tools:    json.RawMessage(tools), Kwargs: json.RawMessage(kwargs),
		})
		if err == nil && text == "" {
			t.Error("an empty prompt")
		}
		if err != nil && strings.Contains(err.Error(), "interpreter") {
			t.Error(err)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	source, err := os.ReadFile("testdata/templates/qwen-tools.jinja")
	if err != nil {
		b.Fatal(err)
	}
	tmpl, err := chat.Parse(string(source), chat.Options{})
	if err != nil {
		b.Fatal(err)
	}
	in := conversations(b)[7].input()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tmpl.Render(in); err != nil {
			b.Fatal(err)
		}
	}
}

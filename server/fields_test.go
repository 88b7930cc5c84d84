package server_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/api/openai"
	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/backend/mlx"
	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/chat/dialect"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/tokenizer"
)

var update = flag.Bool("update", false, "write docs/Fields.md")

const fieldsPage = "../docs/Fields.md"

type fieldValues map[string]string // JSON by field

// samples ask for something with each field, with what else it needs. A field of
// /v1/completions only, or with another value there, is under "completions.".
var samples = map[string]fieldValues{
	"messages": {"messages": `[{"role":"system","content":"Be brief."},{"role":"user","content":"the ba"}]`},
	"prompt":   {"prompt": `["the ba","be"]`}, "model": {"model": `"default"`},
	"stream": {"stream": `true`}, "stream_options": {"stream_options": `{"include_usage":true}`}, "n": {"n": `2`},
	"max_completion_tokens": {"max_tokens": `null`, "max_completion_tokens": `5`}, "max_tokens": {"max_tokens": `5`}, "min_tokens": {"min_tokens": `2`},
	"stop": {"stop": `["qq","!"]`}, "stop_token_ids": {"stop_token_ids": `[70]`}, "ignore_eos": {"ignore_eos": `true`}, "include_stop_str_in_output": {"include_stop_str_in_output": `true`, "stop": `"!"`},
	"seed": {"seed": `7`}, "temperature": {"temperature": `0.7`}, "top_p": {"top_p": `0.5`}, "top_k": {"top_k": `5`}, "min_p": {"min_p": `0.1`},
	"repetition_penalty": {"repetition_penalty": `1.2`}, "presence_penalty": {"presence_penalty": `0.5`}, "frequency_penalty": {"frequency_penalty": `0.5`},
	"logit_bias": {"logit_bias": `{"70":5}`}, "logprobs": {"logprobs": `true`}, "completions.logprobs": {"logprobs": `2`}, "top_logprobs": {"logprobs": `true`, "top_logprobs": `2`},
	"echo": {"echo": `true`}, "chat_template_kwargs": {"chat_template_kwargs": `{"mood":"x"}`}, "documents": {"documents": `[{"title":"t"}]`},
	"tools": {"tools": aTool}, "tool_choice": {"tools": aTool, "tool_choice": `"auto"`}, "parallel_tool_calls": {"tools": aTool, "parallel_tool_calls": `false`},
	"functions": {"functions": `[{"name":"g"}]`}, "function_call": {"functions": `[{"name":"g"}]`, "function_call": `{"name":"g"}`}, "reasoning_effort": {"reasoning_effort": `"low"`},
	"priority": {"priority": `3`}, "timeout": {"timeout": `60`}, "cache_salt": {"cache_salt": `"s"`}, "modalities": {"modalities": `["text"]`}, "service_tier": {"service_tier": `"auto"`},
	"typical_p": {"typical_p": `0.9`}, "top_n_sigma": {"top_n_sigma": `2`}, "xtc_probability": {"xtc_probability": `0.5`}, "xtc_threshold": {"xtc_threshold": `0.2`, "xtc_probability": `0.5`},
	"dynatemp_range": {"dynatemp_range": `0.3`}, "dynatemp_exponent": {"dynatemp_exponent": `2`, "dynatemp_range": `0.3`}, "mirostat": {"mirostat": `2`},
	"mirostat_tau": {"mirostat": `2`, "mirostat_tau": `4`}, "mirostat_eta": {"mirostat": `1`, "mirostat_eta": `0.2`}, "repeat_last_n": {"repeat_last_n": `4`, "repetition_penalty": `1.2`},
	"dry_multiplier": {"dry_multiplier": `0.8`}, "dry_base": {"dry_multiplier": `0.8`, "dry_base": `2`}, "dry_allowed_length": {"dry_multiplier": `0.8`, "dry_allowed_length": `3`},
	"dry_penalty_last_n": {"dry_multiplier": `0.8`, "dry_penalty_last_n": `16`}, "dry_sequence_breakers": {"dry_multiplier": `0.8`, "dry_sequence_breakers": `["."]`},
	"bad_words": {"bad_words": `["q"]`}, "repeat_penalty": {"repeat_penalty": `1.2`},
	"response_format": {"response_format": `{"type":"json_object"}`}, "structured_outputs": {"structured_outputs": `{"regex":"(ab)+"}`},
	"guided_json": {"guided_json": `{"type":"boolean"}`}, "json_schema": {"json_schema": `{"type":"boolean"}`}, "guided_regex": {"guided_regex": `"(ab)+"`}, "guided_choice": {"guided_choice": `["ab","c"]`},
	"guided_grammar": {"guided_grammar": `"root ::= \"ab\"+"`}, "grammar": {"grammar": twoWords}, "thinking_budget": {"thinking_budget": `3`},
	"add_generation_prompt":  {"add_generation_prompt": `false`},
	"continue_final_message": {"messages": `[{"role":"user","content":"the"},{"role":"assistant","content":"ba"}]`, "continue_final_message": `true`},
	"prompt_logprobs":        {"prompt_logprobs": `1`}, "best_of": {"best_of": `3`}, "suffix": {"suffix": `"ba"`},
	"prediction": {"prediction": `{"type":"content","content":"the ba"}`}, "timings": {"timings": `true`},
}

const (
	aTool    = `[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}}}]`
	twoWords = `"root ::= \"yes\" | \"no\""`
)

// modes are what else a request may be.
var modes = []struct {
	name    string
	with    fieldValues
	chat    bool // only that
	guesses bool // the model speculates
}{
	{name: "alone"},
	{name: "stream", with: fieldValues{"stream": `true`}},
	{name: "n", with: fieldValues{"n": `2`}},
	{name: "grammar", with: fieldValues{"grammar": twoWords}},
	{name: "tools", with: fieldValues{"tools": aTool, "tool_choice": `"required"`, "thinking_budget": "2", "max_tokens": "60"}, chat: true},
	{name: "speculation", guesses: true},
}

// matrixModel is the tiny model on an engine, with all that some field needs.
func matrixModel(t *testing.T, b backend.Backend, o scheduler.Options) *generate.Model {
	t.Helper()
	f, err := gguf.Open("../model/testdata/llama-gqa-tied.gguf")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	template, err := chat.Parse(`{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}!{% endif %}{% if documents %}{{ documents|length }}{% endif %}{{ reasoning_effort }}{% if add_generation_prompt %}>{% endif %}`, chat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, ok := dialect.Named("hermes", "think")
	if !ok {
		t.Fatal("no such dialect")
	}
	e, err := b.Load(t.Context(), f, backend.LoadOptions{Threads: 1, KVType: "f32"})
	if err != nil {
		t.Fatal(err)
	}
	o.Policy = scheduler.ByPriority
	return generate.New(generate.ModelOptions{ID: "fake", Tokenizer: tok, Template: template, Dialect: d, Engine: e, Scheduler: o, Close: f.Close})
}

// said is an answer, however it came: its choices, in words.
func (a *answer) said() []string {
	a.t.Helper()
	type turn struct {
		Content   string
		Reasoning string `json:"reasoning_content"`
		ToolCalls []struct {
			Index    int
			Function struct{ Name, Arguments string }
		} `json:"tool_calls"`
		FunctionCall struct{ Name, Arguments string } `json:"function_call"`
	}
	type part struct {
		Choices []struct {
			Index          int
			Text           string
			Message, Delta turn
			FinishReason   string `json:"finish_reason"`
		}
	}
	all := map[int]map[string]string{}
	add := func(raw []byte) {
		var p part
		if err := json.Unmarshal(raw, &p); err != nil {
			a.t.Fatalf("%s in %s", err, raw)
		}
		for _, c := range p.Choices {
			m := all[c.Index]
			if m == nil {
				m = map[string]string{}
				all[c.Index] = m
			}
			for _, t := range []turn{c.Message, c.Delta} {
				m["content"] += t.Content
				m["reasoning"] += t.Reasoning
				m["call"] += t.FunctionCall.Name + t.FunctionCall.Arguments
				for i, call := range t.ToolCalls {
					m[fmt.Sprint("call ", max(i, call.Index))] += call.Function.Name + call.Function.Arguments
				}
			}
			m["content"] += c.Text
			m["finish"] += c.FinishReason
		}
	}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") {
		for _, event := range strings.Split(string(a.body), "\n\n") {
			if data, ok := strings.CutPrefix(event, "data: "); ok && data != "[DONE]" {
				add([]byte(data))
			}
		}
	} else {
		add(a.body)
	}
	var out []string
	for _, i := range slices.Sorted(maps.Keys(all)) {
		var words []string
		for _, k := range slices.Sorted(maps.Keys(all[i])) {
			if v := all[i][k]; v != "" {
				words = append(words, k+": "+v)
			}
		}
		out = append(out, strings.Join(words, "; "))
	}
	return out
}

// matrix sends every field of an endpoint in every mode: what came of it, by field and
// mode, "" if it worked.
func matrix(t *testing.T, plain, guessing *site, e openai.Endpoint) map[string][]string {
	t.Helper()
	conversation := e.Path == "/v1/chat/completions"
	results := map[string][]string{}
	for _, f := range e.Fields {
		sample, ok := samples[f.Name]
		if other, special := samples["completions."+f.Name]; special && !conversation {
			sample, ok = other, true
		}
		if f.Treatment != openai.Honoured && (f.Treatment == openai.Ignored || !ok || f.Name == "suffix") {
			sample, ok = fieldValues{f.Name: `"x"`}, true
		}
		if !ok {
			t.Errorf("%s: there is no sample of %q", e.Path, f.Name)
			continue
		}
		var alone, withMode []string // what the answer was
		for _, mode := range modes {
			if mode.chat && !conversation {
				continue
			}
			body := fieldValues{"temperature": "0", "seed": "1", "max_tokens": "6"}
			if conversation {
				body["messages"] = `[{"role":"user","content":"the ba"}]`
			} else {
				body["prompt"] = `"the ba"`
			}
			maps.Copy(body, mode.with)
			maps.Copy(body, sample)
			s := plain
			if mode.guesses {
				s = guessing
			}
			a := s.post(e.Path, body.json())
			switch {
			case a.StatusCode == http.StatusBadRequest:
				results[f.Name] = append(results[f.Name], a.json().Error.Message)
				continue
			case a.StatusCode != http.StatusOK:
				t.Errorf("%s %s: status %d: %s", e.Path, body.json(), a.StatusCode, a.body)
			}
			results[f.Name] = append(results[f.Name], "")
			withMode = a.said()
			wrong := ""
			switch mode.name {
			case "alone":
				alone = withMode
			case "stream", "speculation":
				if alone != nil && !slices.Equal(withMode, alone) {
					wrong = "alone it is"
				}
			case "n":
				if alone != nil && f.Name != "n" && f.Name != "best_of" && (len(withMode) != 2*len(alone) || withMode[0] != alone[0]) {
					wrong = "alone it is"
				}
			case "grammar":
				if f.Name != "grammar" && f.Name != "echo" && !allYesOrNo(withMode) {
					wrong = "that is neither yes nor no, alone it is"
				}
			case "tools":
				if _, own := sample["tool_choice"]; !own && slices.ContainsFunc(withMode, func(s string) bool {
					return !strings.Contains(s, "call 0: f") && !strings.Contains(s, "finish: length")
				}) {
					wrong = "there is no call; alone it is"
				}
			}
			if wrong != "" {
				t.Errorf("%s %s: %q; %s %q", e.Path, body.json(), withMode, wrong, alone)
			}
		}
		if f.Treatment == openai.Honoured && f.Name != "suffix" && !slices.Contains(results[f.Name], "") {
			t.Errorf("%s: %q works in no mode: %q", e.Path, f.Name, results[f.Name])
		}
	}
	return results
}

func (v fieldValues) json() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		parts = append(parts, fmt.Sprintf("%q:%s", name, v[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// allYesOrNo reports whether answers are the words of twoWords, or the beginning of one.
func allYesOrNo(answers []string) bool {
	for _, a := range answers {
		text := ""
		for _, part := range strings.Split(a, "; ") {
			if t, ok := strings.CutPrefix(part, "content: "); ok {
				text = t
			}
		}
		if !slices.ContainsFunc([]string{"yes", "no"}, func(word string) bool { return strings.HasPrefix(word, text) }) {
			return false
		}
	}
	return true
}

// mlxBackend is MLX on its CPU, or nil if INFERFLUX_TEST_MLX_LIBRARY names no library.
func mlxBackend(t *testing.T) backend.Backend {
	t.Helper()
	path := os.Getenv("INFERFLUX_TEST_MLX_LIBRARY")
	if path == "" {
		return nil
	}
	b, err := mlx.Backend{}.Configure(backend.Config{Library: path, Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFieldMatrix: docs/Fields.md says what each field does in each mode.
func TestFieldMatrix(t *testing.T) {
	engines := map[string]backend.Backend{"cpu": cpu.Backend{}}
	if b := mlxBackend(t); b != nil && !testing.Short() {
		engines["mlx"] = b
	}
	text, err := os.ReadFile("testdata/fields.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range engines {
		t.Run(name, func(t *testing.T) {
			plain := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return matrixModel(t, b, o) }})
			guessing := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model {
				o.Speculation = scheduler.Speculation{Lookup: true, Tokens: 4}
				return matrixModel(t, b, o)
			}})
			page := string(text)
			var refusals []string
			for _, e := range openai.Endpoints()[:2] {
				place := map[string]string{"/v1/chat/completions": "CHAT\n", "/v1/completions": "COMPLETIONS\n"}[e.Path]
				page = strings.Replace(page, place, table(e, matrix(t, plain, guessing, e), &refusals), 1)
			}
			var list strings.Builder
			for i, r := range refusals {
				fmt.Fprintf(&list, "%d. %s\n", i+1, r)
			}
			page = strings.Replace(page, "REFUSALS\n", list.String(), 1)
			if *update && name == "cpu" {
				if err := os.WriteFile(fieldsPage, []byte(page), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if written, err := os.ReadFile(fieldsPage); err != nil || string(written) != page {
				t.Errorf("%s isn't what the server does: write it with -update (%v)", fieldsPage, err)
			}
		})
	}
}

// table writes a matrix; refusals are numbered as they come.
func table(e openai.Endpoint, results map[string][]string, refusals *[]string) string {
	var b strings.Builder
	b.WriteString("| field |")
	line := "|---|"
	for _, m := range modes {
		if !m.chat || e.Path == "/v1/chat/completions" {
			b.WriteString(" " + m.name + " |")
			line += "---|"
		}
	}
	b.WriteString("\n" + line + "\n")
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "| `%s` |", f.Name)
		for _, r := range results[f.Name] {
			mark := "✓"
			if r != "" {
				i := slices.Index(*refusals, r)
				if i < 0 {
					i = len(*refusals)
					*refusals = append(*refusals, r)
				}
				mark = fmt.Sprint(i + 1)
			}
			b.WriteString(" " + mark + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

package openai

import (
	"fmt"
	"strings"
	"testing"
)

// valid gives each endpoint's smallest body with more fields put in.
func valid(e endpoint, more string) string {
	base := `"messages":[{"role":"user","content":"hi"}]`
	if e == completionEndpoint {
		base = `"prompt":"hi"`
	}
	if more != "" {
		base += "," + more
	}
	return "{" + base + "}"
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	both := []endpoint{chatEndpoint, completionEndpoint}
	chatOnly, textOnly := both[:1], both[1:]
	tests := []struct {
		endpoints []endpoint
		more      string
		param     string
		message   string // a part of it
	}{
		{both, `"temperature":"hot"`, "temperature", `"temperature" must be a number, not a string`},
		{both, `"temperature":[1]`, "temperature", `must be a number, not a list`},
		{both, `"temperature":2.01`, "temperature", `from 0 to 2, not 2.01`},
		{both, `"temperature":-0.1`, "temperature", `from 0 to 2`},
		{both, `"temperature":1e999`, "temperature", `from 0 to 2, not 1e999`},
		{both, `"temperature":true`, "temperature", `must be a number, not a boolean`},
		{both, `"top_p":0`, "top_p", `above 0 and at most 1, not 0`},
		{both, `"top_p":1.5`, "top_p", `at most 1`},
		{both, `"top_k":-2`, "top_k", `at least -1`},
		{both, `"top_k":1.5`, "top_k", `an integer of at least -1, not 1.5`},
		{both, `"min_p":2`, "min_p", `from 0 to 1`},
		{both, `"repetition_penalty":0`, "repetition_penalty", `above 0`},
		{both, `"presence_penalty":3`, "presence_penalty", `from -2 to 2`},
		{both, `"frequency_penalty":-3`, "frequency_penalty", `from -2 to 2`},
		{both, `"max_tokens":0`, "max_tokens", `at least 1, not 0`},
		{both, `"max_tokens":"12"`, "max_tokens", `must be an integer, not a string`},
		{both, `"max_tokens":99999999999999999999`, "max_tokens", `at least 1`},
		{both, `"max_tokens":3,"max_completion_tokens":4`, "max_completion_tokens", `differ`},
		{both, `"min_tokens":5,"max_tokens":4`, "min_tokens", `at most "max_tokens" (4)`},
		{both, `"n":0`, "n", `from 1 to 128`},
		{both, `"n":129`, "n", `from 1 to 128`},
		{both, `"seed":9223372036854775808`, "seed", `a 64-bit integer`},
		{both, `"seed":0.5`, "seed", `a 64-bit integer`},
		{both, `"stop":5`, "stop", `a string or a list of strings, not a number`},
		{both, `"stop":["a",5]`, "stop[1]", `must be a string, not a number`},
		{both, `"stop":""`, "stop", `1 to 1024 bytes`},
		{both, `"stop":[` + strings.Repeat(`"a",`, 16) + `"a"]`, "stop", `at most 16, not 17`},
		{both, `"stop_token_ids":["a"]`, "stop_token_ids[0]", `must be an integer`},
		{both, `"stop_token_ids":[-1]`, "stop_token_ids[0]", `at least 0`},
		{both, `"stream":1`, "stream", `must be a boolean, not a number`},
		{both, `"stream_options":{"include_usage":true}`, "stream_options", `needs "stream": true`},
		{both, `"stream":true,"stream_options":{"include_usage":"yes"}`, "stream_options.include_usage", `must be a boolean`},
		{both, `"stream":true,"stream_options":{"usage":true}`, "stream_options.usage", `unknown field`},
		{both, `"stream":true,"stream_options":{"include_obfuscation":true}`, "stream_options.include_obfuscation", `only be false`},
		{both, `"logit_bias":[1]`, "logit_bias[0]", `must be a list, not a number`},
		{both, `"logit_bias":[[1]]`, "logit_bias[0]", `a pair`},
		{both, `"logit_bias":[[1,true]]`, "logit_bias[0][1]", `must be a number`},
		{both, `"logit_bias":[[1.5,1]]`, "logit_bias[0][0]", `integer`},
		{both, `"logit_bias":3`, "logit_bias", `must be an object, not a number`},
		{both, `"logit_bias":{"x":1}`, "logit_bias", `token ids as keys, not "x"`},
		{both, `"logit_bias":{"1":101}`, "logit_bias.1", `from -100 to 100`},
		{both, `"logit_bias":{"1":1,"01":1}`, "logit_bias", `names token 1 twice`},
		{both, `"model":7`, "model", `must be a string, not a number`},
		{both, `"temprature":1`, "temprature", `unknown field "temprature"`},
		{both, `"temperature":1,"temperature":0`, "temperature", `given twice`},
		{both, `"user":{"a":1,"a":2}`, "a", `given twice`},
		{both, `"user":` + deep, "", `deeper than 64`},
		{chatOnly, `"suffix":"x"`, "suffix", `not supported`},
		{both, `"grammar":3`, "grammar", `must be a string`},
		{both, `"guided_json":{},"guided_regex":"a"`, "guided_regex", `give one`},
		{both, `"guided_json":[]`, "guided_json", `must be a JSON Schema`},
		{both, `"guided_choice":[]`, "guided_choice", `at least one text`},
		{both, `"structured_outputs":{"yaml":"x"}`, "structured_outputs.yaml", `unknown field`},
		{both, `"structured_outputs":{"json":{},"regex":"a"}`, "structured_outputs.regex", `give one`},
		{both, `"response_format":{"type":"yaml"}`, "response_format.type", `not "yaml"`},
		{both, `"response_format":{"type":"json_schema"}`, "response_format.json_schema", `must be an object`},
		{both, `"response_format":{"type":"json_schema","json_schema":{"name":"x"}}`, "response_format.json_schema.schema", `is missing`},
		{both, `"response_format":{"type":"json_object","strict":true}`, "response_format.strict", `unknown field`},
		{chatOnly, `"thinking_budget":0`, "thinking_budget", `from 1 to`},
		{both, `"priority":1.5`, "priority", `integer`},
		{both, `"timeout":0`, "timeout", `above 0`},
		{both, `"cache_salt":""`, "cache_salt", `1 to 1024 bytes`},
		{both, `"repeat_penalty":1.1,"repetition_penalty":1.2`, "repeat_penalty", `differ: give one`},
		{both, `"mirostat":3`, "mirostat", `from 0 to 2`},
		{both, `"mirostat":2,"top_p":0.9`, "top_p", `can't be combined`},
		{both, `"typical_p":0`, "typical_p", `above 0`},
		{both, `"dynatemp_range":-1`, "dynatemp_range", `from 0 to 100`},
		{both, `"dry_allowed_length":0`, "dry_allowed_length", `at least 1`},
		{both, `"bad_words":["a",""]`, "bad_words[1]", `1 to 1024 bytes`},
		{both, `"bad_words":"a"`, "bad_words", `must be a list`},
		{both, `"dry_sequence_breakers":[3]`, "dry_sequence_breakers[0]", `must be a string`},
		{chatOnly, `"top_logprobs":2`, "top_logprobs", `needs "logprobs": true`},
		{chatOnly, `"logprobs":true,"top_logprobs":21`, "top_logprobs", `from 0 to 20`},
		{chatOnly, `"logprobs":2`, "logprobs", `must be a boolean, not a number`},
		{chatOnly, `"tools":[{"type":"function"}]`, "tools[0].function", `missing`},
		{chatOnly, `"tools":[{"type":"custom"}]`, "tools[0].type", `can only be "function", not "custom"`},
		{chatOnly, `"tools":[{"type":"function","function":{"name":"a b"}}]`, "tools[0].function.name", `letters, digits`},
		{chatOnly, `"tools":[{"type":"function","function":{"name":"f","parameters":[]}}]`, "tools[0].function.parameters", `an object`},
		{chatOnly, `"tools":[{"type":"function","function":{"name":"f","strict":"yes"}}]`, "tools[0].function.strict", `a boolean`},
		{chatOnly, `"tools":[{"type":"function","function":{"name":"f","body":"x"}}]`, "tools[0].function.body", `unknown field`},
		{chatOnly, `"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]`, "tools[1].function.name", `two functions`},
		{chatOnly, `"tools":[{"type":"function","function":{"name":"f"}}],"functions":[{"name":"g"}]`, "functions", `give one of them`},
		{chatOnly, `"tool_choice":"auto","function_call":"auto"`, "function_call", `give one of them`},
		{chatOnly, `"tool_choice":"maybe"`, "tool_choice", `one of`},
		{chatOnly, `"tool_choice":"required"`, "tool_choice", `no functions to call`},
		{chatOnly, `"tool_choice":{"type":"custom"}`, "tool_choice.type", `not "custom"`},
		{chatOnly, `"tools":[{"type":"function","function":{"name":"g"}}],"tool_choice":{"type":"function","function":{"name":"f"}}`, "tool_choice", `"f" that is not in "tools"`},
		{chatOnly, `"tools":[{"type":"function","function":{"name":"g"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}`, "tool_choice.allowed_tools.tools", `at least one`},
		{chatOnly, `"parallel_tool_calls":1`, "parallel_tool_calls", `a boolean`},
		{chatOnly, `"functions":[{"name":""}]`, "functions[0].name", `1 to 128`},
		{chatOnly, `"function_call":"required"`, "function_call", `one of`},
		{chatOnly, `"response_format":"text"`, "response_format", `must be an object`},
		{chatOnly, `"response_format":{}`, "response_format.type", `must be a string, not nothing`},
		{chatOnly, `"modalities":["text","audio"]`, "modalities", `only hold "text"`},
		{chatOnly, `"reasoning_effort":"huge"`, "reasoning_effort", `one of`},
		{chatOnly, `"service_tier":"priority"`, "service_tier", `can only be`},
		{chatOnly, `"chat_template_kwargs":{"messages":[]}`, "chat_template_kwargs.messages", `can't be set`},
		{chatOnly, `"documents":["x"]`, "documents[0]", `must be an object`},
		{chatOnly, `"prompt":"x"`, "prompt", `is a field of /v1/completions`},
		{textOnly, `"messages":[]`, "messages", `is a field of /v1/chat/completions`},
		{textOnly, `"logprobs":true`, "logprobs", `must be an integer, not a boolean`},
		{textOnly, `"logprobs":21`, "logprobs", `from 0 to 20`},
		{textOnly, `"best_of":0`, "best_of", `from 1 to 128`},
		{textOnly, `"best_of":2,"n":3`, "best_of", `at least "n" (3)`},
		{textOnly, `"best_of":2,"stream":true`, "best_of", `can't be combined`},
		{textOnly, `"suffix":"a","echo":true,"logprobs":1`, "echo", `can't be combined`},
		{both, `"prompt_logprobs":-1`, "prompt_logprobs", `from 0 to 20`},
		{both, `"prompt_logprobs":1,"stream":true`, "prompt_logprobs", `can't be combined`},
		{chatOnly, `"continue_final_message":true`, "continue_final_message", `role "assistant"`},
	}
	for _, tt := range tests {
		for _, e := range tt.endpoints {
			checkRefused(t, e, valid(e, tt.more), tt.param, tt.message)
		}
	}
}

func TestDecodeRefusesBodies(t *testing.T) {
	message := func(m string) string { return `{"messages":[` + m + `]}` }
	tests := []struct {
		endpoint             endpoint
		body, param, message string
	}{
		{chatEndpoint, ``, "", "empty"},
		{chatEndpoint, `[]`, "", "must be a JSON object, not a list"},
		{chatEndpoint, `null`, "", "not null"},
		{chatEndpoint, `{"messages":`, "", "not valid JSON"},
		{chatEndpoint, "{\n \"model\": nope}", "", "line 2, column 12"},
		{chatEndpoint, `{"temperature":NaN}`, "", "not valid JSON"},
		{chatEndpoint, `{} {}`, "", "not valid JSON"},
		{chatEndpoint, "{\"model\":\"\xff\"}", "", "not valid UTF-8"},
		{chatEndpoint, strings.Repeat("[", 1<<20), "", "not valid JSON"},
		{chatEndpoint, `{"user":[` + strings.Repeat("1,", 1<<20) + `1,1]}`, "", "more than 1048576 values"},
		{chatEndpoint, `{}`, "messages", "missing"},
		{chatEndpoint, `{"messages":null}`, "messages", "missing"},
		{chatEndpoint, `{"messages":[]}`, "messages", "at least one message"},
		{chatEndpoint, `{"messages":"hi"}`, "messages", "must be a list, not a string"},
		{chatEndpoint, message(`"hi"`), "messages[0]", "must be an object"},
		{chatEndpoint, message(`{"content":"x"}`), "messages[0].role", "missing"},
		{chatEndpoint, message(`{"role":"king","content":"x"}`), "messages[0].role", `not "king"`},
		{chatEndpoint, message(`{"role":"user"}`), "messages[0].content", "missing"},
		{chatEndpoint, message(`{"role":"user","content":3}`), "messages[0].content", "a string or a list of parts, not a number"},
		{chatEndpoint, message(`{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}`), "messages[0].content[0]", "only text"},
		{chatEndpoint, message(`{"role":"user","content":[{"text":"x"}]}`), "messages[0].content[0].type", "missing"},
		{chatEndpoint, message(`{"role":"user","content":[{"type":"text"}]}`), "messages[0].content[0].text", "missing"},
		{chatEndpoint, message(`{"role":"user","content":"x","weight":1}`), "messages[0].weight", "unknown field"},
		{chatEndpoint, message(`{"role":"user","content":"x"},{"role":"tool","content":"y"}`), "messages[1].tool_call_id", "missing"},
		{chatEndpoint, message(`{"role":"user","content":"x","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}`), "messages[0].tool_calls", "of the assistant"},
		{chatEndpoint, message(`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"nope"}}]}`), "messages[0].tool_calls[0].function.arguments", "holds a JSON object"},
		{chatEndpoint, message(`{"role":"assistant"}`), "messages[0].content", "missing"},
		{completionEndpoint, `{"prompt":[]}`, "prompt", "an empty list"},
		{completionEndpoint, `{"prompt":{}}`, "prompt", "not an object"},
		{completionEndpoint, `{"prompt":["a",1]}`, "prompt[1]", "must be a string, not a number"},
		{completionEndpoint, `{"prompt":[1,"a"]}`, "prompt[1]", "must be an integer, not a string"},
		{completionEndpoint, `{"prompt":[1,2.5]}`, "prompt[1]", "not 2.5"},
		{completionEndpoint, `{"prompt":[[1],[]]}`, "prompt[1]", "empty list"},
		{completionEndpoint, `{"prompt":[true]}`, "prompt[0]", "not a boolean"},
		{completionEndpoint, `{"prompt":["a","b"],"n":100}`, "n", "more than 128 answers"},
	}
	for _, tt := range tests {
		checkRefused(t, tt.endpoint, tt.body, tt.param, tt.message)
	}
}

func checkRefused(t *testing.T, e endpoint, body, param, message string) {
	t.Helper()
	_, err := decodeRequest([]byte(body), e)
	if err == nil {
		t.Errorf("%s: accepted", shorten(body))
		return
	}
	if err.Status != 400 || err.Param != param || !strings.Contains(err.Message, message) {
		t.Errorf("%s:\n got %d %q: %s\nwant 400 %q: …%s…", shorten(body), err.Status, err.Param, err.Message, param, message)
	}
}

func TestDecodeAccepts(t *testing.T) {
	tests := []struct {
		endpoint endpoint
		more     string
		want     func(r *request) string // what is wrong; "" for nothing
	}{
		{chatEndpoint, `"temperature":0,"top_p":0.5,"top_k":-1,"min_p":0.1,"seed":-1`, func(r *request) string {
			s := r.sampling
			if s.Temperature != 0 || s.TopP != 0.5 || s.TopK != 0 || s.MinP != 0.1 || *s.Seed != 1<<64-1 {
				return fmt.Sprint(s)
			}
			return ""
		}},
		{chatEndpoint, `"max_tokens":5e0,"max_completion_tokens":5`, func(r *request) string {
			return differs(r.maxTokens, 5)
		}},
		{chatEndpoint, ``, func(r *request) string { return differs(r.maxTokens, 0) }},
		{completionEndpoint, ``, func(r *request) string { return differs(r.maxTokens, 16) }},
		{chatEndpoint, `"logprobs":true`, func(r *request) string { return differs(r.sampling.Logprobs, 0) }},
		{chatEndpoint, `"logprobs":false`, func(r *request) string { return differs(r.sampling.Logprobs, -1) }},
		{completionEndpoint, `"logprobs":3`, func(r *request) string { return differs(r.sampling.Logprobs, 3) }},
		{chatEndpoint, `"stop":"x"`, func(r *request) string { return differs(fmt.Sprint(r.stop), "[x]") }},
		{chatEndpoint, `"logit_bias":{"7":-100}`, func(r *request) string { return differs(r.sampling.LogitBias[7], -100.0) }},
		{chatEndpoint, `"logit_bias":[[7,false],[8,1.5],["no",-2]]`, func(r *request) string {
			return differs(fmt.Sprint(r.sampling.BadWords, r.sampling.LogitBias, r.textBias), "[[7]] map[8:1.5] [{no -2 false}]")
		}},
		{completionEndpoint, `"repeat_penalty":1.25,"repeat_last_n":-1,"top_n_sigma":-1,"mirostat":1,"dry_multiplier":0.8,"bad_words":["x"]`, func(r *request) string {
			s := r.sampling
			return differs(fmt.Sprint(s.RepetitionPenalty, s.PenaltyWindow, s.TopNSigma, s.Mirostat, s.DRYMultiplier, r.badWords), "1.25 0 0 1 0.8 [x]")
		}},
		{chatEndpoint, `"temperature":null,"stop":null,"tools":null,"seed":null`, func(r *request) string {
			return differs(r.sampling.Temperature, 1.0)
		}},
		{chatEndpoint, `"tools":[],"tool_choice":"auto","functions":[],"response_format":{"type":"text"},"modalities":["text"]`, nil},
		{chatEndpoint, `"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none"`, func(r *request) string {
			return differs(string(r.chat.Tools), "")
		}},
		{chatEndpoint, `"user":"u","metadata":{"a":"b"},"store":true,"prompt_cache_key":"k"`, nil},
		{completionEndpoint, `"user":"u","best_of":1,"suffix":null`, nil},
		{chatEndpoint, `"chat_template_kwargs":{"enable_thinking":false}`, func(r *request) string {
			return differs(string(r.chat.Kwargs), `{"enable_thinking":false}`)
		}},
	}
	for _, tt := range tests {
		r, err := decodeRequest([]byte(valid(tt.endpoint, tt.more)), tt.endpoint)
		if err != nil {
			t.Errorf("%s: %s", tt.more, err)
			continue
		}
		if tt.want != nil {
			if wrong := tt.want(r); wrong != "" {
				t.Errorf("%s: %s", tt.more, wrong)
			}
		}
	}
}

func differs[T comparable](got, want T) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("got %v, want %v", got, want)
}

func TestDecodeMessages(t *testing.T) {
	body := `{"messages":[
		{"role":"developer","content":[{"type":"text","text":"be "},{"type":"text","text":"kind"}]},
		{"role":"user","content":"hi","name":"ann"},
		{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"b\": 1, \"a\": 2}"}}]},
		{"role":"tool","tool_call_id":"c1","content":"3"}]}`
	r, err := decodeRequest([]byte(body), chatEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	m := r.chat.Messages
	if m[0].Role != "system" || *m[0].Content != "be kind" || m[1].Name != "ann" || m[2].Content != nil || m[3].ToolCallID != "c1" {
		t.Errorf("got %+v", m)
	}
	// The arguments stay as the client wrote them.
	if got, want := string(m[2].ToolCalls), `[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"b\": 1, \"a\": 2}"}}]`; got != want {
		t.Errorf("tool calls: got %s, want %s", got, want)
	}
}

func TestDecodePrompts(t *testing.T) {
	tests := []struct{ prompt, want string }{
		{`"a"`, `[{a []}]`},
		{`["a","b"]`, `[{a []} {b []}]`},
		{`[1,2]`, `[{ [1 2]}]`},
		{`[[1],[2,3]]`, `[{ [1]} { [2 3]}]`},
		{`""`, `[{ []}]`},
	}
	for _, tt := range tests {
		r, err := decodeRequest([]byte(`{"prompt":`+tt.prompt+`}`), completionEndpoint)
		if err != nil {
			t.Errorf("%s: %s", tt.prompt, err)
		} else if got := fmt.Sprint(r.prompts); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.prompt, got, tt.want)
		}
	}
}

// Every field of the list must be decodable, and say what it does.
func TestFieldsAreComplete(t *testing.T) {
	for _, f := range Fields() {
		if f.Behaviour == "" || f.Type == "" || !f.Chat && !f.Completions {
			t.Errorf("field %q is not described: %+v", f.Name, f)
		}
		if (f.decode == nil) != (f.Treatment == Ignored) {
			t.Errorf("field %q: a decoder and treatment %v don't go together", f.Name, f.Treatment)
		}
		for _, e := range []endpoint{chatEndpoint, completionEndpoint} {
			if f.knownTo(e) && fieldFor(f.Name, e).Behaviour != f.Behaviour {
				t.Errorf("field %q is listed twice for one endpoint", f.Name)
			}
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add(valid(chatEndpoint, `"stop":["a","b"],"n":2,"logit_bias":{"5":1.5}`), true)
	f.Add(valid(completionEndpoint, `"logprobs":3,"stream":true,"stream_options":{"include_usage":true}`), false)
	f.Add(`{"prompt":[[1,2],[3]],"n":2}`, false)
	f.Add(`{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]}`, true)
	f.Add(`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`, true)
	f.Fuzz(func(t *testing.T, body string, isChat bool) {
		e := completionEndpoint
		if isChat {
			e = chatEndpoint
		}
		r, err := decodeRequest([]byte(body), e)
		if err != nil {
			if err.Status != 400 || err.Message == "" {
				t.Fatalf("refused with status %d, message %q", err.Status, err.Message)
			}
			return
		}
		if r.n < 1 || len(r.prompts)*r.n > maxChoices || isChat == (len(r.chat.Messages) == 0) || isChat == (len(r.prompts) > 0) {
			t.Fatalf("accepted as %+v", r)
		}
	})
}

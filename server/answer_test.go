package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/backend"
)

func TestChat(t *testing.T) {
	s := newSite(t, siteOptions{})
	a := s.chat("")
	w := a.json()
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("X-Request-Id") == "" {
		t.Errorf("status %d, header %v", a.StatusCode, a.Header)
	}
	if w.Object != "chat.completion" || !strings.HasPrefix(w.ID, "chatcmpl-") || w.Model != "fake" || w.Created == 0 || w.Fingerprint == "" {
		t.Errorf("got %s", a.body)
	}
	c := w.Choices[0]
	if c.Message.Role != "assistant" || c.Message.Content != recited || *c.FinishReason != "stop" || string(c.Logprobs) != "null" {
		t.Errorf("got %s", a.body)
	}
	// <|im_start|>user\nCount.<|im_end|>\n<|im_start|>assistant\n: 3 control tokens and 22 bytes.
	if w.Usage.Prompt != 25 || w.Usage.Total != w.Usage.Prompt+w.Usage.Completion {
		t.Errorf("usage %+v", w.Usage)
	}
}

// The same request gives the same text streamed and not, in every combination
// of what changes the text.
func TestStreamedIsUnstreamed(t *testing.T) {
	s := newSite(t, siteOptions{})
	for _, more := range []string{
		``,
		`"max_tokens":3`,
		`"max_tokens":8`, // in the middle of the emoji
		`"stop":" five"`,
		`"stop":["x","e f","two three!"]`,
		`"stop":"🙂"`,
		`"stop":"ten"`,
		`"stop":"three","include_stop_str_in_output":true`,
		`"stop_token_ids":[259]`,
		`"ignore_eos":true,"max_tokens":40`,
		`"min_tokens":25,"max_tokens":60,"seed":5`,
		`"temperature":1,"seed":1,"max_tokens":60`,
		`"temperature":2,"seed":2,"max_tokens":60,"n":5`,
		`"temperature":1.5,"seed":2,"max_tokens":60,"n":2,"top_p":0.9,"top_k":40,"min_p":0.01,"stop":["a","bc"]`,
		`"temperature":1,"seed":3,"max_tokens":60,"presence_penalty":1,"frequency_penalty":0.5,"repetition_penalty":1.2`,
		`"logprobs":true,"top_logprobs":2,"temperature":1,"seed":4,"max_tokens":30`,
	} {
		t.Run(more, func(t *testing.T) {
			s.t = t
			whole := s.chat(more)
			if whole.StatusCode != http.StatusOK {
				t.Fatalf("%s", whole.body)
			}
			streamed := s.chat(more + strings.Repeat(",", min(len(more), 1)) + `"stream":true,"stream_options":{"include_usage":true}`)
			events := streamed.events()
			texts, finishes := joined(events)
			logprobs := map[int][]any{}
			for _, e := range events {
				for _, c := range e.Choices {
					logprobs[c.Index] = append(logprobs[c.Index], logprobTokens(t, c.Logprobs)...)
				}
			}
			for i, c := range whole.json().Choices {
				if texts[i] != c.Message.Content || finishes[i] != *c.FinishReason {
					t.Errorf("choice %d\nstreamed %q, %s\nwhole    %q, %s", i, texts[i], finishes[i], c.Message.Content, *c.FinishReason)
				}
				if d := cmp.Diff(logprobTokens(t, c.Logprobs), logprobs[i]); d != "" {
					t.Errorf("choice %d: log-probabilities (-whole +streamed)\n%s", i, d)
				}
			}
			last := events[len(events)-1]
			if len(last.Choices) != 0 || last.Usage == nil || *last.Usage != *whole.json().Usage {
				t.Errorf("usage: streamed %+v, whole %+v", last.Usage, whole.json().Usage)
			}
		})
	}
}

func logprobTokens(t *testing.T, raw json.RawMessage) []any {
	var l *struct{ Content []any }
	if err := json.Unmarshal(raw, &l); err != nil {
		t.Fatal(err)
	}
	if l == nil {
		return nil
	}
	return l.Content
}

func TestStop(t *testing.T) {
	s := newSite(t, siteOptions{})
	for _, tt := range []struct{ more, want, finish string }{
		{`"stop":"e f"`, "one two thre", "stop"}, // cut in the middle of two tokens
		{`"stop":["seven","two"]`, "one ", "stop"},
		{`"stop":"one"`, "", "stop"},
		{`"stop":"🙂"`, "one two three four five", "stop"},
		{`"stop":"eleven"`, recited, "stop"},
		{`"stop":"two","include_stop_str_in_output":true`, "one two", "stop"},
		{`"stop_token_ids":[258]`, "one two", "stop"},
		{`"max_tokens":2`, "one two", "length"},
		{`"max_completion_tokens":2,"max_tokens":2`, "one two", "length"},
		{`"logit_bias":{"257":-100,"65":100},"max_tokens":2`, "oneA", "length"},
	} {
		a := s.chat(tt.more)
		if tt.want == "oneA" { // a bias of 100 beats everything from the first token on
			tt.want = "AA"
		}
		if got := a.text(); got != tt.want || *a.json().Choices[0].FinishReason != tt.finish {
			t.Errorf("%s: got %q, %s; want %q, %s", tt.more, got, *a.json().Choices[0].FinishReason, tt.want, tt.finish)
		}
	}
}

func TestStreamShape(t *testing.T) {
	s := newSite(t, siteOptions{})
	a := s.chat(`"stream":true,"stream_options":{"include_usage":true},"max_tokens":2`)
	// Everything but the values that change from request to request.
	first := a.events()[0]
	head := fmt.Sprintf(`{"id":%q,"object":"chat.completion.chunk","created":%d,"model":"fake","system_fingerprint":%q,"choices":[`, first.ID, first.Created, first.Fingerprint)
	want := ""
	for _, rest := range []string{
		`{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}`,
		`{"index":0,"delta":{"content":"one"},"logprobs":null,"finish_reason":null}],"usage":null}`,
		`{"index":0,"delta":{"content":" two"},"logprobs":null,"finish_reason":null}],"usage":null}`,
		`{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}],"usage":null}`,
		`],"usage":{"prompt_tokens":25,"completion_tokens":2,"total_tokens":27,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}`,
	} {
		want += "data: " + head + rest + "\n\n"
	}
	want += "data: [DONE]\n\n"
	if d := cmp.Diff(want, string(a.body)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestChatLogprobs(t *testing.T) {
	s := newSite(t, siteOptions{})
	a := s.chat(`"logprobs":true,"top_logprobs":2,"max_tokens":7`)
	var l struct {
		Content []struct {
			Token   string
			Logprob float64
			Bytes   []int
			Top     []struct {
				Token   string
				Logprob float64
			} `json:"top_logprobs"`
		}
	}
	if err := json.Unmarshal(a.json().Choices[0].Logprobs, &l); err != nil {
		t.Fatal(err)
	}
	var tokens []string
	for _, c := range l.Content {
		tokens = append(tokens, c.Token)
		if c.Logprob > 0 || c.Logprob < -5 || len(c.Top) != 2 || c.Top[0].Token != c.Token || c.Top[0].Logprob != c.Logprob || c.Top[1].Logprob > c.Logprob {
			t.Errorf("got %+v", c)
		}
	}
	if want := []string{"one", " two", " three", " four", " five", `bytes:\xf0`, `bytes:\x9f`}; !cmp.Equal(tokens, want) {
		t.Errorf("tokens %q, want %q", tokens, want)
	}
	if last := l.Content[len(l.Content)-1].Bytes; !cmp.Equal(last, []int{0x9f}) {
		t.Errorf("bytes %v", last)
	}

	a = s.chat(`"logprobs":true,"max_tokens":1`)
	if !strings.Contains(string(a.body), `"top_logprobs":[]`) {
		t.Errorf("without top_logprobs: %s", a.body)
	}
}

func TestCompletions(t *testing.T) {
	s := newSite(t, siteOptions{})
	ask := func(body string) *answer { return s.post("/v1/completions", body) }

	for prompt, want := range map[string]string{
		`["x\n"]`:  "one two",
		`"x\n"`:    "one two",
		`[120,10]`: "one two",
		`[256]`:    " two three",
	} {
		a := ask(`{"prompt":` + prompt + `,"max_tokens":2,"temperature":0}`)
		if got := a.text(); got != want {
			t.Errorf("%s: got %q, want %q", prompt, got, want)
		}
	}
	// A client may write a chat format by hand.
	if got := ask(`{"prompt":"<|im_end|>","max_tokens":1}`).json().Usage.Prompt; got != 1 {
		t.Errorf("a control token's name in a raw prompt is %d tokens", got)
	}
	if got := ask(`{"prompt":"x\n","temperature":0,"ignore_eos":true}`).json().Usage.Completion; got != 16 {
		t.Errorf("max_tokens left out: %d tokens", got)
	}

	a := ask(`{"prompt":["a\n","b\n",""],"max_tokens":1}`)
	if a.StatusCode != http.StatusBadRequest || !strings.Contains(string(a.body), "empty") {
		t.Errorf("an empty prompt: %d %s", a.StatusCode, a.body)
	}

	a = ask(`{"prompt":["a\n","b one"],"n":2,"max_tokens":3,"temperature":1,"seed":3,"echo":true}`)
	w := a.json()
	if w.Object != "text_completion" || !strings.HasPrefix(w.ID, "cmpl-") || len(w.Choices) != 4 || w.Usage.Prompt != 7 {
		t.Fatalf("got %s", a.body)
	}
	for i, c := range w.Choices {
		prompt, seed := []string{"a\n", "b one"}[i/2], 3+i%2
		alone := ask(fmt.Sprintf(`{"prompt":%q,"max_tokens":3,"seed":%d}`, prompt, seed)).text()
		if c.Index != i || c.Text != prompt+alone {
			t.Errorf("choice %d: got %q, alone %q", i, c.Text, prompt+alone)
		}
	}
	texts, _ := joined(ask(`{"prompt":["a\n","b one"],"n":2,"max_tokens":3,"temperature":1,"seed":3,"echo":true,"stream":true}`).events())
	for i, c := range w.Choices {
		if texts[i] != c.Text {
			t.Errorf("choice %d: streamed %q, whole %q", i, texts[i], c.Text)
		}
	}
}

func TestCompletionLogprobs(t *testing.T) {
	s := newSite(t, siteOptions{})
	type lists struct {
		Tokens        []string             `json:"tokens"`
		TokenLogprobs []float64            `json:"token_logprobs"`
		TopLogprobs   []map[string]float64 `json:"top_logprobs"`
		TextOffset    []int                `json:"text_offset"`
	}
	body := `{"prompt":[260],"max_tokens":6,"temperature":0,"logprobs":2`
	var whole, streamed lists
	a := s.post("/v1/completions", body+`}`)
	if err := json.Unmarshal(a.json().Choices[0].Logprobs, &whole); err != nil {
		t.Fatal(err)
	}
	if want := []string{`bytes:\xf0`, `bytes:\x9f`, `bytes:\x99`, `bytes:\x82`, " six", " seven"}; !cmp.Equal(whole.Tokens, want) {
		t.Errorf("tokens %q", whole.Tokens)
	}
	if offsets := whole.TextOffset; offsets[4] != 1 || offsets[5] != 5 {
		t.Errorf("offsets %v count characters of %q", offsets, a.text())
	}
	if len(whole.TopLogprobs[5]) != 2 || whole.TopLogprobs[5][" seven"] != whole.TokenLogprobs[5] {
		t.Errorf("top %v, chosen %v", whole.TopLogprobs[5], whole.TokenLogprobs[5])
	}
	for _, e := range s.post("/v1/completions", body+`,"stream":true}`).events() {
		var l *lists
		if err := json.Unmarshal(e.Choices[0].Logprobs, &l); err != nil {
			t.Fatal(err)
		}
		if l != nil {
			streamed.Tokens = append(streamed.Tokens, l.Tokens...)
			streamed.TokenLogprobs = append(streamed.TokenLogprobs, l.TokenLogprobs...)
			streamed.TopLogprobs = append(streamed.TopLogprobs, l.TopLogprobs...)
			streamed.TextOffset = append(streamed.TextOffset, l.TextOffset...)
		}
	}
	if d := cmp.Diff(whole, streamed); d != "" {
		t.Errorf("(-whole +streamed)\n%s", d)
	}
}

func TestLogprobsWithoutTheCapability(t *testing.T) {
	engine := newFakeEngine()
	engine.capabilities.Logprobs = false
	s := newSite(t, siteOptions{engine: engine})
	if a := s.chat(`"logprobs":true`); a.StatusCode != http.StatusBadRequest || *a.json().Error.Param != "logprobs" {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

func TestModels(t *testing.T) {
	s := newSite(t, siteOptions{})
	type object struct {
		ID, Object, State, Backend, Device, Quantization string
		Version                                          string `json:"backend_version"`
		Created                                          int64
		Ready                                            bool
		Context                                          int `json:"context_length"`
		Parameters                                       int64
		Capabilities                                     backend.Capabilities
	}
	var list struct {
		Object string
		Data   []object
	}
	if err := json.Unmarshal(s.get("/v1/models").body, &list); err != nil {
		t.Fatal(err)
	}
	if list.Object != "list" || len(list.Data) != 1 {
		t.Fatalf("got %+v", list)
	}
	want := object{
		ID: "fake", Object: "model", State: "ready", Ready: true, Backend: "fake", Device: "no device", Version: "1", Quantization: "Q4_1",
		Context: 512, Parameters: 1234, Created: list.Data[0].Created, Capabilities: s.engine.capabilities,
	}
	if d := cmp.Diff(want, list.Data[0]); d != "" || want.Created == 0 {
		t.Errorf("(-want +got)\n%s", d)
	}
	for _, name := range []string{"fake", "default"} {
		var got object
		if err := json.Unmarshal(s.get("/v1/models/"+name).body, &got); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	if a := s.get("/v1/models/org/none"); a.StatusCode != http.StatusNotFound || *a.json().Error.Code != "model_not_found" {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	// An alias is a way to ask, not another model.
	if w := s.chat(`"model":"default"`).json(); w.Model != "fake" {
		t.Errorf("answered as %q", w.Model)
	}
}

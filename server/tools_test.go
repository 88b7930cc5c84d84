package server_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

// toolTemplate is fakeTemplate with what makes out a family that writes
// <tool_call> and <think>. The tools are named only, for the context is short.
const toolTemplate = `{% if tools %}{% for t in tools %}{{ t.function.name }} {% endfor %}<tool_call>{% endif %}` +
	`{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>
{% endfor %}{{ '<|im_start|>assistant\n' }}{# <think> #}`

// agentScript reasons, speaks and calls two functions.
const agentScript = "<think>\nRome, then.\n</think>\n\nI look.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>\n" +
	"<tool_call>\n{\"name\": \"get_time\"}\n</tool_call>"

const agentTools = `[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}},` +
	`{"type":"function","function":{"name":"get_time"}}]`

// agentSite says script, and once it has been given results, "It's sunny."
func agentSite(t *testing.T, script, template string) *site {
	engine := newFakeEngine()
	engine.context, engine.capacity = 2048, 16*2048
	engine.script = func(turns int) string {
		if turns > 3 { // a system message may be one
			return "It's sunny."
		}
		return script
	}
	return newSite(t, siteOptions{engine: engine, template: template})
}

// wireMessage is the message of an answer, or a delta.
type wireMessage struct {
	Content, ReasoningContent, Reasoning *string
	ToolCalls                            []wireCall
	FunctionCall                         *wireFunction
}

type wireCall struct {
	Index    int
	ID, Type string
	Function wireFunction
}

type wireFunction struct{ Name, Arguments string }

func (m *wireMessage) UnmarshalJSON(data []byte) error {
	var raw struct {
		Content          *string
		ReasoningContent *string `json:"reasoning_content"`
		Reasoning        *string
		ToolCalls        []wireCall    `json:"tool_calls"`
		FunctionCall     *wireFunction `json:"function_call"`
	}
	err := json.Unmarshal(data, &raw)
	*m = wireMessage{raw.Content, raw.ReasoningContent, raw.Reasoning, raw.ToolCalls, raw.FunctionCall}
	return err
}

// spoken is an answer put together, the calls' ids checked and left out.
type spoken struct {
	Content, Reasoning, Finish string
	Calls                      []wireFunction
	Legacy                     wireFunction
	ReasoningTokens            int
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ask returns the answers to a body, streamed or not.
func ask(t *testing.T, s *site, body string, stream bool) []spoken {
	t.Helper()
	if stream {
		body = strings.TrimSuffix(body, "}") + `,"stream":true,"stream_options":{"include_usage":true}}`
	}
	got := s.do(s.request(http.MethodPost, "/v1/chat/completions", body))
	if got.StatusCode != http.StatusOK {
		t.Fatalf("%d: %s", got.StatusCode, got.body)
	}
	documents := []string{string(got.body)}
	if stream {
		documents = nil
		for line := range strings.Lines(string(got.body)) {
			if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok && data != "[DONE]" {
				documents = append(documents, data)
			}
		}
	}
	var answers []spoken
	tokens := 0
	for _, d := range documents {
		var chunk struct {
			Choices []struct {
				Index          int
				Message, Delta wireMessage
				FinishReason   string `json:"finish_reason"`
			}
			Usage *struct {
				Details struct {
					ReasoningTokens int `json:"reasoning_tokens"`
				} `json:"completion_tokens_details"`
			}
		}
		if err := json.Unmarshal([]byte(d), &chunk); err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		for _, c := range chunk.Choices {
			for len(answers) <= c.Index {
				answers = append(answers, spoken{})
			}
			a, m := &answers[c.Index], c.Message
			if stream {
				m = c.Delta
			}
			if text(m.Reasoning) != text(m.ReasoningContent) {
				t.Errorf("two reasonings: %s", d)
			}
			a.Content += text(m.Content)
			a.Reasoning += text(m.Reasoning)
			a.Finish += c.FinishReason
			for i, call := range m.ToolCalls {
				if !stream {
					call.Index = i
				}
				if call.Index == len(a.Calls) {
					if !strings.HasPrefix(call.ID, "call_") || len(call.ID) != 29 || call.Type != "function" || stream && call.Function.Arguments != "" {
						t.Errorf("the beginning of a call is %+v", call)
					}
					a.Calls = append(a.Calls, wireFunction{})
				} else if call.ID != "" || call.Function.Name != "" || call.Index != len(a.Calls)-1 {
					t.Errorf("a further piece of a call is %+v", call)
				}
				a.Calls[call.Index].Name += call.Function.Name
				a.Calls[call.Index].Arguments += call.Function.Arguments
			}
			if m.FunctionCall != nil {
				a.Legacy.Name += m.FunctionCall.Name
				a.Legacy.Arguments += m.FunctionCall.Arguments
			}
		}
		if chunk.Usage != nil {
			tokens = chunk.Usage.Details.ReasoningTokens
		}
	}
	answers[0].ReasoningTokens = tokens
	return answers
}

func TestToolCalls(t *testing.T) {
	s := agentSite(t, agentScript, toolTemplate)
	weather, clock := wireFunction{"get_weather", `{"city": "Rome"}`}, wireFunction{"get_time", "{}"}
	reasoned := len("<think>\nRome, then.\n</think>")
	_, plain, _ := strings.Cut(agentScript, "</think>\n\n")
	for _, tt := range []struct {
		name, more string
		want       []spoken
	}{
		{"auto", `"tools":` + agentTools, []spoken{{Content: "I look.", Reasoning: "Rome, then.", Finish: "tool_calls", Calls: []wireFunction{weather, clock}, ReasoningTokens: reasoned}}},
		{"one call", `"parallel_tool_calls":false,"tools":` + agentTools, []spoken{{Content: "I look.", Reasoning: "Rome, then.", Finish: "tool_calls", Calls: []wireFunction{weather}, ReasoningTokens: reasoned}}},
		{"several answers", `"n":2,"tools":` + agentTools, slices.Repeat([]spoken{{Content: "I look.", Reasoning: "Rome, then.", Finish: "tool_calls", Calls: []wireFunction{weather, clock}}}, 2)},
		{"none", `"tool_choice":"none","tools":` + agentTools, []spoken{{Content: plain, Reasoning: "Rome, then.", Finish: "stop", ReasoningTokens: reasoned}}},
		{"no tools", `"seed":1`, []spoken{{Content: plain, Reasoning: "Rome, then.", Finish: "stop", ReasoningTokens: reasoned}}},
		{"functions", `"functions":[{"name":"get_weather"}]`, []spoken{{Content: "I look.", Reasoning: "Rome, then.", Finish: "function_call", Legacy: weather, ReasoningTokens: reasoned}}},
		{"cut off", `"max_tokens":115,"tools":` + agentTools, []spoken{{Content: "I look.", Reasoning: "Rome, then.", Finish: "length", Calls: []wireFunction{{"get_weather", `{"city": "Rome"}`}}, ReasoningTokens: reasoned}}},
		{"a stop string", `"stop":["then"],"tools":` + agentTools, []spoken{{Reasoning: "Rome,", Finish: "stop", ReasoningTokens: len("<think>\nRome, ")}}},
		{"logprobs", `"logprobs":true,"tools":` + agentTools, []spoken{{Content: "I look.", Reasoning: "Rome, then.", Finish: "tool_calls", Calls: []wireFunction{weather, clock}, ReasoningTokens: reasoned}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"messages":[{"role":"user","content":"Weather?"}],"temperature":0,` + tt.more + `}`
			whole := ask(t, s, body, false)
			if tt.name == "several answers" {
				tt.want[0].ReasoningTokens = 2 * reasoned
			}
			if diff := cmp.Diff(tt.want, whole); diff != "" {
				t.Errorf("whole (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(whole, ask(t, s, body, true)); diff != "" {
				t.Errorf("streamed (-whole +streamed):\n%s", diff)
			}
		})
	}
}

// TestToolHistory gives the results back, in both styles of OpenAI's API.
func TestToolHistory(t *testing.T) {
	for _, template := range []string{toolTemplate, fakeTemplate} {
		s := agentSite(t, "", template)
		for _, turns := range []string{
			`{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"get_weather","arguments":"{\"city\": \"Rome\"}"}}]},{"role":"tool","tool_call_id":"c1","content":"sunny"}`,
			`{"role":"assistant","content":"","reasoning":"Hm.","tool_calls":[{"id":"c1","type":"function","function":{"name":"get_weather","arguments":{"city": "Rome"}}}]},{"role":"tool","tool_call_id":"c1","content":"sunny"}`,
			`{"role":"assistant","content":null,"function_call":{"name":"get_weather","arguments":"{}"}},{"role":"function","name":"get_weather","content":"sunny"}`,
		} {
			body := `{"messages":[{"role":"user","content":"Weather?"},` + turns + `],"temperature":0,"tools":` + agentTools + `}`
			if got := ask(t, s, body, false)[0]; got.Content != "It's sunny." || got.Finish != "stop" {
				t.Errorf("%s: got %+v", turns, got)
			}
		}
	}
}

// TestToolsEverywhere offers tools to a model whose template knows none: the
// system message says what to write.
func TestToolsEverywhere(t *testing.T) {
	s := agentSite(t, `{"name": "get_weather", "arguments": {"city": "Rome"}}`, fakeTemplate)
	body := `{"messages":[{"role":"user","content":"Weather?"}],"temperature":0,"tools":` + agentTools + `}`
	want := []spoken{{Finish: "tool_calls", Calls: []wireFunction{{"get_weather", `{"city": "Rome"}`}}}}
	for _, stream := range []bool{false, true} {
		if diff := cmp.Diff(want, ask(t, s, body, stream)); diff != "" {
			t.Errorf("streamed: %v (-want +got):\n%s", stream, diff)
		}
	}
}

func TestReasoningEffort(t *testing.T) {
	ask := func(s *site, effort string) *answer {
		return s.do(s.request(http.MethodPost, "/v1/chat/completions",
			`{"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"reasoning_effort":"`+effort+`"}`))
	}
	knows := newSite(t, siteOptions{template: fakeTemplate + `{% if enable_thinking is defined and not enable_thinking %}<think>{% endif %}`})
	for _, effort := range []string{"none", "minimal", "high"} {
		if got := ask(knows, effort); got.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", effort, got.StatusCode, got.body)
		}
	}
	plain := newSite(t, siteOptions{})
	if got := ask(plain, "none"); got.StatusCode != http.StatusOK {
		t.Errorf("none: %d %s", got.StatusCode, got.body)
	}
	if got := ask(plain, "high"); got.StatusCode != http.StatusBadRequest || !strings.Contains(string(got.body), "reasoning_effort") {
		t.Errorf("high: %d %s", got.StatusCode, got.body)
	}
}

// The official Go client, as an agent uses it.
func TestOpenAIGoTools(t *testing.T) {
	s := agentSite(t, agentScript, toolTemplate)
	client := openai.NewClient(option.WithBaseURL(s.url+"/v1"), option.WithAPIKey("none"), option.WithMaxRetries(0))
	ctx := t.Context()
	params := openai.ChatCompletionNewParams{
		Model: "fake", Temperature: openai.Float(0),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Weather?")},
		Tools: []openai.ChatCompletionToolUnionParam{
			openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
				Name: "get_weather", Strict: openai.Bool(true),
				Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}},
			}),
			openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "get_time"}),
		},
		ToolChoice: openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("auto")},
	}
	whole, err := client.Chat.Completions.New(ctx, params)
	if err != nil {
		t.Fatal(err)
	}
	stream := client.Chat.Completions.NewStreaming(ctx, params)
	defer stream.Close()
	var all openai.ChatCompletionAccumulator
	var finished []string
	for stream.Next() {
		if !all.AddChunk(stream.Current()) {
			t.Fatalf("the accumulator refused %s", stream.Current().RawJSON())
		}
		if call, ok := all.JustFinishedToolCall(); ok {
			finished = append(finished, call.Name+call.Arguments)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if want := []string{`get_weather{"city": "Rome"}`, `get_time{}`}; !slices.Equal(finished, want) {
		t.Errorf("the accumulator finished %q, want %q", finished, want)
	}
	for _, got := range []openai.ChatCompletionChoice{whole.Choices[0], all.Choices[0]} {
		calls := got.Message.ToolCalls
		if got.FinishReason != "tool_calls" || got.Message.Content != "I look." || len(calls) != 2 ||
			calls[0].Function.Name != "get_weather" || calls[0].Function.Arguments != `{"city": "Rome"}` || calls[1].Function.Arguments != "{}" {
			t.Errorf("got %+v", got)
		}
	}
	// The results go back, and so does the turn as it came.
	params.Messages = append(params.Messages, whole.Choices[0].Message.ToParam(),
		openai.ToolMessage("sunny", whole.Choices[0].Message.ToolCalls[0].ID), openai.ToolMessage("12:00", whole.Choices[0].Message.ToolCalls[1].ID))
	last, err := client.Chat.Completions.New(ctx, params)
	if err != nil || last.Choices[0].Message.Content != "It's sunny." || last.Choices[0].FinishReason != "stop" {
		t.Errorf("got %+v, %v", last, err)
	}
}

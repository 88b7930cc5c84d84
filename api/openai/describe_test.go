package openai

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/chat/dialect"
)

// TestDescribe has the conversation that a template is given which knows nothing of
// tools.
func TestDescribe(t *testing.T) {
	r, err := decodeRequest([]byte(`{"messages":[
		{"role":"system","content":"Be brief."},
		{"role":"user","content":"Weather?"},
		{"role":"assistant","content":"I look.","tool_calls":[
			{"id":"a","function":{"name":"f","arguments":"{\"x\": 1}"}},
			{"id":"b","function":{"name":"g","arguments":""}}]},
		{"role":"tool","tool_call_id":"b","content":"sunny"}],
		"tools":[{"type":"function","function":{"name":"f"}}]}`), chatEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := dialect.Named("phi4", "none")
	var got []string
	for _, m := range withSystem(withoutToolCalls(r.chat.Messages, d), describeTools(r.chat.Tools, d)) {
		if m.ToolCalls != nil || m.ToolCallID != "" {
			t.Errorf("calls are left in %+v", m)
		}
		got = append(got, m.Role+": "+*m.Content)
	}
	want := []string{
		"system: Be brief.\n\nYou can call these functions:\n\n" + `[{"type":"function","function":{"name":"f"}}]` +
			"\n\nTo call one, answer with nothing but:\n\n" + `<|tool_call|>[{"name": "function name", "arguments": {arguments as JSON}}]<|/tool_call|>` +
			"\n\nThe next message has its result. When no function is needed, answer in words.",
		"user: Weather?",
		"assistant: I look.\n" + `<|tool_call|>[{"name": "f", "arguments": {"x": 1}}]<|/tool_call|><|tool_call|>[{"name": "g", "arguments": {}}]<|/tool_call|>`,
		"user: The result of g:\nsunny",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if alone := withSystem([]chat.Message{{Role: "user", Content: &want[1]}}, "x"); len(alone) != 2 || alone[0].Role != "system" {
		t.Errorf("got %+v", alone)
	}
}

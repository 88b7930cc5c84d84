package server_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestTokenize: the fields of llama.cpp's server and of vLLM, against a vocabulary whose
// ids are known.
func TestTokenize(t *testing.T) {
	s := newSite(t, siteOptions{})
	for _, c := range []struct{ path, body, want string }{
		{"/tokenize", `{"content":"hi"}`, `{"tokens":[104,105],"count":2,"max_model_len":512}`},
		{"/tokenize", `{"content":""}`, `{"tokens":[],"count":0,"max_model_len":512}`},
		{"/tokenize", `{"prompt":"hi","model":"default"}`, `{"tokens":[104,105],"count":2,"max_model_len":512}`},
		{"/tokenize", `{"content":"hi","return_token_strs":true}`, `{"tokens":[104,105],"count":2,"max_model_len":512,"token_strs":["h","i"]}`},
		{"/tokenize", `{"content":" a","return_token_strs":true}`, `{"tokens":[32,97],"count":2,"max_model_len":512,"token_strs":["Ġ","a"]}`},
		{"/tokenize", `{"content":"é<|im_end|>","with_pieces":true}`,
			`{"tokens":[{"id":195,"piece":[195]},{"id":169,"piece":[169]},{"id":268,"piece":"<|im_end|>"}],"count":3,"max_model_len":512}`},
		{"/tokenize", `{"content":"<|","parse_special":false}`, `{"tokens":[60,124],"count":2,"max_model_len":512}`},
		{"/tokenize", `{"messages":[{"role":"user","content":"x"}],"add_generation_prompt":true}`,
			`{"tokens":[267,117,115,101,114,10,120,268,10,267,97,115,115,105,115,116,97,110,116,10],"count":20,"max_model_len":512}`},
		{"/detokenize", `{"tokens":[267,104,195,169,268]}`, `{"content":"<|im_start|>hé<|im_end|>","prompt":"<|im_start|>hé<|im_end|>"}`},
		{"/detokenize", `{"tokens":[195]}`, `{"content":"�","prompt":"�"}`},
		{"/detokenize", `{"tokens":[]}`, `{"content":"","prompt":""}`},
		{"/apply-template", `{"messages":[{"role":"user","content":"x"}]}`,
			`{"prompt":"<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n"}`},
		{"/apply-template", `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":" y "}],"continue_final_message":true,"temperature":0.5}`,
			`{"prompt":"<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n y "}`},
	} {
		a := s.post(c.path, c.body)
		if got := strings.TrimSpace(string(a.body)); a.StatusCode != http.StatusOK || got != c.want {
			t.Errorf("%s %s: status %d\n got %s\nwant %s", c.path, c.body, a.StatusCode, got, c.want)
		}
	}
}

func TestTokenizeRefuses(t *testing.T) {
	s := newSite(t, siteOptions{})
	for _, c := range []struct {
		path, body, param, message string
	}{
		{"/tokenize", `{}`, "content", `is missing`},
		{"/tokenize", `{"content":"a","prompt":"a"}`, "content", `give one`},
		{"/tokenize", `{"content":"a","messages":[]}`, "content", `give one`},
		{"/tokenize", `{"content":3}`, "content", `must be a string`},
		{"/tokenize", `{"content":"a","add_special":true,"add_special_tokens":false}`, "add_special", `differ`},
		{"/tokenize", `{"content":"a","tools":[]}`, "tools", `unknown field`},
		{"/tokenize", `{"messages":[]}`, "messages", `at least one message`},
		{"/tokenize", `{"content":"a","model":"other"}`, "model", `not served`},
		{"/detokenize", `{}`, "tokens", `is missing`},
		{"/detokenize", `{"tokens":[269]}`, "tokens[0]", `below 269`},
		{"/detokenize", `{"tokens":[1,-1]}`, "tokens[1]", `at least 0`},
		{"/detokenize", `{"tokens":[1],"text":"x"}`, "text", `unknown field`},
		{"/apply-template", `{"prompt":"x"}`, "prompt", `a field of /v1/completions`},
		{"/apply-template", `{"messages":[{"role":"user","content":"x"}],"continue_final_message":true}`, "continue_final_message", `role "assistant"`},
		{"/apply-template", `{"messages":[{"role":"assistant","content":"x"}],"continue_final_message":true,"add_generation_prompt":true}`, "continue_final_message", `can't both`},
		{"/apply-template", `{"messages":[{"role":"assistant","content":" "}],"continue_final_message":true}`, "messages", `no text`},
	} {
		a := s.post(c.path, c.body)
		w := a.json()
		if (a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusNotFound) || w.Error == nil || w.Error.Param == nil || *w.Error.Param != c.param || !strings.Contains(w.Error.Message, c.message) {
			t.Errorf("%s %s: status %d, %s; want param %q, message with %q", c.path, c.body, a.StatusCode, a.body, c.param, c.message)
		}
	}
}

// TestContinueFinalMessage: the answer is what follows the text of the message itself.
func TestContinueFinalMessage(t *testing.T) {
	s := newSite(t, siteOptions{})
	a := s.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"Count."},{"role":"assistant","content":"So x"}],"continue_final_message":true,"temperature":0,"max_tokens":8}`)
	want := s.post("/v1/completions", `{"prompt":"<|im_start|>user\nCount.<|im_end|>\n<|im_start|>assistant\nSo x","temperature":0,"max_tokens":8}`).text()
	if got := a.text(); got != want || want == "" {
		t.Errorf("got %q, want %q", got, want)
	}
}

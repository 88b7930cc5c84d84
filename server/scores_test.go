package server_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// scored is a completion with log-probabilities.
type scored struct {
	Choices []struct {
		Index          int
		Text           string
		Logprobs       *wireTextLogprobs
		PromptLogprobs promptLogprobs `json:"prompt_logprobs"`
	}
	PromptLogprobs promptLogprobs `json:"prompt_logprobs"`
	Usage          wireUsage
}

type wireTextLogprobs struct {
	Tokens        []string
	TokenLogprobs []*float64           `json:"token_logprobs"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
	TextOffset    []int                `json:"text_offset"`
}

type promptLogprobs []map[string]struct {
	Logprob float64
	Rank    int
	Token   string `json:"decoded_token"`
}

func (s *site) scored(path, body string) scored {
	s.t.Helper()
	a := s.post(path, body)
	var v scored
	if err := json.Unmarshal(a.body, &v); err != nil || a.StatusCode != http.StatusOK {
		s.t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	return v
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-4 }

// TestEchoedLogprobs: what a model says, fed back to it as a prompt, is as likely as it was
// when it was said.
func TestEchoedLogprobs(t *testing.T) {
	s := tinySite(t)
	said := s.scored("/v1/completions", `{"prompt":"the ba","max_tokens":40,"temperature":0.4,"seed":1,"logprobs":2,"ignore_eos":true,"logit_bias":[["<|endoftext|>",false]]}`).Choices[0]
	var ids struct{ Tokens []int32 }
	if err := json.Unmarshal(s.post("/tokenize", fmt.Sprintf(`{"content":%q}`, "the ba")).body, &ids); err != nil {
		t.Fatal(err)
	}
	n := len(ids.Tokens)
	// Ids, since text may be split into tokens in another way than it was said.
	for i := range said.Logprobs.Tokens {
		ids.Tokens = append(ids.Tokens, tokenOf(t, s, said.Logprobs.Tokens[i]))
	}
	prompt, err := json.Marshal(ids.Tokens)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, the prompt is held
		echo := s.scored("/v1/completions", fmt.Sprintf(`{"prompt":%s,"max_tokens":3,"temperature":0,"logprobs":2,"echo":true,"prompt_logprobs":1}`, prompt)).Choices[0]
		l := echo.Logprobs
		if len(l.Tokens) != len(ids.Tokens)+3 || l.TokenLogprobs[0] != nil || l.TopLogprobs[0] != nil || l.TextOffset[0] != 0 || !slices.IsSorted(l.TextOffset) {
			t.Fatalf("%+v", l)
		}
		for i, p := range said.Logprobs.TokenLogprobs {
			if got := l.TokenLogprobs[n+i]; got == nil || !near(*got, *p) || l.Tokens[n+i] != said.Logprobs.Tokens[i] || len(l.TopLogprobs[n+i]) < 2 {
				t.Errorf("token %d: %g %q, it was %q, said with %g", i, *got, l.Tokens[n+i], said.Logprobs.Tokens[i], *p)
			}
		}
		if len(echo.PromptLogprobs) != len(ids.Tokens) || echo.PromptLogprobs[0] != nil {
			t.Fatalf("%d prompt_logprobs", len(echo.PromptLogprobs))
		}
		for i, entry := range echo.PromptLogprobs[1:] {
			own, ok := entry[fmt.Sprint(ids.Tokens[i+1])]
			if !ok || !near(own.Logprob, *l.TokenLogprobs[i+1]) || own.Token != l.Tokens[i+1] || len(entry) > 2 || own.Rank < 1 || (own.Rank == 1) != (len(entry) == 1) {
				t.Errorf("token %d: %+v", i+1, entry)
			}
		}
	}
	chat := s.scored("/v1/completions", `{"prompt":["a","the b"],"max_tokens":1,"prompt_logprobs":0}`)
	if len(chat.Choices[0].PromptLogprobs) != 1 || len(chat.Choices[1].PromptLogprobs) != 3 {
		t.Errorf("%+v", chat)
	}
}

// tokenOf is the id of a token that is spelled in log-probabilities.
func tokenOf(t *testing.T, s *site, spelled string) int32 {
	t.Helper()
	if hex, ok := strings.CutPrefix(spelled, `bytes:\x`); ok {
		var b int32
		if _, err := fmt.Sscanf(hex, "%x", &b); err != nil {
			t.Fatal(err)
		}
		return 3 + b // the tiny model's first tokens are three control tokens and the bytes
	}
	var ids struct{ Tokens []int32 }
	text, _ := json.Marshal(spelled)
	if err := json.Unmarshal(s.post("/tokenize", `{"content":`+string(text)+`}`).body, &ids); err != nil || len(ids.Tokens) != 1 {
		t.Fatalf("%q is the tokens %v, %v", spelled, ids.Tokens, err)
	}
	return ids.Tokens[0]
}

func TestEchoedLogprobsStreamed(t *testing.T) {
	s := tinySite(t)
	body := `{"prompt":["the ba","é"],"n":2,"max_tokens":6,"temperature":1,"seed":7,"logprobs":1,"echo":true,"ignore_eos":true%s}`
	whole := s.scored("/v1/completions", fmt.Sprintf(body, ""))
	type joinedLogprobs struct {
		text   string
		tokens []string
		values []*float64
		at     []int
	}
	parts := map[int]*joinedLogprobs{}
	for _, e := range s.post("/v1/completions", fmt.Sprintf(body, `,"stream":true`)).events() {
		for _, c := range e.Choices {
			var l *wireTextLogprobs
			if err := json.Unmarshal(c.Logprobs, &l); err != nil {
				t.Fatal(err)
			}
			j := parts[c.Index]
			if j == nil {
				j = &joinedLogprobs{}
				parts[c.Index] = j
			}
			j.text += c.Text
			if l != nil {
				j.tokens, j.values, j.at = append(j.tokens, l.Tokens...), append(j.values, l.TokenLogprobs...), append(j.at, l.TextOffset...)
			}
		}
	}
	for _, c := range whole.Choices {
		j := parts[c.Index]
		if j == nil || j.text != c.Text || !slices.Equal(j.tokens, c.Logprobs.Tokens) || !slices.Equal(j.at, c.Logprobs.TextOffset) {
			t.Fatalf("choice %d: %+v, unstreamed %+v", c.Index, j, c)
		}
		for i, v := range c.Logprobs.TokenLogprobs {
			if (v == nil) != (j.values[i] == nil) || v != nil && !near(*v, *j.values[i]) {
				t.Errorf("choice %d, token %d: %v, unstreamed %v", c.Index, i, j.values[i], v)
			}
		}
	}
}

// TestBestOf: the likeliest on average of as many answers as n would give.
func TestBestOf(t *testing.T) {
	s := tinySite(t)
	const body = `{"prompt":["the ba","be"],"max_tokens":5,"temperature":1,"seed":3,"logprobs":0,%s}`
	all := s.scored("/v1/completions", fmt.Sprintf(body, `"n":6`))
	best := s.scored("/v1/completions", fmt.Sprintf(body, `"n":2,"best_of":6`))
	if len(best.Choices) != 4 || best.Usage.Completion != all.Usage.Completion {
		t.Fatalf("%d choices, usage %+v, expected %+v", len(best.Choices), best.Usage, all.Usage)
	}
	for p := range 2 {
		type candidate struct {
			text string
			mean float64
		}
		var of []candidate
		for _, c := range all.Choices[6*p : 6*p+6] {
			sum := 0.0
			for _, v := range c.Logprobs.TokenLogprobs {
				sum += *v
			}
			of = append(of, candidate{c.Text, sum / float64(len(c.Logprobs.TokenLogprobs))})
		}
		slices.SortStableFunc(of, func(x, y candidate) int { return int(math.Copysign(1, y.mean-x.mean)) })
		for i := range 2 {
			if c := best.Choices[2*p+i]; c.Index != 2*p+i || c.Text != of[i].text {
				t.Errorf("prompt %d, answer %d: %q, want %q", p, i, c.Text, of[i].text)
			}
		}
	}
	without := s.scored("/v1/completions", `{"prompt":"the ba","max_tokens":5,"temperature":1,"seed":3,"best_of":6}`)
	if len(without.Choices) != 1 || without.Choices[0].Text != best.Choices[0].Text || without.Choices[0].Logprobs != nil {
		t.Errorf("%+v", without.Choices)
	}
}

func TestPromptLogprobsOfChats(t *testing.T) {
	s := newSite(t, siteOptions{})
	a := s.post("/v1/chat/completions", chatBody(`"prompt_logprobs":1,"max_tokens":2`))
	var v scored
	if err := json.Unmarshal(a.body, &v); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	if len(v.PromptLogprobs) != 25 || v.PromptLogprobs[0] != nil || len(v.PromptLogprobs[1]) == 0 {
		t.Errorf("%d: %+v", len(v.PromptLogprobs), v.PromptLogprobs)
	}
	many := `[` + strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("a", 250)+`",`, 120), ",") + `]`
	expect(t, s.post("/v1/completions", `{"prompt":`+many+`,"prompt_logprobs":20}`), http.StatusBadRequest, "", "prompt_logprobs")
	expect(t, s.post("/v1/completions", `{"prompt":"a","suffix":"b"}`), http.StatusBadRequest, "unsupported_parameter", "suffix")
}

package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/server"
	"github.com/inferflux/inferflux/tokenizer"
)

// tiny is a real model, though a random one.
func tiny(t *testing.T, o scheduler.Options) *generate.Model {
	t.Helper()
	return tinyWith(t, generate.ModelOptions{Scheduler: o})
}

func tinyWith(t *testing.T, o generate.ModelOptions) *generate.Model {
	t.Helper()
	f, err := gguf.Open("../model/testdata/llama-gqa-tied.gguf")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	e, err := cpu.Backend{}.Load(t.Context(), f, backend.LoadOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	o.ID, o.Tokenizer, o.Engine, o.Close = "fake", tok, e, f.Close
	return generate.New(o)
}

// send posts a body with a key, and reads the answer as JSON.
func (s *site) send(method, path, key, body string, want int) map[string]any {
	s.t.Helper()
	req := s.request(method, path, body)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	a := s.do(req)
	if a.StatusCode != want {
		s.t.Fatalf("%s %s: %s: %s", method, path, a.Status, a.body)
	}
	var v map[string]any
	if err := json.Unmarshal(a.body, &v); err != nil {
		s.t.Fatalf("%s %s: %s: %s", method, path, err, a.body)
	}
	return v
}

// completion asks for three tokens and returns the answer's text and how many tokens of
// the prompt were held.
func (s *site) completion(key, prompt, more string) (text string, cached float64) {
	s.t.Helper()
	v := s.send(http.MethodPost, "/v1/completions", key, fmt.Sprintf(`{"prompt": %q, "max_tokens": 3, "temperature": 0%s}`, prompt, more), http.StatusOK)
	usage := v["usage"].(map[string]any)
	return v["choices"].([]any)[0].(map[string]any)["text"].(string), usage["prompt_tokens_details"].(map[string]any)["cached_tokens"].(float64)
}

var longPrompt = strings.Repeat("ba be bi bo bu ", 8)

func TestCachedTokensAreReported(t *testing.T) {
	s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return tiny(t, o) }})
	cold, n := s.completion("", longPrompt, "")
	if n != 0 {
		t.Errorf("%g tokens of the first prompt were held", n)
	}
	warm, n := s.completion("", longPrompt, "")
	if n < 64 || warm != cold {
		t.Errorf("%g tokens were held; the answer is %q, at first it was %q", n, warm, cold)
	}
	if _, n := s.completion("", longPrompt, `, "cache_salt": "mine"`); n != 0 {
		t.Errorf("%g tokens were held for another salt", n)
	}
	v := s.send(http.MethodGet, "/v1/admin/cache", "", "", http.StatusOK)
	state := v["models"].([]any)[0].(map[string]any)
	held := state["held"].([]any)
	if state["entries"] != 2.0 || len(held) != 2 || !strings.HasPrefix(longPrompt, strings.TrimSpace(held[0].(map[string]any)["begins"].(string))) {
		t.Errorf("%v", state)
	}
	if n := s.metric(`inferflux_prefix_entries{model="fake"}`); n != "2" {
		t.Errorf("/metrics counts %s entries", n)
	}
	if n := s.metric(`inferflux_cached_prompt_tokens_total{model="fake"}`); n == "0" || n == "" {
		t.Errorf("/metrics counts %s cached tokens", n)
	}
	if v := s.send(http.MethodPost, "/v1/admin/cache/clear", "", `{"model": "fake"}`, http.StatusOK); v["cleared_entries"] != 2.0 {
		t.Errorf("%v", v)
	}
	if _, n := s.completion("", longPrompt, ""); n != 0 {
		t.Errorf("%g tokens were held after the cache was cleared", n)
	}
	// Warming computes a prompt before somebody asks.
	other := "zu " + longPrompt
	if v := s.send(http.MethodPost, "/v1/admin/cache/warm", "", fmt.Sprintf(`{"prompt": %q}`, other), http.StatusOK); v["cached_tokens"] != 0.0 {
		t.Errorf("%v", v)
	}
	if _, n := s.completion("", other, ""); n < 64 {
		t.Errorf("%g tokens were held after warming", n)
	}
	s.send(http.MethodPost, "/v1/admin/cache/clear", "", `{"model": "nobody"}`, http.StatusNotFound)
	s.send(http.MethodPost, "/v1/admin/cache/clear", "", `{"name": "fake"}`, http.StatusBadRequest)
	s.send(http.MethodPost, "/v1/admin/cache/clear", "", `{"prompt": "ba"}`, http.StatusBadRequest)
	s.send(http.MethodPost, "/v1/admin/cache/warm", "", `{}`, http.StatusBadRequest)
	s.send(http.MethodGet, "/v1/admin/cache/clear", "", "", http.StatusMethodNotAllowed)
}

// With prefix_per_key, nobody can tell from the time what others have asked.
func TestPrefixPerKey(t *testing.T) {
	for _, apart := range []bool{false, true} {
		s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return tiny(t, o) }, server: server.Options{APIKeys: []string{"first-key", "second-key"}, PrefixPerKey: apart}})
		s.completion("first-key", longPrompt, "")
		if _, n := s.completion("second-key", longPrompt, ""); (n == 0) != apart {
			t.Errorf("apart %t: the second key had %g tokens of the first one's", apart, n)
		}
		if _, n := s.completion("first-key", longPrompt, ""); n < 64 {
			t.Errorf("apart %t: the first key had %g tokens of its own", apart, n)
		}
		s.send(http.MethodGet, "/v1/admin/cache", "", "", http.StatusUnauthorized)
	}
}

// A request that isn't answered in its time is given up, wherever it is.
func TestTimeout(t *testing.T) {
	s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return tiny(t, o) }})
	v := s.send(http.MethodPost, "/v1/completions", "", `{"prompt": "ba", "max_tokens": 200, "ignore_eos": true, "timeout": 1e-6}`, http.StatusGatewayTimeout)
	if e := v["error"].(map[string]any); e["code"] != "timeout" || e["param"] != "timeout" {
		t.Errorf("%v", e)
	}
	s.send(http.MethodPost, "/v1/completions", "", `{"prompt": "ba", "max_tokens": 2, "timeout": 60}`, http.StatusOK)
	s.send(http.MethodPost, "/v1/completions", "", `{"prompt": "ba", "max_tokens": 2, "priority": 1}`, http.StatusBadRequest)
	s.eventually("free", func() bool { return s.metric(`inferflux_running_sequences{model="fake"}`) == "0" })
}

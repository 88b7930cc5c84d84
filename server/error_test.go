package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/server"
)

// expect checks a whole error answer.
func expect(t *testing.T, a *answer, status int, code, param string) {
	t.Helper()
	w := a.json()
	if a.StatusCode != status || w.Error == nil {
		t.Fatalf("got %d %s, want %d", a.StatusCode, a.body, status)
	}
	if value(w.Error.Code) != code || value(w.Error.Param) != param || w.Error.Message == "" || w.Error.Type == "" {
		t.Errorf("got %s, want code %q, param %q", a.body, code, param)
	}
	if a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", a.Header.Get("Content-Type"))
	}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func TestErrors(t *testing.T) {
	s := newSite(t, siteOptions{server: server.Options{MaxBodyBytes: 10_000}})
	message := func(role, content string) string {
		return `{"messages":[{"role":"` + role + `","content":"` + content + `"}]}`
	}
	const chat, text = "/v1/chat/completions", "/v1/completions"
	for _, tt := range []struct {
		method, path, body string
		status             int
		code, param        string
	}{
		{"POST", chat, `{`, 400, "", ""},
		{"POST", chat, ``, 400, "", ""},
		{"POST", chat, chatBody(`"top_p":"x"`), 400, "invalid_type", "top_p"},
		{"POST", chat, chatBody(`"top_p":7`), 400, "invalid_value", "top_p"},
		{"POST", chat, chatBody(`"topp":1`), 400, "unknown_parameter", "topp"},
		{"POST", chat, chatBody(`"model":"gpt-5"`), 404, "model_not_found", "model"},
		{"POST", chat, message("user", strings.Repeat("x", 600)), 400, "context_length_exceeded", "messages"},
		{"POST", chat, chatBody(`"max_tokens":500`), 400, "context_length_exceeded", "messages"},
		{"POST", text, `{"prompt":"` + strings.Repeat("x", 600) + `"}`, 400, "context_length_exceeded", "prompt"},
		{"POST", chat, message("user", strings.Repeat("x", 10_000)), 413, "request_too_large", ""},
		{"POST", chat, chatBody(`"logit_bias":{"269":1}`), 400, "invalid_value", "logit_bias"},
		{"POST", chat, chatBody(`"stop_token_ids":[3,269]`), 400, "invalid_value", "stop_token_ids[1]"},
		{"POST", text, `{"prompt":[1,269]}`, 400, "invalid_value", "prompt"},
		{"GET", chat, ``, 405, "method_not_allowed", ""},
		{"DELETE", text, ``, 405, "method_not_allowed", ""},
		{"POST", "/v1/models", ``, 405, "method_not_allowed", ""},
		{"DELETE", "/v1/models/fake", ``, 405, "method_not_allowed", ""},
		{"POST", "/readyz", ``, 405, "method_not_allowed", ""},
		{"POST", "/chat/completions", `{}`, 404, "unknown_url", ""},
		{"GET", "/v2/things", ``, 404, "unknown_url", ""},
	} {
		a := s.do(s.request(tt.method, tt.path, tt.body))
		expect(t, a, tt.status, tt.code, tt.param)
		if tt.status == 405 && a.Header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", tt.method, tt.path)
		}
	}
	if a := s.post("/chat/completions", "{}"); !strings.Contains(string(a.body), "/v1/chat/completions") {
		t.Errorf("no hint: %s", a.body)
	}
}

func TestTemplateError(t *testing.T) {
	s := newSite(t, siteOptions{template: `{{ raise_exception('no talking today') }}`})
	a := s.chat("")
	expect(t, a, 400, "template_error", "messages")
	if !strings.Contains(string(a.body), "no talking today") {
		t.Errorf("got %s", a.body)
	}
}

func TestEngineError(t *testing.T) {
	engine := newFakeEngine()
	var failAt atomic.Int32 // position of the token that can't be computed
	engine.step = func(b *backend.Batch) error {
		for _, span := range b.Spans {
			if at := int(failAt.Load()); span.Pos <= at && at < span.Pos+len(span.Tokens) {
				return errors.New("out of luck")
			}
		}
		return nil
	}
	s := newSite(t, siteOptions{engine: engine})
	const prompt = 25
	// Before the first text the status is still ours to choose.
	failAt.Store(prompt - 1)
	a := s.chat(`"stream":true`)
	expect(t, a, 500, "internal_error", "")
	failAt.Store(prompt + 1)
	a = s.chat(`"stream":true`)
	events := a.events()
	last := events[len(events)-1]
	texts, finishes := joined(events)
	if last.Error == nil || last.Error.Type != "server_error" || !strings.Contains(last.Error.Message, "out of luck") {
		t.Errorf("got %s", a.body)
	}
	if texts[0] != "one two" || finishes[0] != "" {
		t.Errorf("before the error: %q, finish %q", texts[0], finishes[0])
	}
	// A failed step doesn't bring the server down.
	failAt.Store(-1)
	if got := s.chat("").text(); got != recited {
		t.Errorf("afterwards: %q", got)
	}
}

func TestQueueFull(t *testing.T) {
	hold := make(chan struct{})
	engine := newFakeEngine()
	engine.step = func(*backend.Batch) error { <-hold; return nil }
	s := newSite(t, siteOptions{engine: engine, scheduler: scheduler.Options{MaxRunning: 1, MaxQueue: 1}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 {
		go func() {
			if resp, err := http.DefaultClient.Do(s.request("POST", "/v1/chat/completions", chatBody("")).WithContext(ctx)); err == nil {
				resp.Body.Close()
			}
		}()
	}
	s.eventually("one running, one waiting", func() bool {
		return s.metric(`inferflux_running_sequences{model="fake"}`) == "1" && s.metric(`inferflux_queue_length{model="fake"}`) == "1"
	})
	a := s.chat("")
	expect(t, a, 429, "rate_limit_exceeded", "")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// All of n or none: what had been submitted of this one is taken back.
	expect(t, s.chat(`"n":3`), 429, "rate_limit_exceeded", "")
	close(hold)
	cancel()
	s.eventually("idle", func() bool {
		return s.metric(`inferflux_running_sequences{model="fake"}`) == "0" && s.metric(`inferflux_queue_length{model="fake"}`) == "0"
	})
	if got := s.metric(`inferflux_kv_reserved_tokens{model="fake"}`); got != "0" {
		t.Errorf("%s positions stay reserved", got)
	}
	if s.chat("").text() != recited {
		t.Error("the queue is free again, but no answer")
	}
}

func TestLoading(t *testing.T) {
	loaded := make(chan error)
	s := newSite(t, siteOptions{load: func(ctx context.Context) error {
		select {
		case err := <-loaded:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	if a := s.get("/livez"); a.StatusCode != http.StatusOK {
		t.Errorf("livez %d", a.StatusCode)
	}
	if a := s.get("/readyz"); a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "fake") {
		t.Errorf("readyz %d %s", a.StatusCode, a.body)
	}
	a := s.chat("")
	expect(t, a, 503, "model_not_ready", "model")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if a := s.get("/v1/models/fake"); !strings.Contains(string(a.body), `"ready":false,"state":"loading"`) {
		t.Errorf("got %s", a.body)
	}
	loaded <- nil
	s.eventually("ready", func() bool { return s.get("/readyz").StatusCode == http.StatusOK })
	if s.chat("").text() != recited {
		t.Error("no answer")
	}
}

func TestLoadingFails(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   string
	}{
		{errors.New("the file is gone"), 503, "model_not_ready"},
		{&backend.UnavailableError{Backend: "mlx", Reason: "the file is gone"}, 422, "backend_unavailable"},
	} {
		s := newSite(t, siteOptions{load: func(context.Context) error { return tt.err }})
		s.eventually("failed", func() bool { return strings.Contains(string(s.get("/v1/models/fake").body), "failed") })
		a := s.chat("")
		expect(t, a, tt.status, tt.code, "model")
		for _, body := range [][]byte{a.body, s.get("/readyz").body, s.get("/healthz").body, s.get("/v1/models").body} {
			if !strings.Contains(string(body), "the file is gone") {
				t.Errorf("no reason in %s", body)
			}
		}
	}
}

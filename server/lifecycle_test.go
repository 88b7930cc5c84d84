package server_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/server"
)

// Sixteen clients at once, each with its own seed, get bit for bit what each
// gets alone.
func TestTogetherIsAlone(t *testing.T) {
	s := newSite(t, siteOptions{})
	more := func(i int) string {
		return fmt.Sprintf(`"temperature":1.3,"seed":%d,"max_tokens":%d,"logprobs":true,"top_logprobs":1,"stream":%t`, i, 20+i, i%2 == 0)
	}
	essence := func(a *answer) string {
		if a.Header.Get("Content-Type") == "application/json" {
			c := a.json().Choices[0]
			return c.Message.Content + string(c.Logprobs)
		}
		var all strings.Builder
		for _, e := range a.events() {
			for _, c := range e.Choices {
				all.WriteString(c.Delta.Content + string(c.Logprobs))
			}
		}
		return all.String()
	}
	var alone, together [16]string
	for i := range alone {
		alone[i] = essence(s.chat(more(i)))
	}
	var clients sync.WaitGroup
	for i := range together {
		clients.Go(func() { together[i] = essence(s.chat(more(i))) })
	}
	clients.Wait()
	for i := range alone {
		if alone[i] != together[i] || alone[i] == alone[(i+1)%16] {
			t.Errorf("client %d:\nalone    %s\ntogether %s", i, alone[i], together[i])
		}
	}
}

// A client that goes away frees its sequence within a step.
func TestDisconnect(t *testing.T) {
	for _, more := range []string{`"stream":true,"n":2`, `"n":2`} {
		engine := newFakeEngine()
		steps := make(chan struct{}, 1000)
		engine.step = func(*backend.Batch) error { <-steps; return nil }
		s := newSite(t, siteOptions{engine: engine})
		ctx, cancel := context.WithCancel(t.Context())
		body := chatBody(more + `,"ignore_eos":true,"temperature":1`)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			resp, err := http.DefaultClient.Do(s.request("POST", "/v1/chat/completions", body).WithContext(ctx))
			if err == nil {
				defer resp.Body.Close()
				_, err = new(bytes.Buffer).ReadFrom(resp.Body)
			}
			if err == nil {
				t.Error("the request ended by itself")
			}
		}()
		for range 5 {
			steps <- struct{}{}
		}
		s.eventually("two sequences running", func() bool {
			return s.metric(`inferflux_running_sequences{model="fake"}`) == "2" && len(steps) == 0
		})
		cancel()
		<-ended
		s.eventually("the handler has returned", func() bool {
			requests := `inferflux_requests_total{code="%d",endpoint="/v1/chat/completions"}`
			return s.metric(fmt.Sprintf(requests, http.StatusOK)) == "1" || s.metric(fmt.Sprintf(requests, 499)) == "1"
		})
		steps <- struct{}{} // the step that was under way
		s.eventually("both freed", func() bool {
			return s.metric(`inferflux_running_sequences{model="fake"}`) == "0" && s.metric(`inferflux_kv_reserved_tokens{model="fake"}`) == "0"
		})
		close(steps)
	}
}

func TestDrain(t *testing.T) {
	engine := newFakeEngine()
	hold := make(chan struct{})
	engine.step = func(*backend.Batch) error { <-hold; return nil }
	s := newSite(t, siteOptions{engine: engine})
	running := make(chan *answer, 1)
	go func() { running <- s.chat(`"stream":true`) }()
	s.eventually("running", func() bool { return s.metric(`inferflux_running_sequences{model="fake"}`) == "1" })
	s.stop()
	s.eventually("not ready", func() bool { return s.get("/readyz").StatusCode == http.StatusServiceUnavailable })
	a := s.chat("")
	expect(t, a, 503, "shutting_down", "")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	select {
	case <-s.done:
		t.Fatal("the server ended before its last answer")
	default:
	}
	close(hold)
	if texts, _ := joined((<-running).events()); texts[0] != recited {
		t.Errorf("the running answer became %q", texts[0])
	}
	<-s.done
}

func TestDrainTimeout(t *testing.T) {
	engine := newFakeEngine()
	engine.step = func(*backend.Batch) error { time.Sleep(5 * time.Millisecond); return nil }
	s := newSite(t, siteOptions{engine: engine, server: server.Options{DrainTimeout: 50 * time.Millisecond}})
	running := make(chan *answer, 1)
	go func() { running <- s.chat(`"stream":true,"ignore_eos":true,"temperature":1,"max_tokens":480`) }()
	s.eventually("running", func() bool { return s.metric(`inferflux_running_sequences{model="fake"}`) == "1" })
	s.stop()
	<-s.done
	a := <-running
	if a.Header.Get("Content-Type") == "application/json" {
		expect(t, a, 503, "shutting_down", "")
	} else if events := a.events(); events[len(events)-1].Error == nil {
		t.Errorf("a cut answer must end with an error: %s", a.body)
	}
}

// A client that doesn't read loses its connection, and its sequence is freed.
func TestStuckReader(t *testing.T) {
	engine := newFakeEngine()
	engine.context, engine.capacity = 1<<20, 1<<20
	s := newSite(t, siteOptions{engine: engine, server: server.Options{WriteTimeout: 100 * time.Millisecond}})
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(1024); err != nil {
		t.Fatal(err)
	}
	body := chatBody(`"stream":true,"ignore_eos":true,"temperature":1,"max_tokens":1000000,"logprobs":true,"top_logprobs":20`)
	_, err = fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("running", func() bool { return s.metric(`inferflux_running_sequences{model="fake"}`) == "1" })
	s.eventually("freed", func() bool { return s.metric(`inferflux_running_sequences{model="fake"}`) == "0" })
}

// A body that doesn't arrive is given up.
func TestSlowBody(t *testing.T) {
	s := newSite(t, siteOptions{server: server.Options{ReadTimeout: 50 * time.Millisecond}})
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 12)
	if _, err := conn.Read(got); err != nil || string(got) != "HTTP/1.1 408" {
		t.Errorf("got %q, %v", got, err)
	}
}

// The read timeout is for the body alone: an answer may take longer.
func TestLongAnswer(t *testing.T) {
	engine := newFakeEngine()
	// Long enough that a busy machine keeps no single read or write waiting for it.
	const limit = 400 * time.Millisecond
	engine.step = func(*backend.Batch) error { time.Sleep(limit / 10); return nil }
	s := newSite(t, siteOptions{engine: engine, server: server.Options{ReadTimeout: limit, WriteTimeout: limit}})
	for _, more := range []string{``, `"stream":true`} {
		if a := s.chat(more); !strings.Contains(string(a.body), " ten") {
			t.Errorf("got %s", a.body)
		}
	}
}

func TestKeys(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&lockedWriter{w: &logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := newSite(t, siteOptions{server: server.Options{APIKeys: []string{"sk-one", "sk-two"}, Logger: log}})
	for _, tt := range []struct {
		path, authorization string
		status              int
	}{
		{"/v1/models", "", 401},
		{"/v1/models", "Bearer sk-three", 401},
		{"/v1/models", "Bearer ", 401},
		{"/v1/models", "sk-one", 401},
		{"/v1/models", "Basic sk-one", 401},
		{"/v1/models", "Bearer sk-one", 200},
		{"/v1/models", "bearer sk-two", 200},
		{"/metrics", "", 401},
		{"/healthz", "", 401},
		{"/nowhere", "", 401},
		{"/livez", "", 200},
		{"/readyz", "", 200},
		{"/", "", 200},
	} {
		r := s.request("GET", tt.path+"?key=sk-one", "")
		if tt.authorization != "" {
			r.Header.Set("Authorization", tt.authorization)
		}
		a := s.do(r)
		if a.StatusCode != tt.status {
			t.Errorf("%s with %q: %d", tt.path, tt.authorization, a.StatusCode)
		}
		if a.StatusCode == http.StatusUnauthorized {
			expect(t, a, 401, "invalid_api_key", "")
			if a.Header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
		}
	}
	s.stop()
	<-s.done
	if strings.Contains(logged.String(), "sk-") {
		t.Errorf("a key is in the log:\n%s", logged.String())
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestBrowsers(t *testing.T) {
	s := newSite(t, siteOptions{})
	for _, tt := range []struct {
		host, header, value string
		status              int
	}{
		{"", "", "", 200},
		{"localhost:8080", "", "", 200},
		{"127.0.0.1", "", "", 200},
		{"[::1]:80", "", "", 200},
		{"evil.example", "", "", 403},
		{"evil.example:8080", "", "", 403},
		{"localhost.evil.example", "", "", 403},
		{"", "Sec-Fetch-Site", "cross-site", 403},
		{"", "Sec-Fetch-Site", "same-origin", 200},
		{"", "Origin", "https://evil.example", 403},
	} {
		r := s.request("POST", "/v1/chat/completions", chatBody(`"max_tokens":1`))
		if tt.host != "" {
			r.Host = tt.host
		}
		if tt.header != "" {
			r.Header.Set(tt.header, tt.value)
		}
		a := s.do(r)
		if a.StatusCode != tt.status {
			t.Errorf("host %q, %s %s: %d", tt.host, tt.header, tt.value, a.StatusCode)
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Error("CORS headers are sent")
		}
	}
}

func TestPanic(t *testing.T) {
	var logged bytes.Buffer
	s := newSite(t, siteOptions{server: server.Options{Logger: slog.New(slog.NewTextHandler(&lockedWriter{w: &logged}, nil))}})
	s.engine.confused.Store(true)
	expect(t, s.get("/v1/models"), 500, "internal_error", "")
	s.engine.confused.Store(false)
	if a := s.get("/v1/models"); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %d", a.StatusCode)
	}
	s.stop()
	<-s.done
	if !strings.Contains(logged.String(), "confused") || !strings.Contains(logged.String(), "Description") {
		t.Errorf("the log has no trace of it:\n%s", logged.String())
	}
}

func TestRequestID(t *testing.T) {
	s := newSite(t, siteOptions{})
	for id, kept := range map[string]bool{"abc-123": true, "": false, "a b": false, strings.Repeat("x", 200): false} {
		r := s.request("GET", "/livez", "")
		r.Header.Set("X-Request-Id", id)
		if got := s.do(r).Header.Get("X-Request-Id"); (got == id) != kept || got == "" {
			t.Errorf("%q became %q", id, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := newSite(t, siteOptions{scheduler: scheduler.Options{MaxRunning: 4}})
	s.chat(`"max_tokens":3`)
	s.chat(`"max_tokens":3,"stream":true`)
	s.chat(`"max_tokens":0`)
	s.get("/v1/models/fake")
	s.get("/v1/models/nobody")
	s.get("/some/path")
	for name, want := range map[string]string{
		`inferflux_requests_total{code="200",endpoint="/v1/chat/completions"}`:      "2",
		`inferflux_requests_total{code="400",endpoint="/v1/chat/completions"}`:      "1",
		`inferflux_requests_total{code="200",endpoint="/v1/models/{id...}"}`:        "1",
		`inferflux_requests_total{code="404",endpoint="/v1/models/{id...}"}`:        "1",
		`inferflux_requests_total{code="404",endpoint="unknown"}`:                   "1",
		`inferflux_prompt_tokens_total{model="fake"}`:                               "50",
		`inferflux_generated_tokens_total{model="fake"}`:                            "6",
		`inferflux_sequences_total{model="fake",reason="length"}`:                   "2",
		`inferflux_time_to_first_token_seconds_count{model="fake"}`:                 "2",
		`inferflux_inter_token_latency_seconds_count{model="fake"}`:                 "4",
		`inferflux_request_duration_seconds_count{endpoint="/v1/chat/completions"}`: "3",
		`inferflux_running_sequences{model="fake"}`:                                 "0",
		`inferflux_queue_length{model="fake"}`:                                      "0",
		`inferflux_kv_capacity_tokens{model="fake"}`:                                "8192",
		`inferflux_kv_reserved_tokens{model="fake"}`:                                "0",
		`inferflux_kv_used_tokens{model="fake"}`:                                    "0",
		`inferflux_kv_used_bytes{model="fake"}`:                                     "0",
		`inferflux_model_ready{model="fake"}`:                                       "1",
		`vllm:num_requests_running{model_name="fake"}`:                              "0",
		`vllm:num_requests_waiting{model_name="fake"}`:                              "0",
		`vllm:kv_cache_usage_perc{model_name="fake"}`:                               "0",
	} {
		s.eventually(name+" is "+want, func() bool { return s.metric(name) == want })
	}
}

func TestIndexAndHealth(t *testing.T) {
	s := newSite(t, siteOptions{})
	if a := s.get("/"); a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), s.url+"/v1") {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
	a := s.get("/healthz")
	for _, part := range []string{`"status":"ok"`, `"version":"test"`, `"id":"fake"`, `"state":"ready"`, `"device":"no device"`} {
		if !strings.Contains(string(a.body), part) {
			t.Errorf("no %s in %s", part, a.body)
		}
	}
}

package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/server"
)

func TestMain(m *testing.M) {
	// MLX's thread stays as long as its library is loaded, which is for good.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/inferflux/inferflux/mlx.(*Library).serve"))
}

const fakeTemplate = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{{ '<|im_start|>assistant\n' }}`

// site is a server with the fake model on a real listener.
type site struct {
	t      *testing.T
	url    string
	engine *fakeEngine
	stop   func()        // begins the shutdown
	done   chan struct{} // closed when Serve has returned
}

type siteOptions struct {
	server    server.Options
	scheduler scheduler.Options
	engine    *fakeEngine
	template  string                                  // default fakeTemplate
	load      func(context.Context) error             // delays or fails the loading
	model     func(scheduler.Options) *generate.Model // instead of the fake one, under its name
}

func newSite(t *testing.T, o siteOptions) *site {
	t.Helper()
	if o.engine == nil {
		o.engine = newFakeEngine()
	}
	models := generate.NewModels()
	o.server.Models = models
	if o.server.Metrics == nil {
		o.server.Metrics = server.NewMetrics(models)
	}
	o.server.Version = "test"
	o.scheduler.Observer = o.server.Metrics.Observer("fake")
	srv, err := server.New(o.server)
	if err != nil {
		t.Fatal(err)
	}
	srv.Intercept(func(next http.Handler) http.Handler { return described(t, next) })
	if o.template == "" {
		o.template = fakeTemplate
	}
	template, err := chat.Parse(o.template, chat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tok := fakeTokenizer(t)
	models.Add(t.Context(), "fake", []string{"default"}, func(ctx context.Context) (*generate.Model, error) {
		if o.load != nil {
			if err := o.load(ctx); err != nil {
				return nil, err
			}
		}
		if o.model != nil {
			return o.model(o.scheduler), nil
		}
		return generate.New(generate.ModelOptions{ID: "fake", Tokenizer: tok, Template: template, Engine: o.engine, Scheduler: o.scheduler}), nil
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &site{t: t, url: "http://" + ln.Addr().String(), engine: o.engine, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		if err := srv.Serve(ctx, ln); err != nil {
			t.Errorf("Serve: %s", err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-s.done
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := models.Close(ctx); err != nil {
			t.Errorf("close the models: %s", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	if o.load == nil {
		s.eventually("ready", func() bool { return s.get("/readyz").StatusCode == http.StatusOK })
	}
	return s
}

// eventually waits for something that another goroutine brings about.
func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.t.Fatalf("still not: %s", what)
}

func (s *site) do(r *http.Request) *answer {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &answer{Response: resp, t: s.t, body: body}
}

func (s *site) request(method, path, body string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) get(path string) *answer { s.t.Helper(); return s.do(s.request("GET", path, "")) }
func (s *site) post(path, body string) *answer {
	s.t.Helper()
	return s.do(s.request("POST", path, body))
}

// chat asks the greedy fake model, with more fields put in.
func (s *site) chat(more string) *answer {
	s.t.Helper()
	return s.post("/v1/chat/completions", chatBody(more))
}

func chatBody(more string) string {
	body := `{"messages":[{"role":"user","content":"Count."}],"temperature":0`
	if strings.Contains(more, `"temperature"`) {
		body = strings.TrimSuffix(body, `,"temperature":0`)
	}
	if more != "" {
		body += "," + more
	}
	return body + "}"
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	t    *testing.T
	body []byte
}

// wire is every field of answers, chunks and errors that the tests look at.
type wire struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
	Choices     []struct {
		Index   int `json:"index"`
		Message struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"message"`
		Delta struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"delta"`
		Text         string          `json:"text"`
		Logprobs     json.RawMessage `json:"logprobs"`
		FinishReason *string         `json:"finish_reason"`
	} `json:"choices"`
	Usage *wireUsage `json:"usage"`
	Error *struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	} `json:"error"`
}

type wireUsage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

func (a *answer) json() wire {
	a.t.Helper()
	var w wire
	if err := json.Unmarshal(a.body, &w); err != nil {
		a.t.Fatalf("status %d, not JSON: %s\n%s", a.StatusCode, err, a.body)
	}
	return w
}

// text is the content of the only choice of an answer that must have succeeded.
func (a *answer) text() string {
	a.t.Helper()
	w := a.json()
	if a.StatusCode != http.StatusOK || len(w.Choices) != 1 {
		a.t.Fatalf("status %d: %s", a.StatusCode, a.body)
	}
	return w.Choices[0].Message.Content + w.Choices[0].Text
}

// events splits a stream. The last one must be [DONE], and is left out, unless
// the stream was cut by an error event.
func (a *answer) events() []wire {
	a.t.Helper()
	if got := a.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		a.t.Fatalf("content type %q: %s", got, a.body)
	}
	var all []wire
	done := false
	lines := bufio.NewScanner(bytes.NewReader(a.body))
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case lines.Text() == "":
		case !ok || done:
			a.t.Fatalf("unexpected line %q", lines.Text())
		case data == "[DONE]":
			done = true
		default:
			var w wire
			if err := json.Unmarshal([]byte(data), &w); err != nil {
				a.t.Fatalf("%s in %s", err, data)
			}
			all = append(all, w)
		}
	}
	if len(all) == 0 || done == (all[len(all)-1].Error != nil) {
		a.t.Fatalf("a stream must end with either [DONE] or an error:\n%s", a.body)
	}
	return all
}

// joined puts a stream's choices together as an unstreamed answer has them.
func joined(events []wire) (texts, finishes map[int]string) {
	texts, finishes = map[int]string{}, map[int]string{}
	for _, e := range events {
		for _, c := range e.Choices {
			texts[c.Index] += c.Delta.Content + c.Text
			if c.FinishReason != nil {
				finishes[c.Index] += *c.FinishReason
			}
		}
	}
	return texts, finishes
}

// metric is the value of one line of /metrics.
func (s *site) metric(name string) string {
	s.t.Helper()
	for line := range strings.Lines(string(s.get("/metrics").body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

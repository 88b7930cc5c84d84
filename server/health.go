package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/inferflux/inferflux/api/openai"
	"github.com/inferflux/inferflux/generate"
)

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// notReady gives the reasons why no request should be sent here; none when all
// is well.
func (s *Server) notReady() []string {
	var reasons []string
	if s.gate.isClosed() {
		reasons = append(reasons, "the server is shutting down")
	}
	for _, e := range s.o.Models.List() {
		if e.State != generate.Ready {
			err := &generate.NotReadyError{ID: e.ID, State: e.State, Err: e.Err}
			reason, _, _ := strings.Cut(err.Error(), "\n") // what follows is a stack
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	reasons := s.notReady()
	if len(reasons) == 0 {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	w.Header().Set("Retry-After", "5")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintf(w, "not ready\n%s\n", strings.Join(reasons, "\n"))
}

// health is the body of /healthz.
type health struct {
	Status  string        `json:"status"` // "ok" or "unavailable"
	Reasons []string      `json:"reasons,omitempty"`
	Version string        `json:"version"`
	Uptime  float64       `json:"uptime_seconds"`
	Models  []modelHealth `json:"models"`
}

type modelHealth struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Error   string `json:"error,omitempty"`
	Backend string `json:"backend,omitempty"`
	Device  string `json:"device,omitempty"`
	Running int    `json:"running"`
	Waiting int    `json:"waiting"`
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	h := health{Status: "ok", Reasons: s.notReady(), Version: s.o.Version, Uptime: time.Since(s.started).Seconds(), Models: []modelHealth{}}
	status := http.StatusOK
	if len(h.Reasons) > 0 {
		h.Status, status = "unavailable", http.StatusServiceUnavailable
	}
	for _, e := range s.o.Models.List() {
		m := modelHealth{ID: e.ID, State: e.State.String()}
		if e.Err != nil {
			m.Error, _, _ = strings.Cut(e.Err.Error(), "\n") // what follows is a stack
		}
		if e.Model != nil {
			d, stats := e.Model.Engine().Description(), e.Model.Scheduler().Stats()
			m.Backend, m.Device, m.Running, m.Waiting = d.Name, d.Device, stats.Running, stats.Waiting
		}
		h.Models = append(h.Models, m)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(h)
}

func index(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, `InferFlux serves language models over the OpenAI API.

  POST /v1/chat/completions   a conversation
  POST /v1/completions        raw text, continued
  GET  /v1/models             what is served
  GET  /healthz               version and state of the models
  GET  /metrics               Prometheus
  GET  /openapi.json          all that there is, as an OpenAPI document

Try:

  curl http://%s/v1/chat/completions -d '{"messages":[{"role":"user","content":"Hello!"}]}'

OpenAI clients: set the base URL to http://%[1]s/v1
`, r.Host)
}

// notFound answers every path that nothing is registered for.
func notFound(w http.ResponseWriter, r *http.Request) {
	hint := "the API is under /v1/: see /"
	for _, known := range []string{"/chat/completions", "/completions", "/models"} {
		if strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), known) {
			hint = "did you mean /v1" + known + "?"
			break
		}
	}
	path := r.URL.Path
	if len(path) > 64 {
		path = strings.ToValidUTF8(path[:64], "") + "…"
	}
	e := &openai.Error{
		Status: http.StatusNotFound, Type: openai.TypeInvalidRequest, Code: "unknown_url",
		Message: fmt.Sprintf("nothing is served at %s %s; %s", r.Method, path, hint),
	}
	e.Write(w)
}

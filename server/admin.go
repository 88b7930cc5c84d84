package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/inferflux/inferflux/api/openai"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/sample"
)

// listed is how many entries of a cache are shown.
const listed = 100

// admin adds the endpoints by which an operator looks after the caches:
//
//	GET  /v1/admin/cache         what each model holds of ended requests
//	POST /v1/admin/cache/clear   {"model": …} gives it up; of all models without one
//	POST /v1/admin/cache/warm    {"model": …, "prompt": …} computes the KV of a text, to be held
func (s *Server) admin(mux *http.ServeMux) {
	for path, h := range map[string]struct {
		method string
		handle func(w http.ResponseWriter, r *http.Request) error
	}{
		"/v1/admin/cache":       {http.MethodGet, s.showCache},
		"/v1/admin/cache/clear": {http.MethodPost, s.clearCache},
		"/v1/admin/cache/warm":  {http.MethodPost, s.warmCache},
	} {
		mux.HandleFunc(h.method+" "+path, func(w http.ResponseWriter, r *http.Request) {
			if err := h.handle(w, r); err != nil {
				openai.WriteError(w, err)
			}
		})
		mux.HandleFunc(path, openai.MethodNotAllowed(h.method))
	}
}

// cacheState is what one model holds.
type cacheState struct {
	Model         string       `json:"model"`
	Entries       int          `json:"entries"`
	Tokens        int          `json:"tokens"`
	EvictedTokens uint64       `json:"evicted_tokens"`
	Held          []cacheEntry `json:"held"` // those used last
}

type cacheEntry struct {
	Tokens int       `json:"tokens"`
	Begins string    `json:"begins"` // the text of its first tokens
	Used   time.Time `json:"used"`
	Hits   int       `json:"hits"`
}

func (s *Server) showCache(w http.ResponseWriter, r *http.Request) error {
	states := []cacheState{}
	for _, e := range s.o.Models.List() {
		if e.State != generate.Ready {
			continue
		}
		stats := e.Model.Scheduler().Stats().Prefix
		state := cacheState{Model: e.ID, Entries: stats.Entries, Tokens: stats.Tokens, EvictedTokens: stats.EvictedTokens, Held: []cacheEntry{}}
		entries, err := e.Model.Scheduler().Prefixes(r.Context(), listed)
		if err != nil {
			return err
		}
		for _, p := range entries {
			state.Held = append(state.Held, cacheEntry{
				Tokens: len(p.Tokens), Begins: e.Model.Tokenizer().Decode(p.Tokens[:min(24, len(p.Tokens))]), Used: p.Used.UTC(), Hits: p.Hits,
			})
		}
		states = append(states, state)
	}
	return reply(w, map[string]any{"models": states})
}

// adminRequest is the body of what changes a cache.
type adminRequest struct {
	Model  string `json:"model"`
	Prompt string `json:"prompt"`
}

func decodeAdmin(r *http.Request) (a adminRequest, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil && !errors.Is(err, io.EOF) {
		return a, &openai.Error{Status: http.StatusBadRequest, Type: openai.TypeInvalidRequest, Message: fmt.Sprintf("the body must be an object with \"model\" and, to warm, \"prompt\": %s", err)}
	}
	return a, nil
}

func (s *Server) clearCache(w http.ResponseWriter, r *http.Request) error {
	a, err := decodeAdmin(r)
	if err != nil {
		return err
	}
	var models []*generate.Model
	if a.Model != "" {
		m, err := s.o.Models.Get(a.Model)
		if err != nil {
			return err
		}
		models = append(models, m)
	} else {
		for _, e := range s.o.Models.List() {
			if e.State == generate.Ready {
				models = append(models, e.Model)
			}
		}
	}
	cleared := 0
	for _, m := range models {
		n, err := m.Scheduler().ClearPrefixes(r.Context(), true, "")
		if err != nil {
			return err
		}
		cleared += n
	}
	return reply(w, map[string]any{"cleared_entries": cleared})
}

func (s *Server) warmCache(w http.ResponseWriter, r *http.Request) error {
	a, err := decodeAdmin(r)
	if err != nil {
		return err
	}
	m, err := s.o.Models.Get(a.Model)
	if err != nil {
		return err
	}
	if a.Prompt == "" {
		return &openai.Error{Status: http.StatusBadRequest, Type: openai.TypeInvalidRequest, Param: "prompt", Message: `"prompt" must be the text to compute`}
	}
	stream, err := m.Generate(r.Context(), generate.Request{Prompt: m.RawPrompt(a.Prompt), Sampling: sample.Defaults(), MaxTokens: 1})
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		if _, err := stream.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	u := stream.Usage()
	return reply(w, map[string]any{"prompt_tokens": u.PromptTokens, "cached_tokens": u.CachedTokens})
}

func reply(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

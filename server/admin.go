package server

import (
	"encoding/json"
	"errors"
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
//	GET  /v1/admin/cache          what each model holds of ended requests
//	POST /v1/admin/cache/clear    {"model": …} gives it up, what is stored too; of all models without one
//	POST /v1/admin/cache/warm     {"model": …, "prompt": …} computes the KV of a text, to be held
//	POST /v1/admin/cache/save     {"model": …} stores what is held in memory and on disk
//	POST /v1/admin/cache/restore  {"model": …} holds what is stored, as far as there is room
//	POST /v1/admin/cache/export   {"model": …, "prompt": …} answers with the KV of a text
//	POST /v1/admin/cache/import   ?model=… holds the KV in the body
func (s *Server) admin(mux openai.Mux) {
	for path, h := range map[string]struct {
		method string
		handle func(w http.ResponseWriter, r *http.Request) error
	}{
		"/v1/admin/cache":         {http.MethodGet, s.showCache},
		"/v1/admin/cache/clear":   {http.MethodPost, s.clearCache},
		"/v1/admin/cache/warm":    {http.MethodPost, s.warmCache},
		"/v1/admin/cache/save":    {http.MethodPost, s.saveCache},
		"/v1/admin/cache/restore": {http.MethodPost, s.restoreCache},
		"/v1/admin/cache/export":  {http.MethodPost, s.exportCache},
		importPath:                {http.MethodPost, s.importCache},
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

// modelRequest is the body of what changes a cache, or all of them.
type modelRequest struct {
	Model string `json:"model"`
}

// promptRequest is about a prompt: a text, or its tokens.
type promptRequest struct {
	modelRequest
	Prompt string  `json:"prompt"`
	Tokens []int32 `json:"tokens"`
}

// decodeAdmin reads a body, which may be left out.
func decodeAdmin(r *http.Request, to any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil && !errors.Is(err, io.EOF) {
		return openai.NewError(http.StatusBadRequest, openai.TypeInvalidRequest, "the body must be an object with \"model\" and, to warm and export, \"prompt\" or \"tokens\": %s", err)
	}
	return nil
}

// named is the models that a request is about.
func (s *Server) named(r *http.Request) ([]*generate.Model, error) {
	var a modelRequest
	if err := decodeAdmin(r, &a); err != nil {
		return nil, err
	}
	if a.Model != "" {
		m, err := s.o.Models.Get(a.Model)
		return []*generate.Model{m}, err
	}
	var all []*generate.Model
	for _, e := range s.o.Models.List() {
		if e.State == generate.Ready {
			all = append(all, e.Model)
		}
	}
	return all, nil
}

func (s *Server) clearCache(w http.ResponseWriter, r *http.Request) error {
	models, err := s.named(r)
	if err != nil {
		return err
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
	_, _, u, err := s.compute(r)
	if err != nil {
		return err
	}
	return reply(w, map[string]any{"prompt_tokens": u.PromptTokens, "cached_tokens": u.CachedTokens})
}

// compute has a model read a request's prompt, so that it is held for the key that asks.
func (s *Server) compute(r *http.Request) (m *generate.Model, ids []int32, u generate.Usage, err error) {
	var a promptRequest
	if err := decodeAdmin(r, &a); err != nil {
		return nil, nil, u, err
	}
	if m, err = s.o.Models.Get(a.Model); err != nil {
		return nil, nil, u, err
	}
	ids = a.Tokens
	if (a.Prompt == "") == (len(ids) == 0) {
		e := openai.NewError(http.StatusBadRequest, openai.TypeInvalidRequest, `"prompt" must be the text to compute, or "tokens" its tokens`)
		e.Param = "prompt"
		return nil, nil, u, e
	}
	if len(ids) == 0 {
		ids = m.RawPrompt(a.Prompt)
	}
	stream, err := m.Generate(r.Context(), generate.Request{Prompt: ids, Sampling: sample.Defaults(), MaxTokens: 1, Tenant: openai.TenantOf(r.Context())})
	if err != nil {
		return nil, nil, u, err
	}
	defer stream.Close()
	for {
		if _, err := stream.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, u, err
		}
	}
	return m, ids, stream.Usage(), nil
}

func reply(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

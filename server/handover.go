package server

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/inferflux/inferflux/api/openai"
	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

// importPath takes bodies as large as a sequence's keys and values.
const importPath = "/v1/admin/cache/import"

// exportCache computes the KV of a text, unless it is held, and answers with it.
func (s *Server) exportCache(w http.ResponseWriter, r *http.Request) error {
	m, ids, _, err := s.compute(r)
	if err != nil {
		return err
	}
	if !m.Engine().Capabilities().KVExport {
		return conflict("model %q runs on backend %s, which can't export sequences", m.ID(), m.Choice().Backend)
	}
	data, err := m.Scheduler().Export(r.Context(), openai.TenantOf(r.Context()), ids)
	if err != nil {
		return handoverError(err)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, err = w.Write(data)
	if err != nil {
		panic(http.ErrAbortHandler) // the client sees that it isn't whole
	}
	return nil
}

// importCache holds a sequence that another server, or this one, exported.
func (s *Server) importCache(w http.ResponseWriter, r *http.Request) error {
	m, err := s.o.Models.Get(r.URL.Query().Get("model"))
	if err != nil {
		return err
	}
	if !m.Engine().Capabilities().KVExport {
		return conflict("model %q runs on backend %s, which can't import sequences", m.ID(), m.Choice().Backend)
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return openai.BodyError(err)
	}
	n, err := m.Scheduler().Import(r.Context(), openai.TenantOf(r.Context()), data)
	if err != nil {
		return handoverError(err)
	}
	return reply(w, map[string]any{"tokens": n})
}

// saveCache stores what models hold, and restoreCache gets it back.
func (s *Server) saveCache(w http.ResponseWriter, r *http.Request) error {
	return s.transfer(w, r, (*scheduler.Scheduler).Save, "saved")
}

func (s *Server) restoreCache(w http.ResponseWriter, r *http.Request) error {
	return s.transfer(w, r, (*scheduler.Scheduler).Restore, "restored")
}

func (s *Server) transfer(w http.ResponseWriter, r *http.Request, do func(*scheduler.Scheduler, context.Context) (entries, tokens int, err error), done string) error {
	models, err := s.named(r)
	if err != nil {
		return err
	}
	var entries, tokens int
	for _, m := range models {
		e, t, err := do(m.Scheduler(), r.Context())
		if err != nil {
			return handoverError(err)
		}
		entries, tokens = entries+e, tokens+t
	}
	return reply(w, map[string]any{done + "_entries": entries, done + "_tokens": tokens})
}

// mostImport is how large a sequence can be for any model.
func (s *Server) mostImport() int64 {
	most := s.o.MaxBodyBytes
	for _, e := range s.o.Models.List() {
		if e.State == generate.Ready {
			most = max(most, e.Model.Scheduler().MostHandover())
		}
	}
	return most
}

func conflict(format string, args ...any) error {
	return openai.NewError(http.StatusConflict, openai.TypeInvalidRequest, format, args...)
}

// handoverError says what a client can do about an error of handing over.
func handoverError(err error) error {
	switch {
	case errors.Is(err, backend.ErrKVFormat):
		return openai.NewError(http.StatusBadRequest, openai.TypeInvalidRequest, "the body can't be used: %s", err)
	case errors.Is(err, backend.ErrKVFull):
		return openai.NewError(http.StatusServiceUnavailable, openai.TypeUnavailable, "there is no room for the sequence beside those that run: %s", err)
	case errors.Is(err, scheduler.ErrNotHeld):
		return conflict("%s: it is too short, runtime.kv.prefix_cache is off, or it had to give way to running requests: try again", err)
	case errors.Is(err, scheduler.ErrNoStore):
		return conflict("%s", err)
	}
	return err
}

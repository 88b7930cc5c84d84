package openai

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
)

// Endpoint is a route that takes a body, with the fields that its body may have.
type Endpoint struct {
	Path   string
	Fields []Field
}

// Endpoints lists the routes that take a body. A field of /tokenize and /apply-template
// may also be any of /v1/chat/completions.
func Endpoints() []Endpoint {
	in := func(e endpoint) (known []Field) {
		for _, f := range fields {
			if f.knownTo(e) {
				known = append(known, f)
			}
		}
		return known
	}
	return []Endpoint{
		{"/v1/chat/completions", in(chatEndpoint)},
		{"/v1/completions", in(completionEndpoint)},
		{"/v1/embeddings", described(embedFields)},
		{"/v1/rerank", described(rerankFields)},
		{"/v1/score", described(scoreFields)},
		{"/tokenize", described(tokenizeFields)},
		{"/detokenize", described(detokenizeFields)},
		{"/apply-template", in(chatEndpoint)},
	}
}

// fieldOf is a field of a body that is decoded into a T: of an endpoint that doesn't
// generate.
type fieldOf[T any] struct {
	Field
	into func(r *T, path string, raw json.RawMessage) *Error
}

func described[T any](table []fieldOf[T]) []Field {
	all := make([]Field, len(table))
	for i, f := range table {
		all[i] = f.Field
	}
	return all
}

// decodeFields reads those fields of a body that are in a table, and returns the others.
// Given are those that aren't null.
func decodeFields[T any](body []byte, table []fieldOf[T], r *T) (given map[string]bool, others map[string]json.RawMessage, err *Error) {
	object, err := parseObject(body)
	if err != nil {
		return nil, nil, err
	}
	given = map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		i := slices.IndexFunc(table, func(f fieldOf[T]) bool { return f.Name == name })
		if i < 0 {
			continue
		}
		raw := object[name]
		delete(object, name)
		if isNull(raw) || table[i].Treatment == Ignored {
			continue
		}
		given[name] = true
		if err := table[i].into(r, name, raw); err != nil {
			return nil, nil, err
		}
	}
	return given, object, nil
}

// noOthers refuses fields that an endpoint doesn't know.
func noOthers(others map[string]json.RawMessage) *Error {
	for _, name := range slices.Sorted(maps.Keys(others)) {
		err := badRequest(shorten(name), "unknown field %q: see docs/API.md for the fields of this endpoint", shorten(name))
		err.Code = "unknown_parameter"
		return err
	}
	return nil
}

// plain is the handler of an endpoint that answers a body with an object.
func (a *API) plain(answer func(ctx context.Context, body []byte) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			asError(BodyError(err)).Write(w)
			return
		}
		v, err := answer(r.Context(), body)
		if err == nil {
			writeJSON(w, http.StatusOK, v)
			return
		}
		e := asError(whyEnded(r.Context(), err))
		if e.Status == http.StatusInternalServerError {
			a.logFailure(r.Context(), err)
		}
		e.Write(w)
	}
}

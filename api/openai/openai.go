// Package openai is the OpenAI dialect: its wire types and its handlers.
//
//	POST /v1/chat/completions   a conversation, through the model's chat template
//	POST /v1/completions        raw text or token ids, continued as they are
//	POST /v1/embeddings         texts to vectors
//	POST /v1/rerank, /v1/score  how well texts fit a query, or each other
//	POST /tokenize              text, or a conversation, to token ids
//	POST /detokenize            and back
//	POST /apply-template        a conversation to the text that the model is given
//	GET  /v1/models             what is served
//	GET  /v1/models/{id}        one of them, by id or alias
//
// [API.Register] puts them on a ServeMux; authentication, limits and metrics
// are package server's. The official clients of OpenAI work unchanged.
//
// # Fields
//
// Every field of a request is honoured, or ignored because [Fields] says so, or
// answered with a 400 that names it. The decoder runs on that same list, and
// docs/API.md is made from it.
//
// # Streaming
//
// A stream begins with the first text: until then an error still gets its
// status. Later errors are sent as an event {"error":…} after which the stream
// ends without a finish_reason and without [DONE]. When the client goes away the
// request's context ends, which cancels its sequences.
package openai

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/inferflux/inferflux/generate"
)

//go:generate go run ./gen ../../docs/API.md

// Options configures an API.
type Options struct {
	Models *generate.Models
	// Logger gets the causes of 5xx answers; nil discards them.
	Logger *slog.Logger
	// Version of the program; part of system_fingerprint.
	Version string
}

// API is the handlers of the dialect.
type API struct {
	models  *generate.Models
	log     *slog.Logger
	version string
}

// New makes the handlers.
func New(o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &API{models: o.Models, log: o.Logger, version: o.Version}
}

// Mux is where routes are put: an [http.ServeMux], or a list of them.
type Mux interface {
	HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request))
}

// Register adds the routes to mux. A known path with the wrong method gets 405.
func (a *API) Register(mux Mux) {
	route(mux, http.MethodPost, "/v1/chat/completions", a.generate(chatEndpoint))
	route(mux, http.MethodPost, "/v1/completions", a.generate(completionEndpoint))
	route(mux, http.MethodPost, "/v1/embeddings", a.plain(a.embeddings))
	route(mux, http.MethodPost, "/v1/rerank", a.plain(a.rerank))
	route(mux, http.MethodPost, "/v1/score", a.plain(a.score))
	route(mux, http.MethodPost, "/tokenize", a.plain(a.tokenize))
	route(mux, http.MethodPost, "/detokenize", a.plain(a.detokenize))
	route(mux, http.MethodPost, "/apply-template", a.plain(a.applyTemplate))
	route(mux, http.MethodGet, "/v1/models", a.listModels)
	// Ids may hold slashes.
	route(mux, http.MethodGet, "/v1/models/{id...}", a.getModel)
}

func route(mux Mux, method, path string, h http.HandlerFunc) {
	mux.HandleFunc(method+" "+path, h)
	mux.HandleFunc(path, MethodNotAllowed(method))
}

// MethodNotAllowed answers 405 and names the methods that are allowed.
func MethodNotAllowed(allowed ...string) http.HandlerFunc {
	allow := strings.Join(allowed, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		e := &Error{
			Status: http.StatusMethodNotAllowed, Type: TypeInvalidRequest, Code: "method_not_allowed",
			Message: r.Method + " is not allowed on " + shorten(r.URL.Path) + ": use " + allow,
		}
		e.Write(w)
	}
}

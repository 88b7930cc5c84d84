// Package server is the HTTP server: it assembles the API dialects, and adds
// what all of them need.
//
//	/v1/…       the OpenAI dialect (package api/openai)
//	/livez      200 as long as the process answers
//	/readyz     200 when every model is loaded and no drain has begun; else 503 with the reasons
//	/healthz    the same in JSON, with version and models
//	/metrics    Prometheus
//	/openapi.json  all of them, as an OpenAPI document
//	/           what this is, for people
//
// # Keys
//
// With [Options.APIKeys], every path but /, /livez and /readyz wants an
// Authorization: Bearer header with one of them. Without keys, a server that
// listens on a loopback address answers only to a Host header that is an address
// or localhost, so that no web page can reach it by pointing its own name there.
// [Options.AdminKeys] are for /v1/admin/… too, which shows and moves what is cached of
// everybody's requests.
// Cross-origin requests of browsers are refused, and no CORS headers are sent.
//
// # Slow and stuck clients
//
// Headers and bodies must arrive in time ([Options.ReadTimeout]), and every write
// of an answer must be taken in time ([Options.WriteTimeout]): a client that stops
// reading loses its connection, and with it its sequence.
//
// # Shutting down
//
// When the context of [Server.Serve] ends, running answers finish, new requests
// get 503, and /readyz turns 503. After [Options.DrainTimeout] what still runs is
// cut with an error.
package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/inferflux/inferflux/api/openai"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

// Options configures a Server. A zero value means the default.
type Options struct {
	Models  *generate.Models // required
	Metrics *Metrics         // nil: a fresh one, which no scheduler reports to
	Logger  *slog.Logger     // nil: discard
	APIKeys []string         // none: no authentication
	// AdminKeys are API keys too, and may use /v1/admin/…, as a single API key may, and
	// everybody where there are none.
	AdminKeys []string
	Version   string
	// PrefixPerKey has requests use only what others with the same API key have left
	// in the cache of prefixes.
	PrefixPerKey bool

	MaxBodyBytes int64         // of one request; default 10 MiB
	ReadTimeout  time.Duration // for the headers, and again for the body; default 30 s
	WriteTimeout time.Duration // for one write to be taken; default 30 s
	IdleTimeout  time.Duration // of a kept-alive connection; default 2 min
	DrainTimeout time.Duration // for running answers at shutdown; default 30 s
}

// Server is the HTTP server. Make it with [New].
type Server struct {
	o       Options
	keys    [][sha256.Size]byte // those of administrators last
	users   int                 // how many of them aren't administrators'
	handler http.Handler
	gate    *gate
	started time.Time
}

// New assembles the server.
func New(o Options) (*Server, error) {
	if o.Models == nil {
		return nil, errors.New("make the server: no models given")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(o.Models)
	}
	if o.Version == "" {
		o.Version = "unknown"
	}
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 10 << 20
	}
	for _, d := range []struct {
		value *time.Duration
		unset time.Duration
	}{
		{&o.ReadTimeout, 30 * time.Second},
		{&o.WriteTimeout, 30 * time.Second},
		{&o.IdleTimeout, 2 * time.Minute},
		{&o.DrainTimeout, 30 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.unset
		}
	}
	s := &Server{o: o, gate: newGate(), started: time.Now()}
	s.users = len(o.APIKeys)
	for i, key := range slices.Concat(o.APIKeys, o.AdminKeys) {
		if key == "" {
			return nil, fmt.Errorf("make the server: API key %d is empty", i+1)
		}
		s.keys = append(s.keys, sha256.Sum256([]byte(key)))
	}
	s.o.APIKeys, s.o.AdminKeys = nil, nil // only their hashes are needed from here on

	mux := http.NewServeMux()
	s.routes(mux)
	s.handler = s.observe(s.recoverPanics(s.protect(s.limit(mux))))
	return s, nil
}

// routes puts all routes on mux.
func (s *Server) routes(mux openai.Mux) {
	s.admin(mux)
	openai.New(openai.Options{Models: s.o.Models, Logger: s.o.Logger, Version: s.o.Version}).Register(mux)
	for path, h := range map[string]http.HandlerFunc{
		"/livez":        s.livez,
		"/readyz":       s.readyz,
		"/healthz":      s.healthz,
		"/metrics":      s.o.Metrics.ServeHTTP,
		"/openapi.json": serveOpenAPI,
		"/{$}":          index,
	} {
		mux.HandleFunc("GET "+path, h)
		mux.HandleFunc(path, openai.MethodNotAllowed(http.MethodGet))
	}
	mux.HandleFunc("/", notFound)
}

// Handler is the whole server as a handler, for tests and for embedding.
func (s *Server) Handler() http.Handler { return s.handler }

// ErrInterrupted is a cause for the end of [Server.Serve]'s context by which running
// answers are cut instead of drained.
var ErrInterrupted = errors.New("interrupted")

// Serve answers on ln until ctx ends, drains, and closes ln. It returns nil after
// a shutdown, even one that had to cut answers.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.o.ReadTimeout,
		IdleTimeout:       s.o.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	timeout := s.o.DrainTimeout
	if errors.Is(context.Cause(ctx), ErrInterrupted) {
		timeout = 0
	}
	s.drain(timeout, cut)
	// Whatever generated is over; what is left is idle or answers at once.
	last, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		_ = srv.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
	}
	return nil
}

// drain closes the gate and waits for the requests inside, no longer than
// timeout; then it cuts them.
func (s *Server) drain(timeout time.Duration, cut context.CancelCauseFunc) {
	running := s.gate.close()
	s.o.Logger.Info("draining", "running_requests", running, "timeout", timeout)
	select {
	case <-s.gate.empty:
		return
	case <-time.After(timeout):
	}
	s.o.Logger.Warn("running requests are cut", "after", timeout)
	cut(scheduler.ErrStopped)
	select {
	case <-s.gate.empty:
	case <-time.After(time.Second): // for their error to be written
	}
}

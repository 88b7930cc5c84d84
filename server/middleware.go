package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/inferflux/inferflux/api/openai"
)

// observe gives a request its id and its deadlines, and logs and counts it.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := requestID(r)
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		rec := newResponseWriter(w, s.o.WriteTimeout)
		rec.extend() // the deadline of the connection's last answer may be over
		defer func() {
			took := time.Since(start)
			endpoint := endpointOf(r)
			s.o.Metrics.request(endpoint, rec.Status(), took)
			level := slog.LevelInfo
			if isProbe(endpoint) && rec.Status() < 500 {
				level = slog.LevelDebug
			}
			s.o.Logger.LogAttrs(r.Context(), level, "request",
				slog.String("id", id),
				slog.String("method", r.Method),
				slog.String("path", r.URL.Path), // never the query: keys end up there
				slog.Int("status", rec.Status()),
				slog.Int64("bytes", rec.written),
				slog.Duration("took", took),
				slog.String("remote", r.RemoteAddr))
		}()
		next.ServeHTTP(rec, r)
	})
}

// endpointOf is the route that the mux chose, without its method: a label of
// few values, whatever paths clients ask for.
func endpointOf(r *http.Request) string {
	pattern := r.Pattern
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = path
	}
	switch pattern {
	case "":
		return "refused" // before it reached the mux
	case "/":
		return "unknown"
	case "/{$}":
		return "/"
	}
	return pattern
}

func isProbe(endpoint string) bool {
	switch endpoint {
	case "/livez", "/readyz", "/healthz", "/metrics":
		return true
	}
	return false
}

// requestID is the client's own X-Request-Id if it is harmless, or a fresh one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"
	if id == "" || len(id) > 128 || strings.Trim(id, harmless) != "" {
		return "req_" + rand.Text()
	}
	return id
}

// recoverPanics turns a panic of a handler into a 500, or into a cut connection
// where the answer has begun.
func (s *Server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			s.o.Logger.ErrorContext(r.Context(), "a handler panicked", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			if rec, ok := w.(*responseWriter); ok && rec.status != 0 {
				panic(http.ErrAbortHandler) // the client must see that the answer is not whole
			}
			e := &openai.Error{
				Status: http.StatusInternalServerError, Type: openai.TypeServer, Code: "internal_error",
				Message: "the server failed on this request; its log says where",
			}
			e.Write(w)
		}()
		next.ServeHTTP(w, r)
	})
}

// protect checks the key, and keeps browsers of other origins out.
func (s *Server) protect(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/livez" || r.URL.Path == "/readyz":
		case len(s.keys) == 0 && !hostAllowed(r):
			forbidden(w, "the Host header names neither an address nor localhost: configure an API key to serve under a name")
			return
		case crossOrigin.Check(r) != nil:
			forbidden(w, "requests from web pages of another origin are refused")
			return
		case r.URL.Path == "/" || len(s.keys) == 0:
		default:
			key := s.keyOf(r)
			if key < 0 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				e := &openai.Error{
					Status: http.StatusUnauthorized, Type: openai.TypeInvalidRequest, Code: "invalid_api_key",
					Message: "a valid API key is needed: send it as \"Authorization: Bearer KEY\"",
				}
				e.Write(w)
				return
			}
			if strings.HasPrefix(r.URL.Path, "/v1/admin/") && !s.mayAdminister(key) {
				forbidden(w, "this key may not administer the server: use one of server.admin_keys")
				return
			}
			client, tenant := strconv.Itoa(key), ""
			if s.o.PrefixPerKey {
				tenant = client
			}
			r = r.WithContext(openai.WithCaller(r.Context(), client, tenant))
		}
		next.ServeHTTP(w, r)
	})
}

// mayAdminister is true for an admin key, or for the only key there is: where several
// people have keys, what one has asked is none of another's business.
func (s *Server) mayAdminister(key int) bool { return key >= s.users || len(s.keys) == 1 }

func forbidden(w http.ResponseWriter, why string) {
	e := &openai.Error{Status: http.StatusForbidden, Type: openai.TypeInvalidRequest, Code: "forbidden", Message: why}
	e.Write(w)
}

// keyOf is the number of the key that a request came with, -1 if it has none of them. It
// compares hashes, and all of them, so that the time it takes says nothing about the keys.
func (s *Server) keyOf(r *http.Request) int {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return -1
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
	match := -1
	for i := range s.keys {
		match = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], s.keys[i][:]), i, match)
	}
	return match
}

// hostAllowed is false for a request that reached a loopback address under a
// name: a web page whose name was pointed at this machine sends such.
func hostAllowed(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return true
	}
	if tcp, ok := local.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil
}

// limit bounds a request's body in size and time, and lets requests that
// generate in only while no drain has begun.
func (s *Server) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if !s.gate.enter() {
				w.Header().Set("Connection", "close")
				openai.ShuttingDown().Write(w)
				return
			}
			defer s.gate.leave()
		}
		if r.Body != nil && r.Body != http.NoBody {
			control := http.NewResponseController(w)
			// Not every ResponseWriter has deadlines; a test's recorder doesn't.
			_ = control.SetReadDeadline(time.Now().Add(s.o.ReadTimeout))
			most := s.o.MaxBodyBytes
			if r.URL.Path == importPath {
				most = s.mostImport()
			}
			limited := http.MaxBytesReader(unwrap(w), r.Body, most)
			r.Body = &timedBody{ReadCloser: limited, control: control}
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the read deadline at the end of the body: from then on the
// connection is read only to notice that the client has gone.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

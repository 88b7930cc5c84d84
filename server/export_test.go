package server

import "net/http"

// Intercept puts a handler around the whole server.
func (s *Server) Intercept(around func(http.Handler) http.Handler) { s.handler = around(s.handler) }

// Routes lists the patterns that the server registers.
func Routes(s *Server) []string {
	var r recorder
	s.routes(&r)
	return r
}

type recorder []string

func (r *recorder) HandleFunc(pattern string, _ func(http.ResponseWriter, *http.Request)) {
	*r = append(*r, pattern)
}

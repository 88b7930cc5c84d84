package server

import (
	_ "embed"
	"net/http"
	"strconv"
)

// openAPI describes the HTTP API: an OpenAPI 3.1 document, written by hand. Every answer and
// every event of a stream in this package's tests is held against it.
//
//go:embed openapi.json
var openAPI []byte

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(openAPI)))
	_, _ = w.Write(openAPI) // a client that is gone can't be told so
}

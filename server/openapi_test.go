package server_test

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/inferflux/inferflux/api/openai"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/server"
)

//go:embed openapi.json
var openAPI []byte

// apiDocument is openapi.json, with its schemas compiled as they are needed. Objects that
// it describes may have no other properties than it names.
type apiDocument struct {
	paths map[string]any
	mux   *http.ServeMux // from paths to the document's

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by pointer
}

var document = sync.OnceValue(func() *apiDocument {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		panic(err)
	}
	closeObjects(root.(map[string]any)["components"])
	d := &apiDocument{
		paths: root.(map[string]any)["paths"].(map[string]any),
		mux:   http.NewServeMux(), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{},
	}
	if err := d.compiler.AddResource("openapi.json", root); err != nil {
		panic(err)
	}
	for path := range d.paths {
		pattern := strings.ReplaceAll(path, "}", "...}")
		if path == "/" {
			pattern = "/{$}"
		}
		d.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Path", path) })
	}
	return d
})

func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["properties"].(map[string]any); ok && v["type"] == "object" && v["additionalProperties"] == nil {
			v["additionalProperties"] = false
		}
		for _, x := range v {
			closeObjects(x)
		}
	case []any:
		for _, x := range v {
			closeObjects(x)
		}
	}
}

// pointer writes a JSON pointer.
func pointer(parts ...string) string {
	var p strings.Builder
	for _, part := range parts {
		p.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	return p.String()
}

// validate holds JSON against the schema at a pointer.
func (d *apiDocument) validate(at string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	schema := d.schemas[at]
	if schema == nil {
		where := url.URL{Path: "openapi.json", Fragment: at}
		var err error
		if schema, err = d.compiler.Compile(where.String()); err != nil {
			return err
		}
		d.schemas[at] = schema
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// find gives the document's path and operation of a request; nil if it has none.
func (d *apiDocument) find(r *http.Request) (path string, operation map[string]any) {
	h, pattern := d.mux.Handler(r)
	if pattern == "" {
		return "", nil
	}
	var w headerOnly
	h.ServeHTTP(&w, r)
	path = w.Header().Get("Path")
	operation, _ = d.paths[path].(map[string]any)[strings.ToLower(r.Method)].(map[string]any)
	return path, operation
}

type headerOnly struct{ header http.Header }

func (h *headerOnly) Header() http.Header {
	if h.header == nil {
		h.header = http.Header{}
	}
	return h.header
}
func (h *headerOnly) Write(p []byte) (int, error) { return len(p), nil }
func (h *headerOnly) WriteHeader(int)             {}

// check holds an answer against the document, and the body of a request that was
// answered well.
func (d *apiDocument) check(r *http.Request, request []byte, status int, header http.Header, body []byte) error {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	path, operation := d.find(r)
	if operation == nil {
		if status < 400 {
			return fmt.Errorf("status %d, though the document has no such operation", status)
		}
		return d.validate(pointer("components", "schemas", "Error"), body)
	}
	at := []string{"paths", path, strings.ToLower(r.Method)}
	response, _ := operation["responses"].(map[string]any)[fmt.Sprint(status)].(map[string]any)
	if response == nil {
		return fmt.Errorf("the document has no status %d", status)
	}
	content, _ := response["content"].(map[string]any)
	if content[kind] == nil {
		return fmt.Errorf("the document has no content type %q for status %d", kind, status)
	}
	at = append(at, "responses", fmt.Sprint(status), "content", kind, "schema")
	takes, _ := operation["requestBody"].(map[string]any)
	if taken, _ := takes["content"].(map[string]any); taken["application/json"] != nil && status == http.StatusOK && len(request) > 0 {
		if err := d.validate(pointer("paths", path, "post", "requestBody", "content", "application/json", "schema"), request); err != nil {
			return fmt.Errorf("the request was answered, but: %w", err)
		}
	}
	switch kind {
	case "application/json":
		return d.validate(pointer(at...), body)
	case "text/event-stream":
		events := strings.Split(string(body), "\n\n")
		for _, event := range events[:len(events)-1] { // what is cut is no event
			data, ok := strings.CutPrefix(event, "data: ")
			if !ok {
				return fmt.Errorf("the event %q", event)
			}
			if data == "[DONE]" {
				continue
			}
			if err := d.validate(pointer(at...), []byte(data)); err != nil {
				return fmt.Errorf("the event %s: %w", data, err)
			}
		}
	}
	return nil
}

// described holds all that passes through a handler against the document.
func described(t *testing.T, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request bytes.Buffer
		if r.Body != nil {
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.TeeReader(r.Body, &request), r.Body}
		}
		rec := &overheard{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		if r.Context().Err() != nil && rec.body.Len() == 0 {
			return
		}
		if err := document().check(r, request.Bytes(), rec.status, w.Header(), rec.body.Bytes()); err != nil {
			t.Errorf("%s %s %.500s: status %d: openapi.json: %v\n%.500s", r.Method, r.URL.Path, request.Bytes(), rec.status, err, rec.body.Bytes())
		}
	})
}

// overheard keeps a copy of an answer.
type overheard struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (o *overheard) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *overheard) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

func (o *overheard) Write(p []byte) (int, error) {
	o.body.Write(p)
	return o.ResponseWriter.Write(p)
}

// TestDocumentNamesEveryRoute: the document has the routes that the server has, and no
// others.
func TestDocumentNamesEveryRoute(t *testing.T) {
	s, err := server.New(server.Options{Models: generate.NewModels()})
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, pattern := range server.Routes(s) {
		if method, path, ok := strings.Cut(pattern, " "); ok {
			path = strings.NewReplacer("...}", "}", "/{$}", "/").Replace(path)
			want = append(want, method+" "+path)
		}
	}
	for path, item := range document().paths {
		for method := range item.(map[string]any) {
			got = append(got, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the document has\n%s\nthe server has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDocumentNamesEveryField: the same of fields of requests.
func TestDocumentNamesEveryField(t *testing.T) {
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		t.Fatal(err)
	}
	schemas := root.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for _, e := range openai.Endpoints() {
		body := document().paths[e.Path].(map[string]any)["post"].(map[string]any)["requestBody"].(map[string]any)
		ref := body["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)["$ref"].(string)
		schema := schemas[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any)
		got := slices.Sorted(maps.Keys(schema["properties"].(map[string]any)))
		var want []string
		for _, f := range e.Fields {
			want = append(want, f.Name)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the document has the fields\n%v\nthe server has\n%v", e.Path, got, want)
		}
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	s := newSite(t, siteOptions{})
	if a := s.get("/openapi.json"); a.StatusCode != http.StatusOK || !bytes.Equal(a.body, openAPI) {
		t.Errorf("status %d, %d bytes", a.StatusCode, len(a.body))
	}
}

// TestDocumentIsHeldAgainst: what isn't in the document is noticed.
func TestDocumentIsHeldAgainst(t *testing.T) {
	const answer = `{"id":"a","object":"text_completion","created":1,"model":"m","system_fingerprint":"f","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"prompt_tokens_details":{"cached_tokens":0}}}`
	for _, c := range []struct {
		method, path, request string
		status                int
		kind, body            string
		fails                 bool
	}{
		{"POST", "/v1/completions", `{"prompt":"a"}`, 200, "application/json", answer, false},
		{"POST", "/v1/completions", `{"prompt":"a","n":"two"}`, 200, "application/json", answer, true},
		{"POST", "/v1/completions", `{"prompt":"a","nn":2}`, 200, "application/json", answer, true},
		{"POST", "/v1/completions", `{"prompt":"a"}`, 200, "application/json", strings.Replace(answer, `"stop"`, `"eos"`, 1), true},
		{"POST", "/v1/completions", `{"prompt":"a"}`, 200, "application/json", strings.Replace(answer, `"index"`, `"extra":1,"index"`, 1), true},
		{"POST", "/v1/completions", `{"prompt":"a"}`, 201, "application/json", answer, true},
		{"POST", "/v1/completions", `{"prompt":"a"}`, 200, "text/plain", answer, true},
		{"POST", "/v1/completions", `{"prompt":"a"}`, 200, "text/event-stream", "data: " + strings.Replace(answer, `"stop"`, `null`, 1) + "\n\ndata: [DONE]\n\n", false},
		{"POST", "/v1/completions", `{"prompt":"a"}`, 200, "text/event-stream", "data: {}\n\n", true},
		{"POST", "/v1/other", `{}`, 200, "application/json", answer, true},
		{"POST", "/v1/other", `{}`, 404, "application/json", `{"error":{"message":"m","type":"server_error","param":null,"code":null}}`, false},
		{"GET", "/v1/models/a/b", ``, 200, "application/json", `{"object":"list","data":[{}]}`, true},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://localhost"+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		err = document().check(r, []byte(c.request), c.status, http.Header{"Content-Type": {c.kind}}, []byte(c.body))
		if (err != nil) != c.fails {
			t.Errorf("%s %s %d %s: %v", c.path, c.request, c.status, c.body, err)
		}
	}
}

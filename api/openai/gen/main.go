// Command gen writes docs/API.md, the reference page of the HTTP API, from the
// list of fields that the request decoder runs on.
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/api/openai"
)

// page is the prose; lines that begin with %% are replaced by a table.
//
//go:embed page.md
var page string

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	var buf bytes.Buffer
	write(&buf)
	if err := os.WriteFile(os.Args[1], buf.Bytes(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "write the API reference:", err)
		os.Exit(1)
	}
}

func write(w io.Writer) {
	for line := range strings.Lines(page) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "%% fields "); ok {
			fieldsOf(w, path)
			continue
		}
		switch strings.TrimSpace(line) {
		case "%% honoured chat":
			honoured(w, func(f openai.Field) bool { return f.Chat })
		case "%% honoured completions":
			honoured(w, func(f openai.Field) bool { return f.Completions })
		case "%% ignored":
			short(w, openai.Ignored)
		case "%% refused":
			short(w, openai.Refused)
		default:
			_, _ = io.WriteString(w, line)
		}
	}
}

func honoured(w io.Writer, in func(openai.Field) bool) {
	table(w, slices.DeleteFunc(openai.Fields(), func(f openai.Field) bool { return f.Treatment != openai.Honoured || !in(f) }))
}

func fieldsOf(w io.Writer, path string) {
	for _, e := range openai.Endpoints() {
		if e.Path == path {
			table(w, e.Fields)
		}
	}
}

func table(w io.Writer, fields []openai.Field) {
	_, _ = io.WriteString(w, "| field | type | range | default | what it does |\n|---|---|---|---|---|\n")
	for _, f := range fields {
		_, _ = fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", f.Name, f.Type, f.Range, f.Default, f.Behaviour)
	}
}

func short(w io.Writer, t openai.Treatment) {
	_, _ = io.WriteString(w, "| field | why |\n|---|---|\n")
	for _, f := range openai.Fields() {
		if f.Treatment == t {
			_, _ = fmt.Fprintf(w, "| `%s` | %s |\n", f.Name, f.Behaviour)
		}
	}
}

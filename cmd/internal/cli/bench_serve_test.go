package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/inferflux/inferflux/cmd/internal/cli"
)

// benchAgainst runs inferctl bench serve against a handler and returns its one row.
func benchAgainst(t *testing.T, h http.HandlerFunc, prompt string, args ...string) (out map[string]any, failure error) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	root := cli.New("v0.0.0-test")
	var stdout bytes.Buffer
	root.SetOut(&stdout)
	root.SetErr(io.Discard)
	root.SetArgs(append([]string{"bench", "serve", "--server", server.URL, "--json", "-p", prompt, "-n", "4", "--requests", "6", "--concurrency", "2"}, args...))
	failure = root.ExecuteContext(t.Context())
	if stdout.Len() > 0 {
		var rows []map[string]any
		if err := json.Unmarshal(stdout.Bytes(), &rows); err != nil || len(rows) != 1 {
			t.Fatalf("%d rows, error %v", len(rows), err)
		}
		out = rows[0]
	}
	return out, failure
}

func TestBenchCountsWhatServersSend(t *testing.T) {
	const piece = `data: {"choices":[{"delta":{%q:"a"}}]}` + "\n\n"
	role := `data: {"choices":[{"delta":{"role":"assistant","content":""}}]}` + "\n\n"
	done := `data: {"choices":[{"delta":{},"finish_reason":"length"}]}` + "\n\n" + "data: [DONE]\n\n"
	for _, c := range []struct {
		name, answer, countedBy string
		tokens                  float64
	}{
		{"pieces, with comments between", ": keepalive 1/2\n\n" + role + strings.Repeat(fmt.Sprintf(piece, "content"), 3) + done, "pieces", 18},
		{"reasoning", role + fmt.Sprintf(piece, "reasoning_content") + fmt.Sprintf(piece, "reasoning") + done, "pieces", 12},
		{"usage, of more tokens than pieces", fmt.Sprintf(piece, "content") +
			`data: {"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":4}}` + "\n\n" + done, "usage", 24},
		{"nothing", role + done, "pieces", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := benchAgainst(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.answer) }, "40")
			if err != nil {
				t.Fatal(err)
			}
			if out["generated_tokens"] != c.tokens || out["counted_by"] != c.countedBy || out["failed"] != 0.0 {
				t.Errorf("%v", out)
			}
		})
	}
}

// A prompt is as long as the server counts, whatever its vocabulary and template.
func TestBenchFitsPrompts(t *testing.T) {
	for _, perWord := range []int{1, 2, 5} {
		var asked atomic.Int64
		var seen atomic.Value
		seen.Store("")
		out, err := benchAgainst(t, func(w http.ResponseWriter, r *http.Request) {
			var body struct {
				Messages    []struct{ Content string }
				MaxTokens   int  `json:"max_tokens"`
				IgnoreEOS   bool `json:"ignore_eos"`
				Stream      bool
				Temperature *float64
			}
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Messages) != 1 || !body.Stream || body.Temperature == nil || *body.Temperature != 0 {
				t.Errorf("%v: %+v", err, body)
				return
			}
			if n := asked.Add(1); n > 2 && body.MaxTokens != 4 || body.IgnoreEOS {
				t.Errorf("request %d: %+v", n, body)
			}
			text := body.Messages[0].Content
			if seen.Swap(text) == text {
				t.Error("the same prompt twice")
			}
			fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n", 20+perWord*len(strings.Fields(text)))
		}, "300", "--ignore-eos=false")
		if err != nil {
			t.Fatal(err)
		}
		if n := out["mean_prompt_tokens"].(float64); n < 297 || n > 303 {
			t.Errorf("%d tokens a word: prompts of %g tokens, expected 300", perWord, n)
		}
		if n := asked.Load(); n != 2+2+6 {
			t.Errorf("%d requests, expected 2 to fit, 2 to warm up and 6", n)
		}
	}
}

func TestBenchReportsFailures(t *testing.T) {
	const good = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n"
	for _, c := range []struct {
		name, answer string
		status       int
		want         string
	}{
		{"refused", `{"error":{"message":"too much to do"}}`, 429, "too much to do"},
		{"cut", strings.TrimSuffix(good, "data: [DONE]\n\n"), 200, "ended the answer early"},
		{"broken", "data: {\n\n", 200, "broken event"},
		{"error while streaming", "data: {\"error\":{\"message\":\"out of memory\"}}\n\n", 200, "out of memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int64
			out, err := benchAgainst(t, func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) == 7 {
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.answer)
					return
				}
				_, _ = io.WriteString(w, good)
			}, "40")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "1 of 6 requests failed") {
				t.Errorf("%v", err)
			}
			if out["failed"] != 1.0 || out["generated_tokens"] != 5.0 {
				t.Errorf("%v", out)
			}
		})
	}
}

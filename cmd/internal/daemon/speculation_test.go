package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// However tokens are guessed, answers are what they are without, whatever else is asked
// of them; and what was guessed is told.
func TestSpeculatedIsPlain(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	other := "../../../model/testdata/llama-mha.gguf"
	base, ended := run(t, ctx, fmt.Sprintf(`
models:
  - {id: plain, path: %[1]s, backend: cpu, speculation: {method: none}}
  - {id: auto, path: %[1]s, backend: cpu}
  - {id: itself, path: %[1]s, backend: cpu, speculation: {draft: %[1]s}}
  - {id: other, path: %[1]s, backend: cpu, speculation: {method: draft, draft: %[2]s, tokens: 3}}
`, tiny, other))
	waitReady(t, base, "plain", "auto", "itself", "other")
	bodies := []string{
		`"prompt":"one two three one two","max_tokens":60,"temperature":0,"logprobs":2`,
		`"prompt":"one two three one two","max_tokens":60,"temperature":0.8,"seed":3,"n":3`,
		`"prompt":"one two","max_tokens":40,"temperature":0,"repetition_penalty":1.3,"min_tokens":10,"echo":true`,
		`"prompt":["a b a b a","c d"],"max_tokens":40,"temperature":1,"seed":1,"top_k":3,"stop":"e"`,
		`"prompt":"a list:","max_tokens":60,"temperature":1,"seed":5,"guided_regex":"(\\d\\d, )+end"`,
		`"prompt":"[","max_tokens":60,"temperature":1,"seed":6,"xtc_probability":0.5,"dry_multiplier":1,"guided_json":{"type":"array","items":{"enum":["same","other"]},"minItems":9}`,
	}
	for _, body := range bodies {
		answers := map[string]string{}
		for _, model := range []string{"plain", "auto", "itself", "other"} {
			var sent map[string]any
			if err := json.Unmarshal([]byte("{"+body+"}"), &sent); err != nil {
				t.Fatal(err)
			}
			sent["model"], sent["timings"] = model, true
			status, got, err := post(ctx, base+"/v1/completions", sent)
			if err != nil || status != http.StatusOK {
				t.Fatalf("%s: %d %s %v", model, status, got, err)
			}
			var answer struct {
				Choices json.RawMessage
				Timings struct {
					Predicted int `json:"predicted_n"`
					Draft     int `json:"draft_n"`
					Accepted  int `json:"draft_n_accepted"`
				}
			}
			if err := json.Unmarshal([]byte(got), &answer); err != nil {
				t.Fatal(err)
			}
			answers[model] = string(answer.Choices)
			if answers[model] != answers["plain"] {
				t.Errorf("%s of {%s}\n%s\nwithout guesses\n%s", model, body, answers[model], answers["plain"])
			}
			n := answer.Timings
			if n.Predicted == 0 || n.Accepted > n.Draft || model == "plain" && n.Draft > 0 {
				t.Errorf("%s of {%s}: timings %+v", model, body, n)
			}
		}
	}
	for _, model := range []string{"auto", "itself"} {
		for _, name := range []string{"guessed", "accepted"} {
			metric := metric(t, base, fmt.Sprintf("inferflux_%s_tokens_total{model=%q}", name, model))
			if n, err := strconv.ParseFloat(metric, 64); err != nil || n == 0 {
				t.Errorf("%s tokens of %s: %q", name, model, metric)
			}
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDraftModelDoesNotFit(t *testing.T) {
	for _, c := range []struct{ draft, want string }{
		{"/absent.gguf", "the draft model /absent.gguf of tiny: "},
		{os.Getenv("INFERFLUX_TEST_MODEL"), "choose a smaller model of the same family"},
	} {
		if c.draft == "" {
			t.Log("skipped: INFERFLUX_TEST_MODEL names no model with another vocabulary")
			continue
		}
		ctx, stop := context.WithCancel(t.Context())
		base, ended := run(t, ctx, fmt.Sprintf("models: [{id: good, path: %[1]s, backend: cpu}, {id: tiny, path: %[1]s, backend: cpu, speculation: {draft: %[2]s}}]\n", tiny, c.draft))
		waitReady(t, base, "good")
		for {
			_, body := get(t, base+"/v1/models/tiny")
			if strings.Contains(body, `"state":"loading"`) {
				continue
			}
			if !strings.Contains(body, c.want) {
				t.Errorf("got %s, expected %q", body, c.want)
			}
			break
		}
		stop()
		<-ended
	}
}

package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/chat/dialect"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

// speaking is the tiny model with a template and a dialect.
func speaking(t *testing.T, o scheduler.Options, reasoning string) *generate.Model {
	t.Helper()
	// Short, for the model has a context of 256.
	template, err := chat.Parse(`{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}!{% endif %}`, chat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, ok := dialect.Named("hermes", reasoning)
	if !ok {
		t.Fatal("no such dialect")
	}
	return tinyWith(t, generate.ModelOptions{Scheduler: o, Template: template, Dialect: d})
}

// validated is a kind of answers, with another implementation's opinion of what they are.
type validated struct {
	schema    string
	validator *jsonschema.Schema
}

// documents are 50 kinds, that end soon even if a random model writes them. Between them
// they have every keyword that is enforced.
func documents(t *testing.T) (all []validated) {
	t.Helper()
	data, err := os.ReadFile("testdata/schemas.json")
	if err != nil {
		t.Fatal(err)
	}
	var schemas []json.RawMessage
	if err := json.Unmarshal(data, &schemas); err != nil {
		t.Fatal(err)
	}
	for i, schema := range schemas {
		parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		c.RegisterFormat(&jsonschema.Format{Name: "int32", Validate: func(v any) error {
			_, err := strconv.ParseInt(fmt.Sprint(v), 10, 32)
			return err
		}})
		url := fmt.Sprintf("schema%d.json", i)
		if err := c.AddResource(url, parsed); err != nil {
			t.Fatal(err)
		}
		v, err := c.Compile(url)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, validated{string(schema), v})
	}
	return all
}

func (d *validated) check(text string) error {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	return d.validator.Validate(v)
}

// tinyEngine is another of the tiny model: it guesses what that will say.
func tinyEngine(t *testing.T) backend.Engine {
	t.Helper()
	f, err := gguf.Open("../model/testdata/llama-gqa-tied.gguf")
	if err != nil {
		t.Fatal(err)
	}
	e, err := cpu.Backend{}.Load(t.Context(), f, backend.LoadOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// A random model at a high temperature wants to say nonsense. In batches, streamed or
// not, speculated, cut up by preemption: every answer is a valid document.
func TestStructuredOutput(t *testing.T) {
	var model *generate.Model
	s := newSite(t, siteOptions{
		model: func(o scheduler.Options) *generate.Model {
			model = speaking(t, o, "none")
			return model
		},
		scheduler: scheduler.Options{MaxRunning: 6, Policy: scheduler.ByPriority, Speculation: scheduler.Speculation{Model: tinyEngine(t), Tokens: 3}},
	})
	kinds := documents(t)
	generations := 500
	if testing.Short() {
		generations = 60
	}
	var wait sync.WaitGroup
	places := make(chan struct{}, 24)
	for i := range generations {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			rng := rand.New(rand.NewPCG(uint64(i), 9))
			kind := &kinds[i%len(kinds)]
			form := []string{
				`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":` + kind.schema + `}}`,
				`"guided_json":` + kind.schema,
				`"structured_outputs":{"json":` + kind.schema + `}`,
			}[rng.IntN(3)]
			more := fmt.Sprintf(`"temperature":1.5,"seed":%d,"max_tokens":180,"priority":%d,%s`, i, rng.IntN(3), form)
			stream := rng.IntN(2) == 0
			if stream {
				more += `,"stream":true`
			}
			a := s.chat(more)
			var text string
			finish := ""
			if stream {
				for _, e := range a.events() {
					for _, c := range e.Choices {
						text += c.Delta.Content
						if c.FinishReason != nil {
							finish = *c.FinishReason
						}
					}
				}
			} else {
				text, finish = a.text(), *a.json().Choices[0].FinishReason
			}
			if finish != "stop" {
				t.Errorf("generation %d of %s ended by %q: %s", i, kind.schema, finish, text)
			} else if err := kind.check(text); err != nil {
				t.Errorf("generation %d of %s: %q: %s", i, kind.schema, text, err)
			}
		})
	}
	wait.Wait()
	totals := model.Scheduler().Stats().Totals
	t.Logf("%d preemptions, %d tokens generated, %d guessed, of which %d were right", totals.Preempted, totals.GeneratedTokens, totals.GuessedTokens, totals.AcceptedTokens)
	if totals.Preempted == 0 || totals.AcceptedTokens == 0 {
		t.Error("nothing was preempted, or no guess was right")
	}
}

func TestOtherForms(t *testing.T) {
	s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return speaking(t, o, "none") }})
	for _, c := range []struct{ field, want string }{
		{`"guided_regex":"[ab]{3}-[0-9]+x"`, `^[ab]{3}-[0-9]+x$`},
		{`"guided_choice":["yes","no","maybe"]`, `^(yes|no|maybe)$`},
		{`"grammar":"root ::= \"(\" (\"a\" | root)? \")\""`, `^\(+a?\)+$`},
		{`"guided_grammar":"start: \"x\" \"y\"?"`, `^xy?$`},
		{`"structured_outputs":{"choice":["one"]}`, `^one$`},
		{`"response_format":{"type":"text"}`, ``},
	} {
		for seed := range 5 {
			text := s.chat(fmt.Sprintf(`"temperature":1.2,"seed":%d,"max_tokens":100,"logprobs":true,%s`, seed, c.field)).text()
			if !regexp.MustCompile(c.want).MatchString(text) && len(text) < 90 {
				t.Errorf("%s: %q", c.field, text)
			}
		}
	}
	for _, c := range []struct{ field, param, message string }{
		{`"guided_json":{"type":"object","unevaluatedThings":1}`, "guided_json", "unevaluatedThings"},
		{`"guided_regex":"("`, "guided_regex", "can't be enforced"},
		{`"grammar":"root ::= x"`, "grammar", "x"},
		{`"response_format":{"type":"json_schema","json_schema":{"schema":{"properties":{"a":{"dependentThings":1}}}}}`, "response_format.json_schema.schema", "/properties/a"},
		{`"guided_json":{"type":"string","enum":[1]}`, "guided_json", "no text"},
	} {
		a := s.chat(c.field)
		e := a.json().Error
		if a.StatusCode != http.StatusBadRequest || e == nil || e.Param == nil || *e.Param != c.param || !strings.Contains(e.Message, c.message) {
			t.Errorf("%s: %d %s", c.field, a.StatusCode, a.body)
		}
	}
}

// Functions that must be called are called, with arguments that their schemas allow,
// though the model is random, and though stop strings, which are for what is said, are in them.
func TestRequiredCalls(t *testing.T) {
	kinds := documents(t)
	for _, reasoning := range []string{"none", "think"} {
		s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return speaking(t, o, reasoning) }})
		tools := fmt.Sprintf(`"tools":[{"type":"function","function":{"name":"get","parameters":%s,"strict":true}},{"type":"function","function":{"name":"get_all","parameters":%s}}]`, kinds[0].schema, kinds[1].schema)
		for seed := range 20 {
			choice, only := `"required"`, ""
			if seed%2 == 0 {
				choice, only = `{"type":"function","function":{"name":"get"}}`, "get"
			}
			v := s.send(http.MethodPost, "/v1/chat/completions", "", chatBody(fmt.Sprintf(`"temperature":1.5,"seed":%d,"max_tokens":190,"thinking_budget":10,"stop":["a","{","<"],"parallel_tool_calls":%t,"tool_choice":%s,%s`,
				seed, seed%3 == 0, choice, tools)), http.StatusOK)
			got := v["choices"].([]any)[0].(map[string]any)
			calls, _ := got["message"].(map[string]any)["tool_calls"].([]any)
			if got["finish_reason"] == "length" && len(calls) > 1 {
				calls = calls[:len(calls)-1] // the last one was cut off
			} else if got["finish_reason"] != "tool_calls" || len(calls) == 0 || seed%3 != 0 && len(calls) != 1 {
				t.Errorf("%s, seed %d: %v", reasoning, seed, got)
			}
			for _, c := range calls {
				f := c.(map[string]any)["function"].(map[string]any)
				which := map[string]int{"get": 0, "get_all": 1}[f["name"].(string)]
				if only != "" && f["name"] != only {
					t.Errorf("%s, seed %d: %v was called", reasoning, seed, f["name"])
				}
				if err := kinds[which].check(f["arguments"].(string)); err != nil {
					t.Errorf("%s, seed %d: %v: %s", reasoning, seed, f, err)
				}
			}
		}
	}
}

// In the harmony format too, after a message of its own to itself if it wants one.
func TestRequiredCallsInHarmony(t *testing.T) {
	kinds := documents(t)
	d, ok := dialect.Named("harmony", "harmony")
	if !ok {
		t.Fatal("no such dialect")
	}
	template, err := chat.Parse(`{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}!{% endif %}`, chat.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model {
		return tinyWith(t, generate.ModelOptions{Scheduler: o, Template: template, Dialect: d})
	}})
	thought := 0
	for seed := range 30 {
		v := s.send(http.MethodPost, "/v1/chat/completions", "", chatBody(fmt.Sprintf(`"temperature":1.5,"seed":%d,"max_tokens":220,"thinking_budget":8,"tool_choice":"required",`+
			`"tools":[{"type":"function","function":{"name":"get","parameters":%s}},{"type":"function","function":{"name":"find","parameters":%s}}]`, seed, kinds[0].schema, kinds[0].schema)), http.StatusOK)
		got := v["choices"].([]any)[0].(map[string]any)
		if got["finish_reason"] == "length" {
			continue
		}
		message := got["message"].(map[string]any)
		calls, _ := message["tool_calls"].([]any)
		if len(calls) != 1 || message["content"] != nil {
			t.Errorf("seed %d: %v", seed, got)
			continue
		}
		if message["reasoning_content"] != nil {
			thought++
		}
		if err := kinds[0].check(calls[0].(map[string]any)["function"].(map[string]any)["arguments"].(string)); err != nil {
			t.Errorf("seed %d: %v: %s", seed, got, err)
		}
	}
	if thought < 3 || thought > 27 {
		t.Errorf("%d of 30 thought first", thought)
	}
}

// With functions that may be called, an answer in a form is either: calls, or what the form
// allows.
func TestFormsBesideCalls(t *testing.T) {
	kinds := documents(t)
	for _, reasoning := range []string{"none", "think"} {
		s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return speaking(t, o, reasoning) }})
		called, said := 0, 0
		for seed := range 60 {
			// The model's own wishes decide which: one of them is made likelier.
			bias := ""
			if seed%2 == 0 {
				bias = `"logit_bias":[["<tool_call>",60]],`
			}
			v := s.send(http.MethodPost, "/v1/chat/completions", "", chatBody(fmt.Sprintf(`"temperature":1.5,"seed":%d,"max_tokens":190,"thinking_budget":5,"parallel_tool_calls":false,%s`+
				`"tools":[{"type":"function","function":{"name":"get","parameters":%s,"strict":true}}],"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":%s}}`,
				seed, bias, kinds[0].schema, kinds[1].schema)), http.StatusOK)
			got := v["choices"].([]any)[0].(map[string]any)
			message := got["message"].(map[string]any)
			calls, _ := message["tool_calls"].([]any)
			switch {
			case got["finish_reason"] == "length":
			case len(calls) == 1 && message["content"] == nil:
				called++
				if err := kinds[0].check(calls[0].(map[string]any)["function"].(map[string]any)["arguments"].(string)); err != nil {
					t.Errorf("%s, seed %d: %v: %s", reasoning, seed, got, err)
				}
			case len(calls) == 0:
				said++
				if err := kinds[1].check(message["content"].(string)); err != nil {
					t.Errorf("%s, seed %d: %v: %s", reasoning, seed, got, err)
				}
			default:
				t.Errorf("%s, seed %d: %v", reasoning, seed, got)
			}
		}
		if called < 5 || said < 5 {
			t.Errorf("%s: %d called, %d answered", reasoning, called, said)
		}
	}
}

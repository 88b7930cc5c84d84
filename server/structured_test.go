package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/chat/dialect"
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

// schemas are of objects that end soon, even if a random model writes them.
var schemas = []string{
	`{"type":"object","properties":{"a":{"type":"integer","minimum":0,"maximum":99},"b":{"type":"boolean"}},"required":["a","b"],"additionalProperties":false}`,
	`{"type":"object","properties":{"kind":{"enum":["x","y"]},"list":{"type":"array","items":{"type":"boolean"},"maxItems":3}},"required":["kind","list"],"additionalProperties":false}`,
	`{"type":"object","properties":{"s":{"type":"string","maxLength":5}},"required":["s"],"additionalProperties":false}`,
	`{"type":"object","properties":{"o":{"type":"object","properties":{"n":{"type":"null"}},"required":["n"],"additionalProperties":false}},"required":["o"],"additionalProperties":false}`,
}

// valid checks what the schemas above ask for, by hand.
func valid(schema int, text string) error {
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	ok := false
	switch schema {
	case 0:
		a, isNumber := v["a"].(float64)
		_, isBool := v["b"].(bool)
		ok = len(v) == 2 && isNumber && isBool && a >= 0 && a <= 99 && a == float64(int(a))
	case 1:
		list, isList := v["list"].([]any)
		ok = len(v) == 2 && (v["kind"] == "x" || v["kind"] == "y") && isList && len(list) <= 3
	case 2:
		s, isString := v["s"].(string)
		ok = len(v) == 1 && isString && len([]rune(s)) <= 5
	case 3:
		o, isObject := v["o"].(map[string]any)
		n, has := o["n"]
		ok = len(v) == 1 && isObject && len(o) == 1 && has && n == nil
	}
	if !ok {
		return fmt.Errorf("it isn't what schema %d allows", schema)
	}
	return nil
}

// A random model at a high temperature wants to say nonsense. In batches, streamed or
// not, cut up by preemption: every answer is a valid document.
func TestStructuredOutput(t *testing.T) {
	s := newSite(t, siteOptions{
		model:     func(o scheduler.Options) *generate.Model { return speaking(t, o, "none") },
		scheduler: scheduler.Options{MaxRunning: 6, Policy: scheduler.ByPriority},
	})
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
			which := rng.IntN(len(schemas))
			form := []string{
				`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":` + schemas[which] + `}}`,
				`"guided_json":` + schemas[which],
				`"structured_outputs":{"json":` + schemas[which] + `}`,
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
				t.Errorf("generation %d ended by %q: %s", i, finish, text)
			} else if err := valid(which, text); err != nil {
				t.Errorf("generation %d: %q: %s", i, text, err)
			}
		})
	}
	wait.Wait()
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
		{`"guided_json":{},"tools":[{"type":"function","function":{"name":"f"}}]`, "guided_json", "together with"},
	} {
		a := s.chat(c.field)
		e := a.json().Error
		if a.StatusCode != http.StatusBadRequest || e == nil || e.Param == nil || *e.Param != c.param || !strings.Contains(e.Message, c.message) {
			t.Errorf("%s: %d %s", c.field, a.StatusCode, a.body)
		}
	}
}

// Functions that must be called are called, with arguments that their schemas allow,
// though the model is random.
func TestRequiredCalls(t *testing.T) {
	for _, reasoning := range []string{"none", "think"} {
		s := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model { return speaking(t, o, reasoning) }})
		tools := fmt.Sprintf(`"tools":[{"type":"function","function":{"name":"get","parameters":%s,"strict":true}},{"type":"function","function":{"name":"get_all","parameters":%s}}]`, schemas[0], schemas[1])
		for seed := range 20 {
			choice, only := `"required"`, ""
			if seed%2 == 0 {
				choice, only = `{"type":"function","function":{"name":"get"}}`, "get"
			}
			v := s.send(http.MethodPost, "/v1/chat/completions", "", chatBody(fmt.Sprintf(`"temperature":1.5,"seed":%d,"max_tokens":190,"thinking_budget":10,"parallel_tool_calls":%t,"tool_choice":%s,%s`,
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
				if err := valid(which, f["arguments"].(string)); err != nil {
					t.Errorf("%s, seed %d: %v: %s", reasoning, seed, f, err)
				}
			}
		}
	}
}

package grammar_test

import (
	"testing"

	"github.com/inferflux/inferflux/grammar"
)

// TestSchemas has what the JSON Schema Test Suite hasn't: spellings, order and space.
func TestSchemas(t *testing.T) {
	for _, c := range []struct {
		schema  string
		yes, no []string
	}{
		{`{}`, []string{`{}`, `{"a": [1, 2.50, -0, 1e-7, null]}`, `"\ud83d\ude00 \u00e9"`, "{\n  \"a\": 1,\n  \"b\": []\n}"}, []string{``, `{`, `"\ud83d"`, `01`, `{"a" : 1}`, ` 1`}},
		{`{"type":"integer"}`, []string{`0`, `-12`}, []string{`1.0`, `-0`, `1e3`, `"1"`}},
		{`{"type":"number","minimum":-1.5,"exclusiveMaximum":20}`, []string{`-1.5`, `-1.50`, `0`, `19.999`, `19`, `1.0`, `0.00`}, []string{`20`, `20.0`, `-1.51`, `100`, `-2`}},
		{`{"type":"integer","minimum":-12,"maximum":345}`, []string{`-12`, `-9`, `345`, `99`, `0`}, []string{`-13`, `346`, `1000`, `-100`}},
		{`{"type":"string","minLength":2,"maxLength":3}`, []string{`"ab"`, `"é日"`, `"a\n\""`, `"\u0001b"`}, []string{`"a"`, `"abcd"`, `"\n"`}},
		{`{"type":"string","pattern":"^a+$","minLength":2}`, []string{`"aa"`}, []string{`"a"`, `"ab"`}},
		{`{"type":"object","properties":{"a":{"type":"null"},"b":{"type":"boolean"}},"required":["b"],"additionalProperties":false}`,
			[]string{`{"b":true}`, `{"a": null, "b": false}`}, []string{`{}`, `{"b":true,"a":null}`, `{"b":true,"c":1}`, `{"b":true,}`, `{"a":null}`}},
		{`{"type":"object","properties":{"a":{"type":"null"}},"additionalProperties":{"type":"integer"}}`,
			[]string{`{"a":null,"x":1,"ab":2}`, `{"x":1}`}, []string{`{"a":1}`, `{"x":1,"a":1}`, `{"\u0061":1}`}},
		{`{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["next"],"additionalProperties":false}}}`,
			[]string{`{"next":null}`, `{"next":{"next":{"next":null}}}`}, []string{`{"next":{}}`, `{"next":1}`}},
		{`{"oneOf":[{"type":"object","properties":{"k":{"const":"leaf"}},"required":["k"]},{"type":"object","properties":{"k":{"const":"node"},"child":{"$ref":"#"}},"required":["k","child"]}]}`,
			[]string{`{"k":"leaf"}`, `{"k":"node","child":{"k":"leaf"}}`}, []string{`{"k":"node"}`, `{"k":"other"}`}},
		{`{"type":"array","prefixItems":[{"type":"integer"}],"items":{"type":"string"},"maxItems":3,"contains":{"const":"x"}}`,
			[]string{`[1,"x"]`, `[1, "a", "x"]`, `[1,"x","x"]`}, []string{`[1]`, `["x"]`, `[1,"a"]`, `[1,"x","x","x"]`}},
		{`{"enum":["a\"b",1,{"x":[null]}]}`, []string{`"a\"b"`, `1`, `{"x": [null]}`}, []string{`"a"`, `{"x":[]}`}},
	} {
		compiled := compile(t, grammar.JSONSchema, c.schema)
		for _, text := range c.yes {
			if !accepts(compiled, text) {
				t.Errorf("%s refuses %s", c.schema, text)
			}
		}
		for _, text := range c.no {
			if accepts(compiled, text) {
				t.Errorf("%s accepts %s", c.schema, text)
			}
		}
	}
}

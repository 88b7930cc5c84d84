package grammar_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/inferflux/inferflux/grammar"
)

// maxAllocated is what a compilation may allocate in all; what it has at one time is less.
const maxAllocated = 2 << 30

// TestHostile has what must cost little: an error, or a grammar that can be followed.
func TestHostile(t *testing.T) {
	v := byteVocabulary(t)
	// references is n schemas of which each refers to the next one twice.
	references := func(n int, schema string) string {
		var defs strings.Builder
		for i := range n {
			fmt.Fprintf(&defs, `"d%d":%s,`, i, strings.ReplaceAll(schema, "NEXT", fmt.Sprintf("#/$defs/d%d", i+1)))
		}
		return fmt.Sprintf(`{"$ref":"#/$defs/d0","$defs":{%s"d%d":{"type":"integer"}}}`, defs.String(), n)
	}
	// list is n texts made from a pattern and a number.
	list := func(n int, pattern string) string {
		var all []string
		for i := range n {
			all = append(all, strings.ReplaceAll(pattern, "#", fmt.Sprint(i)))
		}
		return strings.Join(all, ",")
	}
	schema := func(source string) grammar.Spec { return grammar.Spec{Kind: grammar.JSONSchema, Source: source} }
	for name, spec := range map[string]grammar.Spec{
		"repetitions of repetitions":    {Kind: grammar.GBNF, Source: `root ::= (("a"{20000}){20000}){20000}`},
		"parentheses":                   {Kind: grammar.GBNF, Source: "root ::= " + strings.Repeat("(", 100_000)},
		"exponential states":            {Kind: grammar.GBNF, Source: "root ::= (\"a\" | \"b\")* \"a\" (\"a\" | \"b\"){300}"},
		"the same as a regex":           {Kind: grammar.Regex, Source: `(a|b)*a(a|b){60}`},
		"all letters, many times":       {Kind: grammar.Regex, Source: `(\pL{1,30}[^\pL]{1,30}){1,30}`},
		"depth":                         schema(strings.Repeat(`{"items":`, 5000) + "{}" + strings.Repeat("}", 5000)),
		"a large choice":                {Kind: grammar.Choice, Choices: []string{strings.Repeat("x", 2<<20)}},
		"many contains":                 schema(`{"type":"array","maxItems":20000,"contains":{"type":"string"},"minContains":20000}`),
		"many items":                    schema(`{"type":"array","prefixItems":[{"type":"integer"}],"items":{"enum":["a","b"]},"minItems":20000}`),
		"products of choices":           schema(`{"allOf":[` + strings.Repeat(`{"anyOf":[{"required":["a"]},{"required":["b"]},{"required":["c"]}]},`, 50) + `{}]}`),
		"products of patterns":          schema(`{"type":"string","pattern":"^(.*a.{9}|.*b.{9}|.*c.{9})$","minLength":5000}`),
		"lengths of patterns":           schema(`{"type":"string","pattern":"^(\\w+ ){0,99}\\w+$","maxLength":5000}`),
		"patterns of names":             schema(`{"patternProperties":{"a.{9}b":{},"b.{9}c":{},"c.{9}d":{},"d.{9}e":{},"e.{9}f":{},"f.{9}g":{}}}`),
		"references in both directions": schema(references(60, `{"allOf":[{"$ref":"NEXT"},{"anyOf":[{"$ref":"NEXT"},{"type":"string"}]}]}`)),
		"references to choices":         schema(references(60, `{"anyOf":[{"type":"array","items":{"$ref":"NEXT"}},{"type":"array","prefixItems":[{"$ref":"NEXT"}]}]}`)),
		"negations":                     schema(references(40, `{"not":{"type":"object","properties":{"a":{"$ref":"NEXT"},"b":{"$ref":"NEXT"}},"required":["a"]}}`)),
		"many exclusive choices":        schema(`{"oneOf":[` + list(300, `{"properties":{"k#":{"type":"string"}},"required":["k#"]}`) + `]}`),
		"many conditions":               schema(`{"allOf":[` + list(40, `{"if":{"properties":{"k#":{"const":#}}},"then":{"required":["r#"]}}`) + `]}`),
		"many dependencies":             schema(`{"dependentRequired":{` + list(40, `"k#":["r#"]`) + `}}`),
		"many properties":               schema(`{"type":"object","properties":{` + list(20_000, `"k#":{"type":"string","maxLength":#}`) + `}}`),
		"many counted properties":       schema(`{"type":"object","properties":{` + list(2000, `"k#":{}`) + `},"maxProperties":2000,"additionalProperties":false}`),
		"a long list of constants":      schema(`{"enum":[` + list(60_000, `"value number #"`) + `]}`),
		"multiples":                     schema(`{"allOf":[` + list(30, `{"multipleOf":49#}`) + `]}`),
		"numbers":                       schema(`{"type":"number","minimum":` + strings.Repeat("9", 60) + `.5,"exclusiveMaximum":1e62,"multipleOf":0.000007}`),
		"long strings":                  schema(`{"type":"object","properties":{` + list(30, `"k#":{"type":"string","minLength":#,"maxLength":1000#}`) + `}}`),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			c, err := grammar.Compile(context.Background(), spec, v)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%v, %d MB allocated: %.150v", took.Round(time.Millisecond), allocated>>20, err)
			if allocated > maxAllocated {
				t.Errorf("%d MB are allocated", allocated>>20)
			}
			var schema *grammar.SchemaError
			var syntax *grammar.SyntaxError
			switch {
			case err == nil:
				if _, err := c.Start().Mask(make([]uint32, v.MaskWords())); err != nil {
					t.Error(err)
				}
			case !errors.Is(err, grammar.ErrLimit) && !errors.Is(err, grammar.ErrEmpty) && !errors.As(err, &schema) && !errors.As(err, &syntax):
				t.Error(err)
			}
		})
	}
}

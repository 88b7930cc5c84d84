package grammar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/grammar"
)

var update = flag.Bool("update", false, "write the files that tests compare with")

// A suiteGroup is a schema of the JSON Schema Test Suite and its instances.
type suiteGroup struct {
	file, description string
	schema            json.RawMessage
	tests             []suiteTest
}

type suiteTest struct {
	instance json.RawMessage
	valid    bool
}

func readSuite(t testing.TB) (groups []suiteGroup) {
	t.Helper()
	data, err := os.ReadFile("testdata/suite.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][4]json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		var g suiteGroup
		var tests [][2]json.RawMessage
		if err := errors.Join(json.Unmarshal(r[0], &g.file), json.Unmarshal(r[1], &g.description), json.Unmarshal(r[3], &tests)); err != nil {
			t.Fatal(err)
		}
		g.schema = r[2]
		for _, row := range tests {
			g.tests = append(g.tests, suiteTest{row[0], string(row[1]) == "true"})
		}
		groups = append(groups, g)
	}
	return groups
}

// TestSuite runs the JSON Schema Test Suite. An instance is written with its members in
// every order, as an accepted document has a certain one: one of them must be accepted if
// the instance is valid, and none if it isn't.
func TestSuite(t *testing.T) {
	var refused strings.Builder
	groups, cases, refusals, narrower := 0, 0, 0, 0
	for _, g := range readSuite(t) {
		c, err := grammar.Compile(context.Background(), grammar.Spec{Kind: grammar.JSONSchema, Source: string(g.schema)}, byteVocabulary(t))
		groups++
		switch schema := new(grammar.SchemaError); {
		case errors.Is(err, grammar.ErrEmpty):
			for _, test := range g.tests {
				if test.valid {
					t.Errorf("%s: %s: %s: the schema is taken for one that nothing meets; %s does", g.file, g.description, g.schema, test.instance)
				}
			}
			continue
		case errors.As(err, &schema):
			refusals++
			fmt.Fprintf(&refused, "%s: %s: %v\n", g.file, g.description, err)
			continue
		case err != nil:
			t.Errorf("%s: %s: %v", g.file, g.description, err)
			continue
		}
		for _, test := range g.tests {
			cases++
			var got string
			for _, text := range spell(t, test.instance) {
				if accepts(c, text) {
					got = text
					break
				}
			}
			if got == "" && test.valid && strings.HasPrefix(g.file, "optional/format/") {
				narrower++
				fmt.Fprintf(&refused, "%s: narrower than the standard: %s\n", g.file, test.instance)
				continue
			}
			if got == "" && test.valid || got != "" && !test.valid {
				t.Errorf("%s: %s: %s\n\ton %s: accepted: %q, valid: %v", g.file, g.description, g.schema, test.instance, got, test.valid)
			}
		}
	}
	summary := fmt.Sprintf("%d schemas, of which %d are refused; %d instances, of which %d are of formats and valid but not accepted\n\n", groups, refusals, cases, narrower)
	golden(t, "testdata/suite.refused", summary+refused.String())
}

// golden compares text with a file's.
func golden(t *testing.T, path, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s is not what go test ./grammar -update writes", path)
	}
}

// spell writes an instance with its members in all orders, at most some hundreds.
func spell(t *testing.T, instance json.RawMessage) []string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(instance))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return spellings(v)
}

func spellings(v any) []string {
	switch v := v.(type) {
	case json.Number:
		out := []string{v.String()}
		if r, ok := new(big.Rat).SetString(v.String()); ok {
			if digits, exact := r.FloatPrec(); exact {
				out = append(out, r.FloatString(digits))
			}
		}
		return out
	case []any:
		out := []string{""}
		for i, x := range v {
			comma := ","
			if i == 0 {
				comma = ""
			}
			out = times(out, comma, spellings(x))
		}
		for i := range out {
			out[i] = "[" + out[i] + "]"
		}
		return out
	case map[string]any:
		var out []string
		var names []string
		for k := range v {
			names = append(names, k)
		}
		permute(names, 0, func(names []string) {
			texts := []string{"{"}
			for i, k := range names {
				comma := ","
				if i == 0 {
					comma = ""
				}
				texts = times(texts, comma+text(k)+":", spellings(v[k]))
			}
			for _, t := range texts {
				out = append(out, t+"}")
			}
		})
		return out
	default:
		return []string{text(v)}
	}
}

func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.NewReplacer("\\u2028", "\u2028", "\\u2029", "\u2029").Replace(strings.TrimSuffix(b.String(), "\n"))
}

func times(a []string, between string, b []string) (out []string) {
	for _, x := range a {
		for _, y := range b {
			if len(out) < 400 {
				out = append(out, x+between+y)
			}
		}
	}
	return out
}

func permute(names []string, from int, visit func([]string)) {
	if from == len(names) {
		visit(names)
		return
	}
	for i := from; i < len(names); i++ {
		names[from], names[i] = names[i], names[from]
		permute(names, from+1, visit)
		names[from], names[i] = names[i], names[from]
	}
}

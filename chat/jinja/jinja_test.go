package jinja_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/chat/jinja"
)

var now = time.Date(2024, 7, 26, 9, 5, 3, 0, time.UTC)

type fixture struct {
	Variables json.RawMessage
	Cases     []struct {
		Source      string
		Text, Error *string
	}
}

func readFixture(t testing.TB) (fixture, *jinja.Dict) {
	t.Helper()
	data, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	vars, err := jinja.FromJSON(f.Variables)
	if err != nil {
		t.Fatal(err)
	}
	return f, vars.(*jinja.Dict)
}

func render(source string, vars *jinja.Dict) (string, error) {
	t, err := jinja.Parse(source)
	if err != nil {
		return "", err
	}
	return t.Render(vars, now, 0)
}

// TestLanguage compares what small templates render to with Python's Jinja, and
// expects an error where it raises one (testdata/generate.py).
func TestLanguage(t *testing.T) {
	f, vars := readFixture(t)
	for _, c := range f.Cases {
		t.Run("", func(t *testing.T) {
			got, err := render(c.Source, vars)
			switch {
			case c.Text == nil && err == nil:
				t.Errorf("%s\nrenders to %q, Python fails with %s", c.Source, got, *c.Error)
			case c.Text != nil && err != nil:
				t.Errorf("%s\nfails with %v, Python renders %q", c.Source, err, *c.Text)
			case c.Text != nil:
				if diff := cmp.Diff(*c.Text, got); diff != "" {
					t.Errorf("%s\ndiffers (-want +got):\n%s", c.Source, diff)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, source string
		line         int
		message      string
	}{
		{"undefined", "a\nb{{ missing.x }}", 2, "'missing' is undefined"},
		{"attribute", "{{ {}.a.b }}", 1, "'dict object' has no attribute 'a'"},
		{"syntax", "\n\n{% if %}", 3, "unexpected 'end of statement block'"},
		{"end", "{% if true %}", 1, "expected 'endif'"},
		{"mutation", "{{ [].append(1) }}", 1, "access to attribute 'append' of 'list' object is unsafe"},
		{"private", "{% set ns = namespace() %}{% set ns._x = 1 %}", 1, "underscore-prefixed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := render(c.source, new(jinja.Dict))
			e, ok := errors.AsType[*jinja.Error](err)
			if !ok || e.Line != c.line || !strings.Contains(e.Message, c.message) {
				t.Errorf("error %#v, want line %d, %q", err, c.line, c.message)
			}
		})
	}
	_, err := render("{{ raise_exception('no ' ~ 1) }}", new(jinja.Dict))
	if e, ok := errors.AsType[*jinja.Raised](err); !ok || e.Message != "no 1" {
		t.Errorf("raise_exception gave %#v", err)
	}
}

// TestHostile renders templates made to hang, to exhaust memory or to overflow
// the stack: each must end with an error.
func TestHostile(t *testing.T) {
	deep := func(open, inner, end string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	// ns.x nested a hundred thousand lists deep.
	nest := "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}"
	big := "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(16) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
	for name, source := range map[string]string{
		"range":                  "{% for i in range(10**9) %}{% endfor %}",
		"range of huge numbers":  "{{ range(-9223372036854775807, 9223372036854775807)|length }}",
		"nested loops":           "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
		"macro recursion":        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		"mutual recursion":       "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ g() }}",
		"caller recursion":       "{% macro f() %}{% call f() %}{% endcall %}{{ caller() }}{% endmacro %}{% call f() %}{% endcall %}",
		"recursive loop":         "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
		"fan-out recursion":      "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(100) }}",
		"doubling":               "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"doubling list":          "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"doubling by replace":    "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = ns.s|replace('x', ns.s) %}{% endfor %}",
		"doubling by join":       "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = ns.s|join(ns.s) %}{% endfor %}",
		"doubling by format":     "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
		"doubling by str.format": "{% set ns = namespace(s='xx') %}{% for i in range(60) %}{% set ns.s = '{0}{0}'.format(ns.s) %}{% endfor %}",
		"doubling by tojson":     "{% set ns = namespace(s='\"') %}{% for i in range(60) %}{% set ns.s = ns.s|tojson %}{% endfor %}",
		"repetition":             "{{ 'x' * 10**12 }}",
		"repetition overflow":    "{{ 'xxxxxxxx' * 9223372036854775807 }}",
		"list repetition":        "{{ [1, 2] * 10**12 }}",
		"width":                  "{{ '%999999999999d' % 1 }}",
		"str.format width":       "{{ '{:>999999999999}'.format(1) }}",
		"padding":                "{{ 'x'.ljust(10**12) }}",
		"center":                 "{{ 'x'|center(10**12) }}",
		"zfill":                  "{{ 'x'.zfill(10**12) }}",
		"indent":                 "{{ 'x\nx'|indent(10**12) }}",
		"json indent":            "{{ [1]|tojson(indent=10**12) }}",
		"batch fill":             "{{ [1]|batch(10**12, 0)|list }}",
		"slices":                 "{{ [1]|slice(10**12)|list }}",
		"precision":              "{{ 1.5|round(10**12) }}",
		"power":                  "{{ 10 ** 400 }}",
		"negation":               "{{ -(-9223372036854775807 - 1) }}",
		"division":               "{{ (-9223372036854775807 - 1) // -1 }}",
		"slow search":            big + "{% for i in range(100000) %}{% if 'xy' in ns.s %}{% endif %}{% endfor %}",
		"slow comparison":        big + "{% for i in range(100000) %}{% if ns.s == ns.s ~ '' %}{% endif %}{% endfor %}",
		"slow count":             big + "{% for i in range(100000) %}{{ ns.s.count('y') }}{% endfor %}",
		"slow length":            big + "{% for i in range(100000) %}{{ ns.s|length }}{% endfor %}",
		"deep value printed":     nest + "{{ ns.x }}",
		"deep value as json":     nest + "{{ ns.x|tojson }}",
		"deep values compared":   nest + "{% set a = ns.x %}{% set ns.x = [] %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ a == ns.x }}",
		"deep key":               "{% set ns = namespace(x=()) %}{% for i in range(100000) %}{% set ns.x = (ns.x,) %}{% endfor %}{{ {ns.x: 1} }}",
		"doubling key":           "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
		"doubling value":         "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ ns.x }}",
		"namespace in itself":    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
		"parentheses":            "{{ " + deep("(", "1", ")", 100_000) + " }}",
		"lists":                  "{{ " + deep("[", "", "]", 100_000) + " }}",
		"nots":                   "{{ " + strings.Repeat("not ", 100_000) + "1 }}",
		"signs":                  "{{ " + strings.Repeat("-", 100_000) + "1 }}",
		"sums":                   "{{ 1" + strings.Repeat("+1", 100_000) + " }}",
		"filters":                "{{ 1" + strings.Repeat("|e", 100_000) + " }}",
		"attributes":             "{{ a" + strings.Repeat(".a", 100_000) + " }}",
		"ifs":                    deep("{% if 1 %}", "", "{% endif %}", 50_000),
		"too long":               strings.Repeat("x", 2<<20),
		"sorting":                "{% for i in range(1000) %}{{ range(100000)|sort(reverse=true)|first }}{% endfor %}",
		"strip set":              big + "{{ ns.s.strip(ns.s) }}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if text, err := render(source, new(jinja.Dict)); err == nil {
				t.Errorf("rendered to %d bytes, want an error", len(text))
			} else if strings.Contains(err.Error(), "interpreter") {
				t.Errorf("the interpreter failed: %v", err)
			}
		})
	}
}

// TestLongInput: the bound on work grows with the input.
func TestLongInput(t *testing.T) {
	message := new(jinja.Dict)
	message.Set("content", strings.Repeat("a word ", 30_000))
	messages := make([]any, 100)
	for i := range messages {
		messages[i] = message
	}
	vars := new(jinja.Dict)
	vars.Set("messages", jinja.NewList(messages...))
	tmpl, err := jinja.Parse("{% set ns = namespace(s='') %}{% for m in messages %}{% set ns.s = ns.s ~ m.content|trim %}{% endfor %}{{ ns.s }}")
	if err != nil {
		t.Fatal(err)
	}
	text, err := tmpl.Render(vars, now, 100*7*30_000)
	if err != nil || len(text) != 100*(7*30_000-1) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestConcurrentRender(t *testing.T) {
	tmpl, err := jinja.Parse("{% macro f(x) %}[{{ x }}]{% endmacro %}{% for i in range(50) %}{{ f(i) }}{{ v }}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	vars := func(s string) *jinja.Dict {
		d := new(jinja.Dict)
		d.Set("v", s)
		return d
	}
	want, err := tmpl.Render(vars("a"), now, 0)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if got, err := tmpl.Render(vars("a"), now, 0); err != nil || got != want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	group.Wait()
}

func TestFromJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"b": 1, "a": [1.0, 2e0, null, true, "é\u0001"], "b": 2}`: `{"b": 2, "a": [1.0, 2.0, null, true, "é\u0001"]}`,
		`123456789012345678901234567890`:                           `123456789012345678901234567890`,
		`-1`:                                                       `-1`,
	} {
		v, err := jinja.FromJSON([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		vars := new(jinja.Dict)
		vars.Set("v", v)
		if got, err := render("{{ v|tojson }}", vars); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "{", "[1,", "1 2", `{"a" 1}`, "[1}", strings.Repeat("[", 1000) + strings.Repeat("]", 1000)} {
		if v, err := jinja.FromJSON([]byte(in)); err == nil {
			t.Errorf("%.20q decoded to %v", in, v)
		}
	}
}

func FuzzRender(f *testing.F) {
	fixture, vars := readFixture(f)
	for _, c := range fixture.Cases {
		f.Add(c.Source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		_, err := render(source, vars)
		if err != nil && strings.Contains(err.Error(), "made the interpreter fail") {
			t.Errorf("%q: %v", source, err)
		}
	})
}

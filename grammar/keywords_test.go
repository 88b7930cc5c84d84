package grammar_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/grammar"
)

//go:generate go test . -run ^TestPageIsUpToDate$ -update

const pageHead = `<!-- Made by go generate ./grammar from the table that the compiler runs on. Don't edit. -->
# Structured output

A constraint is compiled to an automaton; at each step only the tokens that it allows can be drawn. Nothing is accepted that the constraint
forbids: what can't be enforced is refused, with the keyword and its JSON pointer.

## Asking for it

In /v1/chat/completions and /v1/completions, one of

| field | the answer is |
|---|---|
| ` + "`response_format: {\"type\": \"json_schema\", \"json_schema\": {\"schema\": …}}`" + ` | JSON that the schema accepts, ` + "`strict`" + ` or not |
| ` + "`response_format: {\"type\": \"json_object\"}`" + ` | a JSON object |
| ` + "`guided_json`, `json_schema`" + ` | JSON that the schema accepts |
| ` + "`guided_regex`" + ` | a match of the expression, as a whole |
| ` + "`guided_choice`" + ` | one of the texts |
| ` + "`guided_grammar`, `grammar`" + ` | a sentence of the grammar, in GBNF or Lark's notation |
| ` + "`structured_outputs: {json, regex, choice, grammar or json_object}`" + ` | the same |

It holds for every engine with ` + "`supports_structured_output`" + `, streamed or not, for each of ` + "`n`" + ` answers, with seeds, penalties, log-probabilities, stop strings and
in company. A model that reasons does so first, in any words (` + "`thinking_budget`" + ` bounds it); the answer after that has the form. ` + "`max_tokens`" + ` may cut a document short:
then ` + "`finish_reason`" + ` is ` + "`length`" + `. Calls of [functions](Tools.md) have their own forms, and can't be combined with these.

## How JSON is written

- Properties come in the order of the schema, then those that are only required, then the others. ` + "`allOf`" + ` joins the orders.
- After ` + "`{` `[` `,` `:`" + ` and before ` + "`}` `]`" + ` there may be a space, or a line's end and up to 40 spaces or tabs; nowhere else. An empty object or array is ` + "`{}` or `[]`" + `.
- Integers have no fraction and no exponent. Numbers with a bound or an equality have no exponent.
- Strings without a constraint may use any escape; those with one use them only for quotes, backslashes, slashes and control characters.

## Keywords of JSON Schema, draft 2020-12

| keyword | what is done | note |
|---|---|---|
`

const pageTail = `
Others are refused, except those that begin with ` + "`x-` or `_`" + `, which are annotations.

Formats: %s. Leap seconds, quoted local parts of e-mail addresses and literal addresses in them are not written; host names have up to 3 labels, or up to 8
of 30 characters at most, and none with ` + "`--`" + ` as its third and fourth character; international ones
are written as the plain ones, and regular expressions without groups. Of numbers, with or without a type: ` + "`int32`, `int64`, `uint32`, `uint64`, `float`, `double`" + `.

## Other notations

- Regular expressions have RE2's syntax, with ECMA 262's escapes, and match the whole text. Look-aheads are supported at the start only, back-references, look-behinds and ` + "`\\b`" + ` not at all.
- GBNF is read as llama.cpp reads it. Left recursion is refused.
- Of Lark's notation: rules, terminals (read as rules: no lexer prefers the longest), strings, ranges, regular expressions with the flags ` + "`i` and `s`" + `, groups, optional parts,
  repetitions, aliases and ` + "`%%import common.NAME`" + `. Other directives, priorities and templates are refused, and so is left recursion.
- Choices are texts, of which the answer is one.
`

func TestPageIsUpToDate(t *testing.T) {
	var page strings.Builder
	page.WriteString(pageHead)
	for _, k := range grammar.Keywords() {
		fmt.Fprintf(&page, "| `%s` | %s | %s |\n", k.Name, k.Support, k.Note)
	}
	fmt.Fprintf(&page, pageTail, "`"+strings.Join(grammar.Formats(), "`, `")+"`")
	golden(t, "../docs/StructuredOutput.md", page.String())
}

func TestKeywordsAreSorted(t *testing.T) {
	if !slices.IsSortedFunc(grammar.Keywords(), func(a, b grammar.Keyword) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("they aren't, so that some aren't found")
	}
}

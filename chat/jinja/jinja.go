// Package jinja renders the Jinja templates that language models carry to turn a
// conversation into a prompt. It is an interpreter of the language as
// transformers sets it up: Jinja2's ImmutableSandboxedEnvironment with
// trim_blocks, lstrip_blocks, break and continue, the generation tag,
// raise_exception, strftime_now and transformers' own tojson. Values behave as
// Python's do, down to how they print, compare and fail: a prompt must come out
// byte for byte as in training.
//
// # Safety
//
// A template is part of a model file, so it isn't trusted. It can't reach
// anything but its input; it can't change that either. What it may compute is
// bounded: a budget of work that every visited node, every handled byte and every
// made element takes from (about a second and a hundred megabytes at the most,
// and in proportion to the input), a limit on recursion, on nesting and on the
// template's own size. Exceeding one is an [*Error].
//
// # What is left out
//
// Template inheritance and imports (extends, block, include, import), which a
// lone template has no use for; autoescape; the filters filesizeformat, pprint,
// random, striptags, urlize, wordwrap and xmlattr; the function lipsum; integers
// beyond 64 bits in arithmetic.
package jinja

import (
	"fmt"
	"strings"
	"time"
)

// maxSource is the longest template accepted. Known ones have at most 40 kB.
const maxSource = 1 << 20

// Template is a parsed template. It is safe for concurrent use.
type Template struct{ body []stmt }

// Error is a template that can't be parsed or rendered.
type Error struct {
	Line    int // in the template, from 1
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }

// Raised is the error of a template that called raise_exception.
type Raised struct{ Message string }

func (e *Raised) Error() string { return e.Message }

// Parse reads a template. Its errors are [*Error].
func Parse(source string) (*Template, error) {
	if len(source) > maxSource {
		return nil, &Error{1, fmt.Sprintf("the template has %d bytes: the limit is %d", len(source), maxSource)}
	}
	body, err := parse(strings.ToValidUTF8(source, "\uFFFD"))
	if err != nil {
		return nil, err
	}
	return &Template{body}, nil
}

// Render executes the template with the variables in vars, whose values must be
// nil, bool, int64, float64, string, [*Dict] or what [FromJSON] and [NewList]
// return. now is the time that strftime_now tells. inputBytes is the size of the
// input, to which the work allowed is proportional. Errors are [*Error] and
// [*Raised].
func (t *Template) Render(vars *Dict, now time.Time, inputBytes int) (text string, err error) {
	x := &execution{
		out:   new(strings.Builder),
		scope: new(scope),
		left:  baseWork + workPerByte*inputBytes,
		now:   now,
		line:  1,
	}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Error:
			text, err = "", e
		case *Raised:
			text, err = "", e
		default:
			text, err = "", &Error{x.line, fmt.Sprintf("the template made the interpreter fail: %v", e)}
		}
	}()
	for i, k := range vars.keys {
		x.scope.set(k.(string), vars.values[i])
	}
	x.run(t.body)
	return x.out.String(), nil
}

// Package grammar turns constraints on a text into masks of tokens.
//
// A [Spec] says what the text must be: JSON that a schema accepts, any JSON
// object, a match of a regular expression, a sentence of a grammar in GBNF or
// Lark's notation, or one of some choices. [Compile] makes an automaton of it for
// one tokenizer's [Vocabulary]; [Compiled.Start] begins a text. Then, token by token:
//
//	allowed, err := state.Mask(mask) // which tokens may come next
//	err = state.Accept(token)        // the one that was drawn
//
// The mask holds the end-of-text tokens exactly where the text may end.
// [State.ForcedToken] gives the token that must come next where there is only one,
// [State.Forced] the bytes that must, [State.Rollback] takes tokens back, [State.Clone] branches: what speculation needs.
//
// # How it works
//
// Every notation compiles to the same thing: rules, each a deterministic automaton
// over bytes whose states can also call rules. A text is read with a stack of the
// states to return to; where the grammar is ambiguous, with several stacks at once.
// What can be said of one string, one number or one key (length, pattern, format,
// range, a negation) is a regular language, and combined by products of automata.
//
// The tokens allowed in a state depend on the stack only where they reach beyond
// the rule's end. So the others are found once per state, by a walk over the
// vocabulary's trie, and kept; the few that remain are walked for at each step
// (the idea of XGrammar, arXiv:2411.15100). Where any text of a set of characters can be
// read, up to a length, its tokens are known beforehand, and the walk passes them by (as the
// slices of llguidance do); and states of a counted repetition that differ only in what is
// further off than a token's end share what was found.
//
// # Promises
//
// No text is accepted that the constraint forbids: what can't be decided is an
// error ([SchemaError] or [SyntaxError]) and never ignored. Compiling takes bounded time
// and memory ([ErrLimit]), stops with its context, and never panics. A [Compiled] and a
// [Vocabulary] may be used from many goroutines at once, a [State] from one.
package grammar

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// A Kind is a notation for constraints.
type Kind string

// The kinds of constraints.
const (
	JSONSchema Kind = "json_schema" // Source is a JSON Schema, draft 2020-12
	JSONObject Kind = "json_object" // any JSON object; no Source
	Regex      Kind = "regex"       // Source must match the whole text
	GBNF       Kind = "gbnf"        // Source is a grammar as llama.cpp writes it
	Lark       Kind = "lark"        // Source is a grammar as Lark writes it
	Choice     Kind = "choice"      // the text is one of Choices
)

// A Spec is a constraint.
type Spec struct {
	Kind    Kind
	Source  string
	Choices []string
}

// ErrEmpty is returned for constraints that no text meets.
var ErrEmpty = errors.New("no text can meet the constraint")

// A SchemaError says which keyword of a JSON Schema can't be enforced, and why.
type SchemaError struct {
	Pointer string // a JSON pointer to the keyword, or to the schema; "" is the root
	Keyword string // "" where the schema itself is at fault
	Reason  string
}

func (e *SchemaError) Error() string {
	if e.Keyword == "" {
		return fmt.Sprintf("json schema at %q: %s", e.Pointer, e.Reason)
	}
	return fmt.Sprintf("json schema at %q: keyword %q: %s", e.Pointer, e.Keyword, e.Reason)
}

// A SyntaxError says where a regular expression or a grammar isn't understood.
type SyntaxError struct {
	Kind   Kind
	Line   int // from 1; 0 where there are no lines
	Reason string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Kind, e.Reason)
	}
	return fmt.Sprintf("%s: line %d: %s", e.Kind, e.Line, e.Reason)
}

// A Compiled is a constraint for one vocabulary.
type Compiled struct {
	vocab   *Vocabulary
	program *program
	masks   []*atomic.Pointer[stateMask] // by state; what they point to is nil until wanted
	size    int64                        // bytes of the rest
	kept    atomic.Int64                 // bytes of masks
}

// Bytes returns about how much memory the constraint takes. It grows as masks are found
// and kept.
func (c *Compiled) Bytes() int64 { return c.size + c.kept.Load() }

// Compile makes spec ready for texts in the tokens of vocab. Errors are a
// [SchemaError], a [SyntaxError], [ErrEmpty], or wrap [ErrLimit] or ctx's.
func Compile(ctx context.Context, spec Spec, vocab *Vocabulary) (*Compiled, error) {
	p, err := compile(ctx, spec)
	if err != nil {
		return nil, err
	}
	vocab.prepareClasses(p)
	c := &Compiled{vocab: vocab, program: p, masks: make([]*atomic.Pointer[stateMask], len(p.states))}
	for i := range p.states {
		// A state, its place among the masks, and the same once more in its rule.
		c.size += 250 + 24*int64(len(p.states[i].edges))
	}
	for _, r := range p.rules {
		own := vocab.shared[r.rule]
		if own == nil {
			own = make([]atomic.Pointer[stateMask], len(r.rule.states))
		}
		repeated, ok := findRun(r.rule, vocab.longest)
		for i := range own {
			like := i
			if ok {
				like = repeated.like(i)
			}
			c.masks[int(r.base)+i] = &own[like]
		}
	}
	return c, nil
}

func compile(ctx context.Context, spec Spec) (p *program, err error) {
	size := len(spec.Source)
	for _, c := range spec.Choices {
		size += len(c)
	}
	if size > maxSource {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrLimit, size, maxSource)
	}
	lim := newBudget(ctx)
	err = guard(func() {
		switch spec.Kind {
		case JSONSchema:
			p = compileSchema(lim, spec.Source)
		case JSONObject:
			p = compileSchema(lim, `{"type":"object"}`)
		case Regex:
			p = single(lim, parseRegex(lim, spec.Source))
		case Choice:
			if len(spec.Choices) == 0 {
				panic(abort{&SyntaxError{Kind: Choice, Reason: "there are no choices"}})
			}
			p = single(lim, literals(lim, spec.Choices))
		case GBNF:
			p = compileGBNF(lim, spec.Source)
		case Lark:
			p = compileLark(lim, spec.Source)
		default:
			kinds := []string{string(JSONSchema), string(JSONObject), string(Regex), string(GBNF), string(Lark), string(Choice)}
			panic(abort{fmt.Errorf("unknown kind of constraint %q: it must be one of %s", spec.Kind, strings.Join(kinds, ", "))})
		}
	})
	if e := new(SyntaxError); errors.As(err, &e) && e.Kind == "" {
		e.Kind = spec.Kind // of what is found where all notations are the same
	}
	return p, err
}

// single is the program of one rule that calls none.
func single(lim *budget, d *dfa) *program {
	return link(lim, []*dfa{d}, 0, func(int) string { return "root" })
}

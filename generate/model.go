package generate

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/chat"
	"github.com/inferflux/inferflux/chat/dialect"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/tokenizer"
)

// ErrNoTemplate is returned for a conversation with a model that has no chat
// template.
var ErrNoTemplate = errors.New("the model has no chat template: use /v1/completions with a prompt in the model's own format")

// ModelOptions are the parts of a loaded model.
type ModelOptions struct {
	ID        string
	Aliases   []string
	File      string // where it was loaded from
	Created   time.Time
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template // nil if the model has none
	// Dialect is what the model's answers mean; nil to find it out from the template.
	Dialect *dialect.Dialect
	// Pooling is how texts become vectors; "" for what the model's file says.
	Pooling   Pooling
	Engine    backend.Engine
	Choice    backend.Choice // how the backend was chosen
	Scheduler scheduler.Options
	Close     func() error // what to close after the engine: the checkpoint
}

// Model is one loaded model. It is safe for concurrent use.
type Model struct {
	o         ModelOptions
	markers   []int32
	scheduler *scheduler.Scheduler
	close     func() error
	breakers  tokensWith
	grammars  *grammars
}

// New starts a model's scheduler. The model owns the engine from now on.
func New(o ModelOptions) *Model {
	if o.Dialect == nil {
		o.Dialect = DetectDialect(o.Template, o.Tokenizer)
	}
	m := &Model{o: o, scheduler: scheduler.New(o.Engine, o.Scheduler), markers: markerTokens(o.Dialect, o.Tokenizer), grammars: newGrammars(o.Tokenizer)}
	m.close = sync.OnceValue(func() error {
		m.scheduler.Close()
		err := o.Engine.Close()
		if o.Close != nil {
			err = errors.Join(err, o.Close())
		}
		return err
	})
	return m
}

// ID is the name under which the model is served.
func (m *Model) ID() string { return m.o.ID }

// Aliases are its other names.
func (m *Model) Aliases() []string { return m.o.Aliases }

// File is where it was loaded from.
func (m *Model) File() string { return m.o.File }

// Created is when it was loaded.
func (m *Model) Created() time.Time { return m.o.Created }

// Tokenizer is the model's own.
func (m *Model) Tokenizer() *tokenizer.Tokenizer { return m.o.Tokenizer }

// Template is the model's chat template, or nil.
func (m *Model) Template() *chat.Template { return m.o.Template }

// Dialect is what the model's answers mean.
func (m *Model) Dialect() *dialect.Dialect { return m.o.Dialect }

// MarkerTokens are the control tokens among the dialect's markers: those of
// [Request.Shown] for an answer that the dialect is to read.
func (m *Model) MarkerTokens() []int32 { return m.markers }

// Engine is what computes. Only its descriptions may be used: the scheduler owns
// the rest.
func (m *Model) Engine() backend.Engine { return m.o.Engine }

// Choice says how the backend was chosen.
func (m *Model) Choice() backend.Choice { return m.o.Choice }

// Scheduler is what runs the model's requests.
func (m *Model) Scheduler() *scheduler.Scheduler { return m.scheduler }

// Policy is the order in which requests are let in.
func (m *Model) Policy() scheduler.Policy { return m.o.Scheduler.Policy }

// Drain refuses new requests and waits for the running ones, until ctx ends.
func (m *Model) Drain(ctx context.Context) error { return m.scheduler.Drain(ctx) }

// Close ends what runs and frees everything. Further calls only repeat its
// result.
func (m *Model) Close() error { return m.close() }

// ChatPrompt renders a conversation and encodes it. As in transformers, the
// beginning token is the template's business and none is added.
func (m *Model) ChatPrompt(in chat.Input) ([]int32, error) {
	_, ids, err := m.RenderChat(in)
	return ids, err
}

// RenderChat is ChatPrompt, and also returns the text.
func (m *Model) RenderChat(in chat.Input) (text string, ids []int32, err error) {
	if m.o.Template == nil {
		return "", nil, ErrNoTemplate
	}
	text, err = m.o.Template.Render(in)
	if err != nil {
		return "", nil, err
	}
	return text, m.o.Tokenizer.Encode(nil, text, tokenizer.EncodeOptions{Special: true}), nil
}

// RawPrompt encodes a text to be continued, with the beginning token if the model
// wants one. Control tokens written out in it count as such, so that a client
// can apply a chat format by itself.
func (m *Model) RawPrompt(text string) []int32 {
	return m.o.Tokenizer.Encode(nil, text, tokenizer.EncodeOptions{Special: true, AddSpecial: true})
}

// Expected encodes text that an answer may be like, for [Request.Expected].
func (m *Model) Expected(text string) []int32 {
	return m.o.Tokenizer.Encode(nil, text, tokenizer.EncodeOptions{})
}

// FillPrompt asks for what stands between two texts, the first of which may already be
// tokens, which then aren't nil. It also gives the tokens that an answer never holds; false
// if the model has none to ask by.
func (m *Model) FillPrompt(before string, tokens []int32, after string) (prompt, never []int32, ok bool) {
	t := m.o.Tokenizer
	f, ok := t.FillIn()
	if !ok {
		return nil, nil, false
	}
	if tokens == nil {
		tokens = m.Tokenize(before)
	}
	if bos, ok := t.BOS(); ok && t.AddsBOS() {
		prompt = append(prompt, bos)
	}
	return f.Prompt(prompt, tokens, m.Tokenize(after)), f.Tokens(), true
}

// Request is one answer to generate.
type Request struct {
	Prompt      []int32
	Sampling    sample.Params
	MaxTokens   int      // 0: the scheduler's default
	MinTokens   int      // no stop token, and no stop string in the text of these
	Stop        []string // end the answer where they would begin
	StopTokens  []int32  // end it too, beside the model's own
	IgnoreEOS   bool     // the model's own don't end it
	Form        *Form    // what the answer must look like; nil: anything
	Client      string   // who asks, for fairness
	Expected    []int32  // what the answer may be like; it may make it faster, not other
	Priority    int      // the lowest number first, where the scheduler goes by it
	Tenant      string   // whose KV of ended requests may be used, see scheduler.Request
	IncludeStop bool     // the stop string, or the text of the request's own stop token, is part of the answer
	Shown       []int32  // control tokens that are part of the answer, as they are spelled; the others aren't
}

// Generate starts an answer. It ends when ctx does. A stop string that is empty or
// not UTF-8 is a scheduler.ErrInvalidRequest; the other errors are those of
// [scheduler.Scheduler.Submit].
func (m *Model) Generate(ctx context.Context, r Request) (*Stream, error) {
	stops, err := newStops(r.Stop)
	if err != nil {
		return nil, err
	}
	ends := r.StopTokens
	if !r.IgnoreEOS {
		ends = slices.Concat(r.StopTokens, m.o.Tokenizer.EndOfGeneration())
	}
	var constraint scheduler.Constraint
	if r.Form != nil {
		constraint = m.begin(r.Form)
	}
	seq, err := m.scheduler.Submit(ctx, scheduler.Request{
		Prompt: r.Prompt, Constraint: constraint, Sampling: r.Sampling, MaxTokens: r.MaxTokens, MinTokens: r.MinTokens, StopTokens: ends,
		Tenant: r.Tenant, Client: r.Client, Priority: r.Priority, Expected: r.Expected,
	})
	if err != nil {
		return nil, err
	}
	return &Stream{
		ctx: ctx, seq: seq, request: r,
		text: newText(m.o.Tokenizer, stops, r.IncludeStop, r.Shown),
	}, nil
}

package openai

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
	"unicode/utf8"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/scheduler"
)

// statusClientClosed is what the log and the metrics show when the client went
// away before its answer was there (nginx's number; nobody receives it).
const statusClientClosed = 499

// generate is the handler of an endpoint.
func (a *API) generate(e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := a.handle(w, r, e)
		if err == nil {
			return
		}
		answer := asError(err)
		if answer.Code == "context_length_exceeded" && e == completionEndpoint {
			answer.Param = "prompt"
		}
		if answer.Status == http.StatusInternalServerError {
			a.logFailure(r.Context(), err)
		}
		answer.Write(w)
	}
}

// logFailure logs an error that isn't the client's, with the stack of a panic.
func (a *API) logFailure(ctx context.Context, err error) {
	attrs := []any{"error", err}
	var panicked *scheduler.PanicError
	if errors.As(err, &panicked) {
		attrs = append(attrs, "stack", string(panicked.Stack))
	}
	a.log.ErrorContext(ctx, "an answer failed", attrs...)
}

// handle answers a request. It returns an error only as long as nothing was
// written.
func (a *API) handle(w http.ResponseWriter, r *http.Request, e endpoint) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return BodyError(err)
	}
	req, bad := decodeRequest(body, e)
	if bad != nil {
		return bad
	}
	model, err := a.models.Get(req.model)
	if err != nil {
		return err
	}
	if bad := req.bind(model); bad != nil {
		return bad
	}
	who := callerOf(r.Context())
	req.client, req.tenant = who.client, who.tenant
	if req.cacheSalt != "" {
		req.tenant += "\x00" + req.cacheSalt
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if req.timeout > 0 {
		limit := time.Duration(req.timeout * float64(time.Second))
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, limit, &Error{
			Status: http.StatusGatewayTimeout, Type: TypeUnavailable, Code: "timeout", Param: "timeout",
			Message: fmt.Sprintf("the request was not answered within its \"timeout\" of %s", limit),
		})
		defer stop()
	}
	b, err := a.start(ctx, model, req)
	if err != nil {
		return whyEnded(ctx, err)
	}
	defer b.close()
	if req.stream {
		return b.stream(ctx, cancel, w, a)
	}
	return b.whole(ctx, w)
}

// BodyError says why a request's body could not be read.
func BodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{
			Status: http.StatusRequestTimeout, Type: TypeInvalidRequest, Code: "request_timeout",
			Message: "the request body did not arrive in time",
		}
	}
	return badRequest("", "the request body could not be read: %s", err)
}

// whyEnded replaces the error of a cancelled request by the reason for which it
// was cancelled.
func whyEnded(ctx context.Context, err error) error {
	var timeout *Error
	switch {
	case ctx.Err() == nil:
		return err
	case errors.As(context.Cause(ctx), &timeout):
		return timeout
	case errors.Is(context.Cause(ctx), scheduler.ErrStopped):
		return ShuttingDown()
	}
	return &Error{
		Status: statusClientClosed, Type: TypeInvalidRequest, Code: "client_closed_request",
		Message: "the client closed the connection",
	}
}

// batch is the sequences of one request: answer i to prompt p is number p·candidates + i.
// Unless there is more than one candidate for an answer, that is also its choice's index.
type batch struct {
	req     *request
	model   *generate.Model
	head    head
	streams []*generate.Stream
	prompts [][]int32
	scored  [][]generate.PromptToken // by prompt; nil where nobody asks
	echoes  []string                 // by prompt; nil without echo
	replies []*reply                 // by sequence
}

// start submits all sequences of a request, or none.
func (a *API) start(ctx context.Context, m *generate.Model, req *request) (*batch, error) {
	b := &batch{req: req, model: m, head: a.head(m, req)}
	prompts, text, err := b.encode()
	if err != nil {
		return nil, err
	}
	form, err := req.form(ctx, m, text)
	if err != nil {
		return nil, err
	}
	var expected []int32
	if req.prediction != nil {
		expected = m.Expected(*req.prediction)
	}
	b.prompts = prompts
	if err := b.score(ctx); err != nil {
		return nil, err
	}
	for _, ids := range prompts {
		for i := range req.candidates() {
			g := req.generation(ids, i)
			g.Form, g.Expected = form, expected
			if req.toolChoice.mode == "required" {
				g.Stop = nil // they end what is said, and nothing is
			}
			if req.reads(m) {
				g.Shown = m.MarkerTokens()
			}
			s, err := m.Generate(ctx, g)
			if err != nil {
				b.close()
				return nil, err
			}
			b.streams = append(b.streams, s)
			b.replies = append(b.replies, newReply(m, req, text))
		}
	}
	return b, nil
}

func (b *batch) close() {
	for _, s := range b.streams {
		s.Close()
	}
}

// encode makes token ids of the prompts; the text is that of a conversation.
func (b *batch) encode() (prompts [][]int32, text string, err error) {
	if b.req.endpoint == chatEndpoint {
		text, ids, err := b.model.RenderChat(b.req.conversation(b.model))
		return [][]int32{ids}, text, err
	}
	prompts = make([][]int32, len(b.req.prompts))
	for p, in := range b.req.prompts {
		prompts[p] = in.tokens
		switch {
		case b.req.suffix != "":
			prompts[p], _, _ = b.model.FillPrompt(in.text, in.tokens, b.req.suffix)
		case in.tokens == nil:
			prompts[p] = b.model.RawPrompt(in.text)
		}
		if len(prompts[p]) == 0 {
			return nil, "", badRequest("prompt", "the prompt is empty, and model %q has no token to begin a text with", b.model.ID())
		}
		if b.req.echo {
			text := in.text
			if in.tokens != nil {
				text = b.model.Tokenizer().Decode(in.tokens)
			}
			b.echoes = append(b.echoes, text)
		}
	}
	return prompts, "", nil
}

func (a *API) head(m *generate.Model, req *request) head {
	h := head{Created: time.Now().Unix(), Model: m.ID(), Fingerprint: a.fingerprint(m)}
	switch {
	case req.endpoint == completionEndpoint:
		h.ID, h.Object = "cmpl-"+rand.Text(), "text_completion"
	case req.stream:
		h.ID, h.Object = "chatcmpl-"+rand.Text(), "chat.completion.chunk"
	default:
		h.ID, h.Object = "chatcmpl-"+rand.Text(), "chat.completion"
	}
	return h
}

// fingerprint changes whenever something may change that makes the same seed
// give other tokens: the program, the backend or the model.
func (a *API) fingerprint(m *generate.Model) string {
	d := m.Engine().Description()
	h := sha256.New()
	for _, s := range []string{a.version, d.Name, d.Version, d.Device, m.ID(), m.File()} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return "fp_" + hex.EncodeToString(h.Sum(nil)[:6])
}

func (b *batch) usage() usage {
	var u usage
	for _, ids := range b.prompts {
		u.PromptTokens += len(ids)
	}
	for i, s := range b.streams {
		got := s.Usage()
		u.CompletionTokens += got.CompletionTokens
		if i%b.req.candidates() == 0 && b.scored == nil { // else all of the prompt was computed before
			u.PromptDetails.CachedTokens += got.CachedTokens
		}
	}
	if b.req.endpoint == chatEndpoint {
		u.CompletionDetails = &completionDetails{}
		for _, s := range b.streams {
			t := s.Timings()
			u.CompletionDetails.AcceptedPredictionTokens += t.AcceptedTokens
			u.CompletionDetails.RejectedPredictionTokens += t.GuessedTokens - t.AcceptedTokens
		}
		for _, r := range b.replies {
			u.CompletionDetails.ReasoningTokens += r.reasoningTokens
		}
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	return u
}

// timings are nil unless they are wanted.
func (b *batch) timings() *timings {
	if !b.req.timings {
		return nil
	}
	return newTimings(b.streams)
}

// whole answers without streaming.
func (b *batch) whole(ctx context.Context, w http.ResponseWriter) error {
	answers := make([]answer, len(b.streams))
	for i, s := range b.streams {
		a, r := &answers[i], b.replies[i]
		// The scheduler holds what isn't read yet, so reading one sequence after
		// the other delays none.
		for !r.ended {
			d, err := s.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return whyEnded(ctx, err)
			}
			if err := b.finished(ctx, d.Finish); err != nil {
				return err
			}
			a.add(r.push(&d))
			a.tokens = append(a.tokens, d.Tokens...)
		}
		s.Close()
		a.finish = r.finish
	}
	var choices []any
	for p := range b.prompts {
		m := b.req.candidates()
		of := answers[p*m : (p+1)*m]
		if m > b.req.n {
			best(of)
		}
		for i := range b.req.n {
			choices = append(choices, b.choice(len(choices), p, &of[i]))
		}
	}
	out := response{head: b.head, Choices: choices, Usage: b.usage(), Timings: b.timings()}
	if b.req.endpoint == chatEndpoint {
		out.PromptLogprobs = b.promptLogprobs(0)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// finished gives an error if a sequence ended neither by itself nor at a limit.
func (b *batch) finished(ctx context.Context, f scheduler.FinishReason) error {
	if f == scheduler.FinishCanceled {
		return whyEnded(ctx, ShuttingDown())
	}
	return nil
}

// choice is number i of an answer, one to prompt p.
func (b *batch) choice(i, p int, a *answer) any {
	if b.req.endpoint == chatEndpoint {
		c := chatChoice{Index: i, Message: a.message(b.req.legacyCalls), FinishReason: a.finish}
		if b.req.wantLogprobs {
			c.Logprobs = newChatLogprobs(b.model, a.tokens)
		}
		return c
	}
	c := textChoice{Index: i, Text: string(a.content), FinishReason: a.finish, PromptLogprobs: b.promptLogprobs(p)}
	offset := 0
	if b.echoes != nil {
		c.Text = b.echoes[p] + c.Text
		offset = utf8.RuneCountInString(b.echoes[p])
	}
	if b.req.wantLogprobs {
		c.Logprobs, _ = newTextLogprobs(b.model, a.tokens, offset)
		if b.echoes != nil {
			prompt := b.echoed(p)
			prompt.append(c.Logprobs)
			c.Logprobs = prompt
		}
	}
	return c
}

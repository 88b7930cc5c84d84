package scheduler

import (
	"fmt"
	"runtime/debug"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// Reading asks for what the engine computes of a prompt, in place of an answer: the
// sequence ends, with FinishStop and no token, when all of the prompt has been computed.
type Reading struct {
	// Want is what is asked for, of the prompt's last token or of all.
	Want backend.LogitsWanted
	// Take gets it: rows of logits or hidden states of the tokens from position pos on,
	// in their order, and from position 0 again if the sequence had given way to
	// another. The loop calls it, so that it must be quick; the rows are its own only
	// until it returns. It isn't called any more once the reader has had the last event.
	Take func(pos int, rows [][]float32)
}

// rowsAtOnce is of how many tokens all logits are asked for in one step: a row may take
// half a megabyte.
const rowsAtOnce = 32

// prepareReading is prepare for a request with a Reading.
func (s *Scheduler) prepareReading(r Request) (*Sequence, error) {
	if len(r.Prompt) > s.context {
		return nil, &ContextLengthError{Prompt: len(r.Prompt), Context: s.context}
	}
	if r.MaxTokens != 0 || r.MinTokens != 0 || r.Constraint != nil {
		return nil, fmt.Errorf("%w: a prompt that is only read gets no answer", ErrInvalidRequest)
	}
	sampler, err := sample.New(sample.Defaults(), s.vocab) // which is never drawn from
	if err != nil {
		return nil, err
	}
	return &Sequence{s: s, req: r, feed: r.Prompt, sampler: sampler, timings: Timings{PromptTokens: len(r.Prompt)}, ready: make(chan struct{}, 1)}, nil
}

// readsAll reports whether something of every token is asked for, so that nothing of the
// prompt may come from a cache.
func (q *Sequence) readsAll() bool {
	r := q.req.Reading
	return r != nil && (r.Want == backend.AllLogits || r.Want == backend.AllHidden)
}

// leaves reports whether what was computed is held when the sequence ends. Texts whose
// hidden states are asked for aren't likely to be beginnings of others.
func (q *Sequence) leaves() bool {
	r := q.req.Reading
	return r == nil || r.Want == backend.LastLogits || r.Want == backend.AllLogits
}

// unread is how many tokens of the prompt may go into the next step.
func (q *Sequence) unread() int {
	n := len(q.feed) - q.pos
	if r := q.req.Reading; r != nil && r.Want == backend.AllLogits {
		n = min(n, rowsAtOnce)
	}
	return n
}

// wanted is what is asked for of the next n tokens of the prompt.
func (q *Sequence) wanted(n int) backend.LogitsWanted {
	if !q.readsAll() && q.pos+n < len(q.feed) {
		return backend.NoLogits
	}
	return q.req.Reading.Want
}

// take hands out what was asked for of a span.
func (s *Scheduler) take(q *Sequence, span *backend.Span) {
	if q.over {
		return
	}
	if f := q.asked(); f != Running {
		s.end(q, Event{Finish: f})
		return
	}
	if err := q.hand(span); err != nil {
		s.end(q, Event{Err: err})
		return
	}
	if span.Pos+len(span.Tokens) == len(q.feed) {
		s.end(q, Event{Finish: FinishStop})
	}
}

func (q *Sequence) hand(span *backend.Span) (err error) {
	rows, want := span.Logits, 0
	switch span.Want {
	case backend.NoLogits:
		return nil
	case backend.LastLogits:
		want = 1
	case backend.AllLogits:
		want = len(span.Tokens)
	case backend.LastHidden:
		rows, want = span.Hidden, 1
	case backend.AllHidden:
		rows, want = span.Hidden, len(span.Tokens)
	}
	if len(rows) != want {
		return fmt.Errorf("the engine gave %d rows instead of %d", len(rows), want)
	}
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{r, debug.Stack()}
		}
	}()
	q.req.Reading.Take(span.Pos+len(span.Tokens)-want, rows)
	return nil
}

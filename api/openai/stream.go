package openai

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"unicode/utf8"

	"github.com/inferflux/inferflux/chat/dialect"
	"github.com/inferflux/inferflux/generate"
)

// update is what one sequence did.
type update struct {
	index int
	delta generate.Delta
	err   error
}

// updates merges the sequences. The channel is closed when all have ended or ctx
// has; wait returns when nothing reads the streams any more.
func (b *batch) updates(ctx context.Context) (ch <-chan update, wait func()) {
	// With room for a step's deltas, the writer can see whether more is there
	// and flush once for all.
	out := make(chan update, len(b.streams))
	var readers sync.WaitGroup
	for i, s := range b.streams {
		readers.Go(func() {
			for {
				d, err := s.Next()
				if errors.Is(err, io.EOF) {
					return
				}
				select {
				case out <- update{i, d, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		readers.Wait()
		close(out)
		close(done)
	}()
	return out, func() { <-done }
}

// stream answers with server-sent events.
func (b *batch) stream(ctx context.Context, cancel func(), w http.ResponseWriter, a *API) error {
	updates, wait := b.updates(ctx)
	defer wait()
	defer cancel()

	events := newEventWriter(w, b.head, b.req.includeUsage)
	began := false
	offsets := make([]int, len(b.streams)) // of the legacy log-probabilities
	for i := range offsets {
		if b.echoes != nil {
			offsets[i] = utf8.RuneCountInString(b.echoes[i/b.req.n])
		}
	}
	for u := range updates {
		if b.replies[u.index].ended {
			continue
		}
		if u.err == nil {
			u.err = b.finished(ctx, u.delta.Finish)
		}
		if u.err != nil {
			err := whyEnded(ctx, u.err)
			if !began {
				return err
			}
			if asError(err).Status == http.StatusInternalServerError {
				a.logFailure(ctx, err)
			}
			_ = events.fail(asError(err)) // the stream ends either way
			return nil
		}
		if !began {
			began = true
			events.begin()
			if b.open(events) != nil {
				return nil
			}
		}
		if b.send(events, &u, offsets) != nil {
			return nil
		}
		if len(updates) == 0 && events.flush() != nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		err := asError(whyEnded(ctx, ctx.Err()))
		if !began {
			return err
		}
		_ = events.fail(err)
		return nil
	}
	if !began {
		// Every sequence ended without a word, which the scheduler doesn't do.
		return &Error{Status: http.StatusInternalServerError, Type: TypeServer, Message: "the model gave no answer"}
	}
	if (b.req.includeUsage || b.req.timings) && events.counts(b.usage(), b.timings()) != nil {
		return nil
	}
	_ = events.done()
	return nil
}

// open sends what comes before the first text: the role, or the echoed prompt.
func (b *batch) open(events *eventWriter) error {
	for i := range b.streams {
		var err error
		switch {
		case b.req.endpoint == chatEndpoint:
			err = events.choice(func(dst []byte) []byte { return appendChatRole(dst, i) })
		case b.echoes != nil:
			p := i / b.req.n
			var logprobs *textLogprobs
			if b.req.wantLogprobs {
				logprobs = b.echoed(p)
			}
			err = events.choice(func(dst []byte) []byte { return appendText(dst, i, b.echoes[p], logprobs, "") })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// send sends a delta.
func (b *batch) send(events *eventWriter, u *update, offsets []int) error {
	if b.req.endpoint == completionEndpoint {
		var logprobs *textLogprobs
		if b.req.wantLogprobs {
			logprobs, offsets[u.index] = newTextLogprobs(b.model, u.delta.Tokens, offsets[u.index])
		}
		return events.choice(func(dst []byte) []byte {
			return appendText(dst, u.index, u.delta.Text, logprobs, string(u.delta.Finish))
		})
	}
	r := b.replies[u.index]
	said := r.push(&u.delta)
	var logprobs *chatLogprobs
	if b.req.wantLogprobs && len(u.delta.Tokens) > 0 {
		logprobs = newChatLogprobs(b.model, u.delta.Tokens)
		if len(said) == 0 {
			said = []dialect.Event{{Kind: dialect.Content}} // the tokens' text is held back
		}
	}
	for _, e := range said {
		if e.Kind == dialect.ToolEnd {
			continue
		}
		err := events.choice(func(dst []byte) []byte { return appendChatDelta(dst, u.index, r, e, logprobs) })
		if err != nil {
			return err
		}
		logprobs = nil
	}
	if r.ended {
		b.streams[u.index].Close()
	}
	if r.finish == "" {
		return nil
	}
	return events.choice(func(dst []byte) []byte { return appendChatFinish(dst, u.index, r.finish) })
}

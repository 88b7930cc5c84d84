package generate

import (
	"context"
	"io"
	"slices"

	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler"
)

// Token is a generated token as the answer shows it.
type Token struct {
	sample.Choice
}

// Delta is the next piece of an answer.
type Delta struct {
	Text string
	// Tokens are those whose text is complete with this delta. The one in which a
	// stop string begins is among them if it begins with text of the answer; the
	// stop token that ends an answer isn't.
	Tokens []Token
	// Finish is set on the last delta.
	Finish scheduler.FinishReason
	// StopString is the stop string that ended the answer, if one did.
	StopString string
}

// Usage counts tokens.
type Usage struct {
	PromptTokens, CompletionTokens, CachedTokens int
}

// Stream is an answer that is being generated. It is not safe for concurrent
// use, except for Close.
type Stream struct {
	ctx     context.Context // of the request, which a stream lives within
	seq     *scheduler.Sequence
	request Request
	text    *text
	tokens  int // consumed
	ended   bool
}

// Next waits for the next piece. The last one has Finish set; after it, Next
// returns io.EOF.
func (s *Stream) Next() (Delta, error) {
	for !s.ended {
		e, err := s.seq.Next(s.ctx)
		if err == nil {
			err = e.Err
		}
		if err != nil {
			s.ended = true
			s.seq.Cancel()
			return Delta{}, err
		}
		d := s.take(e)
		if d.Finish != scheduler.Running {
			s.ended = true
			s.seq.Stop() // a stop string ends it before the scheduler does
			return d, nil
		}
		if d.Text != "" {
			return d, nil
		}
	}
	return Delta{}, io.EOF
}

// take turns one event into what can be shown after it.
func (s *Stream) take(e scheduler.Event) Delta {
	var d Delta
	if e.HasToken {
		s.tokens++
		id := e.Choice.Token
		silent := e.Finish == scheduler.FinishStop &&
			!(s.request.IncludeStop && slices.Contains(s.request.StopTokens, id))
		if !silent {
			d = s.text.push(e.Choice, s.tokens > s.request.MinTokens)
		}
	}
	if d.Finish == scheduler.Running && e.Finish != scheduler.Running {
		rest := s.text.end(s.tokens > s.request.MinTokens)
		d.Text += rest.Text
		d.Tokens = append(d.Tokens, rest.Tokens...)
		d.Finish, d.StopString = e.Finish, rest.StopString
		if rest.StopString != "" {
			d.Finish = scheduler.FinishStop
		}
	}
	return d
}

// Usage counts what the answer has cost so far. Tokens computed after a stop
// string was found don't count.
func (s *Stream) Usage() Usage {
	t := s.seq.Timings()
	return Usage{PromptTokens: t.PromptTokens, CompletionTokens: s.tokens, CachedTokens: t.CachedTokens}
}

// Timings are the milestones so far.
func (s *Stream) Timings() scheduler.Timings { return s.seq.Timings() }

// Close ends the answer if it is still being generated.
func (s *Stream) Close() { s.seq.Cancel() }

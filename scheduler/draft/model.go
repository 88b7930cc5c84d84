package draft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// Model guesses with an engine of its own, which nobody else may use. It is not safe for
// concurrent use.
type Model struct {
	engine  backend.Engine
	sampler backend.DeviceSampler // the engine, if it chooses tokens itself
	chooser sample.Chooser
	batch   backend.Batch
	draws   []sample.Draw
	seconds float64 // that a round takes
}

// Follower is what a Model knows of a sequence.
type Follower struct {
	seq     backend.SeqID
	room    int
	history []int32
	known   int     // of history, how many are in KV
	beyond  []int32 // guesses that are in KV after them, if known is all of history
	last    [1]int32
}

// Job asks for a guess.
type Job struct {
	*Follower
	Draws  []sample.Draw // how to choose each token; there are as many guesses at most
	Tokens []int32       // set by Draft; none if the follower is too far behind
}

// catchUp is how many tokens of a prompt are computed in one step.
const catchUp = 256

// NewModel makes a Model of an engine.
func NewModel(e backend.Engine) *Model {
	m := &Model{engine: e}
	if s, ok := e.(backend.DeviceSampler); ok && e.Capabilities().DeviceSampling {
		m.sampler = s
	}
	return m
}

// Follow begins to follow a sequence that begins with prompt and may grow to room tokens. The
// error is a backend.ErrKVFull if there is no memory for it now.
func (m *Model) Follow(prompt []int32, room int) (*Follower, error) {
	for _, token := range prompt {
		if !m.Knows(token) {
			return nil, fmt.Errorf("the draft model doesn't know token %d", token)
		}
	}
	room = min(room, m.engine.Context(), m.engine.KV().Usage().Capacity)
	if len(prompt) > room {
		return nil, fmt.Errorf("the draft model's context of %d is too short for a prompt of %d tokens", room, len(prompt))
	}
	seq, err := m.engine.KV().Reserve(room)
	if err != nil {
		return nil, err
	}
	return &Follower{seq: seq, room: room, history: append(make([]int32, 0, room), prompt...)}, nil
}

// Knows reports whether a token is of the model's vocabulary.
func (m *Model) Knows(token int32) bool { return token >= 0 && int(token) < m.engine.Model().Vocab }

// Leave ends it.
func (m *Model) Leave(f *Follower) error { return m.engine.KV().Free(f.seq) }

// Add takes note of the sequence's next token.
func (f *Follower) Add(token int32) {
	switch {
	case len(f.beyond) > 0 && f.beyond[0] == token:
		f.known++
		f.beyond = f.beyond[1:]
	default:
		f.beyond = nil
	}
	f.history = append(f.history, token)
}

// Seconds is how long a round of Draft takes, 0 if there was none yet.
func (m *Model) Seconds() float64 { return m.seconds }

// Draft makes guesses, one for each draw of each job, in as many rounds as the longest
// needs. An error leaves the followers as they were.
func (m *Model) Draft(ctx context.Context, jobs []Job) error {
	most := 0
	for i := range jobs {
		j := &jobs[i]
		j.Tokens = j.Tokens[:0]
		if err := m.rewind(j.Follower); err != nil {
			return err
		}
		most = max(most, len(j.Draws))
	}
	each := max(1, min(catchUp, m.engine.MaxBatchTokens()/max(1, len(jobs))))
	for round := range most {
		begun := time.Now()
		m.batch.Spans, m.draws = m.batch.Spans[:0], m.draws[:0]
		var of []*Job
		for i := range jobs {
			if span, ok := jobs[i].span(round, each); ok {
				m.batch.Spans, of = append(m.batch.Spans, span), append(of, &jobs[i])
			}
		}
		if len(of) == 0 {
			break
		}
		if err := m.run(ctx, of, round); err != nil {
			return err
		}
		if m.batch.Tokens() > 2*len(of) {
			continue // it had to catch up, which comes once
		}
		if took := time.Since(begun).Seconds(); m.seconds == 0 {
			m.seconds = took
		} else {
			m.seconds += (took - m.seconds) / 8
		}
	}
	return nil
}

// span is what a job needs computed in a round.
func (j *Job) span(round, each int) (backend.Span, bool) {
	f := j.Follower
	s := backend.Span{Seq: f.seq, Pos: f.known + len(f.beyond), Want: backend.LastLogits}
	switch {
	case round == 0:
		s.Tokens = f.history[f.known:]
		if len(s.Tokens) > each {
			s.Tokens, s.Want = s.Tokens[:each], backend.NoLogits
		}
	case len(j.Tokens) == round && round < len(j.Draws):
		f.last[0] = j.Tokens[round-1]
		s.Tokens = f.last[:]
	}
	// A guess is fed back at the next position.
	return s, len(s.Tokens) > 0 && s.Pos+len(s.Tokens) <= f.room
}

// run computes a round, and adds what it guesses to the jobs.
func (m *Model) run(ctx context.Context, of []*Job, round int) error {
	spans := m.batch.Spans
	var started backend.Started
	var err error
	if m.sampler != nil {
		for i := range spans {
			if d := of[i].Draws[round]; spans[i].Want != backend.NoLogits && d.Shape == nil {
				spans[i].Draw = &d
			}
		}
		if started, err = m.sampler.Start(ctx, &m.batch); err == nil {
			err = started.Wait(ctx)
		}
	} else {
		err = m.engine.Run(ctx, &m.batch)
	}
	if err != nil {
		return fmt.Errorf("run the draft model: %w", err)
	}
	for i, j := range of {
		s, f := &spans[i], j.Follower
		if round == 0 {
			f.known += len(s.Tokens)
		} else {
			f.beyond = append(f.beyond, s.Tokens...)
		}
		if s.Want == backend.NoLogits {
			continue
		}
		choice, err := s.Choice, s.Err
		if s.Draw == nil {
			d := j.Draws[round]
			choice, err = m.chooser.Choose(&d, s.Logits[0])
		}
		if err == nil { // else the guess ends here
			j.Tokens = append(j.Tokens, choice.Token)
		}
	}
	return nil
}

// rewind takes what isn't the follower's history out of KV.
func (m *Model) rewind(f *Follower) error {
	f.beyond = nil
	// The last token is always computed, for its logits.
	f.known = min(f.known, len(f.history)-1)
	if m.engine.KV().Len(f.seq) == f.known {
		return nil
	}
	if err := m.engine.KV().Truncate(f.seq, f.known); err != nil {
		return errors.Join(backend.ErrEngineFailed, err)
	}
	return nil
}

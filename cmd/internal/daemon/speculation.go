package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/tokenizer"
)

// speculation says how tokens of a model's answers are guessed, and loads the smaller
// model if there is one; what is returned closes it.
func (l *loader) speculation(ctx context.Context, m config.Model, tok *tokenizer.Tokenizer, choice backend.Choice) (s scheduler.Speculation, done func() error, err error) {
	c := m.Speculation
	s.Tokens = c.Tokens
	done = func() error { return nil }
	method := c.Method
	if method == "auto" {
		switch {
		case c.Draft != "":
			method = "draft"
		case choice.Engine.Capabilities().DeviceSampling:
			method = "none" // to look ahead is worth more than most guesses
		default:
			method = "lookup"
		}
	}
	if method != "none" && c.Method != "auto" && !choice.Engine.Capabilities().SpeculativeDecoding {
		return s, done, fmt.Errorf("models[].speculation.method is %s, but a model of the architecture %s on backend %s can't check guessed tokens: set it to none",
			c.Method, choice.Engine.Model().Architecture, choice.Backend)
	}
	switch method {
	case "lookup":
		s.Lookup = true
	case "draft":
		s.Model, done, err = l.draft(ctx, m, tok, choice)
	}
	return s, done, err
}

// draft loads the smaller model.
func (l *loader) draft(ctx context.Context, m config.Model, tok *tokenizer.Tokenizer, choice backend.Choice) (_ backend.Engine, done func() error, err error) {
	fail := func(err error) (backend.Engine, func() error, error) {
		return nil, nil, fmt.Errorf("the draft model %s of %s: %w", m.Speculation.Draft, m.ID, err)
	}
	path, err := l.fetch(ctx, config.Model{ID: m.ID, Source: m.Speculation.Draft})
	if err != nil {
		return fail(err)
	}
	c, err := checkpoint.Open(path)
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	other, err := tokenizer.FromCheckpoint(c)
	if err != nil {
		return fail(err)
	}
	if err = sameVocabulary(tok, other); err != nil {
		return fail(err)
	}
	name := m.Speculation.Backend
	if name == "" {
		name = choice.Backend
	}
	drafts, err := l.manager.Load(ctx, c, backend.LoadRequest{Backend: name, Options: backend.LoadOptions{
		KVTokens: choice.Engine.KV().Usage().Capacity, KVType: m.KVType,
		Threads: l.Config.Runtime.Backend("cpu").Threads, Repack: l.Config.Runtime.Backend("cpu").Repack,
	}})
	if err != nil {
		return fail(err)
	}
	e := drafts.Engine
	if !e.Capabilities().SpeculativeDecoding {
		err = errors.Join(fmt.Errorf("its architecture %s can't take back tokens on backend %s: choose another", e.Model().Architecture, name), e.Close())
		return fail(err)
	}
	l.Logger.Info("ready to draft", "model", m.ID, "draft", path, "backend", drafts.Backend, "quantization", e.Model().Quantization)
	return e, func() error { return errors.Join(e.Close(), c.Close()) }, nil
}

// sameVocabulary is an error unless the tokens of one are those of the other. One may have a
// few more at the end: vocabularies are padded.
func sameVocabulary(a, b *tokenizer.Tokenizer) error {
	for id := range int32(min(a.VocabSize(), b.VocabSize())) {
		if !bytes.Equal(a.Piece(id), b.Piece(id)) {
			return fmt.Errorf("its vocabulary is another one: token %d is %q there and %q here: choose a smaller model of the same family", id, b.Piece(id), a.Piece(id))
		}
	}
	if more := a.VocabSize() - b.VocabSize(); more > 256 || more < -256 {
		return fmt.Errorf("its vocabulary has %d tokens instead of %d: choose a smaller model of the same family", b.VocabSize(), a.VocabSize())
	}
	return nil
}

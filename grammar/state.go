package grammar

import (
	"fmt"
	"math/bits"
	"slices"
)

// maxRollback is the number of tokens that can always be taken back.
const maxRollback = 256

// A State is a place in a constrained text.
type State struct {
	c    *Compiled
	past []*reading // the last one is now; they are shared by clones
	over bool       // an end-of-text token was accepted
}

// Start returns the beginning of a text.
func (c *Compiled) Start() *State {
	k := closer{p: c.program}
	k.visit(item{c.program.start, nil})
	r := new(reading)
	k.close(r)
	return &State{c: c, past: []*reading{r}}
}

func (s *State) now() *reading { return s.past[len(s.past)-1] }

// Clone returns a State that goes its own way from here.
func (s *State) Clone() *State {
	return &State{c: s.c, past: slices.Clone(s.past), over: s.over}
}

// AcceptsEnd says whether the text may end here.
func (s *State) AcceptsEnd() bool { return s.now().ends }

// Ended says whether an end-of-text token was accepted.
func (s *State) Ended() bool { return s.over }

// Accept appends a token to the text. One that the constraint doesn't allow is an
// error and changes nothing.
func (s *State) Accept(token int32) error {
	v := s.c.vocab
	if token < 0 || int(token) >= len(v.tokens) {
		return fmt.Errorf("token %d is not one of a vocabulary of %d", token, len(v.tokens))
	}
	if s.over {
		return fmt.Errorf("token %d comes after the end of the text", token)
	}
	now := s.now()
	switch {
	case slices.Contains(v.eos, token):
		if !now.ends {
			return fmt.Errorf("token %d ends the text where the constraint wants more", token)
		}
		s.over = true
		s.push(now)
		return nil
	case v.special[token] || len(v.tokens[token]) == 0 || len(v.tokens[token]) > maxToken:
		return fmt.Errorf("token %d is not one of text", token)
	}
	r, err := s.c.read(now, v.tokens[token])
	if err != nil {
		return fmt.Errorf("token %d: %w", token, err)
	}
	s.push(r)
	return nil
}

func (s *State) push(r *reading) {
	if len(s.past) > 2*maxRollback {
		s.past = append(s.past[:0], s.past[len(s.past)-maxRollback:]...)
	}
	s.past = append(s.past, r)
}

// read returns what text leads to.
func (c *Compiled) read(from *reading, text []byte) (*reading, error) {
	k := closer{p: c.program}
	var buffers [2]reading
	at := from
	for i, b := range text {
		next := &buffers[i&1]
		k.step(at.items, b, next)
		if k.err != nil {
			return nil, k.err
		}
		if len(next.items) == 0 && !next.ends {
			return nil, fmt.Errorf("the constraint doesn't allow %q here", text)
		}
		at = next
	}
	return &reading{items: slices.Clone(at.items), ends: at.ends}, nil
}

// Rollback takes the last n tokens back. At least 256 can be, if so many were
// accepted; more is an error and changes nothing.
func (s *State) Rollback(n int) error {
	if n < 0 || n >= len(s.past) {
		return fmt.Errorf("%d tokens can't be taken back: %d are remembered", n, len(s.past)-1)
	}
	if n > 0 {
		s.past = s.past[: len(s.past)-n : len(s.past)-n]
		s.over = false
	}
	return nil
}

// ForcedToken returns the token that must come next, if there is only one: sampling could
// give no other, so that it can be accepted without, and the model run on several of them at once.
// It costs as much as a mask at most, and little where there is a choice.
func (s *State) ForcedToken() (id int32, ok bool) {
	v := s.c.vocab
	for _, it := range s.now().items {
		if m := s.c.masks[it.state].Load(); m != nil && m.several() {
			return 0, false
		}
	}
	mask := make([]uint32, v.MaskWords())
	if allowed, err := s.Mask(mask); err != nil || allowed != 1 {
		return 0, false
	}
	i := slices.IndexFunc(mask, func(word uint32) bool { return word != 0 })
	return int32(32*i + bits.TrailingZeros32(mask[i])), true
}

// maxForced bounds the bytes that Forced returns.
const maxForced = 1024

// Forced returns the bytes that every text goes on with from here, at most 1024. It
// is empty where the text may end or go on in several ways. A caller that emits
// them without running the model must split them into tokens as the tokenizer
// does, or it changes what the model would have said; a mask of one token needs
// no such care.
func (s *State) Forced() []byte {
	var out []byte
	if s.over {
		return nil
	}
	k := closer{p: s.c.program}
	var buffers [2]reading
	at := s.now()
	for len(out) < maxForced && !at.ends && len(at.items) > 0 {
		var b byte
		for i, it := range at.items {
			e := s.c.program.states[it.state].edges
			if len(e) != 1 || e[0].lo != e[0].hi || i > 0 && e[0].lo != b {
				return out
			}
			b = e[0].lo
		}
		next := &buffers[len(out)&1]
		if k.step(at.items, b, next); k.err != nil {
			return out
		}
		out = append(out, b)
		at = next
	}
	return out
}

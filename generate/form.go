package generate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/grammar"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/tokenizer"
)

// A Form is what an answer must look like: places, one after the other, of which each
// allows some tokens. It is shared by answers; [Model.begin] makes the state of one.
type Form struct{ start *place }

// place is one of:
//
//   - free: any text, up to a marker if there is one;
//   - one of some texts, as the tokenizer splits them, control tokens included;
//   - a text that a grammar allows;
//   - the end, if it is none of these.
type place struct {
	free   bool
	marker string // what ends free text; "": nothing
	budget int    // tokens of free text after which the marker is forced; 0: no limit
	texts  []alternative
	within *grammar.Compiled
	ends   bool // the answer may end here

	next *place // after the marker, or the grammar's text
	// aside, if set, is a text that may stand before all of this.
	aside *alternative
}

type alternative struct {
	text string
	next *place
}

var theEnd = &place{ends: true}

// GrammarForm is an answer that a grammar allows.
func GrammarForm(c *grammar.Compiled) *Form { return &Form{&place{within: c, next: theEnd}} }

// A Call is a function that an answer may call: the text round its arguments, and what
// they must be.
type Call struct {
	Begin, End string
	Arguments  *grammar.Compiled
}

// CallsForm is an answer that is made of calls: at least one, and no more than that
// unless several is set.
func CallsForm(calls []Call, several bool) *Form {
	start := &place{}
	after := theEnd
	if several {
		after = &place{ends: true}
	}
	for _, c := range calls {
		then := &place{texts: []alternative{{c.End, after}}}
		if c.End == "" {
			then = after
		}
		start.texts = append(start.texts, alternative{c.Begin, &place{within: c.Arguments, next: then}})
	}
	if several {
		after.texts = start.texts
	}
	return &Form{start}
}

// EitherForm is an answer that a grammar allows, or one that is made of calls.
func EitherForm(c *grammar.Compiled, calls []Call, several bool) *Form {
	start := *CallsForm(calls, several).start
	start.within, start.next = c, theEnd
	return &Form{&start}
}

// OpenForm is an answer in which a call may begin anywhere: from opening on, which all
// of them begin with, it must be one of them. After it there may be more.
func OpenForm(opening string, calls []Call, several bool) *Form {
	text := &place{free: true, marker: opening, ends: true}
	after := text
	if !several {
		after = theEnd
	}
	inside := &place{}
	for _, c := range calls {
		then := &place{texts: []alternative{{c.End, after}}}
		if c.End == "" {
			then = after
		}
		inside.texts = append(inside.texts, alternative{strings.TrimPrefix(c.Begin, opening), &place{within: c.Arguments, next: then}})
	}
	text.next = inside
	return &Form{text}
}

// AfterReasoning puts reasoning before a form: opened by begin, if it isn't open already,
// and closed by end, which is forced after budget tokens unless that is 0. Without a
// form, what follows is free.
func (f *Form) AfterReasoning(begin, end string, open bool, budget int) *Form {
	answer := &place{free: true, ends: true}
	if f != nil {
		answer = f.start
	}
	thought := &place{free: true, marker: end, budget: budget, next: answer}
	if open {
		return &Form{thought}
	}
	first := *answer
	first.aside = &alternative{begin, thought}
	return &Form{&first}
}

// AfterMessage lets one message stand before a form: opened by begin, closed by end, which is
// forced after budget tokens unless that is 0, and followed by then.
func (f *Form) AfterMessage(begin, end, then string, budget int) *Form {
	message := &place{free: true, marker: end, budget: budget, next: &place{texts: []alternative{{then, f.start}}}}
	first := *f.start
	first.aside = &alternative{begin, message}
	return &Form{&first}
}

// formState is where an answer is in a form. It implements scheduler.Constraint.
type formState struct {
	m    *Model
	at   *place
	text []byte         // free text since the place began, as far as a marker may lie in it
	said int            // tokens since then
	left []choice       // of a place with texts, or with a text aside
	in   *grammar.State // of a place with a grammar
	over bool           // it has ended
}

// choice is a text that is being written.
type choice struct {
	tokens []int32 // still to come
	next   *place
}

var _ scheduler.Constraint = (*formState)(nil)

// begin is the start of an answer in a form.
func (m *Model) begin(f *Form) *formState {
	s := &formState{m: m}
	s.enter(f.start, "")
	return s
}

// enter goes to a place of which some text has been written already. It reports false
// if no text there begins like that.
func (s *formState) enter(p *place, written string) bool {
	s.at, s.text, s.said, s.left, s.in = p, s.text[:0], 0, nil, nil
	texts := p.texts
	if p.aside != nil {
		texts = append(texts[:len(texts):len(texts)], *p.aside)
	}
	for _, t := range texts {
		if rest, ok := strings.CutPrefix(t.text, written); ok {
			s.left = append(s.left, choice{s.m.o.Tokenizer.Encode(nil, rest, tokenizer.EncodeOptions{Special: true}), t.next})
		}
	}
	if p.within != nil {
		s.in = p.within.Start()
	}
	// A text that is written already leads on at once.
	for _, c := range s.left {
		if len(c.tokens) == 0 {
			return s.enter(c.next, "")
		}
	}
	return written == "" || len(s.left) > 0
}

// Mask implements scheduler.Constraint.
func (s *formState) Mask(dst []uint32) (int, error) {
	clear(dst)
	if s.over {
		return 0, nil
	}
	p := s.at
	if p.free {
		fill(dst, s.m.o.Tokenizer.VocabSize())
		if p.marker != "" && !p.ends && !p.next.free {
			s.withinMarker(dst)
		}
	}
	if s.in != nil {
		if _, err := s.in.Mask(dst); err != nil {
			return 0, err
		}
	}
	s.ends(dst, p.ends)
	for _, c := range s.left {
		set(dst, c.tokens[0])
	}
	if s.in != nil && s.in.AcceptsEnd() {
		after := formState{m: s.m}
		after.enter(p.next, "")
		more := make([]uint32, len(dst))
		if _, err := after.Mask(more); err != nil {
			return 0, err
		}
		for i, word := range more {
			dst[i] |= word
		}
	}
	return count(dst), nil
}

// withinMarker forbids the tokens that would run past the marker.
func (s *formState) withinMarker(dst []uint32) {
	for n, tokens := range s.m.overruns(s.at.marker) {
		if n > 0 && !bytes.HasSuffix(s.text, []byte(s.at.marker[:n])) {
			continue
		}
		for _, id := range tokens {
			dst[id/32] &^= 1 << (id % 32)
		}
	}
}

// ends allows the tokens that end the answer, or forbids them.
func (s *formState) ends(dst []uint32, may bool) {
	for _, id := range s.m.o.Tokenizer.EndOfGeneration() {
		if int(id)/32 >= len(dst) {
			continue
		}
		if may {
			set(dst, id)
		} else {
			dst[id/32] &^= 1 << (id % 32)
		}
	}
}

// Accept implements scheduler.Constraint.
func (s *formState) Accept(token int32) error {
	p := s.at
	s.said++
	if slices.Contains(s.m.o.Tokenizer.EndOfGeneration(), token) {
		s.over = true // the mask has seen to it that it may
		return nil
	}
	// Texts that are being written, beside which the place's own text may go on.
	var on []choice
	for _, c := range s.left {
		if c.tokens[0] == token {
			on = append(on, choice{c.tokens[1:], c.next})
		}
	}
	alive := p.free
	if s.in != nil {
		ended := s.in.AcceptsEnd()
		err := s.in.Accept(token)
		switch {
		case err == nil:
			alive = true
		case len(on) > 0:
		case ended:
			// It goes on after the grammar's text.
			s.enter(p.next, "")
			return s.Accept(token)
		default:
			return err
		}
	}
	for _, c := range on {
		if len(c.tokens) == 0 {
			s.enter(c.next, "")
			return nil
		}
	}
	s.left = on
	switch {
	case p.free:
		s.read(token)
	case alive:
	case len(on) > 0:
		s.in, s.at = nil, &place{}
	default:
		return fmt.Errorf("token %d is not one of those that the form of the answer allows", token)
	}
	return nil
}

// read takes a token of free text.
func (s *formState) read(token int32) {
	p := s.at
	if p.marker == "" {
		return
	}
	s.text = append(s.text, s.m.spelling(token)...)
	if i := bytes.Index(s.text, []byte(p.marker)); i >= 0 {
		rest := string(s.text[i+len(p.marker):])
		if p.next.free || p.next.within != nil {
			rest = ""
		}
		if !s.enter(p.next, rest) {
			s.enter(p, "") // a call of something else: not ours to hold to anything
		}
		return
	}
	if keep := len(p.marker) + 1024; len(s.text) > 2*keep {
		s.text = append(s.text[:0], s.text[len(s.text)-keep:]...)
	}
	if p.budget > 0 && s.said >= p.budget {
		s.enter(&place{texts: []alternative{{p.marker, p.next}}}, "")
	}
}

// spelling is a token's text, that of a control token as it is written.
func (m *Model) spelling(token int32) []byte {
	if piece := m.o.Tokenizer.Piece(token); piece != nil {
		return piece
	}
	return []byte(m.o.Tokenizer.Text(token))
}

func set(mask []uint32, id int32) {
	if id >= 0 && int(id)/32 < len(mask) {
		mask[id/32] |= 1 << (id % 32)
	}
}

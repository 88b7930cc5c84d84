package backendtest

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
)

// answer is a prompt and what follows it by certain draws: no rounding changes it.
type answer struct {
	prompt, tokens []int32
	draws          []backend.Draw
}

// answers makes n of them, of growing prompts, from logits on the host.
func (h *harness) answers(seed, n, tokens int) (all []answer) {
	h.t.Helper()
	cases := h.drawCases()
	for i := range n {
		a := answer{prompt: h.text(seed+i, 2+7*i)}
		r := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
		id := h.reserve(len(a.prompt) + tokens)
		row := h.extend(id, a.prompt)[len(a.prompt)-1]
		for k := range tokens {
			d := h.draw(cases[(i*5+k)%len(cases)], a.prompt, r.Float64())
			c, sure := h.choose(d, row)
			if !sure { // make it so
				c.Token = int32(r.IntN(h.vocab))
				mask := make([]uint32, (h.vocab+31)/32)
				mask[c.Token/32] = 1 << (c.Token % 32)
				d.Mask, d.Banned = mask, nil
			}
			a.draws, a.tokens = append(a.draws, d), append(a.tokens, c.Token)
			if k < tokens-1 {
				row = h.extend(id, []int32{c.Token})[0]
			}
		}
		h.free(id)
		all = append(all, a)
	}
	return all
}

// voice is a sequence that gives an answer.
type voice struct {
	answer
	id    backend.SeqID
	at    int // positions in KV or under way
	chunk int // of the prompt
	heard int // tokens that were read
	drawn int // tokens that were read or are under way
}

func (h *harness) voice(a answer, chunk int) *voice {
	return &voice{answer: a, id: h.reserve(len(a.prompt) + len(a.tokens)), chunk: chunk}
}

// span is the voice's next one; ok is false after the last.
func (v *voice) span() (s backend.Span, ok bool) {
	s = backend.Span{Seq: v.id, Pos: v.at}
	switch {
	case v.at < len(v.prompt):
		s.Tokens = v.prompt[v.at:min(v.at+v.chunk, len(v.prompt))]
	case v.drawn == len(v.draws):
		return s, false
	case v.heard < v.drawn: // by one, and the batch before drew it
		s.Tokens = []int32{backend.Drawn}
	default:
		s.Tokens = v.tokens[v.drawn-1 : v.drawn]
	}
	v.at += len(s.Tokens)
	if v.at >= len(v.prompt) {
		s.Want, s.Draw = backend.LastLogits, &v.draws[v.drawn]
		v.drawn++
	}
	return s, true
}

// hear compares what was drawn.
func (v *voice) hear(h *harness, what string, s backend.Span) {
	h.t.Helper()
	if s.Draw == nil {
		return
	}
	if want := v.tokens[v.heard]; s.Choice.Token != want {
		h.t.Fatalf("%s: token %d of the answer to a prompt of %d is %d, expected %d", what, v.heard, len(v.prompt), s.Choice.Token, want)
	}
	v.heard++
}

// testStartOneByOne: the answers, each alone, each batch waited for before the
// next is started.
func testStartOneByOne(t *testing.T, h *harness) {
	h.device()
	for _, a := range h.answers(300, 4, 12) {
		v := h.voice(a, 9)
		for s, ok := v.span(); ok; s, ok = v.span() {
			v.hear(h, "one by one", h.start(s).wait()[0])
		}
		h.free(v.id)
	}
}

// testStartAhead: the same answers together, each batch started before the one
// before it is waited for, prompts in chunks beside tokens. Sequences are freed
// under way and others reserved in their place.
func testStartAhead(t *testing.T, h *harness) {
	h.device()
	all := h.answers(300, 6, 12)
	voices := map[backend.SeqID]*voice{}
	waiting := slices.Concat(all, all)
	join := func() {
		a := waiting[0]
		waiting = waiting[1:]
		v := h.voice(a, 5+len(waiting))
		if !h.caps.MixedBatch { // then all but the end of the prompt goes before
			if n := len(a.prompt) - 1; n > 0 {
				h.extend(v.id, a.prompt[:n])
				v.at = n
			}
		}
		voices[v.id] = v
	}
	leave := func(v *voice) {
		delete(voices, v.id)
		h.free(v.id)
	}
	for range 3 {
		join()
	}
	read := func(f *flight, of []*voice) {
		t.Helper()
		for i, s := range f.wait() {
			if voices[s.Seq] != of[i] {
				continue // it was freed under way
			}
			of[i].hear(h, "ahead, in company", s)
			if of[i].heard == len(of[i].tokens) {
				leave(of[i])
			}
		}
	}
	var before *flight
	var beforeOf []*voice
	for batch := 0; len(voices)+len(waiting) > 0; batch++ {
		var spans []backend.Span
		var of []*voice
		for _, id := range slices.Sorted(maps.Keys(voices)) {
			v := voices[id]
			if s, ok := v.span(); ok {
				spans, of = append(spans, s), append(of, v)
			}
		}
		f := h.start(spans...)
		if batch%5 == 2 { // somebody goes away; their span is under way, perhaps in both
			leave(of[0])
		}
		if before != nil {
			read(before, beforeOf)
		}
		before, beforeOf = f, of
		if !h.caps.MixedBatch && len(waiting) > 0 { // Run may not be called ahead
			read(before, beforeOf)
			before = nil
		}
		for len(voices) < 5 && len(waiting) > 0 {
			join()
		}
	}
	if before != nil {
		read(before, beforeOf)
	}
	if u := h.kv.Usage(); u.Used != 0 || u.Reserved != 0 || u.Sequences != 0 {
		t.Errorf("usage after everything was freed: %+v", u)
	}
}

// testStartAndTruncate: a sequence is taken back over what was drawn ahead, and
// goes on another way.
func testStartAndTruncate(t *testing.T, h *harness) {
	h.device()
	a := h.answers(320, 2, 8)
	v := h.voice(a[1], 100)
	var under []*flight
	for range 4 {
		s, _ := v.span()
		under = append(under, h.start(s))
		if len(under) == 2 {
			v.hear(h, "before", under[0].wait()[0])
			under = under[1:]
		}
	}
	// With one still under way, whose token nobody wants, go back by two.
	under[0].wait()
	h.truncate(v.id, v.at-2)
	v.at, v.drawn, v.heard = v.at-2, v.drawn-2, v.drawn-2
	for s, ok := v.span(); ok; s, ok = v.span() {
		v.hear(h, "after going back", h.start(s).wait()[0])
	}
	// A fresh one in its place, started at once after the other was freed under way.
	h.rewind(v.id, v.prompt, len(v.prompt)-1)
	f := h.start(backend.Span{Seq: v.id, Pos: len(v.prompt) - 1, Tokens: v.prompt[len(v.prompt)-1:], Want: backend.LastLogits, Draw: &v.draws[0]})
	h.free(v.id)
	w := h.voice(a[0], 1)
	s, _ := w.span()
	g := h.start(s)
	if got := f.wait()[0].Choice.Token; got != v.tokens[0] {
		t.Errorf("a sequence freed under way drew %d, expected %d", got, v.tokens[0])
	}
	w.hear(h, "in the place of another", g.wait()[0])
}

// testWrongStarts: with a batch under way, wrong ones are refused, nothing grows,
// and what is under way comes out right.
func testWrongStarts(t *testing.T, h *harness) {
	d := h.device()
	a := h.answers(330, 2, 4)
	v, w := h.voice(a[0], 100), h.voice(a[1], 100)
	w.at = len(w.prompt) - 1 // a span of one token may be beside any
	h.extend(w.id, w.prompt[:w.at])
	held := w.at
	s, _ := v.span()
	other, _ := w.span()
	draw := backend.Draw{TopP: 1, Logprobs: -1}
	f := h.start(s)
	for what, bad := range map[string]backend.Span{
		"a drawn token that wasn't":       {Seq: w.id, Pos: held, Tokens: []int32{backend.Drawn}, Want: backend.LastLogits, Draw: &draw},
		"a drawn token among others":      {Seq: v.id, Pos: v.at, Tokens: []int32{backend.Drawn, 1}, Want: backend.LastLogits, Draw: &draw},
		"a drawn token after another":     {Seq: v.id, Pos: v.at, Tokens: []int32{1, backend.Drawn}, Want: backend.LastLogits, Draw: &draw},
		"a token below that":              {Seq: v.id, Pos: v.at, Tokens: []int32{backend.Drawn - 1}, Want: backend.LastLogits, Draw: &draw},
		"a position that is under way":    {Seq: v.id, Pos: v.at - 1, Tokens: []int32{backend.Drawn}, Want: backend.LastLogits, Draw: &draw},
		"a sequence that doesn't exist":   {Seq: v.id + w.id + 100, Tokens: []int32{1}},
		"more tokens than there is room":  {Seq: v.id, Pos: v.at, Tokens: h.text(1, len(v.tokens)+1)},
		"a token outside the vocabulary":  {Seq: v.id, Pos: v.at, Tokens: []int32{int32(h.vocab)}},
		"no tokens":                       {Seq: v.id, Pos: v.at},
		"a wish for logits that is wrong": {Seq: v.id, Pos: v.at, Tokens: []int32{1}, Want: 9},
	} {
		for _, spans := range [][]backend.Span{{bad}, {other, bad}, {bad, other}} {
			_, err := d.Start(t.Context(), &backend.Batch{Spans: spans})
			if err == nil || errors.Is(err, backend.ErrEngineFailed) {
				t.Fatalf("Start of a batch with %s: %v, expected a plain error", what, err)
			}
			h.wantLen(v.id, v.at)
			h.wantLen(w.id, held)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Start(gone, &backend.Batch{Spans: []backend.Span{other}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start with a cancelled context: %v", err)
	}
	h.wantLen(w.id, held)
	// It is as if nothing had been: the token drawn before is still the last.
	next, _ := v.span()
	g := h.start(next, other)
	if err := f.started.Wait(gone); err != nil {
		t.Errorf("Wait with a cancelled context: %v", err)
	}
	v.hear(h, "beside wrong batches", f.Spans[0])
	out := g.wait()
	v.hear(h, "after wrong batches", out[0])
	w.hear(h, "after wrong batches", out[1])
	// The token that w drew isn't of the batch started last any more.
	next, _ = v.span()
	v.hear(h, "after wrong batches", h.start(next).wait()[0])
	late := backend.Span{Seq: w.id, Pos: w.at, Tokens: []int32{backend.Drawn}, Want: backend.LastLogits, Draw: &draw}
	if _, err := d.Start(t.Context(), &backend.Batch{Spans: []backend.Span{late}}); err == nil {
		t.Error("Start with a token drawn in the batch before the last succeeded")
	}
	h.wantLen(w.id, w.at)
	if err := h.Run(t.Context(), &backend.Batch{Spans: []backend.Span{{Seq: v.id, Pos: v.at, Tokens: []int32{backend.Drawn}}}}); err == nil {
		t.Error("Run of a drawn token succeeded")
	}
	h.wantLen(v.id, v.at)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Start(t.Context(), &backend.Batch{Spans: []backend.Span{{Seq: w.id, Pos: w.at, Tokens: []int32{1}}}}); err == nil {
		t.Error("Start after Close succeeded")
	}
}

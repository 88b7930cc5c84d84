package backendtest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// device is the engine under test, which says that it samples; otherwise the test
// has nothing to prove.
func (h *harness) device() backend.DeviceSampler {
	h.t.Helper()
	if !h.caps.DeviceSampling {
		h.t.Skip("the engine doesn't sample")
	}
	d, ok := h.Engine.(backend.DeviceSampler)
	if !ok {
		h.t.Fatal("an engine with DeviceSampling isn't a backend.DeviceSampler")
	}
	return d
}

// flight is a batch under way.
type flight struct {
	h *harness
	backend.Batch
	started backend.Started
}

// start starts a batch that must succeed, and checks that its sequences count as
// grown.
func (h *harness) start(spans ...backend.Span) *flight {
	h.t.Helper()
	f := &flight{h: h, Batch: backend.Batch{Spans: spans}}
	started, err := h.device().Start(h.t.Context(), &f.Batch)
	if err != nil {
		h.t.Fatalf("Start: %v", err)
	}
	f.started = started
	for _, s := range spans {
		h.wantLen(s.Seq, s.Pos+len(s.Tokens))
	}
	return f
}

// wait waits for a batch that must succeed, its draws included.
func (f *flight) wait() []backend.Span {
	f.h.t.Helper()
	if err := f.started.Wait(f.h.t.Context()); err != nil {
		f.h.t.Fatalf("Wait: %v", err)
	}
	for _, s := range f.Spans {
		if s.Draw != nil && s.Err != nil {
			f.h.t.Fatalf("the draw of sequence %d: %v", s.Seq, s.Err)
		}
	}
	return f.Spans
}

// choose carries out a draw on the host. It is sure if a device whose logits are
// within the tolerance, and whose arithmetic is coarser, has no other choice.
func (h *harness) choose(d backend.Draw, row []float32) (c sample.Choice, sure bool) {
	h.t.Helper()
	var chooser sample.Chooser
	on := func(d backend.Draw, row []float32) sample.Choice {
		c, err := chooser.Choose(&d, slices.Clone(row))
		if err != nil {
			h.t.Fatalf("choose by %+v: %v", d, err)
		}
		return c
	}
	c = on(d, row)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 8 {
		e, near := d, slices.Clone(row)
		side := float64(i%2*2 - 1)
		e.Uniform = min(max(d.Uniform+side*1e-3, 0), 1-1e-9)
		if i/2%2 == 0 {
			side = -side
		}
		if d.TopP < 1 {
			e.TopP = min(d.TopP+side*1e-3, 1-1e-9)
		}
		e.MinP = min(d.MinP*(1+side*1e-3), 1)
		for j := range near {
			near[j] += (2*h.tolerance + 1e-5) * (r.Float32()*2 - 1)
		}
		if on(e, near).Token != c.Token {
			return c, false
		}
	}
	return c, true
}

// drawCases are parameters, masks and bans by themselves and together. Those that
// look at the history find something there: the prompt.
func (h *harness) drawCases() []drawCase {
	even := make([]uint32, (h.vocab+31)/32)
	for i := range even {
		even[i] = 0x55555555
	}
	one := make([]uint32, len(even))
	one[0] = 1 << 5
	last := int32(h.vocab - 1)
	return []drawCase{
		{name: "greedy", set: func(p *sample.Params) { p.Temperature = 0 }},
		{name: "temperature", set: func(*sample.Params) {}},
		{name: "cold", set: func(p *sample.Params) { p.Temperature = 0.3 }},
		{name: "hot", set: func(p *sample.Params) { p.Temperature = 3 }},
		{name: "top_k", set: func(p *sample.Params) { p.TopK = 5 }},
		{name: "top_k of one", set: func(p *sample.Params) { p.TopK = 1 }},
		{name: "top_k of all", set: func(p *sample.Params) { p.TopK = 1 << 40 }},
		{name: "top_p", set: func(p *sample.Params) { p.TopP = 0.7 }},
		{name: "tiny top_p", set: func(p *sample.Params) { p.TopP = 1e-9 }},
		{name: "min_p", set: func(p *sample.Params) { p.MinP = 0.3 }},
		{name: "all truncations", set: func(p *sample.Params) { p.Temperature, p.TopK, p.TopP, p.MinP = 1.5, 12, 0.9, 0.1 }},
		{name: "repetition", set: func(p *sample.Params) { p.RepetitionPenalty = 3 }},
		{name: "frequency and presence", set: func(p *sample.Params) { p.FrequencyPenalty, p.PresencePenalty = 1.5, -1 }},
		{name: "bias", set: func(p *sample.Params) { p.LogitBias = map[int32]float64{3: 100, 4: 99} }},
		{name: "negative bias", set: func(p *sample.Params) {
			p.Temperature, p.LogitBias = 0, map[int32]float64{}
			for i := range h.vocab - 2 {
				p.LogitBias[int32(i)] = -100
			}
		}},
		{name: "bias and penalties", set: func(p *sample.Params) {
			p.RepetitionPenalty, p.FrequencyPenalty = 0.6, 0.5
			p.LogitBias = map[int32]float64{0: 2, 1: 2, last: 2}
		}},
		{name: "mask", set: func(*sample.Params) {}, mask: even},
		{name: "short mask", set: func(p *sample.Params) { p.TopP = 0.9 }, mask: even[:1]},
		{name: "mask of one", set: func(*sample.Params) {}, mask: one},
		{name: "greedy, masked", set: func(p *sample.Params) { p.Temperature = 0 }, mask: even},
		{name: "banned", set: func(p *sample.Params) { p.LogitBias = map[int32]float64{2: 100} }, banned: []int32{2, 0, last}},
		{name: "the ban yields", set: func(*sample.Params) {}, mask: one, banned: []int32{5}},
		{name: "masked, banned and biased", set: func(p *sample.Params) { p.LogitBias = map[int32]float64{2: 100, 3: 100, 4: 90} }, mask: even, banned: []int32{2}},
		{name: "logprob", set: func(p *sample.Params) { p.Logprobs = 0 }},
		{name: "logprobs", set: func(p *sample.Params) { p.Logprobs, p.Temperature = 5, 0 }},
		{name: "logprobs of the raw row", set: func(p *sample.Params) {
			p.Logprobs, p.Temperature, p.TopK, p.RepetitionPenalty = 20, 2, 3, 2
		}, mask: even, banned: []int32{2}},
	}
}

type drawCase struct {
	name   string
	set    func(*sample.Params)
	mask   []uint32
	banned []int32
}

// draw is the case's draw after a prompt, at a place of the cumulative weights.
func (h *harness) draw(c drawCase, prompt []int32, uniform float64) backend.Draw {
	h.t.Helper()
	p := sample.Defaults()
	c.set(&p)
	s, err := sample.New(p, h.vocab)
	if err != nil {
		h.t.Fatal(err)
	}
	s.Prompt(prompt)
	for _, t := range prompt[len(prompt)/2:] { // as if the answer had begun there
		s.Accept(t)
	}
	d := s.Draw(c.mask, c.banned)
	d.Uniform = uniform
	return d
}

// testDraws compares, for each case, what the device chooses after eight texts in
// one batch with what the host does with their logits, at several places.
func testDraws(t *testing.T, h *harness) {
	h.device()
	const n = 8
	ids, texts := make([]backend.SeqID, n), make([][]int32, n)
	for i := range ids {
		texts[i] = h.text(200+i, 3+4*i)
		ids[i] = h.reserve(len(texts[i]))
		h.extend(ids[i], texts[i])
	}
	// The last token is taken back and run again for each draw.
	batch := func(c drawCase, uniform float64) (spans []backend.Span) {
		for i, id := range ids {
			at := len(texts[i]) - 1
			h.rewind(id, texts[i], at)
			d := h.draw(c, texts[i], math.Mod(uniform+float64(i)*0.27, 1))
			spans = append(spans, backend.Span{Seq: id, Pos: at, Tokens: texts[i][at:], Want: backend.LastLogits, Draw: &d})
		}
		return spans
	}
	for _, c := range h.drawCases() {
		checked := 0
		for _, uniform := range []float64{0, 0.1, 0.37, 0.8, 0.9999} {
			for i, s := range h.start(batch(c, uniform)...).wait() {
				at := len(texts[i]) - 1
				row := h.expected(texts[i])[at]
				want, sure := h.choose(*s.Draw, row)
				h.sameLogprobs(c.name, s.Choice, *s.Draw, row)
				if !sure {
					continue
				}
				checked++
				if s.Choice.Token != want.Token {
					t.Errorf("%s: token %d, the host chooses %d at %v", c.name, s.Choice.Token, want.Token, s.Draw.Uniform)
				}
			}
		}
		if checked < 10 {
			t.Errorf("%s: of 40 draws %d could be checked: a vocabulary of 32 and tolerances up to 0.01 would do", c.name, checked)
		}
	}
	// All cases in one batch.
	var spans []backend.Span
	cases := h.drawCases()
	for i := range ids {
		at := len(texts[i]) - 1
		h.rewind(ids[i], texts[i], at)
		d := h.draw(cases[i*len(cases)/n], texts[i], 0.6)
		spans = append(spans, backend.Span{Seq: ids[i], Pos: at, Tokens: texts[i][at:], Want: backend.LastLogits, Draw: &d})
	}
	for i, s := range h.start(spans...).wait() {
		row := h.expected(texts[i])[len(texts[i])-1]
		if want, sure := h.choose(*s.Draw, row); sure && s.Choice.Token != want.Token {
			t.Errorf("%s beside others: token %d, the host chooses %d", cases[i*len(cases)/n].name, s.Choice.Token, want.Token)
		}
	}
}

// sameLogprobs checks what a choice says of likelihoods against the row.
func (h *harness) sameLogprobs(what string, got sample.Choice, d backend.Draw, row []float32) {
	h.t.Helper()
	if got.Token < 0 || int(got.Token) >= h.vocab {
		h.t.Fatalf("%s: token %d of a vocabulary of %d", what, got.Token, h.vocab)
	}
	if d.Logprobs < 0 {
		if got.Logprob != 0 || got.Top != nil {
			h.t.Errorf("%s: log-probabilities that nobody asked for: %+v", what, got)
		}
		return
	}
	sum := 0.0
	for _, x := range row {
		sum += math.Exp(float64(x - slices.Max(row)))
	}
	norm := float64(slices.Max(row)) + math.Log(sum)
	near := 4*float64(h.tolerance) + 1e-4
	check := func(l sample.TokenLogprob) {
		h.t.Helper()
		if l.Token < 0 || int(l.Token) >= h.vocab {
			h.t.Fatalf("%s: alternative %d of a vocabulary of %d", what, l.Token, h.vocab)
		}
		if want := float64(row[l.Token]) - norm; math.Abs(float64(l.Logprob)-want) > near || l.Logprob > 0 {
			h.t.Errorf("%s: log-probability %v of token %d, expected %v", what, l.Logprob, l.Token, want)
		}
	}
	check(got.TokenLogprob)
	if want := min(d.Logprobs, h.vocab); len(got.Top) != want {
		h.t.Fatalf("%s: %d alternatives, expected %d", what, len(got.Top), want)
	}
	order := slices.Clone(row)
	slices.SortFunc(order, func(a, b float32) int { return cmp.Compare(b, a) })
	seen := map[int32]bool{}
	for i, l := range got.Top {
		check(l)
		if want := float64(order[i]) - norm; math.Abs(float64(l.Logprob)-want) > near || seen[l.Token] {
			h.t.Errorf("%s: alternative %d is token %d with %v, expected one with %v", what, i, l.Token, l.Logprob, want)
		}
		seen[l.Token] = true
	}
}

// testStartRows: spans with and without draws in one batch; those without get
// their logits, and Run gives logits whatever the draw.
func testStartRows(t *testing.T, h *harness) {
	h.device()
	text := h.text(210, 40)
	want := h.expected(text)
	draw := backend.Draw{TopP: 1, Logprobs: -1}
	var spans []backend.Span
	for _, w := range []backend.LogitsWanted{backend.NoLogits, backend.LastLogits, backend.AllLogits, backend.LastLogits} {
		spans = append(spans, backend.Span{Seq: h.reserve(40), Tokens: text[:30], Want: w})
	}
	spans[3].Draw = &draw
	f := h.start(spans...)
	g := h.start(backend.Span{Seq: spans[0].Seq, Pos: 30, Tokens: text[30:], Want: backend.AllLogits})
	spans = f.wait()
	for i, rows := range [][][]float32{nil, want[29:30], want[:30], nil} {
		h.same(fmt.Sprintf("span %d", i), spans[i].Logits, rows)
	}
	if c, sure := h.choose(draw, want[29]); sure && spans[3].Choice.Token != c.Token {
		t.Errorf("beside spans without draws: token %d, the host chooses %d", spans[3].Choice.Token, c.Token)
	}
	h.same("a batch started ahead", g.wait()[0].Logits, want[30:])
	spans[3].Pos, spans[3].Tokens = 30, text[30:]
	out := h.run(spans[3])
	h.same("Run with a draw", out[0].Logits, want[39:])
	h.start().wait() // nothing
}

// testNothingToChoose: a draw that can't choose fails alone, and its sequence goes
// on.
func testNothingToChoose(t *testing.T, h *harness) {
	h.device()
	text := h.text(211, 20)
	want := h.expected(text)
	none := backend.Draw{Temperature: 1, TopP: 1, Logprobs: 3, Mask: []uint32{}}
	draw := backend.Draw{TopP: 1, Logprobs: -1}
	a, b := h.reserve(20), h.reserve(20)
	f := h.start(
		backend.Span{Seq: a, Tokens: text[:10], Want: backend.LastLogits, Draw: &none},
		backend.Span{Seq: b, Tokens: text[:10], Want: backend.LastLogits, Draw: &draw})
	// What is drawn after a token that doesn't exist is nobody's, but must do no harm.
	g := h.start(
		backend.Span{Seq: a, Pos: 10, Tokens: []int32{backend.Drawn}, Want: backend.LastLogits, Draw: &draw},
		backend.Span{Seq: b, Pos: 10, Tokens: []int32{backend.Drawn}, Want: backend.LastLogits, Draw: &draw})
	if err := f.started.Wait(t.Context()); err != nil {
		t.Fatalf("Wait for a batch with a draw that can't choose: %v", err)
	}
	if err := f.Spans[0].Err; !errors.Is(err, sample.ErrNoToken) {
		t.Errorf("a draw that can't choose: %v, expected %v", err, sample.ErrNoToken)
	}
	if err := f.Spans[1].Err; err != nil {
		t.Errorf("the draw beside it: %v", err)
	}
	if c, sure := h.choose(draw, want[9]); sure && f.Spans[1].Choice.Token != c.Token {
		t.Errorf("the draw beside it chose %d, the host %d", f.Spans[1].Choice.Token, c.Token)
	}
	if err := g.started.Wait(t.Context()); err != nil {
		t.Fatalf("Wait for the batch after it: %v", err)
	}
	for _, id := range []backend.SeqID{a, b} {
		h.wantLen(id, 11)
		h.rewind(id, text, 10)
		h.same("afterwards", h.extend(id, text[10:]), want[10:])
	}
}

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
	"github.com/inferflux/inferflux/scheduler/draft"
)

// Speculation is how tokens are guessed, for the engine to check several in one step.
type Speculation struct {
	// Lookup guesses from repetitions of the text, and from [Request.Expected].
	Lookup bool
	// Model, if set, guesses in place of Lookup: a smaller model with the same
	// vocabulary. It is the scheduler's until Close has returned.
	Model backend.Engine
	// Tokens is the most that are guessed at once for a sequence; default 8.
	Tokens int
}

const (
	// mostGuessed is the most tokens that are guessed in a step: each has a row of logits.
	mostGuessed = 64
	// probing is how many steps go by without a guess before it is tried again whether
	// they are worth it.
	probing = 64
)

// matchPriors are how often a guess of a Lookup is right by how much agreed before it, as long
// as nothing is known; see matchClass.
var matchPriors = [4]float64{0.2, 0.4, 0.6, 0.8}

// modelClass is the class of a draft model's guesses.
const modelClass = 3

// matchClass sorts guesses by how many tokens agreed before them.
func matchClass(match int) int {
	switch {
	case match < 4:
		return 0
	case match < 8:
		return 1
	case match < 16:
		return 2
	}
	return 3
}

// speculator guesses tokens for sequences.
type speculator struct {
	Speculation
	model    *draft.Model // of Speculation.Model
	rates    [4]draft.Rate
	choosers []sample.Chooser // one for each core
	guessed  uint64           // the batch for which there was a guess last

	candidates []draft.Candidate
	of         []*Sequence
	jobs       []draft.Job
}

// guesses is what a sequence's tokens are guessed from, and what was guessed.
type guesses struct {
	lookup   *draft.Lookup
	follower *draft.Follower
	alone    bool // there will be no follower
	rates    [4]draft.Rate
	tokens   []int32 // that the next batch checks
	fed      []int32 // its span
	drawn    []sample.Choice
	err      error // why no more could be drawn
}

func newSpeculator(o Speculation, e backend.Engine) *speculator {
	caps := e.Capabilities()
	if !o.Lookup && o.Model == nil || !caps.SpeculativeDecoding || !caps.MixedBatch {
		return nil
	}
	s := &speculator{Speculation: o, choosers: make([]sample.Chooser, runtime.GOMAXPROCS(0))}
	if s.Tokens <= 0 {
		s.Tokens = 8
	}
	if o.Model != nil {
		s.model = draft.NewModel(o.Model)
	}
	return s
}

// prepare makes what a request's tokens are guessed from.
func (s *speculator) prepare(r *Request) *guesses {
	if s == nil {
		return nil
	}
	g := &guesses{}
	if s.model == nil {
		g.lookup = draft.NewLookup(r.Expected, r.Prompt, len(r.Prompt)+r.MaxTokens)
	}
	return g
}

// right is how often a sequence's guesses of a kind come true.
func (s *speculator) right(g *guesses, class int) float64 {
	return g.rates[class].Mean(s.rates[class].Mean(matchPriors[class]))
}

// observe takes note of how guesses of a kind came out.
func (s *speculator) observe(g *guesses, class, right int, wrong bool) {
	g.rates[class].Add(right, wrong)
	s.rates[class].Add(right, wrong)
}

// token takes note of a sequence's next token.
func (s *speculator) token(g *guesses, token int32) {
	if g == nil {
		return
	}
	if g.follower != nil {
		g.follower.Add(token)
		g.alone = g.alone || !s.model.Knows(token)
	}
	if g.lookup != nil {
		// Guesses are judged whether they were used or not.
		if guess, match := g.lookup.Propose(1); len(guess) > 0 {
			right := 0
			if guess[0] == token {
				right = 1
			}
			s.observe(g, matchClass(match), right, right == 0)
		}
		g.lookup.Add(token)
	}
}

// awaits reports whether a sequence's next token must be known before the next batch is
// formed: guesses of it are being checked, or one is likely to be worth more than to look
// ahead.
func (s *speculator) awaits(q *Sequence, formed uint64) bool {
	g := q.guesses
	if g == nil || len(g.tokens) > 0 {
		return g != nil
	}
	if g.lookup == nil {
		return s.guessed+probing <= formed || s.guessed+1 >= formed
	}
	_, match := g.lookup.Propose(1)
	return match > 0 && s.right(g, matchClass(match)) > 0.6
}

// speculate guesses tokens for the sequences that generate, plain of them, where that is
// faster than not to.
func (s *Scheduler) speculate(ctx context.Context, plain int) error {
	p := s.spec
	p.candidates, p.of = p.candidates[:0], p.of[:0]
	for _, q := range s.running {
		g := q.guesses
		if g == nil {
			continue
		}
		g.tokens = g.tokens[:0]
		most := min(p.Tokens, q.req.MaxTokens-q.generated-1)
		if q.prefilling() || q.drawing > 0 || most < 1 {
			continue
		}
		class := modelClass
		if g.lookup != nil {
			tokens, match := g.lookup.Propose(most)
			if len(tokens) == 0 || q.req.Constraint != nil && !allows(q.mask, tokens[0]) {
				continue
			}
			class, most = matchClass(match), len(tokens)
		} else if g.alone {
			continue
		}
		p.candidates = append(p.candidates, draft.Candidate{Right: p.right(g, class), Most: most})
		p.of = append(p.of, q)
	}
	if len(p.of) == 0 {
		return nil
	}
	round := 0.0
	if p.model != nil {
		round = p.model.Seconds()
	}
	draft.Choose(p.candidates, plain, min(s.opts.BatchTokens-plain, mostGuessed), func(n, depth int) float64 {
		seconds := s.pace.decode(plain + n)
		if seconds == 0 {
			seconds = 1 + marginal*float64(n)
		}
		return seconds + float64(depth)*round
	})
	if p.model != nil {
		return s.guess(ctx)
	}
	for i, q := range p.of {
		tokens, _ := q.guesses.lookup.Propose(p.candidates[i].Take)
		q.guesses.tokens = append(q.guesses.tokens, tokens...)
	}
	return nil
}

// guess has the draft model guess for the candidates. That it can't is no more than a pity,
// unless its engine has failed.
func (s *Scheduler) guess(ctx context.Context) error {
	p := s.spec
	probe := p.guessed+probing <= s.formed
	p.jobs = p.jobs[:0]
	for i, q := range p.of {
		take, g := p.candidates[i].Take, q.guesses
		if probe {
			take = max(take, 1)
		}
		if take == 0 {
			continue
		}
		if g.follower == nil {
			f, err := p.model.Follow(slices.Concat(q.req.Prompt, q.answer), len(q.req.Prompt)+q.req.MaxTokens)
			if err != nil {
				g.alone = !errors.Is(err, backend.ErrKVFull)
				continue
			}
			g.follower = f
		}
		p.jobs = append(p.jobs, draft.Job{Follower: g.follower, Draws: q.preview(take)})
	}
	if len(p.jobs) == 0 {
		return nil
	}
	p.guessed = s.formed
	if err := p.model.Draft(ctx, p.jobs); err != nil {
		return err
	}
	for i := range p.jobs {
		j := &p.jobs[i]
		k := slices.IndexFunc(p.of, func(q *Sequence) bool { return q.guesses.follower == j.Follower })
		for _, token := range j.Tokens {
			if int(token) >= s.vocab {
				break // the draft model's may be padded to more
			}
			p.of[k].guesses.tokens = append(p.of[k].guesses.tokens, token)
		}
	}
	return nil
}

// unfollow ends the draft model's part in a sequence.
func (s *speculator) unfollow(g *guesses) error {
	if g == nil || g.follower == nil {
		return nil
	}
	f := g.follower
	g.follower = nil
	return s.model.Leave(f)
}

// preview is how the next tokens would be drawn if the history didn't matter: with the
// same random numbers, a guess is likely to be what comes.
func (q *Sequence) preview(n int) []sample.Draw {
	draws := make([]sample.Draw, n)
	for i := range draws {
		draws[i] = q.draw()
		draws[i].Logprobs = -1
		if i > 0 {
			draws[i].Mask = nil
		}
	}
	q.sampler.Rewind()
	return draws
}

// allows reports whether a mask has the bit of a token.
func allows(mask []uint32, token int32) bool {
	return int(token)/32 < len(mask) && mask[token/32]>>(token%32)&1 == 1
}

// check draws the tokens of the spans with guesses, on all cores.
func (s *Scheduler) check(b *batch) {
	var due []int
	for i, q := range b.seqs {
		if b.Spans[i].Want == backend.AllLogits && q.req.Reading == nil && !q.over {
			due = append(due, i)
		}
	}
	if len(due) == 0 {
		return
	}
	var next atomic.Int64
	work := func(c *sample.Chooser) {
		for i := int(next.Add(1)) - 1; i < len(due); i = int(next.Add(1)) - 1 {
			b.seqs[due[i]].check(c, &b.Spans[due[i]])
		}
	}
	var others sync.WaitGroup
	for i := range min(len(s.spec.choosers), len(due)) - 1 {
		others.Go(func() { work(&s.spec.choosers[i+1]) })
	}
	work(&s.spec.choosers[0])
	others.Wait()
}

// check draws the tokens after each of a span's, as if they came one by one, as long as
// what is drawn is what was guessed.
func (q *Sequence) check(c *sample.Chooser, span *backend.Span) {
	g := q.guesses
	g.drawn, g.err = g.drawn[:0], nil
	defer func() {
		if r := recover(); r != nil {
			g.err = &PanicError{r, debug.Stack()}
		}
	}()
	if len(span.Logits) != len(span.Tokens) {
		g.err = fmt.Errorf("the engine gave %d rows of logits instead of %d", len(span.Logits), len(span.Tokens))
		return
	}
	for i, row := range span.Logits {
		if i > 0 && q.req.Constraint != nil {
			allowed, err := q.makeMask()
			if g.err = err; err != nil || allowed == 0 {
				return // the next step ends the answer if it is complete
			}
		}
		d := q.drawAt(q.generated + i)
		choice, err := c.Choose(&d, row)
		if err != nil {
			g.err = err
			return
		}
		if g.err = q.accept(choice.Token); g.err != nil {
			return
		}
		g.drawn = append(g.drawn, choice)
		if i+1 == len(span.Tokens) || choice.Token != span.Tokens[i+1] || slices.Contains(q.req.StopTokens, choice.Token) {
			return
		}
	}
}

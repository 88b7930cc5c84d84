package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/sample"
)

// fakeDevice is a fakeEngine that chooses tokens itself. It knows them when a
// batch is started, but tells them only when it is waited for.
type fakeDevice struct {
	*fakeEngine
	// beforeWait, if set, is called at the start of each Wait; its error fails the
	// batch.
	beforeWait func(*backend.Batch) error
	// onChoice, if set, may change what is chosen after tokens; its error is the
	// span's.
	onChoice func(tokens []int32, c *sample.Choice) error

	chooser  sample.Chooser
	underway []*flight
	started  int
	most     int // batches under way at once
	ahead    int // spans of tokens not known yet
}

// flight is a batch under way, with what will come of it.
type flight struct {
	d       *fakeDevice
	batch   *backend.Batch
	asGiven string // the batch when it was started
	seqs    []*fakeSequence
	choices []sample.Choice
	errs    []error
	logits  [][][]float32 // of spans that want them instead
	waited  bool
}

var (
	_ backend.DeviceSampler = (*fakeDevice)(nil)
	_ backend.Started       = (*flight)(nil)
)

// newFakeDevice makes a device of an engine; every batch must have been waited for
// when the test ends, unless it has failed.
func newFakeDevice(e *fakeEngine) *fakeDevice {
	e.caps.DeviceSampling = true
	e.device = &fakeDevice{fakeEngine: e}
	e.t.Cleanup(e.device.checkIdle)
	return e.device
}

func (d *fakeDevice) checkIdle() {
	if len(d.underway) > 0 && !d.dead {
		d.t.Errorf("%d batches were never waited for: %s", len(d.underway), d.underway[0].asGiven)
	}
}

func (d *fakeDevice) Run(context.Context, *backend.Batch) error {
	d.t.Error("Run of an engine that samples on its device")
	return backend.ErrUnsupported
}

func (d *fakeDevice) Start(ctx context.Context, b *backend.Batch) (backend.Started, error) {
	d.enter()
	defer d.leave()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.check(b)
	if d.before != nil {
		if err := d.before(ctx, b); err != nil {
			d.dead = errors.Is(err, backend.ErrEngineFailed)
			return nil, err
		}
	}
	if len(d.underway) > 1 {
		d.t.Error("a third batch is started")
	}
	f := &flight{d: d, batch: b, asGiven: describe(b)}
	drew := map[backend.SeqID]int32{}
	row := make([]float32, d.vocab)
	for i := range b.Spans {
		s := &b.Spans[i]
		q := d.seqs[s.Seq]
		tokens := s.Tokens
		if tokens[0] == backend.Drawn {
			tokens = []int32{q.choice}
			d.ahead++
		}
		q.tokens = append(q.tokens, tokens...)
		var c sample.Choice
		var err error
		if s.Draw != nil {
			d.answer(row, q.tokens)
			if c, err = d.chooser.Choose(s.Draw, row); err == nil && d.onChoice != nil {
				err = d.onChoice(q.tokens, &c)
			}
			drew[s.Seq] = c.Token
		}
		var logits [][]float32
		switch {
		case s.Draw != nil && (s.Want != backend.LastLogits || s.Draw.Shape != nil):
			d.t.Errorf("a span that wants %d has the draw %+v", s.Want, s.Draw)
		case s.Draw == nil && s.Want != backend.NoLogits:
			for n := firstRow(s, len(q.tokens)); n <= len(q.tokens); n++ {
				row := make([]float32, d.vocab)
				d.answer(row, q.tokens[:n])
				logits = append(logits, row)
			}
		}
		f.logits = append(f.logits, logits)
		f.seqs, f.choices, f.errs = append(f.seqs, q), append(f.choices, c), append(f.errs, err)
	}
	for id, q := range d.seqs {
		q.choice, q.drew = drew[id]
	}
	d.started++
	d.underway = append(d.underway, f)
	d.most = max(d.most, len(d.underway))
	return f, nil
}

// describe writes out all that a batch holds, what its spans point to included.
func describe(b *backend.Batch) string {
	var out []byte
	for _, s := range b.Spans {
		out = fmt.Appendf(out, "%d@%d %v %d %+v;", s.Seq, s.Pos, s.Tokens, s.Want, s.Draw)
		if s.Draw != nil {
			out = fmt.Appendf(out, "%+v;", *s.Draw)
		}
	}
	return string(out)
}

func (f *flight) Wait(context.Context) error {
	d := f.d
	d.enter()
	defer d.leave()
	switch {
	case f.waited:
		d.t.Error("a batch is waited for twice")
	case d.underway[0] != f:
		d.t.Error("a batch is waited for before the one started first")
	case describe(f.batch) != f.asGiven:
		d.t.Errorf("a batch was changed under way, from\n%s to\n%s", f.asGiven, describe(f.batch))
	}
	f.waited = true
	d.underway = slices.Delete(d.underway, 0, 1)
	if d.beforeWait != nil {
		if err := d.beforeWait(f.batch); err != nil {
			d.dead = errors.Is(err, backend.ErrEngineFailed)
			for _, g := range append([]*flight{f}, d.underway...) {
				g.spoil()
			}
			return err
		}
	}
	for i := range f.batch.Spans {
		s := &f.batch.Spans[i]
		s.Choice, s.Err = f.choices[i], f.errs[i]
		if f.logits[i] != nil {
			s.Logits = append(s.Logits[:0], f.logits[i]...)
		}
	}
	return nil
}

// spoil makes what a batch computed useless.
func (f *flight) spoil() {
	for i, s := range f.batch.Spans {
		f.choices[i], f.errs[i] = sample.Choice{TokenLogprob: sample.TokenLogprob{Token: -7}}, nil
		if q := f.seqs[i]; !q.spoiled {
			q.spoiled, q.good = true, s.Pos
		}
	}
}

package mlx

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/sample"
)

// flight is a batch under way.
type flight struct {
	e       *Engine
	batch   *backend.Batch
	results *mlx.Scope
	logits  mlx.Array // [rows, vocab] float32, of the spans that want them
	rows    []int32   // the span of each of those rows
	hidden  mlx.Array // [rows, width] float32, of the spans that want hidden states
	states  []int32   // the span of each of those rows
	drawn   drawn
	draws   []*backend.Draw
	spans   []int32 // the span of each draw
	ahead   bool    // tokens are drawn
}

// Start implements backend.DeviceSampler.
func (e *Engine) Start(ctx context.Context, b *backend.Batch) (backend.Started, error) {
	f, err := e.launch(ctx, b, true)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Run implements backend.Engine.
func (e *Engine) Run(ctx context.Context, b *backend.Batch) error {
	f, err := e.launch(ctx, b, false)
	if err != nil || len(b.Spans) == 0 {
		return err
	}
	if err := f.Wait(ctx); err != nil {
		for i := range b.Spans {
			b.Spans[i].Logits, b.Spans[i].Hidden = b.Spans[i].Logits[:0], b.Spans[i].Hidden[:0]
			if s, gone := e.kv.Sequence(b.Spans[i].Seq); gone == nil {
				e.kv.Shorten(s, b.Spans[i].Pos)
			}
		}
		return err
	}
	return nil
}

// launch checks a batch, builds its graph and dispatches it.
func (e *Engine) launch(ctx context.Context, b *backend.Batch, ahead bool) (*flight, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, paging.ErrClosed
	}
	if e.failed != nil {
		return nil, e.failed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range b.Spans {
		sp := &b.Spans[i]
		sp.Logits, sp.Hidden, sp.Choice, sp.Err = sp.Logits[:0], sp.Hidden[:0], sample.Choice{}, nil
	}
	f := &flight{e: e, batch: b, ahead: ahead}
	if len(b.Spans) == 0 {
		return f, nil
	}
	if err := e.check(b, ahead); err != nil {
		return nil, fmt.Errorf("run a batch of %d spans: %w", len(b.Spans), err)
	}
	err := e.do(func() error { return e.dispatch(ctx, f) })
	if err != nil {
		e.kv.Undo(&e.step.Rows)
		if errors.Is(err, backend.ErrEngineFailed) {
			e.failed = err
		}
		return nil, err
	}
	e.kv.Commit(&e.step.Rows)
	e.flights = append(e.flights, f)
	return f, nil
}

// check validates a batch and lays it out in the step.
func (e *Engine) check(b *backend.Batch, ahead bool) error {
	if err := e.kv.Lay(&e.step.Rows, b, paging.Limits{Vocab: e.config.Vocab, MaxBatch: e.maxBatch, Drawn: ahead}); err != nil {
		return err
	}
	for i := range b.Spans {
		sp := &b.Spans[i]
		if _, drew := e.drawn.at[sp.Seq]; sp.Tokens[0] == backend.Drawn && !drew {
			return fmt.Errorf("sequence %d drew no token in the batch before", sp.Seq)
		}
	}
	return nil
}

// dispatch builds the graph of the step and hands it to the device.
func (e *Engine) dispatch(ctx context.Context, f *flight) (err error) {
	s := &e.step
	s.g = e.lib.NewScope(e.stream)
	f.results = e.lib.NewScope(e.stream)
	defer func() {
		s.undoPools()
		s.g.Close()
		if err != nil {
			f.results.Close()
			f.results = nil
		}
	}()
	s.begin(ctx, f.batch.Spans)
	e.kv.sweep()
	e.kv.Prepare(&s.Rows)
	if e.kv.err != nil {
		return e.kv.err
	}
	if err := e.kv.room(s.g, s.Seqs); err != nil {
		return err
	}
	logits, replayed, err := s.replay()
	var hidden mlx.Array
	if !replayed {
		hidden, logits, err = e.forward()
		e.pure = e.fused != nil && !s.generic
	}
	if err != nil {
		return err
	}
	out, err := f.collect(s, hidden, logits)
	if err != nil {
		return err
	}
	if len(out) == 0 && !s.appended.IsZero() {
		// Nobody wants anything: what counts is that the KV is written, in the last
		// layer after all others.
		out = append(out, f.results.Own(s.g.Keep(s.appended)))
	}
	for _, u := range s.pools {
		out = append(out, e.kv.keys[u.layer], e.kv.values[u.layer])
	}
	out = append(out, s.carried...)
	// The arrays of the graph, and the pools as they were, must be nobody's for MLX
	// to reuse their memory.
	s.keepPools()
	s.g.Close()
	if !f.results.AsyncEval(out...) {
		return e.recovered(f.results.Err())
	}
	return nil
}

// forward runs the model and checks what it returned: hidden states of the wanted rows,
// if anybody wants some, and logits.
func (e *Engine) forward() (hidden, logits mlx.Array, err error) {
	s := &e.step
	h := e.model.Hidden(s)
	set := wantedRows
	if len(s.Logits) < len(s.Kept) {
		hidden = s.result("hidden states", h, wantedRows, e.config.Hidden)
		if len(s.Logits) > 0 && s.err == nil {
			set = logitRows
			h = s.computed(set, s.g.Take(hidden, s.g.FromInt32s(s.Logits, len(s.Logits)), 0), h.Cols)
		}
	}
	if len(s.Logits) > 0 || len(s.Kept) == 0 {
		logits = s.result("logits", e.model.Logits(s, h), set, e.config.Vocab)
	}
	if err = s.failure(); err == nil || s.ctx.Err() != nil && errors.Is(err, s.ctx.Err()) {
		return hidden, logits, err
	}
	return hidden, logits, fmt.Errorf("%w: %w", backend.ErrEngineFailed, err)
}

// result is the elements of what the model returned.
func (s *step) result(what string, t nn.Tensor, set rowSet, cols int) mlx.Array {
	a, ok := s.array(t)
	if ok && (s.values[t.Ref-1].set != set || t.Cols != cols) {
		s.fail("it returned [%d, %d], expected %s [%d, %d]", t.Rows, t.Cols, what, s.rows(set), cols)
	}
	return a
}

// collect adds what the batch wants to know to the graph: drawn tokens, and rows
// of logits and of hidden states.
func (f *flight) collect(s *step, hidden, logits mlx.Array) (out []mlx.Array, err error) {
	var drawRows, hostRows []int32
	for i, at := range s.Logits {
		span := s.Owner[s.Kept[at]]
		if d := s.spans[span].Draw; d != nil && f.ahead {
			f.draws, f.spans = append(f.draws, d), append(f.spans, span)
			drawRows = append(drawRows, int32(i))
		} else {
			f.rows = append(f.rows, span)
			hostRows = append(hostRows, int32(i))
		}
	}
	pick := func(rows []int32) mlx.Array {
		if len(rows) == len(s.Logits) {
			return logits
		}
		return s.g.Take(logits, s.g.FromInt32s(rows, len(rows)), 0)
	}
	s.lib.Free(s.e.drawn.ids)
	s.e.drawn = lastDraw{at: map[backend.SeqID]int32{}}
	if len(drawRows) > 0 {
		if f.drawn, err = s.e.drawer.build(f.results, pick(drawRows), f.draws); err != nil {
			return nil, fmt.Errorf("%w: %w", backend.ErrEngineFailed, err)
		}
		out = append(out, f.drawn.arrays()...)
		// Another handle: the results are let go of with Wait.
		s.e.drawn.ids, s.e.drawn.n = f.results.Keep(f.results.AsType(f.drawn.ids, mlx.Int32)), len(drawRows)
		for i, span := range f.spans {
			s.e.drawn.at[s.spans[span].Seq] = int32(i)
		}
	}
	if len(hostRows) > 0 {
		f.logits = f.results.AsType(pick(hostRows), mlx.Float32)
		out = append(out, f.logits)
	}
	if n := len(s.Hidden); n > 0 {
		for _, at := range s.Hidden {
			f.states = append(f.states, s.Owner[s.Kept[at]])
		}
		f.hidden = f.results.AsType(s.g.Take(hidden, s.g.FromInt32s(s.Hidden, n), 0), mlx.Float32)
		out = append(out, f.hidden)
	}
	if err := f.results.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrEngineFailed, err)
	}
	return out, nil
}

// recovered is called when computing failed, most likely for want of memory. The
// sequences are as they were if the pools can still be computed, or were never
// touched.
func (e *Engine) recovered(cause error) error {
	e.lib.ClearCache()
	err := e.scoped(func(g *mlx.Scope) error {
		var all []mlx.Array
		if e.kv.pages > 0 {
			all = append(append(all, e.kv.keys...), e.kv.values...)
		}
		g.Eval(all...)
		return g.Err()
	})
	if err != nil {
		return fmt.Errorf("%w: %w; and the kv cache is lost: %w", backend.ErrEngineFailed, cause, err)
	}
	return cause
}

// Wait implements backend.Started.
func (f *flight) Wait(context.Context) error {
	e := f.e
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case f.results == nil:
		return nil
	case e.closed:
		return paging.ErrClosed
	case e.failed != nil:
		return e.failed
	}
	err := e.do(f.read)
	if errors.Is(err, backend.ErrEngineFailed) {
		e.failed = err
	}
	return err
}

// read waits for the device and fills in the spans.
func (f *flight) read() error {
	e := f.e
	defer func() {
		f.results.Close()
		f.results = nil
		e.flights = slices.DeleteFunc(e.flights, func(o *flight) bool { return o == f })
	}()
	if len(f.draws) > 0 {
		choices, errs := make([]sample.Choice, len(f.draws)), make([]error, len(f.draws))
		f.drawn.read(f.results, f.draws, choices, errs)
		for i, span := range f.spans {
			f.batch.Spans[span].Choice, f.batch.Spans[span].Err = choices[i], errs[i]
		}
	}
	// If a fetch fails, there are no rows, and the scope has the error.
	if len(f.rows) > 0 {
		e.rows = f.results.AppendFloat32s(e.rows[:0], f.logits)
		i := 0
		for row := range slices.Chunk(e.rows, e.config.Vocab) {
			sp := &f.batch.Spans[f.rows[i]]
			sp.Logits = append(sp.Logits, row)
			i++
		}
	}
	if len(f.states) > 0 {
		e.hidden = f.results.AppendFloat32s(e.hidden[:0], f.hidden)
		i := 0
		for row := range slices.Chunk(e.hidden, e.config.Hidden) {
			sp := &f.batch.Spans[f.states[i]]
			sp.Hidden = append(sp.Hidden, row)
			i++
		}
	}
	if err := f.results.Err(); err != nil {
		return e.recovered(err)
	}
	return nil
}

// breathe computes what there is so far, on a CPU, where a long step would
// otherwise be deaf to the end of its context.
func (s *step) breathe(q nn.Tensor) error {
	const long = 16 // rows
	if s.e.device.Type != mlx.CPU || len(s.Tokens) < long {
		return nil
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	a, ok := s.array(q)
	if !ok {
		return s.err
	}
	s.g.Eval(a)
	return nil
}

package cpu

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/tensor"
)

// Engine implements backend.Engine.
type Engine struct {
	model       model.Model
	config      model.Config
	description backend.Description
	context     int
	maxBatch    int
	weights     []weight
	pool        *pool
	kv          *cache
	step        step

	mu     sync.Mutex // held by Run and Close
	closed bool
	failed error
}

var _ backend.Engine = (*Engine)(nil)

const (
	defaultBatch = 512
	maxBatch     = 1 << 14
	maxThreads   = 1 << 10
)

// errClosed is what a closed engine answers.
var errClosed = fmt.Errorf("%w: it is closed", backend.ErrEngineFailed)

// load makes an engine. Reading a mapped file that was cut short after it was
// opened faults; that becomes an error here, as it does in the pool's threads.
func load(ctx context.Context, c checkpoint.Checkpoint, o backend.LoadOptions) (loaded *Engine, err error) {
	e := &Engine{maxBatch: defaultBatch}
	e.step.e = e
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("load %s: %v", c.Path(), r)
		}
		if err != nil {
			loaded, err = nil, errors.Join(err, e.Close())
		}
	}()
	cfg, err := model.Inspect(c)
	if err != nil {
		return nil, err
	}
	e.config = cfg
	threads := defaultThreads()
	if o.Threads != 0 {
		threads = o.Threads
	}
	if threads < 1 || threads > maxThreads {
		return nil, fmt.Errorf("%d threads: expected 1 to %d", o.Threads, maxThreads)
	}
	if o.MaxBatchTokens != 0 {
		e.maxBatch = o.MaxBatchTokens
	}
	if e.maxBatch < 1 || e.maxBatch > maxBatch {
		return nil, fmt.Errorf("batches of %d tokens: expected 1 to %d", o.MaxBatchTokens, maxBatch)
	}
	shape, err := shapeOf(cfg, o.KVType)
	if err != nil {
		return nil, err
	}
	var pages int
	if pages, e.context, err = kvSize(cfg, shape, c.Size(), o); err != nil {
		return nil, err
	}
	if e.kv, err = newCache(shape, pages, e.context, c.Fingerprint()); err != nil {
		return nil, err
	}
	e.description = describe(threads)
	e.pool = newPool(threads, patient)
	e.model, err = model.Load(c, &loader{ctx: ctx, e: e, c: c, progress: o.Progress})
	if err != nil {
		return nil, err
	}
	if o.Progress != nil {
		o.Progress(1)
	}
	return e, nil
}

// shapeOf is the layout of the model's KV.
func shapeOf(cfg model.Config, kvType string) (kvShape, error) {
	shape := kvShape{layers: cfg.Layers, heads: cfg.KVHeads, headDim: cfg.HeadDim}
	switch kvType {
	case "", "auto":
		// Whoever keeps weights in 32 bits wants the precision.
		shape.f16 = cfg.Quantization != tensor.F32.String()
	case "f16":
		shape.f16 = true
	case "f32":
	default:
		return shape, fmt.Errorf("kv type %q: expected auto, f16 or f32", kvType)
	}
	const most = 1 << 30
	if shape.pageBytes() > most {
		return shape, fmt.Errorf("%d positions of kv take %d MiB, more than %d", pageTokens, shape.pageBytes()>>20, most>>20)
	}
	return shape, nil
}

// kvSize chooses how many positions the engine keeps, in pages, and how long a
// sequence may be. Unless told otherwise, the cache may grow to half of what
// memory the weights leave, but to no more than defaultContexts full contexts.
// A context that wasn't asked for shrinks to what fits.
func kvSize(cfg model.Config, shape kvShape, weights int64, o backend.LoadOptions) (pages, context int, err error) {
	const defaultContexts = 16
	if o.Context < 0 || o.Context > cfg.Context {
		return 0, 0, fmt.Errorf("a context of %d positions: this model was trained for %d", o.Context, cfg.Context)
	}
	if o.KVTokens < 0 {
		return 0, 0, fmt.Errorf("a kv cache of %d positions", o.KVTokens)
	}
	context = cfg.Context
	if o.Context > 0 {
		context = o.Context
	}
	total, available := memory()
	switch {
	case o.KVTokens > 0:
		pages = pagesFor(o.KVTokens)
	case total > 0:
		room := max(available-int(weights), 0) / 2
		pages = min(room/shape.pageBytes(), defaultContexts*pagesFor(context))
	default:
		pages = pagesFor(context)
	}
	if pages < pagesFor(context) {
		if o.Context > 0 && o.KVTokens > 0 {
			return 0, 0, fmt.Errorf("a kv cache of %d positions can't hold a context of %d", o.KVTokens, context)
		}
		if o.Context > 0 {
			pages = pagesFor(context)
		} else {
			pages = max(pages, pagesFor(min(context, 2048)))
			context = min(context, pages*pageTokens)
		}
	}
	if size := pages * shape.pageBytes(); total > 0 && size > total {
		return 0, 0, fmt.Errorf("a kv cache of %d positions takes %d MiB, the machine has %d: ask for a smaller context or kv_tokens", pages*pageTokens, size>>20, total>>20)
	}
	return pages, context, nil
}

// Model implements backend.Engine.
func (e *Engine) Model() model.Config { return e.config }

// Description implements backend.Engine.
func (e *Engine) Description() backend.Description { return e.description }

// Capabilities implements backend.Engine. Structured output, logprobs and the
// checking of drafts need nothing but logits at any position.
func (e *Engine) Capabilities() backend.Capabilities {
	return backend.Capabilities{
		StructuredOutput: true, SpeculativeDecoding: true, Logprobs: true,
		KVPrefixCopy: true, KVExport: true, MixedBatch: true,
	}
}

// Context implements backend.Engine.
func (e *Engine) Context() int { return e.context }

// MaxBatchTokens implements backend.Engine.
func (e *Engine) MaxBatchTokens() int { return e.maxBatch }

// KV implements backend.Engine.
func (e *Engine) KV() backend.KV { return e.kv }

// Close implements backend.Engine.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	if e.pool != nil {
		e.pool.close()
	}
	e.weights, e.step = nil, step{}
	if e.kv == nil {
		return nil
	}
	return e.kv.close()
}

// Run implements backend.Engine.
func (e *Engine) Run(ctx context.Context, b *backend.Batch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errClosed
	}
	if e.failed != nil {
		return e.failed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range b.Spans {
		b.Spans[i].Logits = b.Spans[i].Logits[:0]
	}
	if len(b.Spans) == 0 {
		return nil
	}
	if err := e.check(b); err != nil {
		return fmt.Errorf("run a batch of %d spans: %w", len(b.Spans), err)
	}
	err := e.forward(ctx, b)
	if err == nil {
		return nil
	}
	for _, s := range e.step.seqs {
		e.kv.shorten(s, s.len)
	}
	for i := range b.Spans {
		b.Spans[i].Logits = b.Spans[i].Logits[:0]
	}
	if errors.Is(err, backend.ErrEngineFailed) {
		e.failed = err
	}
	return err
}

// check validates a batch and lays its rows out in the step.
func (e *Engine) check(b *backend.Batch) error {
	s := &e.step
	s.begin()
	if n := b.Tokens(); n > e.maxBatch {
		return fmt.Errorf("%d tokens, more than %d", n, e.maxBatch)
	}
	for i := range b.Spans {
		sp := &b.Spans[i]
		seq, err := e.kv.sequence(sp.Seq)
		if err != nil {
			return err
		}
		end := sp.Pos + len(sp.Tokens)
		switch {
		case len(sp.Tokens) == 0:
			return fmt.Errorf("sequence %d: no tokens", sp.Seq)
		case slices.Contains(s.seqs, seq):
			return fmt.Errorf("sequence %d: two spans", sp.Seq)
		case sp.Pos != seq.len:
			return fmt.Errorf("sequence %d: position %d, expected %d", sp.Seq, sp.Pos, seq.len)
		case end > seq.room:
			return fmt.Errorf("sequence %d: %d positions, but room for %d", sp.Seq, end, seq.room)
		case sp.Want > backend.AllLogits:
			return fmt.Errorf("sequence %d: unknown wish %d for logits", sp.Seq, sp.Want)
		}
		first := len(s.tokens)
		for j, t := range sp.Tokens {
			if t < 0 || int(t) >= e.config.Vocab {
				return fmt.Errorf("sequence %d: token %d at position %d is not in the vocabulary of %d", sp.Seq, t, sp.Pos+j, e.config.Vocab)
			}
			if sp.Want == backend.AllLogits || sp.Want == backend.LastLogits && j == len(sp.Tokens)-1 {
				s.wanted = append(s.wanted, int32(len(s.tokens)))
			}
			s.tokens = append(s.tokens, t)
			s.positions = append(s.positions, int32(sp.Pos+j))
			s.owner = append(s.owner, int32(i))
		}
		s.seqs = append(s.seqs, seq)
		s.spans = append(s.spans, rowRange{first, len(s.tokens)})
	}
	return nil
}

// forward computes the step and, if all went well, makes the sequences longer
// and hands out the logits.
func (e *Engine) forward(ctx context.Context, b *backend.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", backend.ErrEngineFailed, r, debug.Stack())
		}
	}()
	s := &e.step
	for i, seq := range s.seqs {
		e.kv.extend(seq, seq.len+len(b.Spans[i].Tokens))
	}
	logits, ok := s.view(e.model.Forward(s))
	if !ok {
		return fmt.Errorf("%w: %w", backend.ErrEngineFailed, s.err)
	}
	if s.set(logits) != wantedRows || logits.cols != e.config.Vocab {
		return fmt.Errorf("%w: %w: it returned [%d, %d], expected logits [%d, %d]", backend.ErrEngineFailed, errModel, logits.rows, logits.cols, len(s.wanted), e.config.Vocab)
	}
	s.buffers[logits.buffer].last = len(s.phases) // the logits outlive the step
	s.plan()
	if err := s.compute(ctx, e.pool); err != nil {
		return err
	}
	for i, row := range s.wanted {
		sp := &b.Spans[s.owner[row]]
		sp.Logits = append(sp.Logits, s.row(logits, i))
	}
	for i, seq := range s.seqs {
		seq.len += len(b.Spans[i].Tokens)
	}
	return nil
}

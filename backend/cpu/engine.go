package cpu

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/host"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/simd"
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
	memory      weightMemory // of packed weights
	repacked    backend.Repacking
	pool        *pool
	kv          *cache
	step        step

	mu     sync.Mutex // held by Run and Close
	closed bool
	failed error
}

var _ backend.Repacker = (*Engine)(nil)

const (
	defaultBatch = 512
	maxBatch     = 1 << 14
	maxThreads   = 1 << 10
)

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
	memory := machineMemory(c.Size())
	states := newStateShape(cfg)
	slots, err := paging.SizeStates(4*states.elements, shape.bytesPerToken(), 0, &memory)
	if err != nil {
		return nil, err
	}
	slots.Warm = true
	if pages, e.context, err = paging.Size(cfg, shape.bytesPerToken(), memory, o); err != nil {
		return nil, err
	}
	if e.kv, err = newCache(shape, states, slots, pages, e.context, cfg.KVFingerprint(c.Fingerprint(), e.context)); err != nil {
		return nil, err
	}
	e.description = describe(threads)
	e.pool = newPool(threads, patient)
	if e.repacked.Mapped, err = staysMapped(o.Repack, c.Size()); err != nil {
		return nil, err
	}
	e.model, err = model.Load(c, &loader{ctx: ctx, e: e, c: c, mapped: e.repacked.Mapped != "", progress: o.Progress})
	if err != nil {
		return nil, err
	}
	if o.Progress != nil {
		o.Progress(1)
	}
	return e, nil
}

// staysMapped says why weights of so many bytes are used as they lie in the file; ""
// means that they are repacked.
func staysMapped(repack string, weights int64) (why string, err error) {
	switch repack {
	case "", "auto":
		if total, available := host.Memory(); total > 0 && weights > int64(available) {
			return fmt.Sprintf("a copy would take %d MiB, the machine has %d to spare", weights>>20, available>>20), nil
		}
		return "", nil
	case "never":
		return "repack is never", nil
	}
	return "", fmt.Errorf("repack %q: expected auto or never", repack)
}

// shapeOf is the layout of the model's KV.
func shapeOf(cfg model.Config, kvType string) (kvShape, error) {
	var typ simd.KVType
	switch kvType {
	case "", "auto":
		typ = simd.KVF16
		if cfg.Quantization == tensor.F32.String() {
			typ = simd.KVF32 // whoever keeps weights in 32 bits wants the precision
		}
	case "f32":
		typ = simd.KVF32
	case "f16":
		typ = simd.KVF16
	case "q8_0":
		typ = simd.KVQ8
	default:
		return kvShape{}, fmt.Errorf("kv type %q: expected auto, f16, f32 or q8_0", kvType)
	}
	_, layers := cfg.KVLayers()
	return newKVShape(layers, cfg.KVHeads, cfg.HeadDim, typ), nil
}

// machineMemory is what there is for the KV cache beside the weights, which take
// what they take in the file.
func machineMemory(weights int64) paging.Memory {
	total, available := host.Memory()
	return paging.Memory{Total: total, Available: available - int(weights), Device: "the machine"}
}

// Model implements backend.Engine.
func (e *Engine) Model() model.Config { return e.config }

// Description implements backend.Engine.
func (e *Engine) Description() backend.Description { return e.description }

// Capabilities implements backend.Engine. Structured output, logprobs and the
// checking of drafts need nothing but logits at any position; drafts are dropped again by
// going back, which a layer's state can't.
func (e *Engine) Capabilities() backend.Capabilities {
	stateless := e.kv.states.elements == 0
	return backend.Capabilities{
		StructuredOutput: true, SpeculativeDecoding: stateless, Logprobs: true, Embeddings: true,
		KVPrefixCopy: true, KVTruncate: stateless, KVExport: stateless, MixedBatch: true,
	}
}

// Repacked implements backend.Repacker.
func (e *Engine) Repacked() backend.Repacking { return e.repacked }

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
	e.model, e.weights, e.step = nil, nil, step{}
	err := e.memory.close()
	if e.kv != nil {
		err = errors.Join(err, e.kv.close())
	}
	return err
}

// Run implements backend.Engine.
func (e *Engine) Run(ctx context.Context, b *backend.Batch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return paging.ErrClosed
	}
	if e.failed != nil {
		return e.failed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	clearResults(b)
	if len(b.Spans) == 0 {
		return nil
	}
	if err := e.kv.Lay(&e.step.Rows, b, paging.Limits{Vocab: e.config.Vocab, MaxBatch: e.maxBatch}); err != nil {
		return fmt.Errorf("run a batch of %d spans: %w", len(b.Spans), err)
	}
	err := e.forward(ctx, b)
	if err == nil {
		return nil
	}
	e.kv.Undo(&e.step.Rows)
	clearResults(b)
	if errors.Is(err, backend.ErrEngineFailed) {
		e.failed = err
	}
	return err
}

// forward computes the step and, if all went well, makes the sequences longer
// and hands out what is wanted.
func (e *Engine) forward(ctx context.Context, b *backend.Batch) (err error) {
	// Weights that stayed in the file may fault, as in load.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", backend.ErrEngineFailed, r, debug.Stack())
		}
	}()
	s := &e.step
	e.kv.Prepare(&s.Rows)
	if err := s.write(e.model); err != nil {
		return fmt.Errorf("%w: %w", backend.ErrEngineFailed, err)
	}
	if err := s.compute(ctx, e.pool); err != nil {
		return err
	}
	for i, at := range s.Logits {
		sp := &b.Spans[s.Owner[s.Kept[at]]]
		sp.Logits = append(sp.Logits, s.row(s.logits, i))
	}
	for _, at := range s.Hidden {
		sp := &b.Spans[s.Owner[s.Kept[at]]]
		sp.Hidden = append(sp.Hidden, s.row(s.hidden, int(at)))
	}
	e.kv.Commit(&s.Rows)
	return nil
}

// clearResults empties the rows that spans hold of an earlier batch.
func clearResults(b *backend.Batch) {
	for i := range b.Spans {
		sp := &b.Spans[i]
		sp.Logits, sp.Hidden = sp.Logits[:0], sp.Hidden[:0]
	}
}

package mlx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"sync"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/host"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/nn"
)

// Engine implements backend.DeviceSampler.
type Engine struct {
	lib         *mlx.Library
	device      mlx.Device
	stream      mlx.Stream
	packed      bool // weights stay quantized
	dtype       mlx.DType
	model       model.Model
	config      model.Config
	description backend.Description
	context     int
	maxBatch    int
	weights     []weight
	kv          *cache
	unpackAt    int    // from so many rows on, products take weights dequantized
	fused       *fused // nil: the device has no kernels of ours
	gated       []gated
	drawer      *drawer
	pure        bool        // kernels of ours did all of a step's attention
	recorded    []*recorded // the latest used last
	ropes       map[*nn.Rope]ropeArrays
	constants   map[[2]float32]mlx.Array
	steps       map[int]mlx.Array // {1, 0, …} by length
	meta        lastMeta
	step        step
	drawn       lastDraw
	rows        []float32 // of logits on the host
	hidden      []float32 // rows of hidden states on the host
	flights     []*flight // under way

	mu     sync.Mutex // held by Start, Wait and Close
	closed bool
	failed error
}

var _ backend.DeviceSampler = (*Engine)(nil)

// ropeArrays are a rotary embedding's frequencies and their inverses.
type ropeArrays struct{ frequencies, periods mlx.Array }

// lastDraw is the tokens that the last batch drew.
type lastDraw struct {
	ids mlx.Array // [n] integers
	n   int
	at  map[backend.SeqID]int32
}

const (
	// unpackAtCUDA: on an H100, MLX's quantized product of 2,048 rows takes 3.5
	// times as long as dequantizing and the product of floats; at 128 they are even.
	unpackAtCUDA    = 128
	defaultBatch    = 2048
	defaultBatchCPU = 512
	maxBatch        = 1 << 14
)

// cuda says whether the engine runs on an NVIDIA GPU.
func (e *Engine) cuda() bool { return e.device.Type == mlx.GPU && e.lib.CUDA() }

// do runs f on MLX's thread. A panic there is an error that the engine doesn't
// survive.
func (e *Engine) do(f func() error) (err error) {
	e.lib.Do(func() {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: panic: %v\n%s", backend.ErrEngineFailed, r, debug.Stack())
			}
		}()
		err = f()
	})
	return err
}

// scoped runs f, on MLX's thread already, with a scope of its own.
func (e *Engine) scoped(f func(g *mlx.Scope) error) error {
	g := e.lib.NewScope(e.stream)
	defer g.Close()
	return f(g)
}

func (e *Engine) load(ctx context.Context, c checkpoint.Checkpoint, o backend.LoadOptions, config backend.Config) error {
	cfg, err := model.Inspect(c)
	if err != nil {
		return err
	}
	e.config, e.description = cfg, describe(e.lib, e.device)
	e.ropes, e.constants, e.steps = map[*nn.Rope]ropeArrays{}, map[[2]float32]mlx.Array{}, map[int]mlx.Array{}
	e.maxBatch = defaultBatch
	if e.device.Type == mlx.CPU {
		e.maxBatch = defaultBatchCPU
	}
	if config.PrefillChunk > 0 {
		e.maxBatch = config.PrefillChunk
	}
	if o.MaxBatchTokens != 0 {
		e.maxBatch = o.MaxBatchTokens
	}
	if e.maxBatch < 1 || e.maxBatch > maxBatch {
		return fmt.Errorf("batches of %d tokens: expected 1 to %d", e.maxBatch, maxBatch)
	}
	if e.dtype == 0 {
		e.dtype = computeType(c, e.device.Type == mlx.CPU)
	}
	kvDType, err := kvType(o, e.dtype)
	if err != nil {
		return err
	}
	_, layers := cfg.KVLayers()
	shape := kvShape{layers: layers, heads: cfg.KVHeads, headDim: cfg.HeadDim}
	memory, err := e.memory(c, config)
	if err != nil {
		return err
	}
	const back = 2 // batches that may be under way
	states, err := paging.SizeStates(4*cfg.StateElements(), shape.bytesPerToken(kvDType), back, &memory)
	if err != nil {
		return err
	}
	pages, context, err := paging.Size(cfg, shape.bytesPerToken(kvDType), memory, o)
	if err != nil {
		return err
	}
	e.context = context
	if err := e.build(ctx, c, o, config, shape, kvDType, states, pages); err != nil {
		return err
	}
	if e.fused != nil {
		return e.warm(ctx)
	}
	return nil
}

// build makes everything that lives on the device.
func (e *Engine) build(ctx context.Context, c checkpoint.Checkpoint, o backend.LoadOptions, config backend.Config, shape kvShape, kvDType mlx.DType, states paging.StateOptions, pages int) error {
	err := e.do(func() (err error) {
		if e.stream, err = e.lib.NewStream(e.device); err != nil {
			return err
		}
		if err := e.limit(config); err != nil {
			return err
		}
		e.kv = newCache(e, shape, kvDType, states, pages, e.context, e.config.KVFingerprint(c.Fingerprint(), e.context))
		e.unpackAt = math.MaxInt
		if e.cuda() {
			e.unpackAt = unpackAtCUDA
			if e.fused, err = newFused(e.lib); err != nil {
				return err
			}
		}
		gpu := e.device.Type == mlx.GPU
		if e.gated, err = newGated(e.lib, gpu); err != nil {
			return err
		}
		e.drawer, err = newDrawer(e.lib, gpu)
		return err
	})
	if err != nil {
		return err
	}
	e.step = step{e: e, lib: e.lib}
	l := &loader{ctx: ctx, e: e, c: c, progress: o.Progress, notes: map[string]bool{}}
	if e.model, err = model.Load(c, l); err != nil {
		return err
	}
	if e.device.Type == mlx.GPU && e.lib.Metal() && config.WiredLimit == 0 {
		// Wire the weights only: what a step takes comes and goes.
		if _, err := e.lib.SetWiredLimit(e.lib.ActiveMemory()); err != nil {
			return err
		}
	}
	if o.Progress != nil {
		o.Progress(1)
	}
	return nil
}

// limit sets what the configuration says of MLX's memory.
func (e *Engine) limit(c backend.Config) error {
	for _, l := range []struct {
		bytes int64
		set   func(uint64) (uint64, error)
	}{{c.MemoryLimit, e.lib.SetMemoryLimit}, {c.CacheLimit, e.lib.SetCacheLimit}, {c.WiredLimit, e.lib.SetWiredLimit}} {
		if l.bytes > 0 {
			if _, err := l.set(uint64(l.bytes)); err != nil {
				return err
			}
		}
	}
	return nil
}

// memory is what there is for the KV cache beside the weights. A tenth of the
// whole is left to what a step computes and to others.
func (e *Engine) memory(c checkpoint.Checkpoint, config backend.Config) (paging.Memory, error) {
	m := paging.Memory{Total: int(e.device.Memory), Device: e.description.Device}
	if e.device.Type == mlx.CPU {
		// MLX's allocator there doesn't notice when there is none left.
		m.Total, _ = host.Memory()
		m.Device = "the machine"
	}
	if config.MemoryLimit > 0 {
		m.Total, m.Device = int(config.MemoryLimit), "memory_limit"
	}
	weights := e.weightBytes(c)
	m.Available = m.Total/10*9 - weights
	if m.Total > 0 && m.Available < 0 {
		return m, fmt.Errorf("the weights take about %d MiB, and %s leaves %d for them: use a model quantized to fewer bits, or raise memory_limit", weights>>20, m.Device, m.Total/10*9>>20)
	}
	return m, nil
}

// weightBytes is about what the weights take on the device.
func (e *Engine) weightBytes(c checkpoint.Checkpoint) int {
	if e.packed {
		return int(c.Size())
	}
	return int(e.config.Parameters) * e.dtype.Size()
}

// computeType is the type of activations: that of the checkpoint's own floats, or
// of its scales. Where there are none, as in GGUF's blocks, it is bfloat16, which
// doesn't overflow where a model was trained in it. On a CPU it is float32, for
// which MLX has real kernels there.
func computeType(c checkpoint.Checkpoint, cpu bool) mlx.DType {
	if cpu {
		return mlx.Float32
	}
	held := map[mlx.DType]int{}
	for _, entry := range c.Tensors() {
		t, ok := c.Tensor(entry.Name)
		if !ok || len(t.Shape) < 2 {
			continue
		}
		of := t.Type
		if t.Packed != nil {
			of = t.Packed.Scales.Type
		}
		d, ok := floats[of]
		if !ok {
			d = mlx.BFloat16
		}
		held[d] += t.Elems()
	}
	best := mlx.BFloat16
	for d, n := range held {
		if n > held[best] {
			best = d
		}
	}
	return best
}

// Model implements backend.Engine.
func (e *Engine) Model() model.Config { return e.config }

// Description implements backend.Engine.
func (e *Engine) Description() backend.Description { return e.description }

// Capabilities implements backend.Engine.
func (e *Engine) Capabilities() backend.Capabilities {
	stateless := e.config.StateElements() == 0
	return backend.Capabilities{
		StructuredOutput: true, SpeculativeDecoding: stateless, Logprobs: true, Embeddings: true,
		KVPrefixCopy: true, KVTruncate: stateless, KVExport: stateless, MixedBatch: true, DeviceSampling: true,
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
	return e.do(func() error {
		var errs []error
		if e.stream != (mlx.Stream{}) {
			errs = append(errs, e.lib.Synchronize(e.stream))
		}
		for _, f := range e.flights {
			f.results.Close()
		}
		e.forget()
		for i := range e.weights {
			w := &e.weights[i]
			e.lib.Free(w.vector)
			for j := range w.segments {
				e.lib.Free(w.segments[j].arrays()...)
			}
			if w.experts != nil {
				e.lib.Free(w.experts.arrays()...)
			}
		}
		for _, r := range e.ropes {
			e.lib.Free(r.frequencies, r.periods)
		}
		for _, a := range e.constants {
			e.lib.Free(a)
		}
		for _, a := range e.steps {
			e.lib.Free(a)
		}
		for _, a := range e.gated {
			if a.compiled != nil {
				a.compiled.Free()
			}
		}
		if e.fused != nil {
			e.fused.close(e.lib)
		}
		if e.drawer != nil {
			e.drawer.close()
		}
		e.lib.Free(e.drawn.ids, e.meta.array)
		if e.kv != nil {
			e.kv.close()
		}
		e.weights, e.model, e.step = nil, nil, step{}
		e.lib.ClearCache()
		return errors.Join(errs...)
	})
}

// periods are 1/frequency of a rotary embedding, as MLX wants them.
func (e *Engine) periods(r *nn.Rope) mlx.Array { return e.rope(r).periods }

// frequencies are those of a rotary embedding, [dims/2] float32.
func (e *Engine) frequencies(r *nn.Rope) mlx.Array { return e.rope(r).frequencies }

func (e *Engine) rope(r *nn.Rope) ropeArrays {
	a, ok := e.ropes[r]
	if ok {
		return a
	}
	g := e.lib.NewScope(e.stream)
	defer g.Close()
	freq := r.Frequencies(e.context)
	periods := make([]float32, len(freq))
	for i, f := range freq {
		periods[i] = 1 / f
	}
	a = ropeArrays{g.Keep(g.FromFloat32s(freq, len(periods))), g.Keep(g.FromFloat32s(periods, len(periods)))}
	e.ropes[r] = a
	return a
}

package mlx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/inferflux/inferflux/backend/mlx/repack"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/tensor"
)

// weight is a loaded parameter: a matrix in segments of rows, a vector, or a matrix for
// each expert.
type weight struct {
	rows, cols int
	segments   []segment
	vector     mlx.Array
	experts    *expertWeight
}

// segment is rows of a matrix stored in one way.
type segment struct {
	rows           int
	how            quantization // none: dense
	w              mlx.Array    // [rows, cols], or packed
	scales, biases mlx.Array
	transposed     mlx.Array // [cols, rows], a view of a dense w
}

// quantization is how a matrix is stored in few bits, as MLX's functions want to
// be told.
type quantization struct {
	Mode        string
	Bits, Group int
}

func (m *segment) quantized() bool { return m.how != (quantization{}) }

// arrays are those that a segment has.
func (m *segment) arrays() []mlx.Array {
	var all []mlx.Array
	for _, a := range []mlx.Array{m.w, m.scales, m.biases, m.transposed} {
		if !a.IsZero() {
			all = append(all, a)
		}
	}
	return all
}

// alike reports whether two segments can be one.
func (m *segment) alike(o *segment) bool {
	return m.how == o.how && m.biases.IsZero() == o.biases.IsZero()
}

// loader implements nn.Loader. Other models' steps may come between its weights.
type loader struct {
	ctx      context.Context
	e        *Engine
	c        checkpoint.Checkpoint
	progress func(float64)
	done     int64 // bytes
	notes    map[string]bool
}

var _ nn.Loader = (*loader)(nil)

// Linear implements nn.Loader.
func (l *loader) Linear(parts ...tensor.Tensor) (nn.Weight, error) {
	w := weight{cols: parts[0].Cols()}
	err := l.scoped(func(g *mlx.Scope) error {
		var made []segment
		for _, t := range parts {
			m, err := l.segments(g, t)
			if err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
			made = append(made, m...)
			w.rows += t.Rows()
		}
		var arrays []mlx.Array
		for len(made) > 0 {
			n := 1
			for n < len(made) && made[n].alike(&made[0]) {
				n++
			}
			m := l.join(g, made[:n])
			w.segments = append(w.segments, m)
			arrays = append(arrays, m.arrays()...)
			made = made[n:]
		}
		if !g.Eval(arrays...) {
			return g.Err()
		}
		for _, a := range arrays {
			g.Keep(a)
		}
		return nil
	})
	if err != nil {
		return nn.Weight{}, err
	}
	return l.add(w, parts), nil
}

// Embedding implements nn.Loader.
func (l *loader) Embedding(t tensor.Tensor) (nn.Weight, error) { return l.Linear(t) }

// Vector implements nn.Loader.
func (l *loader) Vector(parts ...tensor.Tensor) (nn.Weight, error) {
	var v []float32
	for _, t := range parts {
		part := make([]float32, t.Elems())
		if err := t.Dequantize(part, 0, t.Rows()); err != nil {
			return nn.Weight{}, fmt.Errorf("%s: %w", t, err)
		}
		v = append(v, part...)
	}
	w := weight{rows: len(v)}
	err := l.scoped(func(g *mlx.Scope) error {
		w.vector = l.settled(g, g.FromFloat32s(v, len(v)), l.e.dtype)
		if !g.Eval(w.vector) {
			return g.Err()
		}
		g.Keep(w.vector)
		return nil
	})
	if err != nil {
		return nn.Weight{}, err
	}
	return l.add(w, parts), nil
}

// scoped builds a weight. Reading a mapped file that was cut short after it was
// opened faults; that becomes an error here.
func (l *loader) scoped(f func(g *mlx.Scope) error) (err error) {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	return l.e.do(func() (err error) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("read the weights of %s: %v", l.c.Path(), r)
			}
			// What the copies took is of no use to the next, of another size.
			l.e.lib.ClearCache()
		}()
		return l.e.scoped(f)
	})
}

func (l *loader) add(w weight, parts []tensor.Tensor) nn.Weight {
	l.e.weights = append(l.e.weights, w)
	for _, t := range parts {
		if r, ok := l.c.(checkpoint.Releaser); ok {
			r.Release(t)
		}
		l.done += t.Bytes()
	}
	if l.progress != nil && l.c.Size() > 0 {
		l.progress(min(float64(l.done)/float64(l.c.Size()), 1))
	}
	return nn.Weight{Ref: len(l.e.weights), Out: w.rows, In: w.cols}
}

// segments uploads one tensor.
func (l *loader) segments(g *mlx.Scope, t tensor.Tensor) ([]segment, error) {
	rows, cols := t.Rows(), t.Cols()
	m := segment{rows: rows}
	var err error
	switch p := t.Packed; {
	case p != nil && l.e.packed:
		m.how = quantization{Mode: p.Mode, Bits: p.Bits, Group: p.Group}
		m.w = g.FromBytes(t.Data, mlx.Uint32, rows, cols*p.Bits/32)
		if m.scales, err = l.scales(g, p.Scales); err == nil && p.Biases.Data != nil {
			m.biases, err = l.scales(g, p.Biases)
		}
	case p == nil && !t.Type.Quantized():
		m.w, err = raw(g, t)
	case p == nil && l.e.packed:
		return l.repacked(g, t)
	default:
		dense := make([]float32, rows*cols)
		if err = t.Dequantize(dense, 0, rows); err == nil {
			m.w = g.FromFloat32s(dense, rows, cols)
		}
	}
	return []segment{m}, err
}

// scales uploads scales or biases: numbers in the compute type, or the bytes of an
// 8-bit float that MLX reads itself.
func (l *loader) scales(g *mlx.Scope, t tensor.Tensor) (mlx.Array, error) {
	if t.Type == tensor.U8 {
		return g.FromBytes(t.Data, mlx.Uint8, t.Rows(), t.Cols()), nil
	}
	a, err := raw(g, t)
	return g.AsType(a, l.e.dtype), err
}

// floats are the types that need no decoding.
var floats = map[tensor.Type]mlx.DType{tensor.F32: mlx.Float32, tensor.F16: mlx.Float16, tensor.BF16: mlx.BFloat16}

// raw uploads a tensor of plain floats as it is.
func raw(g *mlx.Scope, t tensor.Tensor) (mlx.Array, error) {
	d, ok := floats[t.Type]
	if !ok {
		return mlx.Array{}, fmt.Errorf("%s has no use as a weight on mlx", t.Type)
	}
	return g.FromBytes(t.Data, d, t.Rows(), t.Cols()), nil
}

// repacked turns a GGUF tensor into MLX's layout, on all cores: each makes a
// segment of some rows.
func (l *loader) repacked(g *mlx.Scope, t tensor.Tensor) ([]segment, error) {
	const rowsAtOnce = 1 << 20 // elements that are worth a core
	rows := t.Rows()
	n := max(1, min(runtime.GOMAXPROCS(0), t.Elems()/rowsAtOnce, rows))
	parts, errs := make([]repack.Weight, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			defer func() {
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("read it: %v", r)
				}
			}()
			errs[i] = repack.Repack(t, i*rows/n, (i+1)*rows/n, &parts[i])
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if note := parts[0].Note; note != "" && !l.notes[note] {
		l.notes[note] = true
		slog.Info("weights change their layout for mlx", "model", l.c.Path(), "how", note, "first", t.Name)
	}
	var all []segment
	for i := range parts {
		all = append(all, l.uploaded(g, &parts[i]))
	}
	return all, nil
}

func (l *loader) uploaded(g *mlx.Scope, p *repack.Weight) segment {
	m := segment{rows: p.Rows}
	if p.Mode == repack.Dense {
		m.w = g.FromFloat32s(p.Dense, p.Rows, p.Cols)
		return m
	}
	m.how = quantization{Mode: p.Mode, Bits: p.Bits, Group: p.Group}
	m.w = g.FromUint32s(p.Packed, p.Rows, p.Cols*p.Bits/32)
	groups := p.Cols / p.Group
	if p.Mode == repack.MXFP4 {
		m.scales = g.FromBytes(p.Scales8, mlx.Uint8, p.Rows, groups)
		return m
	}
	m.scales = g.AsType(g.FromFloat32s(p.Scales, p.Rows, groups), l.e.dtype)
	m.biases = g.AsType(g.FromFloat32s(p.Biases, p.Rows, groups), l.e.dtype)
	return m
}

// join makes one segment of several that are alike.
func (l *loader) join(g *mlx.Scope, parts []segment) segment {
	m := segment{how: parts[0].how}
	one := func(of func(*segment) mlx.Array) mlx.Array {
		if of(&parts[0]).IsZero() {
			return mlx.Array{}
		}
		if len(parts) == 1 {
			return of(&parts[0])
		}
		var all []mlx.Array
		for i := range parts {
			all = append(all, of(&parts[i]))
		}
		return g.Concatenate(all, 0)
	}
	for i := range parts {
		m.rows += parts[i].rows
	}
	m.w = one(func(m *segment) mlx.Array { return m.w })
	m.scales = one(func(m *segment) mlx.Array { return m.scales })
	m.biases = one(func(m *segment) mlx.Array { return m.biases })
	if m.quantized() {
		if len(parts) == 1 {
			m.w, m.scales, m.biases = l.moved(g, m.w), l.moved(g, m.scales), l.moved(g, m.biases)
		}
		return m
	}
	m.w = l.settled(g, m.w, l.e.dtype)
	m.transposed = g.Transpose(m.w, 1, 0)
	return m
}

// settled is a in the given type, in the device's own memory.
func (l *loader) settled(g *mlx.Scope, a mlx.Array, d mlx.DType) mlx.Array {
	if l.e.lib.DType(a) != d {
		return g.AsType(a, d)
	}
	return l.moved(g, a)
}

// moved is a in the device's own memory: what comes from the host lies in memory
// that an NVIDIA GPU reaches page by page. Any operation on the bits will do.
func (l *loader) moved(g *mlx.Scope, a mlx.Array) mlx.Array {
	if !l.e.cuda() || a.IsZero() {
		return a
	}
	d := l.e.lib.DType(a)
	bits := map[int]mlx.DType{1: mlx.Uint8, 2: mlx.Uint16, 4: mlx.Uint32}[d.Size()]
	return g.View(g.BitwiseOr(g.View(a, bits), g.Zeros(bits, 1)), d)
}

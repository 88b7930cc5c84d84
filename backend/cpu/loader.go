package cpu

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

// weight is a loaded parameter: one of the three.
type weight struct {
	matrix  *simd.Matrix
	vector  []float32
	experts []*simd.Matrix
}

// loader implements nn.Loader. It packs every matrix, on all threads, and lets go of
// the file's pages, so that no weight is in memory twice; or, if mapped is set, leaves
// matrices where they are.
type loader struct {
	ctx      context.Context
	e        *Engine
	c        checkpoint.Checkpoint
	mapped   bool
	progress func(float64)
	done     int64 // bytes
}

var _ nn.Loader = (*loader)(nil)

// packPanels is how many panels a thread packs at a time.
const packPanels = 16

// Linear implements nn.Loader.
func (l *loader) Linear(parts ...tensor.Tensor) (nn.Weight, error) {
	m, err := l.matrix(parts)
	if err != nil {
		return nn.Weight{}, err
	}
	return l.add(weight{matrix: m}, m.Rows(), m.Cols(), parts), nil
}

// Experts implements nn.Loader. Every expert's matrix is packed on its own, so that its
// rows fill panels of their own.
func (l *loader) Experts(parts [][]tensor.Tensor) (nn.Weight, error) {
	var w weight
	var all []tensor.Tensor
	for i := range parts {
		m, err := l.matrix(parts[i])
		if err != nil {
			return nn.Weight{}, err
		}
		w.experts = append(w.experts, m)
		first := w.experts[0]
		if m.Rows() != first.Rows() || m.Cols() != first.Cols() || m.NeedsInt8() != first.NeedsInt8() || m.NeedsFloat() != first.NeedsFloat() {
			return nn.Weight{}, fmt.Errorf("the experts' matrices are not alike: %s is [%d, %d], and %s [%d, %d]",
				parts[i][0], m.Rows(), m.Cols(), parts[0][0], first.Rows(), first.Cols())
		}
		all = append(all, parts[i]...)
	}
	if len(w.experts) == 0 {
		return nn.Weight{}, errors.New("a mixture of no experts")
	}
	return l.add(w, w.experts[0].Rows(), w.experts[0].Cols(), all), nil
}

// matrix lays a matrix out and, unless it stays mapped, packs it.
func (l *loader) matrix(parts []tensor.Tensor) (*simd.Matrix, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	m, err := simd.LayOut(parts...)
	if err != nil || l.mapped {
		return m, err
	}
	start := time.Now()
	memory, err := l.e.memory.take(m.Bytes())
	if err != nil {
		return nil, err
	}
	m.PackInto(memory)
	panels := m.Panels()
	if err := l.parallel(parts[0], (panels+packPanels-1)/packPanels, func(i int) {
		m.PackPanels(i*packPanels, min((i+1)*packPanels, panels))
	}); err != nil {
		return nil, err
	}
	l.release(parts)
	l.e.repacked.Bytes += int64(m.Bytes())
	l.e.repacked.Took += time.Since(start)
	return m, nil
}

// Embedding implements nn.Loader.
func (l *loader) Embedding(t tensor.Tensor) (nn.Weight, error) { return l.Linear(t) }

// Vector implements nn.Loader.
func (l *loader) Vector(parts ...tensor.Tensor) (nn.Weight, error) {
	if err := l.ctx.Err(); err != nil {
		return nn.Weight{}, err
	}
	var v []float32
	for _, t := range parts {
		part := make([]float32, t.Elems())
		var failed error
		if err := l.parallel(t, 1, func(int) { failed = t.Dequantize(part, 0, t.Rows()) }); err != nil {
			return nn.Weight{}, err
		}
		if failed != nil {
			return nn.Weight{}, failed
		}
		v = append(v, part...)
	}
	l.release(parts)
	return l.add(weight{vector: v}, len(v), 0, parts), nil
}

func (l *loader) add(w weight, out, in int, parts []tensor.Tensor) nn.Weight {
	l.e.weights = append(l.e.weights, w)
	for _, t := range parts {
		l.done += t.Bytes()
	}
	if l.progress != nil && l.c.Size() > 0 {
		l.progress(min(float64(l.done)/float64(l.c.Size()), 1))
	}
	return nn.Weight{Ref: len(l.e.weights), Out: out, In: in}
}

// release lets go of the file's pages of what was copied.
func (l *loader) release(parts []tensor.Tensor) {
	if r, ok := l.c.(checkpoint.Releaser); ok {
		for _, t := range parts {
			r.Release(t)
		}
	}
}

// parallel calls f for each i below n. Reading a mapped file that was cut short
// after it was opened faults; that becomes an error here.
func (l *loader) parallel(t tensor.Tensor, n int, f func(i int)) error {
	work := each{n: n, f: func(i int) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		f(i)
	}}
	l.e.pool.do(&work)
	if r := work.failed.Load(); r != nil {
		return fmt.Errorf("pack %s from %s: %v", t, l.c.Path(), *r)
	}
	return nil
}

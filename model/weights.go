package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
	"github.com/inferflux/inferflux/tensor"
)

// Name is a tensor's name in either format; "%d" stands for the layer.
type Name struct{ GGUF, HF string }

func (n Name) in(f checkpoint.Format, layer int) string {
	s := n.GGUF
	if f == checkpoint.HuggingFace {
		s = n.HF
	}
	return strings.Replace(s, "%d", fmt.Sprint(layer), 1)
}

// Part is one tensor of a stack that reads the same input: its name and rows.
type Part struct {
	Name Name
	Rows int
}

// ExpertPart is Part for experts: the names of the tensor that has all of them, and of
// each one's, if there are such.
type ExpertPart struct {
	Stacked, Each Name
	Rows          int
	// Columns is a tensor [count, in, Every·Rows], floating-point, of which column
	// From + Every·r is row r of the matrices: some checkpoints have them transposed,
	// and two of them alternate. A quantized one is [count, Every·Rows, in], of which rows are taken.
	Columns     Name
	From, Every int
}

// Weights gives an architecture its tensors by name, checks their shapes, and
// has the backend's Loader make weights of them. It remembers everything that
// is missing or misshapen.
type Weights struct {
	c      checkpoint.Checkpoint
	l      nn.Loader // nil: only check
	layer  int
	used   map[string]bool
	errs   []error
	failed bool // the loader did
}

func newWeights(c checkpoint.Checkpoint, l nn.Loader) *Weights {
	return &Weights{c: c, l: l, used: map[string]bool{}}
}

// Layer is the layer that names refer to from now on.
func (w *Weights) Layer(i int) { w.layer = i }

// Linear is one weight [sum of the parts' rows, in].
func (w *Weights) Linear(in int, parts ...Part) nn.Weight {
	ts, ok := w.tensors(in, parts)
	if !ok || w.l == nil || w.failed {
		return nn.Weight{}
	}
	return w.made(w.l.Linear(ts...))
}

// Experts is one weight of a matrix [sum of the parts' rows, in] for each of count experts.
// A part is stored for all of them together, [count, rows, in], under its name as a
// tensor of stacked experts, or for each on its own, with "%e" in its name for the
// expert.
func (w *Weights) Experts(count, in int, parts ...ExpertPart) nn.Weight {
	experts := make([][]tensor.Tensor, count)
	ok := true
	for _, p := range parts {
		if w.Has(p.Columns) {
			ok = w.columns(experts, in, p) && ok
			continue
		}
		if w.Has(p.Stacked) || p.Each == (Name{}) || p.Each.in(w.c.Format(), w.layer) == "" {
			t, found := w.tensor(p.Stacked.in(w.c.Format(), w.layer), count, p.Rows, in)
			ok = ok && found
			for e := 0; ok && e < count; e++ {
				experts[e] = append(experts[e], t.Index(e))
			}
			continue
		}
		for e := range count {
			name := strings.Replace(p.Each.in(w.c.Format(), w.layer), "%e", fmt.Sprint(e), 1)
			t, found := w.tensor(name, p.Rows, in)
			ok = ok && found
			experts[e] = append(experts[e], t)
		}
	}
	if !ok || w.l == nil || w.failed {
		return nn.Weight{}
	}
	return w.made(w.l.Experts(experts))
}

// columns adds a part that is stored transposed to each expert's.
func (w *Weights) columns(experts [][]tensor.Tensor, in int, p ExpertPart) bool {
	all := p.Every * p.Rows
	if t, _ := w.c.Tensor(p.Columns.in(w.c.Format(), w.layer)); t.Packed != nil {
		return w.alternate(experts, in, p)
	}
	t, ok := w.tensor(p.Columns.in(w.c.Format(), w.layer), len(experts), in, all)
	if !ok {
		return false
	}
	var size int
	switch t.Type {
	case tensor.F32:
		size = 4
	case tensor.F16, tensor.BF16:
		size = 2
	default:
		w.errs = append(w.errs, fmt.Errorf("%s is transposed, which only floating-point tensors can be", t))
		return false
	}
	for e := range experts {
		from := t.Index(e)
		to := tensor.Tensor{Name: from.Name, Type: t.Type, Shape: []int{p.Rows, in}}
		if w.l != nil {
			to.Data = make([]byte, p.Rows*in*size)
			for c := range in {
				for r := range p.Rows {
					copy(to.Data[(r*in+c)*size:][:size], from.Data[(c*all+p.From+p.Every*r)*size:])
				}
			}
		}
		experts[e] = append(experts[e], to)
	}
	return true
}

// alternate adds every Every-th row, from From on, of a quantized part to each expert's.
func (w *Weights) alternate(experts [][]tensor.Tensor, in int, p ExpertPart) bool {
	t, ok := w.tensor(p.Columns.in(w.c.Format(), w.layer), len(experts), p.Every*p.Rows, in)
	if !ok {
		return false
	}
	every := func(data []byte) []byte {
		if w.l == nil || p.Every == 1 {
			return data
		}
		size := len(data) / (p.Every * p.Rows)
		taken := make([]byte, 0, p.Rows*size)
		for r := range p.Rows {
			at := (p.From + p.Every*r) * size
			taken = append(taken, data[at:at+size]...)
		}
		return taken
	}
	for e := range experts {
		to := t.Index(e)
		packed := *to.Packed
		packed.Scales.Shape, packed.Scales.Data = []int{p.Rows, in / packed.Group}, every(packed.Scales.Data)
		if packed.Biases.Data != nil {
			packed.Biases.Shape, packed.Biases.Data = []int{p.Rows, in / packed.Group}, every(packed.Biases.Data)
		}
		to.Shape, to.Data, to.Packed = []int{p.Rows, in}, every(to.Data), &packed
		experts[e] = append(experts[e], to)
	}
	return true
}

// ExpertBias is the vector of what is added to the rows that Experts makes of the same
// parts: [count · sum of the parts' rows], by expert. Of a part that has Columns, every
// Every-th element from From on is taken.
func (w *Weights) ExpertBias(count int, parts ...ExpertPart) nn.Weight {
	total := 0
	for _, p := range parts {
		total += p.Rows
	}
	values, at := make([]float32, count*total), 0
	for _, p := range parts {
		name, from, every := p.Stacked, 0, 1
		if w.Has(p.Columns) {
			name, from, every = p.Columns, p.From, p.Every
		}
		t, ok := w.tensor(name.in(w.c.Format(), w.layer), count, every*p.Rows)
		if !ok {
			return nn.Weight{}
		}
		row := make([]float32, every*p.Rows)
		for e := range count {
			if err := t.Dequantize(row, e, e+1); err != nil {
				return w.made(nn.Weight{}, err)
			}
			for r := range p.Rows {
				values[e*total+at+r] = row[from+every*r]
			}
		}
		at += p.Rows
	}
	if w.l == nil || w.failed {
		return nn.Weight{}
	}
	made := tensor.Tensor{Name: "biases of experts", Type: tensor.F32, Shape: []int{len(values)}}
	for _, v := range values {
		made.Data = binary.LittleEndian.AppendUint32(made.Data, math.Float32bits(v))
	}
	return w.made(w.l.Vector(made))
}

// Bias is the vector that goes with Linear of the same parts, or the zero
// Weight if the checkpoint has none of them. It may not have only some.
func (w *Weights) Bias(parts ...Part) nn.Weight {
	present := 0
	for _, p := range parts {
		if w.Has(p.Name) {
			present++
		}
	}
	if present == 0 {
		return nn.Weight{}
	}
	return w.Vector(parts...)
}

// Embedding is the look-up table [rows, in].
func (w *Weights) Embedding(in int, p Part) nn.Weight {
	ts, ok := w.tensors(in, []Part{p})
	if !ok || w.l == nil || w.failed {
		return nn.Weight{}
	}
	return w.made(w.l.Embedding(ts[0]))
}

// Vector is the concatenation of the parts, each a vector of its Rows.
func (w *Weights) Vector(parts ...Part) nn.Weight {
	ts, ok := w.tensors(0, parts)
	if !ok || w.l == nil || w.failed {
		return nn.Weight{}
	}
	return w.made(w.l.Vector(ts...))
}

// Shifted is Vector of one part with shift added to each element: some checkpoints
// store the weights of norms less one.
func (w *Weights) Shifted(shift float32, p Part) nn.Weight {
	if shift == 0 {
		return w.Vector(p)
	}
	ts, ok := w.tensors(0, []Part{p})
	if !ok || w.l == nil || w.failed {
		return nn.Weight{}
	}
	return w.remade(ts[0], func(values []float32) []float32 {
		for i := range values {
			values[i] += shift
		}
		return values
	})
}

// Has reports whether the checkpoint has the tensor. It has none without a name.
func (w *Weights) Has(n Name) bool {
	if n.in(w.c.Format(), w.layer) == "" {
		return false
	}
	_, ok := w.c.Tensor(n.in(w.c.Format(), w.layer))
	return ok
}

// Ignore marks tensors, by patterns as in path.Match, as known to be of no use.
func (w *Weights) Ignore(patterns ...string) {
	for _, t := range w.c.Tensors() {
		for _, p := range patterns {
			if ok, _ := path.Match(p, t.Name); ok {
				w.used[t.Name] = true
			}
		}
	}
}

// Floats reads a small tensor of n positive, finite numbers to the host.
func (w *Weights) Floats(p Part) []float32 {
	ts, ok := w.tensors(0, []Part{p})
	if !ok {
		return nil
	}
	out := make([]float32, p.Rows)
	if err := ts[0].Dequantize(out, 0, ts[0].Rows()); err != nil {
		w.errs = append(w.errs, err)
		return nil
	}
	if i := slices.IndexFunc(out, func(v float32) bool { return !(v > 0) || math.IsInf(float64(v), 0) }); i >= 0 {
		w.errs = append(w.errs, fmt.Errorf("%s: element %d is %g, expected a positive number", ts[0], i, out[i]))
		return nil
	}
	return out
}

// tensors finds the parts and checks their shapes: [Rows, in], or [Rows] when
// in is 0.
func (w *Weights) tensors(in int, parts []Part) ([]tensor.Tensor, bool) {
	ok := true
	var ts []tensor.Tensor
	for _, p := range parts {
		want := []int{p.Rows, in}
		if in == 0 {
			want = want[:1]
		}
		t, found := w.tensor(p.Name.in(w.c.Format(), w.layer), want...)
		ts, ok = append(ts, t), ok && found
	}
	return ts, ok
}

// tensor finds a tensor and checks its shape.
func (w *Weights) tensor(name string, want ...int) (tensor.Tensor, bool) {
	w.used[name] = true
	t, found := w.c.Tensor(name)
	switch {
	case !found:
		w.errs = append(w.errs, fmt.Errorf("%s %v is missing", name, want))
	case !slices.Equal(t.Shape, want):
		w.errs = append(w.errs, fmt.Errorf("%s has the shape %v, expected %v", name, t.Shape, want))
	case !t.CanDequantize():
		w.errs = append(w.errs, fmt.Errorf("%s is stored as %s, which can't be read", name, t.Encoding()))
	default:
		return t, true
	}
	return t, false
}

// made keeps the loader's first error; after it nothing more is loaded.
func (w *Weights) made(made nn.Weight, err error) nn.Weight {
	if err != nil {
		w.failed = true
		w.errs = append(w.errs, err)
	}
	return made
}

// maxListed bounds how many problems of a checkpoint an error lists.
const maxListed = 100

// finish reports all that went wrong, and which tensors nobody asked for: they
// mean that the model computes something that this program would leave out.
func (w *Weights) finish() error {
	errs := w.errs
	if more := len(errs) - maxListed; more > 0 {
		errs = append(slices.Clone(errs[:maxListed]), fmt.Errorf("and %d more", more))
	}
	var extra []string
	for _, t := range w.c.Tensors() {
		if !w.used[t.Name] {
			extra = append(extra, t.Name)
		}
	}
	if len(extra) > 0 {
		more := ""
		if n := len(extra) - maxListed; n > 0 {
			extra, more = extra[:maxListed], fmt.Sprintf(" and %d more", n)
		}
		errs = append(errs, fmt.Errorf("this architecture has no use for %s%s: the checkpoint is of a variant that isn't supported", strings.Join(extra, ", "), more))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("load the tensors of %s: %w", w.c.Path(), errors.Join(errs...))
}

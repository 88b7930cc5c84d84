package gguf

import (
	"fmt"
	"io"

	"github.com/inferflux/inferflux/tensor"
)

// Writer makes a GGUF file, version 3:
//
//	w := gguf.NewWriter()
//	w.Set("general.architecture", "llama")
//	w.Set("llama.block_count", uint32(2))
//	w.Add(tensor.Tensor{Name: "output_norm.weight", Type: tensor.F32, Shape: []int{64}, Data: data})
//	_, err := w.WriteTo(file)
//
// Metadata and tensors are written in the order in which they were given. What
// is wrong with one makes WriteTo fail.
type Writer struct {
	meta      []byte // encoded pairs
	keys      map[string]bool
	tensors   []tensor.Tensor
	names     map[string]bool
	alignment int
	err       error // the first
}

// NewWriter returns an empty Writer.
func NewWriter() *Writer {
	return &Writer{keys: map[string]bool{}, names: map[string]bool{}, alignment: defaultAlignment}
}

// Set adds a metadata pair. The value's Go type decides how it is stored: bool,
// string, float32, float64 and the sized integers as they are, int as a signed
// 64-bit integer; a slice of one of these as an array, and a []any of such
// slices as an array of arrays. Readers other than this package may insist on a
// width: llama.cpp wants hyper-parameters as uint32. "general.alignment", a
// uint32, also decides how the tensors are aligned.
func (w *Writer) Set(key string, value any) {
	if w.err != nil {
		return
	}
	if err := w.set(key, value); err != nil {
		w.err = fmt.Errorf("set metadata %q: %w", key, err)
	}
}

func (w *Writer) set(key string, value any) error {
	if key == "" || len(key) > maxName {
		return fmt.Errorf("a key has 1 to %d bytes", maxName)
	}
	if w.keys[key] {
		return fmt.Errorf("it is set already")
	}
	if key == alignmentKey {
		a, ok := value.(uint32)
		if !ok || a < minAlignment || a > maxAlignment || a&(a-1) != 0 {
			return fmt.Errorf("want a uint32, a power of two from %d to %d, got %T %v", minAlignment, maxAlignment, value, value)
		}
		w.alignment = int(a)
	}
	w.keys[key] = true
	t, encoded, err := encode(value)
	w.meta = appendString(w.meta, key)
	w.meta = le.AppendUint32(w.meta, uint32(t))
	w.meta = append(w.meta, encoded...)
	return err
}

// Add adds a tensor. Its data is written by WriteTo and must stay as it is until
// then.
func (w *Writer) Add(t tensor.Tensor) {
	if w.err != nil {
		return
	}
	if err := w.add(t); err != nil {
		w.err = fmt.Errorf("add tensor %s: %w", t, err)
	}
}

func (w *Writer) add(t tensor.Tensor) error {
	if t.Name == "" || len(t.Name) > maxName {
		return fmt.Errorf("a name has 1 to %d bytes", maxName)
	}
	if w.names[t.Name] {
		return fmt.Errorf("it is there already")
	}
	if len(t.Shape) > maxDims {
		return fmt.Errorf("at most %d dimensions, got %d", maxDims, len(t.Shape))
	}
	for _, d := range t.Shape {
		if d <= 0 {
			return fmt.Errorf("dimensions must be positive")
		}
	}
	if _, ok := typeNumber(t.Type); !ok {
		return fmt.Errorf("type %s has no number in GGUF", t.Type)
	}
	row, err := t.Type.RowBytes(t.Cols())
	if err != nil {
		return err
	}
	if len(t.Data)%row != 0 || len(t.Data)/row != t.Rows() {
		return fmt.Errorf("%d rows of %d bytes expected, got %d bytes", t.Rows(), row, len(t.Data))
	}
	w.names[t.Name] = true
	w.tensors = append(w.tensors, t)
	return nil
}

// WriteTo writes the file. It may be called again.
func (w *Writer) WriteTo(to io.Writer) (int64, error) {
	if w.err != nil {
		return 0, fmt.Errorf("write gguf: %w", w.err)
	}
	out := &counter{w: to}
	head := []byte("GGUF")
	head = le.AppendUint32(head, 3)
	head = le.AppendUint64(head, uint64(len(w.tensors)))
	head = le.AppendUint64(head, uint64(len(w.keys)))
	head = append(head, w.meta...)
	offset := 0
	for _, t := range w.tensors {
		head = appendString(head, t.Name)
		head = le.AppendUint32(head, uint32(len(t.Shape)))
		for i := range t.Shape { // innermost first
			head = le.AppendUint64(head, uint64(t.Shape[len(t.Shape)-1-i]))
		}
		number, _ := typeNumber(t.Type)
		head = le.AppendUint32(head, number)
		head = le.AppendUint64(head, uint64(offset))
		offset += align(len(t.Data), w.alignment)
	}
	out.write(head, w.alignment)
	for _, t := range w.tensors {
		out.write(t.Data, w.alignment)
	}
	if out.err != nil {
		return out.n, fmt.Errorf("write gguf: %w", out.err)
	}
	return out.n, nil
}

// counter counts what it passes on, until the first error.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

// write writes b and zeros up to the next multiple of the alignment.
func (c *counter) write(b []byte, alignment int) {
	for _, b := range [][]byte{b, make([]byte, align(len(b), alignment)-len(b))} {
		if c.err == nil && len(b) > 0 {
			var n int
			n, c.err = c.w.Write(b)
			c.n += int64(n)
		}
	}
}

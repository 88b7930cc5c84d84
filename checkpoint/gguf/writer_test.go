package gguf_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// TestRewrite: a Writer fed with all that a reference file holds writes a file
// that reads the same.
func TestRewrite(t *testing.T) {
	f := open(t, "testdata/all.gguf")
	g := open(t, save(t, "again.gguf", encode(t, rewrite(f))))
	sameContent(t, f, g)
	for i, e := range g.Tensors() {
		if want := f.Tensors()[i].Offset % 64; e.Offset%64 != want || want != 0 {
			t.Errorf("tensor %q is at %d, not aligned to 64", e.Name, e.Offset)
		}
	}
}

func rewrite(f *gguf.File) *gguf.Writer {
	w := gguf.NewWriter()
	for _, key := range f.Metadata().Keys() {
		value, _ := f.Metadata().Value(key)
		if key == "general.alignment" {
			n, _ := f.Metadata().Int(key)
			value = uint32(n)
		}
		w.Set(key, value)
	}
	for _, e := range f.Tensors() {
		x, _ := f.Tensor(e.Name)
		w.Add(x)
	}
	return w
}

func sameContent(t *testing.T, f, g *gguf.File) {
	t.Helper()
	if diff := cmp.Diff(f.Metadata().Keys(), g.Metadata().Keys()); diff != "" {
		t.Errorf("keys: %s", diff)
	}
	for _, key := range f.Metadata().Keys() {
		want, _ := f.Metadata().Value(key)
		got, _ := g.Metadata().Value(key)
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("metadata %q: %s", key, diff)
		}
	}
	if len(f.Tensors()) != len(g.Tensors()) {
		t.Fatalf("%d tensors, want %d", len(g.Tensors()), len(f.Tensors()))
	}
	for i, e := range f.Tensors() {
		want, _ := f.Tensor(e.Name)
		got, ok := g.Tensor(e.Name)
		if !ok || g.Tensors()[i].Name != e.Name || got.Type != want.Type || !cmp.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("tensor %s became %s, or its bytes differ", want, got)
		}
	}
}

func TestWriterErrors(t *testing.T) {
	x := tensor.Tensor{Name: "t", Type: tensor.F32, Shape: []int{2, 4}, Data: make([]byte, 32)}
	with := func(change func(*tensor.Tensor)) func(*gguf.Writer) {
		return func(w *gguf.Writer) {
			y := x
			change(&y)
			w.Add(y)
		}
	}
	deep := any([]int{1})
	for range 8 {
		deep = []any{deep}
	}
	tests := []struct {
		name string
		do   func(*gguf.Writer)
		want string
	}{
		{"key twice", func(w *gguf.Writer) { w.Set("k", 1); w.Set("k", 2) }, `"k": it is set already`},
		{"empty key", func(w *gguf.Writer) { w.Set("", 1) }, "1 to 65535 bytes"},
		{"unknown type", func(w *gguf.Writer) { w.Set("k", struct{}{}) }, `"k": a struct {} can't be stored`},
		{"nil", func(w *gguf.Writer) { w.Set("k", nil) }, "<nil> can't be stored"},
		{"mixed list", func(w *gguf.Writer) { w.Set("k", []any{1, "x"}) }, "can't be stored"},
		{"too deep", func(w *gguf.Writer) { w.Set("k", deep) }, "more than 8 deep"},
		{"odd alignment", func(w *gguf.Writer) { w.Set("general.alignment", uint32(24)) }, "power of two"},
		{"alignment of another type", func(w *gguf.Writer) { w.Set("general.alignment", 32) }, "want a uint32"},
		{"tensor twice", func(w *gguf.Writer) { w.Add(x); w.Add(x) }, "it is there already"},
		{"no name", with(func(x *tensor.Tensor) { x.Name = "" }), "1 to 65535 bytes"},
		{"data too short", with(func(x *tensor.Tensor) { x.Data = x.Data[:31] }), "2 rows of 16 bytes expected, got 31"},
		{"a row too much", with(func(x *tensor.Tensor) { x.Data = make([]byte, 48) }), "2 rows of 16 bytes expected, got 48"},
		{"part of a block", with(func(x *tensor.Tensor) { x.Type = tensor.Q8_0 }), "not a whole number of Q8_0 blocks"},
		{"invalid type", with(func(x *tensor.Tensor) { x.Type = tensor.Invalid }), "no number in GGUF"},
		{"unknown tensor type", with(func(x *tensor.Tensor) { x.Type = 200 }), "no number in GGUF"},
		{"zero dimension", with(func(x *tensor.Tensor) { x.Shape = []int{0}; x.Data = nil }), "must be positive"},
		{"five dimensions", with(func(x *tensor.Tensor) { x.Shape = []int{1, 1, 1, 2, 4} }), "at most 4 dimensions, got 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := gguf.NewWriter()
			tt.do(w)
			w.Set("later", 1) // must not hide the error
			w.Add(tensor.Tensor{Name: "later", Type: tensor.I8, Shape: []int{1}, Data: []byte{1}})
			var b bytes.Buffer
			n, err := w.WriteTo(&b)
			if err == nil || !strings.Contains(err.Error(), tt.want) || n != 0 || b.Len() != 0 {
				t.Errorf("%d bytes, error %v; want one with %q", n, err, tt.want)
			}
		})
	}
}

// full is a writer with room for n bytes.
type full struct{ n int }

var errFull = errors.New("disk is full")

func (f *full) Write(b []byte) (int, error) {
	n := min(len(b), f.n)
	f.n -= n
	if n < len(b) {
		return n, errFull
	}
	return n, nil
}

func TestWriteToFullDisk(t *testing.T) {
	w := model("a", 2, 9, 2)
	size := len(encode(t, w))
	for _, room := range []int{0, 10, size / 2, size - 1} {
		if n, err := w.WriteTo(&full{room}); !errors.Is(err, errFull) || n != int64(room) {
			t.Errorf("with room for %d of %d bytes: %d, %v", room, size, n, err)
		}
	}
	if n, err := w.WriteTo(&full{size}); err != nil || n != int64(size) {
		t.Errorf("with just enough room: %d, %v", n, err)
	}
}

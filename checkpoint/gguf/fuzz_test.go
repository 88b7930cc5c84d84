package gguf_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// FuzzOpen: whatever the file, Open returns; and what it accepts can be read to
// the last byte and survives being written anew.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"all.gguf", "split-00001-of-00003.gguf", "split-00003-of-00003.gguf"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, d := range damages() {
		if len(d.file) < 5000 {
			f.Add(d.file)
		}
	}
	w := gguf.NewWriter()
	w.Set("general.alignment", uint32(8))
	w.Set("nested", []any{[]string{"a", "bc"}, []any{[]uint8{1}, []float32{2}}})
	w.Set("flag", true)
	w.Add(tensor.Tensor{Name: "a", Type: tensor.Q4_0, Shape: []int{2, 32}, Data: bytes.Repeat([]byte{0x3c}, 36)})
	w.Add(tensor.Tensor{Name: "b", Type: tensor.I8, Shape: []int{3}, Data: []byte{1, 2, 3}})
	f.Add(encode(f, w))

	path := filepath.Join(f.TempDir(), "fuzz.gguf")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := gguf.Open(path)
		if err != nil {
			return
		}
		defer x.Close()
		for _, e := range x.Tensors() {
			y, ok := x.Tensor(e.Name)
			if !ok || int64(len(y.Data)) != e.Bytes || e.Offset < 0 || e.Offset+e.Bytes > int64(len(b)) {
				t.Fatalf("tensor %+v has %d bytes", e, len(y.Data))
			}
			if !bytes.Equal(y.Data, b[e.Offset:e.Offset+e.Bytes]) {
				t.Fatalf("tensor %+v holds other bytes than the file", e)
			}
			x.Release(y)
			if y.Type.CanDequantize() {
				if err := tensor.Dequantize(make([]float32, y.Elems()), y.Type, y.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		meta := x.Metadata()
		for _, key := range meta.Keys() {
			if _, ok := meta.Value(key); !ok {
				t.Fatalf("metadata %q has no value", key)
			}
			meta.String(key)
			meta.Bool(key)
			meta.Int(key)
			meta.Float(key)
			meta.Strings(key)
			meta.Ints(key)
			meta.Floats(key)
		}
		if len(x.Fingerprint()) != 64 {
			t.Fatal("no fingerprint")
		}
		again := filepath.Join(t.TempDir(), "again.gguf")
		if err := os.WriteFile(again, encode(t, rewrite(x)), 0o600); err != nil {
			t.Fatal(err)
		}
		y, err := gguf.Open(again)
		if err != nil {
			t.Fatalf("written anew it doesn't open: %v", err)
		}
		defer y.Close()
		sameContent(t, x, y)
	})
}

package gguf_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// open opens a file for the length of a test.
func open(t testing.TB, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// save writes a file of the given content and returns its path.
func save(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// encode is what a Writer writes.
func encode(t testing.TB, w *gguf.Writer) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := w.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Fatalf("WriteTo says %d bytes, wrote %d", n, b.Len())
	}
	return b.Bytes()
}

// TestReference reads a file that llama.cpp's own writer made: testdata/make.py.
func TestReference(t *testing.T) {
	b, err := os.ReadFile("testdata/all.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Metadata map[string]any
		Tensors  map[string]struct {
			Type   string
			Shape  []int
			SHA256 string
			Offset int64
		}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	f := open(t, "testdata/all.gguf")

	meta := f.Metadata()
	if got, want := len(meta.Keys()), len(want.Metadata); got != want {
		t.Errorf("%d metadata keys, want %d", got, want)
	}
	for key, value := range want.Metadata {
		got, ok := meta.Value(key)
		if !ok {
			t.Errorf("metadata %q is missing", key)
			continue
		}
		// Numbers become exact decimal text on both sides.
		gotJSON, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		wantJSON, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(gotJSON, wantJSON) {
			t.Errorf("metadata %q is %s, want %s", key, gotJSON, wantJSON)
		}
	}

	entries := f.Tensors()
	if len(entries) != len(want.Tensors) {
		t.Errorf("%d tensors, want %d", len(entries), len(want.Tensors))
	}
	for _, e := range entries {
		w, ok := want.Tensors[e.Name]
		if !ok {
			t.Errorf("tensor %q is not in the file", e.Name)
			continue
		}
		x, ok := f.Tensor(e.Name)
		if !ok {
			t.Errorf("tensor %q is listed but not found", e.Name)
			continue
		}
		sum := sha256.Sum256(x.Data)
		if got := hex.EncodeToString(sum[:]); got != w.SHA256 {
			t.Errorf("tensor %q has other bytes", e.Name)
		}
		if e.Type.String() != w.Type || e.Offset != w.Offset || e.File != "testdata/all.gguf" || e.Bytes != int64(len(x.Data)) {
			t.Errorf("tensor %+v, want %+v", e, w)
		}
		if diff := cmp.Diff(w.Shape, e.Shape); diff != "" {
			t.Errorf("tensor %q has another shape: %s", e.Name, diff)
		}
		if x.Name != e.Name || x.Type != e.Type || !cmp.Equal(x.Shape, e.Shape) {
			t.Errorf("Tensor gives %s, Tensors lists %+v", x, e)
		}
	}
	info, err := os.Stat("testdata/all.gguf")
	if err != nil {
		t.Fatal(err)
	}
	if f.Size() != info.Size() || f.Path() != "testdata/all.gguf" || f.Format() != checkpoint.GGUF {
		t.Errorf("size %d, path %q, format %q", f.Size(), f.Path(), f.Format())
	}
	if _, ok := f.Tensor("nothing"); ok {
		t.Error("found a tensor that isn't there")
	}
}

func TestVersion2(t *testing.T) {
	b, err := os.ReadFile("testdata/all.gguf")
	if err != nil {
		t.Fatal(err)
	}
	b[4] = 2 // the layout of little-endian files didn't change with version 3
	f := open(t, save(t, "v2.gguf", b))
	if name, ok := f.Metadata().String("general.architecture"); !ok || name != "llama" {
		t.Errorf("architecture %q", name)
	}
}

func TestSystemErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := gguf.Open(filepath.Join(dir, "none.gguf")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err := gguf.Open(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder gives %v", err)
	}
}

func TestClose(t *testing.T) {
	f, err := gguf.Open("testdata/all.gguf")
	if err != nil {
		t.Fatal(err)
	}
	meta := f.Metadata()
	print1 := f.Fingerprint()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	// Nothing may touch the mapping, which is gone.
	if _, ok := f.Tensor("F32"); ok {
		t.Error("a tensor after Close")
	}
	f.Release(tensor.Tensor{Name: "F32"})
	for _, key := range meta.Keys() {
		if _, ok := meta.Value(key); ok {
			t.Errorf("metadata %q after Close", key)
		}
	}
	if _, ok := meta.String("text"); ok {
		t.Error("a string after Close")
	}
	if _, ok := meta.Strings("strings"); ok {
		t.Error("an array after Close")
	}
	if got := f.Fingerprint(); got != print1 {
		t.Errorf("the fingerprint became %q", got)
	}
	g, err := gguf.Open("testdata/all.gguf")
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
	if got := g.Fingerprint(); got != "" {
		t.Errorf("a fingerprint of a closed file: %q", got)
	}
}

func TestConcurrentReading(t *testing.T) {
	f := open(t, "testdata/all.gguf")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, key := range f.Metadata().Keys() {
				f.Metadata().Value(key)
			}
			for _, e := range f.Tensors() {
				x, _ := f.Tensor(e.Name)
				f.Release(x)
				sha256.Sum256(x.Data)
			}
			f.Fingerprint()
		})
	}
	wg.Wait()
}

// model makes a small file whose parts a test can vary.
func model(name string, layers uint32, fill byte, tensors int) *gguf.Writer {
	w := gguf.NewWriter()
	w.Set("general.name", name)
	w.Set("llama.block_count", layers)
	for i := range tensors {
		data := bytes.Repeat([]byte{1}, 4*1024)
		if i == tensors/2 {
			data = bytes.Repeat([]byte{fill}, len(data))
		}
		w.Add(tensor.Tensor{Name: "t" + string(rune('a'+i)), Type: tensor.F32, Shape: []int{1, 1024}, Data: data})
	}
	return w
}

func TestFingerprint(t *testing.T) {
	of := func(w *gguf.Writer) string {
		return open(t, save(t, "model.gguf", encode(t, w))).Fingerprint()
	}
	base := of(model("a", 2, 9, 5))
	if len(base) != 64 {
		t.Errorf("fingerprint %q is not a SHA-256", base)
	}
	if again := of(model("a", 2, 9, 5)); again != base {
		t.Error("the same content elsewhere has another fingerprint")
	}
	for name, w := range map[string]*gguf.Writer{
		"a string":   model("b", 2, 9, 5),
		"a number":   model("a", 3, 9, 5),
		"weights":    model("a", 2, 8, 5),
		"one tensor": model("a", 2, 9, 6),
	} {
		if of(w) == base {
			t.Errorf("%s differs, the fingerprint doesn't", name)
		}
	}
}

package gguf_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// TestSplitReference reads three parts made by llama.cpp's own writer.
func TestSplitReference(t *testing.T) {
	f := open(t, "testdata/split-00001-of-00003.gguf")
	if name, _ := f.Metadata().String("general.name"); name != "split model" {
		t.Errorf("general.name is %q", name)
	}
	entries := f.Tensors()
	var size int64
	for i := range 3 {
		info, err := os.Stat(part(t, "testdata/split", i, 3))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if f.Size() != size || f.Path() != "testdata/split-00001-of-00003.gguf" || len(entries) != 5 {
		t.Fatalf("size %d (want %d), path %s, %d tensors", f.Size(), size, f.Path(), len(entries))
	}
	for i, e := range entries {
		if want := "t" + string(rune('0'+i)); e.Name != want {
			t.Errorf("tensor %d is %q, want %q", i, e.Name, want)
		}
		if want := part(t, "testdata/split", i/2, 3); e.File != want {
			t.Errorf("tensor %d is in %s, want %s", i, e.File, want)
		}
		x, ok := f.Tensor(e.Name)
		if !ok {
			t.Fatalf("no tensor %q", e.Name)
		}
		got := make([]float32, x.Elems())
		if err := tensor.Dequantize(got, x.Type, x.Data); err != nil {
			t.Fatal(err)
		}
		for _, v := range got {
			if v != float32(i) {
				t.Errorf("tensor %q holds %g", e.Name, v)
			}
		}
		f.Release(x)
	}
	if len(f.Fingerprint()) != 64 {
		t.Error("no fingerprint")
	}
}

// part names one file of a split set; number counts from 0.
func part(t testing.TB, prefix string, number, count int) string {
	t.Helper()
	digits := func(n int) string { return string([]byte{'0', '0', '0', byte('0' + n/10), byte('0' + n%10)}) }
	return prefix + "-" + digits(number+1) + "-of-" + digits(count) + ".gguf"
}

func TestSplitErrors(t *testing.T) {
	type piece struct {
		no, count, total any // split.no, split.count, split.tensors.count; nil: left out
		tensors          string
	}
	whole := []piece{{0, 3, 3, "a"}, {1, 3, 3, "b"}, {2, 3, 3, "c"}}
	change := func(i int, p piece) []piece {
		set := append([]piece(nil), whole...)
		set[i] = p
		return set
	}
	tests := []struct {
		name   string
		pieces []piece
		remove []int
		open   int
		rename string
		want   []string // in the error; none: it opens
	}{
		{name: "whole", pieces: whole},
		{name: "without a total", pieces: change(0, piece{0, 3, nil, "a"})},
		{name: "the only part", pieces: []piece{{0, 1, 1, "a"}}},
		{name: "one part missing", pieces: whole, remove: []int{2}, want: []string{"missing", "m-00003-of-00003.gguf"}},
		{name: "two parts missing", pieces: whole, remove: []int{1, 2}, want: []string{"m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}},
		{name: "not the first part", pieces: whole, open: 1, want: []string{"part 2 of 3", "open ", "m-00001-of-00003.gguf instead"}},
		{name: "renamed", pieces: whole, rename: "model.gguf", want: []string{"first of 3 parts", "doesn't end in -00001-of-00003.gguf"}},
		{name: "numbers swapped", pieces: change(1, piece{2, 3, 3, "b"}), want: []string{"m-00002-of-00003.gguf", `"split.no": expected 1, found 2`}},
		{name: "part of another set", pieces: change(2, piece{2, 4, 3, "c"}), want: []string{"m-00003-of-00003.gguf", `"split.count": expected 3, found 4`}},
		{name: "part without number", pieces: change(2, piece{nil, 3, 3, "c"}), want: []string{"m-00003-of-00003.gguf", `"split.no": expected 2, found no such key`}},
		{name: "tensor twice", pieces: change(2, piece{2, 3, 3, "a"}), want: []string{"m-00003-of-00003.gguf", `tensor "a"`, "already in m-00001-of-00003.gguf"}},
		{name: "tensor missing", pieces: change(2, piece{2, 3, 3, ""}), want: []string{`"split.tensors.count": expected the 2 tensors that the parts hold, found 3`}},
		{name: "no parts", pieces: change(0, piece{0, 0, 3, "a"}), want: []string{`"split.count": expected 1 to 99999 parts, found 0`}},
		{name: "absurd count", pieces: change(0, piece{0, int64(1 << 40), 3, "a"}), want: []string{`"split.count": expected 1 to 99999 parts, found 1099511627776`}},
		{name: "count is text", pieces: change(0, piece{0, "three", 3, "a"}), want: []string{`"split.count": expected 1 to 99999 parts, found three`}},
		{name: "count past the sign", pieces: change(0, piece{0, uint64(math.MaxUint64), 3, "a"}), want: []string{`"split.count": expected 1 to 99999 parts, found 18446744073709551615`}},
		{name: "negative number", pieces: change(0, piece{-1, 3, 3, "a"}), want: []string{`"split.no": expected a part from 0 to 2, found -1`}},
		{name: "number is text", pieces: change(0, piece{"0", 3, 3, "a"}), want: []string{`"split.no"`, "found 0"}},
		{name: "all parts but the first missing", pieces: []piece{{0, 99, 3, "a"}}, want: []string{"m-00005-of-00099.gguf and 94 more"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prefix := filepath.Join(t.TempDir(), "m")
			count := 3
			if n, ok := tt.pieces[0].count.(int); ok && n > 0 && n < 100 {
				count = n
			}
			for i, p := range tt.pieces {
				w := gguf.NewWriter()
				for key, v := range map[string]any{"split.no": p.no, "split.count": p.count, "split.tensors.count": p.total} {
					if v != nil {
						w.Set(key, v)
					}
				}
				if p.tensors != "" {
					w.Add(tensor.Tensor{Name: p.tensors, Type: tensor.F32, Shape: []int{1}, Data: []byte{1, 2, 3, 4}})
				}
				if err := os.WriteFile(part(t, prefix, i, count), encode(t, w), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, i := range tt.remove {
				if err := os.Remove(part(t, prefix, i, count)); err != nil {
					t.Fatal(err)
				}
			}
			path := part(t, prefix, tt.open, count)
			if tt.rename != "" {
				renamed := filepath.Join(filepath.Dir(path), tt.rename)
				if err := os.Rename(path, renamed); err != nil {
					t.Fatal(err)
				}
				path = renamed
			}
			f, err := gguf.Open(path)
			if err == nil {
				f.Close()
			}
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if tt.remove != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v is not fs.ErrNotExist", err)
			}
		})
	}
}

// TestSplitDamagedPart: an error names the part that it is about.
func TestSplitDamagedPart(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		b, err := os.ReadFile(part(t, "testdata/split", i, 3))
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			b = bytes.Replace(b, []byte("GGUF"), []byte("JUNK"), 1)
		}
		if err := os.WriteFile(part(t, filepath.Join(dir, "split"), i, 3), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := gguf.Open(part(t, filepath.Join(dir, "split"), 0, 3))
	var bad *gguf.FormatError
	if !errors.As(err, &bad) || filepath.Base(bad.File) != "split-00002-of-00003.gguf" || bad.Found != `"JUNK"` {
		t.Errorf("error %v", err)
	}
}

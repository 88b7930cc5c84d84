// Package safetensors reads one file of the safetensors format
// (https://github.com/huggingface/safetensors): the length of a header as a
// little-endian uint64, the header as JSON, and the tensors' bytes.
//
// [Open] maps the file and checks its header; nothing is copied and tensors are
// views of the mapping. A model's folder of such files is the business of package
// huggingface.
//
// # Trust
//
// A file is not believed. The header must be inside the file and no longer than 32
// MiB, which is far more than real ones; it has at most 2²⁰ tensors with unique
// names and at most 8 dimensions. A tensor's dtype and shape must give its number
// of bytes, and these lie inside the file. As the format demands, the tensors cover
// the data without holes or overlaps, so that nothing can hide in a file. What
// breaks a rule is an error that names the file and the tensor. Values are not
// looked at. Nothing says that a tensor's bytes are aligned.
//
// One thing can't be guarded against: when a file is cut short by somebody else
// while it is mapped, touching the missing part kills the process (SIGBUS).
// Replace model files by renaming a new one over them, never by writing into
// them.
package safetensors

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/internal/mapfile"
)

// Limits on what a file may ask for; see the package comment.
const (
	maxHeader  = 32 << 20
	maxTensors = 1 << 20
	maxDims    = 8
)

// File is an open file. It is safe for concurrent reading.
type File struct {
	file    *mapfile.File
	header  []byte
	entries []checkpoint.Entry
}

// Open maps a file and reads its header.
func Open(path string) (*File, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open safetensors: %w", err)
	}
	f := &File{file: m}
	if err := f.read(path); err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("open safetensors: %s: %w", path, err)
	}
	return f, nil
}

func (f *File) read(path string) error {
	data := f.file.Data
	const lengthBytes = 8
	if len(data) < lengthBytes {
		return fmt.Errorf("%d bytes are too few for a header: the file is truncated, or of another format", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	switch left := uint64(len(data) - lengthBytes); {
	case n > maxHeader:
		return fmt.Errorf("the header's length is %d, expected at most %d: the file is damaged, or of another format", n, maxHeader)
	case n > left:
		return fmt.Errorf("the header's length is %d, but only %d bytes follow: the file is truncated", n, left)
	}
	f.header = data[:lengthBytes+n]
	start := int64(len(f.header))
	var err error
	if f.entries, err = parseHeader(f.header[lengthBytes:]); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	slices.SortStableFunc(f.entries, func(a, b checkpoint.Entry) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Bytes, b.Bytes))
	})
	end := int64(0)
	for i := range f.entries {
		e := &f.entries[i]
		if e.Offset != end {
			what := "overlaps the tensor before it"
			if e.Offset > end {
				what = fmt.Sprintf("leaves %d bytes before it that belong to no tensor", e.Offset-end)
			}
			return fmt.Errorf("tensor %q begins at byte %d of the data: it %s", e.Name, e.Offset, what)
		}
		end += e.Bytes
		e.File, e.Offset = path, e.Offset+start
	}
	if have := int64(len(data)) - start; end != have {
		what := "the file is truncated"
		if have > end {
			what = "the rest belongs to no tensor"
		}
		return fmt.Errorf("the tensors take %d bytes, but %d follow the header: %s", end, have, what)
	}
	return nil
}

// Entries are the tensors in the order of their bytes. The slice must not be
// changed.
func (f *File) Entries() []checkpoint.Entry { return f.entries }

// Data is the bytes of entry i: a view of the file, of any alignment; writing to it
// crashes, and so does reading it after Close.
func (f *File) Data(i int) []byte {
	e := f.entries[i]
	return f.file.Data[e.Offset : e.Offset+e.Bytes : e.Offset+e.Bytes]
}

// Release drops entry i's bytes from resident memory as far as they fill whole
// pages. They are read from the file again when touched.
func (f *File) Release(i int) {
	e := f.entries[i]
	f.file.Release(int(e.Offset), int(e.Offset+e.Bytes))
}

// Header is the bytes that come before the tensors': they say all of them but their
// values.
func (f *File) Header() []byte { return f.header }

// Size is the file's.
func (f *File) Size() int64 { return int64(len(f.file.Data)) }

// Close unmaps the file.
func (f *File) Close() error { return f.file.Close() }

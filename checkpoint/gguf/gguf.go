// Package gguf reads and writes GGUF, the model format of llama.cpp, versions 2
// and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
//
// [Open] maps a file and checks its header; nothing is copied and tensors are
// views of the mapping. A model split into name-00001-of-00003.gguf and so on is
// opened by its first part and looks like one file. Metadata is decoded when
// asked for, so that opening a model with a large vocabulary takes milliseconds.
//
// # Trust
//
// A file is not believed. Every length and count is checked against the bytes
// that are there before it is used, and against a limit that real files stay far
// below: 65,536 metadata pairs, 2²⁰ tensors of at most 4 dimensions, strings of
// 64 MiB, arrays of 2²⁴ elements nested 8 deep. Tensors must have positive
// dimensions, rows of whole blocks and bytes inside the file that are aligned (to
// 8 at least) and belong to no other tensor. Names and keys must be unique. What
// breaks a rule is a [FormatError] that says where and what was expected. The
// values of weights are not looked at.
//
// One thing can't be guarded against: when a file is cut short by somebody else
// while it is mapped, touching the missing part kills the process (SIGBUS).
// Replace model files by renaming a new one over them, never by writing into
// them.
//
// # Systems without mmap
//
// There the files are read into memory as a whole.
package gguf

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/internal/mapfile"
	"github.com/inferflux/inferflux/tensor"
)

func init() {
	checkpoint.Register(checkpoint.GGUF, sniff, func(path string) (checkpoint.Checkpoint, error) {
		f, err := Open(path)
		if err != nil {
			return nil, err
		}
		return f, nil
	})
}

// sniff also takes files that are named .gguf but aren't, so that the error
// says what is wrong with them; a Git LFS pointer is explained elsewhere.
func sniff(c checkpoint.Candidate) bool {
	if c.Dir {
		return false
	}
	head := string(c.Head)
	return strings.HasPrefix(head, "GGUF") ||
		strings.EqualFold(filepath.Ext(c.Path), ".gguf") && len(head) > 0 && !strings.HasPrefix(head, "version https://")
}

// File is an open GGUF model: one file, or all parts of a split one.
type File struct {
	path    string
	parts   []*part
	tensors []located
	byName  map[string]int // into tensors

	closed      atomic.Bool
	fingerprint func() string
}

// part is one file on disk.
type part struct {
	*header
	path string
	file *mapfile.File
	size int64
}

// located is a tensor and the part that holds it.
type located struct {
	*info
	part *part
}

var (
	_ checkpoint.Checkpoint = (*File)(nil)
	_ checkpoint.Releaser   = (*File)(nil)
)

// Open opens a model by its only file or its first part. What breaks the
// format's rules is a [*FormatError], what the system refuses wraps its error.
func Open(path string) (*File, error) {
	f := &File{path: path, byName: make(map[string]int)}
	f.fingerprint = sync.OnceValue(f.computeFingerprint)
	if err := f.open(); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open gguf: %w", err)
	}
	return f, nil
}

func (f *File) open() error {
	if err := f.add(f.path); err != nil {
		return err
	}
	return f.addSplits()
}

// add opens one more part and takes its tensors in.
func (f *File) add(path string) error {
	file, err := mapfile.Open(path)
	if err != nil {
		return err
	}
	p := &part{path: path, file: file, size: int64(len(file.Data))}
	f.parts = append(f.parts, p)
	if p.header, err = parse(path, file.Data); err != nil {
		return err
	}
	p.meta.closed = &f.closed
	f.tensors = slices.Grow(f.tensors, len(p.tensors))
	for i := range p.tensors {
		t := &p.tensors[i]
		if other, ok := f.byName[t.name]; ok {
			return &FormatError{path, int64(t.at), fmt.Sprintf("tensor %q", t.name), "each name once in all parts",
				"it already in " + filepath.Base(f.tensors[other].part.path)}
		}
		f.byName[t.name] = len(f.tensors)
		f.tensors = append(f.tensors, located{t, p})
	}
	return nil
}

// Format is checkpoint.GGUF.
func (f *File) Format() checkpoint.Format { return checkpoint.GGUF }

// Path is the file, or the first of its parts.
func (f *File) Path() string { return f.path }

// Size is the number of bytes of all parts.
func (f *File) Size() int64 {
	var n int64
	for _, p := range f.parts {
		n += p.size
	}
	return n
}

// Metadata is that of the first part; the others have none of interest. After
// Close every key is absent.
func (f *File) Metadata() checkpoint.Metadata { return &f.parts[0].meta }

// Tensors lists all tensors in file order, part after part.
func (f *File) Tensors() []checkpoint.Entry {
	entries := make([]checkpoint.Entry, len(f.tensors))
	for i, t := range f.tensors {
		entries[i] = checkpoint.Entry{
			Name: t.name, Type: t.typ, Shape: t.shape,
			File: t.part.path, Offset: int64(t.offset), Bytes: int64(t.bytes),
		}
	}
	return entries
}

// Tensor finds a tensor by name. Its data is a view of the file, aligned to 8
// bytes at least; writing to it crashes, and so does reading it after Close.
func (f *File) Tensor(name string) (tensor.Tensor, bool) {
	i, ok := f.byName[name]
	if !ok || f.closed.Load() {
		return tensor.Tensor{}, false
	}
	t := f.tensors[i]
	end := t.offset + t.bytes
	return tensor.Tensor{Name: t.name, Type: t.typ, Shape: t.shape, Data: t.part.file.Data[t.offset:end:end]}, true
}

// Release drops a tensor's bytes from resident memory, as far as they fill whole
// pages (a page that holds part of a neighbour stays). They are read from the
// file again when touched. It is a hint, and does nothing where files aren't
// mapped.
func (f *File) Release(t tensor.Tensor) {
	i, ok := f.byName[t.Name]
	if !ok || f.closed.Load() {
		return
	}
	own := f.tensors[i]
	own.part.file.Release(own.offset, own.offset+own.bytes)
}

// Close unmaps the files. Tensors must not be read any more. Closing again does
// nothing.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	var first error
	for _, p := range f.parts {
		if err := p.file.Close(); err != nil && first == nil {
			first = fmt.Errorf("close %s: %w", p.path, err)
		}
	}
	return first
}

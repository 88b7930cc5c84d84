// Package npz reads one .npz file, a ZIP archive of NumPy arrays in .npy format
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), as MLX
// wrote models before safetensors.
//
// [Open] maps the file. Arrays that are stored plainly, as mlx.core.savez and
// numpy.savez do, are views of the mapping; deflated ones are inflated into memory
// at once, with their checksums proved.
//
// # Trust
//
// A file is not believed. It has at most 2²⁰ arrays with unique names and places of
// their own, at most 8 dimensions, and headers of at most 64 KiB, whose dtype and shape must give the
// array's number of bytes. All that is inflated may take 16 times the file's size
// and 64 MiB. Arrays of Python objects, which are pickles, are refused. What breaks
// a rule is an error that names the file and the array. Nothing says that an
// array's bytes are aligned.
package npz

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/internal/mapfile"
)

// Limits on what a file may ask for; see the package comment.
const (
	maxArrays   = 1 << 20
	maxInflated = 64 << 20 // beyond maxRatio times the file
	maxRatio    = 16
)

// File is an open file. It is safe for concurrent reading.
type File struct {
	file     *mapfile.File
	header   []byte // the arrays' names and headers
	entries  []checkpoint.Entry
	data     [][]byte
	inflated uint64
}

// Open maps a file and reads its directory and the arrays' headers.
func Open(path string) (*File, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open npz: %w", err)
	}
	f := &File{file: m}
	if err := f.read(path); err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("open npz: %s: %w", path, err)
	}
	return f, nil
}

func (f *File) read(path string) error {
	z, err := zip.NewReader(bytes.NewReader(f.file.Data), f.Size())
	if err != nil {
		return err
	}
	if len(z.File) > maxArrays {
		return fmt.Errorf("%d members, expected at most %d", len(z.File), maxArrays)
	}
	if err := f.checkPlaces(z.File); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, member := range z.File {
		name, ok := strings.CutSuffix(member.Name, ".npy")
		switch {
		case !ok:
			return fmt.Errorf("%q is not an .npy array", member.Name)
		case seen[name]:
			return fmt.Errorf("array %q is there twice", name)
		}
		seen[name] = true
		if err := f.add(path, name, member); err != nil {
			return fmt.Errorf("array %q: %w", name, err)
		}
	}
	return nil
}

// checkPlaces proves that the members lie in the file and share no bytes, so that
// what they hold is bounded by its size.
func (f *File) checkPlaces(members []*zip.File) error {
	type place struct {
		from, to uint64
		name     string
	}
	places := make([]place, len(members))
	size := uint64(f.Size())
	for i, m := range members {
		at, err := m.DataOffset()
		if err != nil {
			return fmt.Errorf("%q: %w", m.Name, err)
		}
		if at < 0 || uint64(at) > size || m.CompressedSize64 > size-uint64(at) {
			return fmt.Errorf("%q lies outside the file, which is truncated or damaged", m.Name)
		}
		places[i] = place{uint64(at), uint64(at) + m.CompressedSize64, m.Name}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(places); i++ {
		if places[i].from < places[i-1].to {
			return fmt.Errorf("%q and %q overlap", places[i-1].name, places[i].name)
		}
	}
	return nil
}

// add takes one array in.
func (f *File) add(path, name string, member *zip.File) error {
	const encrypted = 1
	if member.Flags&encrypted != 0 {
		return errors.New("it is encrypted")
	}
	at, err := member.DataOffset()
	if err != nil {
		return err
	}
	var b []byte
	switch member.Method {
	case zip.Store:
		if member.UncompressedSize64 != member.CompressedSize64 {
			return fmt.Errorf("it is stored in %d bytes but said to have %d", member.CompressedSize64, member.UncompressedSize64)
		}
		b = f.file.Data[at : uint64(at)+member.CompressedSize64]
	case zip.Deflate:
		if b, err = f.inflate(member); err != nil {
			return err
		}
	default:
		return fmt.Errorf("compression method %d isn't supported: stored and deflated arrays are", member.Method)
	}
	e, start, err := parseArray(b)
	if err != nil {
		return err
	}
	e.Name, e.File, e.Offset = name, path, at
	if member.Method == zip.Store {
		e.Offset += int64(start)
	}
	f.header = append(append(f.header, name...), b[:start]...)
	f.entries = append(f.entries, e)
	f.data = append(f.data, b[start:len(b):len(b)])
	return nil
}

// inflate reads a deflated array, whose checksum the reader proves.
func (f *File) inflate(member *zip.File) ([]byte, error) {
	n := member.UncompressedSize64
	most := maxInflated + maxRatio*uint64(f.Size())
	if n > most || f.inflated > most-n {
		return nil, fmt.Errorf("inflated, the arrays up to this one take more than %d bytes", most)
	}
	f.inflated += n
	r, err := member.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	// Only the end of the stream proves the checksum.
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("there is more than the directory says")
		}
		return nil, fmt.Errorf("inflate: %w", err)
	}
	return b, nil
}

// Entries are the arrays in the order of the archive's directory. Offset is where
// the bytes of a stored array begin, or the compressed ones of a deflated array. The
// slice must not be changed.
func (f *File) Entries() []checkpoint.Entry { return f.entries }

// Data is the bytes of entry i, of any alignment. They must not be written to, nor
// read after Close.
func (f *File) Data(i int) []byte { return f.data[i] }

// Release drops entry i's bytes from resident memory as far as they fill whole
// pages of the file. They are read again when touched.
func (f *File) Release(i int) {
	e := f.entries[i]
	f.file.Release(int(e.Offset), int(min(e.Offset+e.Bytes, f.Size())))
}

// Header is the arrays' names and headers, which say all of them but their values.
func (f *File) Header() []byte { return f.header }

// Size is the file's.
func (f *File) Size() int64 { return int64(len(f.file.Data)) }

// Close unmaps the file.
func (f *File) Close() error {
	f.data = nil
	return f.file.Close()
}

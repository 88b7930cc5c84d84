// Package mapfile gives the bytes of a file without copying them, where the
// system can map it into memory; elsewhere it reads the file as a whole.
package mapfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// File is an open file's bytes. They must not be written to, nor read after Close.
type File struct {
	Data   []byte
	mapped bool
}

// Open maps a regular file. The file itself is closed again; the mapping keeps
// what it needs.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a named pipe would block
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	size := info.Size()
	if size > math.MaxInt {
		return nil, fmt.Errorf("map %s: %d bytes don't fit this system's address space", path, size)
	}
	if size == 0 {
		return &File{}, nil
	}
	data, err := mmap(f, int(size))
	if err == nil {
		return &File{data, true}, nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	if data, err = readAll(f, int(size)); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return &File{Data: data}, nil
}

// readAll stands in for mmap where there is none.
func readAll(r io.ReaderAt, size int) ([]byte, error) {
	data := make([]byte, size)
	n, err := r.ReadAt(data, 0)
	if n < size {
		return nil, fmt.Errorf("got %d of %d bytes: %w", n, size, err)
	}
	return data, nil
}

// Release lets the system drop the whole pages within Data[from:to] from resident
// memory; they are read from the file again when touched. It is a hint, and does
// nothing where the file isn't mapped.
func (f *File) Release(from, to int) {
	page := os.Getpagesize()
	from, to = (from+page-1)&^(page-1), to&^(page-1)
	if f.mapped && from < to {
		dontNeed(f.Data[from:to])
	}
}

// Close unmaps the file.
func (f *File) Close() error {
	data := f.Data
	f.Data = nil
	if !f.mapped {
		return nil
	}
	f.mapped = false
	return munmap(data)
}

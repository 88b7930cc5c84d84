package gguf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
)

// mapping is a file's bytes: mapped where the system can, else read.
type mapping struct {
	data   []byte
	mapped bool
}

// openMapping maps a regular file. The file itself is closed again; the mapping
// keeps what it needs.
func openMapping(path string) (*mapping, error) {
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
		return &mapping{}, nil
	}
	data, err := mmap(f, int(size))
	if err == nil {
		return &mapping{data, true}, nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	if data, err = readAll(f, int(size)); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return &mapping{data: data}, nil
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

// release lets the system drop the whole pages within data[from:to].
func (m *mapping) release(from, to int) {
	page := os.Getpagesize()
	from, to = align(from, page), to&^(page-1)
	if m.mapped && from < to {
		dontNeed(m.data[from:to])
	}
}

func (m *mapping) close() error {
	data := m.data
	m.data = nil
	if !m.mapped {
		return nil
	}
	return munmap(data)
}

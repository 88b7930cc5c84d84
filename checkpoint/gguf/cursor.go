package gguf

import (
	"encoding/binary"
	"fmt"
)

// A FormatError says that a file breaks GGUF's rules (or one of the limits this
// package sets): where, what was expected there and what was found.
type FormatError struct {
	File     string
	Offset   int64  // in File
	What     string // the field that is wrong, such as `tensor "output.weight": type`
	Expected string
	Found    string
}

// Error is one line with all of the fields.
func (e *FormatError) Error() string {
	return fmt.Sprintf("%s: offset %d: %s: expected %s, found %s", e.File, e.Offset, e.What, e.Expected, e.Found)
}

var le = binary.LittleEndian

// cursor reads a file's header front to back. Nothing is believed: every length
// is compared with the bytes that are left before it is used.
type cursor struct {
	file string
	data []byte // the whole file
	pos  int
}

func (c *cursor) left() int { return len(c.data) - c.pos }

func (c *cursor) fail(at int, what, expected, found string) error {
	return &FormatError{File: c.file, Offset: int64(at), What: what, Expected: expected, Found: found}
}

func (c *cursor) truncated(what string, need uint64) error {
	return c.fail(c.pos, what, fmt.Sprintf("%d more bytes", need),
		fmt.Sprintf("the end of the file after %d (it is truncated, or the length is wrong)", c.left()))
}

func (c *cursor) u32(what string) (uint32, error) {
	if c.left() < 4 {
		return 0, c.truncated(what, 4)
	}
	v := le.Uint32(c.data[c.pos:])
	c.pos += 4
	return v, nil
}

func (c *cursor) u64(what string) (uint64, error) {
	if c.left() < 8 {
		return 0, c.truncated(what, 8)
	}
	v := le.Uint64(c.data[c.pos:])
	c.pos += 8
	return v, nil
}

// count reads a number of things that take at least size bytes each in the rest
// of the file. The result is no more than most and no more than fit.
func (c *cursor) count(what string, size int, most uint64) (int, error) {
	at := c.pos
	n, err := c.u64(what)
	if err != nil {
		return 0, err
	}
	if n > most {
		return 0, c.fail(at, what, fmt.Sprintf("at most %d", most), fmt.Sprint(n))
	}
	if n > uint64(c.left()/size) {
		return 0, c.fail(at, what, fmt.Sprintf("at most %d, which is what the %d bytes left can hold", c.left()/size, c.left()), fmt.Sprint(n))
	}
	return int(n), nil
}

// text reads a string of at most most bytes: a view of the file.
func (c *cursor) text(what string, most uint64) ([]byte, error) {
	n, err := c.count(what+": length", 1, most)
	if err != nil {
		return nil, err
	}
	c.pos += n
	return c.data[c.pos-n : c.pos : c.pos], nil
}

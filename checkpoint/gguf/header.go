package gguf

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/inferflux/inferflux/tensor"
)

// Limits on what a file may ask for. Real files stay far below; they bound the
// memory that a hostile one can cost beyond its own size.
const (
	maxKeys    = 1 << 16 // metadata pairs
	maxTensors = 1 << 20
	maxName    = 1<<16 - 1 // bytes of a key (gguf.md) or a tensor's name
	maxString  = 1 << 26   // bytes of a string value
	maxArray   = 1 << 24   // elements
	maxDepth   = 8         // arrays in arrays
	maxDims    = 4         // ggml.h, GGML_MAX_DIMS
)

// Both are from gguf.md. Data is aligned to 8 at least, so a tensor's elements
// may be read as words.
const (
	alignmentKey     = "general.alignment"
	defaultAlignment = 32
	minAlignment     = 8
	maxAlignment     = 1 << 30
)

// align rounds n up to a multiple of a power of two.
func align(n, alignment int) int { return (n + alignment - 1) &^ (alignment - 1) }

// header is what a file says of itself before the data begins.
type header struct {
	meta    metadata
	tensors []info
	end     int // of the header; the data begins at the next multiple of the alignment
}

// info is one row of the file's table of tensors.
type info struct {
	name   string
	typ    tensor.Type
	shape  []int // outermost first
	offset int   // of the data, from the start of the file
	bytes  int
	at     int // where this row stands in the header
}

// parse reads and checks a whole header.
func parse(file string, data []byte) (*header, error) {
	c := &cursor{file: file, data: data}
	if err := c.preamble(); err != nil {
		return nil, err
	}
	numTensors, err := c.count("number of tensors", 8+1+4+4+8, maxTensors)
	if err != nil {
		return nil, err
	}
	numKeys, err := c.count("number of metadata pairs", 8+1+4+1, maxKeys)
	if err != nil {
		return nil, err
	}
	h := new(header)
	if err := c.metadata(h, numKeys); err != nil {
		return nil, err
	}
	alignment, err := c.alignment(h)
	if err != nil {
		return nil, err
	}
	if err := c.tensors(h, numTensors); err != nil {
		return nil, err
	}
	h.end = c.pos
	h.meta.data = data[:h.end:h.end]
	return h, c.place(h, alignment)
}

// preamble reads magic and version.
func (c *cursor) preamble() error {
	const magic = "GGUF"
	if len(c.data) < 24 {
		return c.fail(0, "header", "at least 24 bytes", fmt.Sprintf("%d", len(c.data)))
	}
	if !bytes.HasPrefix(c.data, []byte(magic)) {
		return c.fail(0, "magic", fmt.Sprintf("%q", magic), fmt.Sprintf("%q", c.data[:4]))
	}
	c.pos = 4
	version, _ := c.u32("version")
	switch {
	case version == 2 || version == 3:
		return nil
	case bits.ReverseBytes32(version) <= 0xffff && version > 0xffff:
		return c.fail(4, "version", "a little-endian file", "a big-endian one (convert it with gguf_convert_endian.py)")
	}
	return c.fail(4, "version", "2 or 3", fmt.Sprint(version))
}

func (c *cursor) metadata(h *header, n int) error {
	h.meta.values = make(map[string]value, n)
	h.meta.keys = make([]string, 0, n)
	for i := range n {
		at := c.pos
		b, err := c.text(fmt.Sprintf("metadata key %d", i), maxName)
		if err != nil {
			return err
		}
		key := string(b)
		what := fmt.Sprintf("metadata %q", key)
		if key == "" {
			return c.fail(at, fmt.Sprintf("metadata key %d", i), "a name", "an empty one")
		}
		if _, ok := h.meta.values[key]; ok {
			return c.fail(at, what, "each key once", "it again")
		}
		v, err := c.value(what)
		if err != nil {
			return err
		}
		h.meta.values[key] = v
		h.meta.keys = append(h.meta.keys, key)
	}
	return nil
}

// alignment is that of tensors in the data section.
func (c *cursor) alignment(h *header) (int, error) {
	v, ok := h.meta.values[alignmentKey]
	if !ok {
		return defaultAlignment, nil
	}
	what := fmt.Sprintf("metadata %q", alignmentKey)
	want := fmt.Sprintf("a power of two from %d to %d", minAlignment, maxAlignment)
	if v.array {
		return 0, c.fail(v.at, what, want, "an array")
	}
	n, ok := v.typ.integer(c.data[v.at:])
	if !ok {
		return 0, c.fail(v.at, what, want, "a value that is no integer")
	}
	if n < minAlignment || n > maxAlignment || n&(n-1) != 0 {
		return 0, c.fail(v.at, what, want, fmt.Sprint(n))
	}
	return int(n), nil
}

// tensors reads the table of tensors. Offsets are still relative to the data.
func (c *cursor) tensors(h *header, n int) error {
	h.tensors = make([]info, n)
	seen := make(map[string]bool, n)
	for i := range h.tensors {
		t := &h.tensors[i]
		t.at = c.pos
		b, err := c.text(fmt.Sprintf("name of tensor %d", i), maxName)
		if err != nil {
			return err
		}
		t.name = string(b)
		if t.name == "" {
			return c.fail(t.at, fmt.Sprintf("name of tensor %d", i), "a name", "an empty one")
		}
		if seen[t.name] {
			return c.fail(t.at, fmt.Sprintf("tensor %q", t.name), "each name once", "it again")
		}
		seen[t.name] = true
		if err := c.tensor(t); err != nil {
			return err
		}
	}
	return nil
}

// tensor reads the rest of a row of the table: dimensions, type, offset.
func (c *cursor) tensor(t *info) error {
	what := fmt.Sprintf("tensor %q", t.name)
	at := c.pos
	dims, err := c.u32(what + ": number of dimensions")
	if err != nil {
		return err
	}
	if dims > maxDims {
		return c.fail(at, what+": number of dimensions", fmt.Sprintf("at most %d", maxDims), fmt.Sprint(dims))
	}
	t.shape = make([]int, dims)
	at = c.pos
	elems := uint64(1)
	for i := range t.shape {
		d, err := c.u64(what + ": dimension")
		if err != nil {
			return err
		}
		high, product := bits.Mul64(elems, d)
		if d == 0 || high != 0 || product > math.MaxInt {
			return c.fail(at+8*i, what+": dimension", "positive sizes whose product fits an int", fmt.Sprint(d))
		}
		elems = product
		t.shape[len(t.shape)-1-i] = int(d) // the file has the innermost first
	}
	at = c.pos
	number, err := c.u32(what + ": type")
	if err != nil {
		return err
	}
	t.typ = tensorType(number)
	if t.typ == tensor.Invalid {
		found := fmt.Sprint(number)
		if name, ok := removedTypes[number]; ok {
			found += fmt.Sprintf(" (%s, which ggml no longer has: quantize the model anew)", name)
		}
		return c.fail(at, what+": type", fmt.Sprintf("a ggml type from 0 to %d", len(tensorTypes)-1), found)
	}
	shape := tensor.Tensor{Shape: t.shape}
	row, err := t.typ.RowBytes(shape.Cols())
	if err != nil {
		e, _ := t.typ.Block()
		return c.fail(at, what+": type", fmt.Sprintf("rows of whole %s blocks of %d elements, of a size that fits an int", t.typ, e),
			fmt.Sprintf("rows of %d elements", shape.Cols()))
	}
	high, size := bits.Mul64(uint64(shape.Rows()), uint64(row))
	if high != 0 || size > math.MaxInt {
		return c.fail(t.at, what, "a size that fits an int", fmt.Sprintf("%d rows of %d bytes", shape.Rows(), row))
	}
	t.bytes = int(size)
	at = c.pos
	offset, err := c.u64(what + ": offset")
	if err != nil {
		return err
	}
	if offset > math.MaxInt {
		return c.fail(at, what+": offset", "one within the file", fmt.Sprint(offset))
	}
	t.offset = int(offset)
	return nil
}

// place finds every tensor's bytes in the file: aligned, inside it, and apart.
func (c *cursor) place(h *header, alignment int) error {
	start := align(h.end, alignment)
	size := len(c.data)
	for i := range h.tensors {
		t := &h.tensors[i]
		what := fmt.Sprintf("tensor %q", t.name)
		if t.offset%alignment != 0 {
			return c.fail(t.at, what+": offset", fmt.Sprintf("a multiple of the alignment, %d", alignment), fmt.Sprint(t.offset))
		}
		if size < start || t.offset > size-start || t.bytes > size-start-t.offset {
			return c.fail(t.at, what, fmt.Sprintf("its %d bytes at offset %d of the data, which begins at %d", t.bytes, t.offset, start),
				fmt.Sprintf("a file of %d bytes (it is truncated, or the offset is wrong)", size))
		}
		t.offset += start
	}
	order := make([]*info, len(h.tensors))
	for i := range order {
		order[i] = &h.tensors[i]
	}
	slices.SortFunc(order, func(a, b *info) int { return cmp.Compare(a.offset, b.offset) })
	for i := 1; i < len(order); i++ {
		a, b := order[i-1], order[i]
		if a.offset+a.bytes > b.offset {
			return c.fail(b.at, fmt.Sprintf("tensor %q", b.name),
				fmt.Sprintf("data after the end of tensor %q at %d", a.name, a.offset+a.bytes),
				fmt.Sprintf("it at %d: they overlap", b.offset))
		}
	}
	return nil
}

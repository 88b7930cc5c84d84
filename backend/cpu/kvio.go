package cpu

import (
	"fmt"
	"io"
	"iter"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/simd"
)

// Export implements backend.KV.
func (c *cache) Export(id backend.SeqID, w io.Writer) error {
	s, err := c.Sequence(id)
	if err == nil {
		err = c.portable()
	}
	if err == nil {
		err = c.export(s, w)
	}
	if err != nil {
		return fmt.Errorf("export sequence %d: %w", id, err)
	}
	return nil
}

// portable is an error where sequences have states, for which the common format has no
// place.
func (c *cache) portable() error {
	if c.states.elements > 0 {
		return fmt.Errorf("%w: the states of layers have no place in the common format", backend.ErrUnsupported)
	}
	return nil
}

func (c *cache) export(s *paging.Sequence, w io.Writer) error {
	if s.Len == 0 {
		return fmt.Errorf("it is empty")
	}
	h := c.header
	h.Seq = s.Len
	kw, err := backend.NewKVWriter(w, h)
	if err != nil {
		return err
	}
	for b := range c.blocks(s.Pages, s.Len) {
		if _, err := kw.Write(c.encode(b)); err != nil {
			return err
		}
	}
	return kw.Close()
}

// rowBlock is n keys, or values, of a block.
type rowBlock struct {
	block  []byte
	n      int
	values bool
}

// blocks are those of n positions in the order of the common format: keys, then
// values, by layer, head and position.
func (c *cache) blocks(pages []int32, n int) iter.Seq[rowBlock] {
	return func(yield func(rowBlock) bool) {
		for _, values := range []bool{false, true} {
			for layer := range c.shape.layers {
				for head := range c.shape.heads {
					for i, p := range pages {
						if !yield(rowBlock{c.block(p, layer, head), min(n-i*pageTokens, pageTokens), values}) {
							return
						}
					}
				}
			}
		}
	}
}

// encode is a block's rows in the type of exports.
func (c *cache) encode(b rowBlock) []byte {
	hd := c.shape.HeadDim
	c.rows = resize(c.rows, b.n*hd)
	for t := range b.n {
		if row := c.rows[t*hd:][:hd]; b.values {
			c.shape.Value(row, b.block, t)
		} else {
			c.shape.Key(row, b.block, t)
		}
	}
	if c.header.DType == backend.KVF32 {
		return asBytes(c.rows)
	}
	buf := c.buffer(2 * len(c.rows))
	simd.ToF16(asF16(buf), c.rows)
	return buf
}

// buffer is n bytes to work in, aligned for elements of either type.
func (c *cache) buffer(n int) []byte {
	if cap(c.buf) < n {
		c.buf = asBytes(make([]float32, (n+3)/4))
	}
	return c.buf[:n]
}

// Import implements backend.KV. The header's element type may be either; what an
// engine with the same type of KV exported is stored again with the same bits.
func (c *cache) Import(id backend.SeqID, r io.Reader) error {
	s, err := c.Empty(id, 0)
	if err == nil {
		err = c.portable()
	}
	if err == nil {
		if err = c.load(s, r); err != nil {
			c.Shorten(s, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("import into sequence %d: %w", id, err)
	}
	return nil
}

func (c *cache) load(s *paging.Sequence, r io.Reader) error {
	kr, err := backend.NewKVReader(r)
	if err != nil {
		return err
	}
	h := kr.Header
	if err := h.Fits(c.header); err != nil {
		return err
	}
	if h.Seq > s.Room {
		return fmt.Errorf("it has %d positions, the sequence has room for %d", h.Seq, s.Room)
	}
	c.Extend(s, h.Seq)
	for b := range c.blocks(s.Pages, h.Seq) {
		if err := c.decode(kr, b, h.DType); err != nil {
			return err
		}
	}
	if err := kr.Verify(); err != nil {
		return err
	}
	c.Lengthen(s, h.Seq)
	return nil
}

// decode fills a block's rows, rounding the elements if need be.
func (c *cache) decode(kr *backend.KVReader, b rowBlock, from backend.KVDType) error {
	hd := c.shape.HeadDim
	c.rows = resize(c.rows, b.n*hd)
	buf := asBytes(c.rows)
	if from == backend.KVF16 {
		buf = c.buffer(2 * len(c.rows))
	}
	if err := kr.ReadFull(buf); err != nil {
		return err
	}
	if from == backend.KVF16 {
		simd.FromF16(c.rows, asF16(buf))
	}
	for t := range b.n {
		if row := c.rows[t*hd:][:hd]; b.values {
			c.shape.SetValue(b.block, t, row)
		} else {
			c.shape.SetKey(b.block, t, row)
		}
	}
	return nil
}

package cpu

import (
	"fmt"
	"io"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/simd"
)

// Export implements backend.KV.
func (c *cache) Export(id backend.SeqID, w io.Writer) error {
	s, err := c.Sequence(id)
	if err == nil {
		err = c.export(s, w)
	}
	if err != nil {
		return fmt.Errorf("export sequence %d: %w", id, err)
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
	for chunk := range c.chunks(s.Pages, s.Len) {
		if _, err := kw.Write(chunk); err != nil {
			return err
		}
	}
	return kw.Close()
}

// chunks are the bytes of n positions in the order of the common format: keys,
// then values, by layer, head and position.
func (c *cache) chunks(pages []int32, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for values := range 2 {
			for layer := range c.shape.layers {
				for head := range c.shape.heads {
					for i, p := range pages {
						rows := min(n-i*pageTokens, pageTokens)
						at := int(p)*c.shape.pageBytes() + c.shape.block(layer, head, values)
						if !yield(c.arena[at : at+rows*c.shape.rowBytes()]) {
							return
						}
					}
				}
			}
		}
	}
}

// Import implements backend.KV. The header's element type may be either.
func (c *cache) Import(id backend.SeqID, r io.Reader) error {
	s, err := c.Empty(id, 0)
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
	for chunk := range c.chunks(s.Pages, h.Seq) {
		if err := c.read(kr, chunk, h.DType); err != nil {
			return err
		}
	}
	if err := kr.Verify(); err != nil {
		return err
	}
	s.Len = h.Seq
	return nil
}

// read fills a chunk of the arena, converting the elements if need be.
func (c *cache) read(kr *backend.KVReader, chunk []byte, from backend.KVDType) error {
	if from == c.header.DType {
		return kr.ReadFull(chunk)
	}
	n := len(chunk) / c.shape.elem()
	if need := n * from.Size(); cap(c.buf) < need {
		// Elements of four bytes, so that the buffer is aligned for either type.
		c.buf = asBytes(make([]float32, (need+3)/4))
	}
	buf := c.buf[:n*from.Size()]
	if err := kr.ReadFull(buf); err != nil {
		return err
	}
	if c.shape.f16 {
		simd.ToF16(asF16(chunk), asF32(buf))
	} else {
		simd.FromF16(asF32(chunk), asF16(buf))
	}
	return nil
}

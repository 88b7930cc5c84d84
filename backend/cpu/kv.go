package cpu

import (
	"errors"
	"unsafe"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/simd"
)

const (
	pageTokens = paging.PageTokens
	// warmBytes is how much memory of free pages is kept resident for reuse.
	warmBytes = 16 << 20
)

// kvShape is the layout of a page: for each layer, for each KV head, a block of
// pageTokens keys and values.
type kvShape struct {
	layers, heads int
	simd.KVLayout // of a block
}

// newKVShape is the shape of pages for a model's layers and heads.
func newKVShape(layers, heads, headDim int, typ simd.KVType) kvShape {
	return kvShape{layers: layers, heads: heads, KVLayout: simd.KVLayout{Type: typ, HeadDim: headDim, Tokens: pageTokens}}
}

func (s kvShape) pageBytes() int     { return s.layers * s.heads * s.Bytes() }
func (s kvShape) bytesPerToken() int { return s.pageBytes() / pageTokens }

// block is the offset in a page of a layer's and head's block.
func (s kvShape) block(layer, head int) int { return (layer*s.heads + head) * s.Bytes() }

// exportType is the element type of exports, which holds every element exactly.
func (s kvShape) exportType() backend.KVDType {
	if s.Type == simd.KVF16 {
		return backend.KVF16
	}
	return backend.KVF32
}

// cache is the engine's memory of sequences: one mapping of anonymous memory for
// all pages, which takes up room only where something was written.
type cache struct {
	*paging.Table
	shape  kvShape
	header backend.KVHeader // of exports, Seq aside
	arena  []byte

	states     stateShape
	stateArena []byte // of slots

	rows []float32 // of export and import: a block's keys or values
	buf  []byte    // the same in the exported type
}

func newCache(shape kvShape, states stateShape, slots paging.StateOptions, pages, context int, fingerprint string) (*cache, error) {
	arena, err := mapArena(pages * shape.pageBytes())
	if err != nil {
		return nil, err
	}
	var stateArena []byte
	if slots.Slots > 0 {
		if stateArena, err = mapArena(4 * states.elements * slots.Slots); err != nil {
			return nil, errors.Join(err, unmapArena(arena))
		}
	}
	c := &cache{
		shape: shape, arena: arena, states: states, stateArena: stateArena,
		header: backend.KVHeader{
			Fingerprint: fingerprint, DType: shape.exportType(),
			Layers: shape.layers, KVHeads: shape.heads, HeadDim: shape.HeadDim,
		},
	}
	c.Table = paging.New(paging.Options{
		Pages: pages, Context: context, BytesPerToken: shape.bytesPerToken(),
		Warm: warmBytes / shape.pageBytes(), Storage: c, States: slots,
	})
	return c, nil
}

func (c *cache) close() error {
	c.Table.Close()
	arena, states := c.arena, c.stateArena
	c.arena, c.stateArena = nil, nil
	err := unmapArena(arena)
	if states != nil {
		err = errors.Join(err, unmapArena(states))
	}
	return err
}

// Release implements paging.Storage.
func (c *cache) Release(p int32) {
	size := c.shape.pageBytes()
	releaseArena(c.arena, int(p)*size, (int(p)+1)*size)
}

// CopyRows implements paging.Storage. Rows of keys lie across one another, so it
// copies whatever else is in the page too; that is overwritten before it is seen.
func (c *cache) CopyRows(dst, src int32, _ int) {
	size := c.shape.pageBytes()
	copy(c.arena[int(dst)*size:][:size], c.arena[int(src)*size:])
}

// block is the memory of a page's keys and values of a layer and head.
func (c *cache) block(page int32, layer, head int) []byte {
	return c.arena[int(page)*c.shape.pageBytes()+c.shape.block(layer, head):][:c.shape.Bytes()]
}

// store writes one row of keys and one of values, each [KVHeads·HeadDim], of a
// position.
func (c *cache) store(s *paging.Sequence, layer, position int, k, v []float32) {
	hd := c.shape.HeadDim
	for h := range c.shape.heads {
		block := c.block(s.Pages[position/pageTokens], layer, h)
		c.shape.SetKey(block, position%pageTokens, k[h*hd:(h+1)*hd])
		c.shape.SetValue(block, position%pageTokens, v[h*hd:(h+1)*hd])
	}
}

// asF16 views bytes, which are aligned, as elements.
func asF16(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

func asF32(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func asBytes(f []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), 4*len(f))
}

package cpu

import (
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

// kvShape is the layout of a page: for each layer, for each KV head, pageTokens
// rows of keys and then as many of values, each of headDim elements.
type kvShape struct {
	layers, heads, headDim int
	f16                    bool
}

func (s kvShape) elem() int {
	if s.f16 {
		return 2
	}
	return 4
}

func (s kvShape) rowBytes() int      { return s.headDim * s.elem() }
func (s kvShape) blockBytes() int    { return pageTokens * s.rowBytes() }
func (s kvShape) bytesPerToken() int { return 2 * s.layers * s.heads * s.rowBytes() }
func (s kvShape) pageBytes() int     { return pageTokens * s.bytesPerToken() }

// block is the offset in a page of a layer's and head's keys (values 0) or
// values (1).
func (s kvShape) block(layer, head, values int) int {
	return ((layer*s.heads+head)*2 + values) * s.blockBytes()
}

// cache is the engine's memory of sequences: one mapping of anonymous memory for
// all pages, which takes up room only where something was written.
type cache struct {
	*paging.Table
	shape  kvShape
	header backend.KVHeader // of exports, Seq aside
	arena  []byte
	buf    []byte // of export and import
}

func newCache(shape kvShape, pages, context int, fingerprint string) (*cache, error) {
	arena, err := mapArena(pages * shape.pageBytes())
	if err != nil {
		return nil, err
	}
	c := &cache{
		shape: shape, arena: arena,
		header: backend.KVHeader{
			Fingerprint: fingerprint, DType: backend.KVF32,
			Layers: shape.layers, KVHeads: shape.heads, HeadDim: shape.headDim,
		},
	}
	if shape.f16 {
		c.header.DType = backend.KVF16
	}
	c.Table = paging.New(paging.Options{
		Pages: pages, Context: context, BytesPerToken: shape.bytesPerToken(),
		Warm: warmBytes / shape.pageBytes(), Storage: c,
	})
	return c, nil
}

func (c *cache) close() error {
	c.Table.Close()
	arena := c.arena
	c.arena = nil
	return unmapArena(arena)
}

// Release implements paging.Storage.
func (c *cache) Release(p int32) {
	size := c.shape.pageBytes()
	releaseArena(c.arena, int(p)*size, (int(p)+1)*size)
}

// CopyRows implements paging.Storage.
func (c *cache) CopyRows(dst, src int32, n int) {
	size, block := c.shape.pageBytes(), c.shape.blockBytes()
	d, s := c.arena[int(dst)*size:][:size], c.arena[int(src)*size:][:size]
	for at := 0; at < size; at += block {
		copy(d[at:at+n*c.shape.rowBytes()], s[at:])
	}
}

// store writes one row of keys (values 0) or values (1), [KVHeads·HeadDim], of a
// position.
func (c *cache) store(s *paging.Sequence, layer, position, values int, x []float32) {
	page := int(s.Pages[position/pageTokens]) * c.shape.pageBytes()
	row := position % pageTokens * c.shape.rowBytes()
	hd := c.shape.headDim
	for h := range c.shape.heads {
		to := c.arena[page+c.shape.block(layer, h, values)+row:][:c.shape.rowBytes()]
		if c.shape.f16 {
			simd.ToF16(asF16(to), x[h*hd:(h+1)*hd])
		} else {
			copy(asF32(to), x[h*hd:(h+1)*hd])
		}
	}
}

// asF16 and asF32 view arena bytes, which are aligned, as elements.
func asF16(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

func asF32(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func asBytes(f []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), 4*len(f))
}

package cpu

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/simd"
)

const (
	// pageTokens is the number of positions in a page.
	pageTokens = 64
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

// cache is the engine's memory of sequences. Pages are shared by reference
// count: copying a prefix copies nothing, and a sequence that is about to write
// into a page that another one holds gets its own copy first.
//
// Every sequence reserves whole pages for its room, and the reservations
// together never exceed the capacity. Sequences hold at most what they reserved,
// shared pages counted once each, so that a page is always free when a sequence
// needs one within its room.
type cache struct {
	shape    kvShape
	header   backend.KVHeader // of exports, Seq aside
	context  int              // most positions of one sequence
	arena    []byte
	refs     []int32 // of each page
	free     []int32 // pages without memory
	warm     []int32 // free pages with memory
	reserved int     // pages
	seqs     map[backend.SeqID]*sequence
	last     backend.SeqID
	buf      []byte // of export and import
}

type sequence struct {
	len   int     // positions
	room  int     // positions
	pages []int32 // as many as len needs; during a step, as it will need
}

func pagesFor(positions int) int { return (positions + pageTokens - 1) / pageTokens }

func newCache(shape kvShape, pages, context int, fingerprint string) (*cache, error) {
	arena, err := mapArena(pages * shape.pageBytes())
	if err != nil {
		return nil, err
	}
	c := &cache{
		shape: shape, context: context, arena: arena, refs: make([]int32, pages), free: make([]int32, 0, pages),
		seqs: map[backend.SeqID]*sequence{},
		header: backend.KVHeader{
			Fingerprint: fingerprint, DType: backend.KVF32,
			Layers: shape.layers, KVHeads: shape.heads, HeadDim: shape.headDim,
		},
	}
	if shape.f16 {
		c.header.DType = backend.KVF16
	}
	for p := pages - 1; p >= 0; p-- {
		c.free = append(c.free, int32(p))
	}
	return c, nil
}

func (c *cache) close() error {
	arena := c.arena
	c.arena, c.seqs, c.refs, c.free, c.warm, c.reserved = nil, nil, nil, nil, nil, 0
	return unmapArena(arena)
}

func (c *cache) sequence(id backend.SeqID) (*sequence, error) {
	if s := c.seqs[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("there is no sequence %d", id)
}

// Reserve implements backend.KV.
func (c *cache) Reserve(positions int) (backend.SeqID, error) {
	s := &sequence{}
	if err := c.grow(s, positions); err != nil {
		return 0, fmt.Errorf("reserve kv for %d positions: %w", positions, err)
	}
	for {
		if c.last++; c.last < 0 {
			c.last = 1
		}
		if c.seqs[c.last] == nil {
			break
		}
	}
	c.seqs[c.last] = s
	return c.last, nil
}

// Grow implements backend.KV.
func (c *cache) Grow(id backend.SeqID, positions int) error {
	s, err := c.sequence(id)
	if err == nil {
		err = c.grow(s, positions)
	}
	if err != nil {
		return fmt.Errorf("grow kv of sequence %d to %d positions: %w", id, positions, err)
	}
	return nil
}

func (c *cache) grow(s *sequence, positions int) error {
	if c.arena == nil {
		return errClosed
	}
	if positions < 0 || positions > c.context {
		return fmt.Errorf("a sequence has 0 to %d positions", c.context)
	}
	if positions <= s.room {
		return nil
	}
	if pagesFor(positions) > len(c.refs) {
		return fmt.Errorf("the engine has %d positions in all", len(c.refs)*pageTokens)
	}
	more := pagesFor(positions) - pagesFor(s.room)
	if c.reserved+more > len(c.refs) {
		return backend.ErrKVFull
	}
	c.reserved += more
	s.room = positions
	s.pages = slices.Grow(s.pages, pagesFor(positions)-len(s.pages))
	return nil
}

// Free implements backend.KV.
func (c *cache) Free(id backend.SeqID) error {
	s, err := c.sequence(id)
	if err != nil {
		return fmt.Errorf("free kv: %w", err)
	}
	c.shorten(s, 0)
	c.reserved -= pagesFor(s.room)
	delete(c.seqs, id)
	return nil
}

// Len implements backend.KV. It is 0 for an unknown sequence.
func (c *cache) Len(id backend.SeqID) int {
	if s := c.seqs[id]; s != nil {
		return s.len
	}
	return 0
}

// Truncate implements backend.KV.
func (c *cache) Truncate(id backend.SeqID, n int) error {
	s, err := c.sequence(id)
	if err == nil && (n < 0 || n > s.len) {
		err = fmt.Errorf("it has %d positions", s.len)
	}
	if err != nil {
		return fmt.Errorf("truncate sequence %d to %d positions: %w", id, n, err)
	}
	c.shorten(s, n)
	return nil
}

// CopyPrefix implements backend.KV.
func (c *cache) CopyPrefix(dst, src backend.SeqID, n int) error {
	d, err := c.empty(dst, n)
	if err != nil {
		return fmt.Errorf("copy a prefix of %d positions to sequence %d: %w", n, dst, err)
	}
	s, err := c.sequence(src)
	if err == nil && n > s.len {
		err = fmt.Errorf("it has %d positions", s.len)
	}
	if err != nil {
		return fmt.Errorf("copy a prefix of %d positions from sequence %d: %w", n, src, err)
	}
	d.pages = append(d.pages, s.pages[:pagesFor(n)]...)
	for _, p := range d.pages {
		c.refs[p]++
	}
	d.len = n
	return nil
}

// empty finds a sequence that is to receive n positions.
func (c *cache) empty(id backend.SeqID, n int) (*sequence, error) {
	s, err := c.sequence(id)
	switch {
	case err != nil:
		return nil, err
	case s.len != 0:
		return nil, fmt.Errorf("it is not empty but has %d positions", s.len)
	case n < 0 || n > s.room:
		return nil, fmt.Errorf("it has room for %d", s.room)
	}
	return s, nil
}

// Usage implements backend.KV. It counts whole pages.
func (c *cache) Usage() backend.KVUsage {
	u := backend.KVUsage{
		Capacity: len(c.refs) * pageTokens, Reserved: c.reserved * pageTokens,
		Sequences: len(c.seqs), BytesPerToken: c.shape.bytesPerToken(),
	}
	u.Used = (len(c.refs) - len(c.free) - len(c.warm)) * pageTokens
	return u
}

// extend gives a sequence private pages for the positions len to n, which are
// about to be written.
func (c *cache) extend(s *sequence, n int) {
	if last := s.len / pageTokens; s.len%pageTokens != 0 && c.refs[s.pages[last]] > 1 {
		shared := s.pages[last]
		own := c.take()
		c.copyRows(own, shared, s.len%pageTokens)
		c.drop(shared)
		s.pages[last] = own
	}
	for len(s.pages) < pagesFor(n) {
		s.pages = append(s.pages, c.take())
	}
}

// shorten makes n the length and lets go of pages past it.
func (c *cache) shorten(s *sequence, n int) {
	keep := pagesFor(n)
	for _, p := range s.pages[keep:] {
		c.drop(p)
	}
	s.pages, s.len = s.pages[:keep], n
}

// take finds a free page; the reservations guarantee that there is one.
func (c *cache) take() int32 {
	from := &c.free
	if len(c.warm) > 0 {
		from = &c.warm
	}
	p := (*from)[len(*from)-1]
	*from = (*from)[:len(*from)-1]
	c.refs[p] = 1
	return p
}

// drop lets go of a page, and of its memory if nobody else holds it.
func (c *cache) drop(p int32) {
	if c.refs[p]--; c.refs[p] > 0 {
		return
	}
	size := c.shape.pageBytes()
	if (len(c.warm)+1)*size <= warmBytes {
		c.warm = append(c.warm, p)
		return
	}
	releaseArena(c.arena, int(p)*size, (int(p)+1)*size)
	c.free = append(c.free, p)
}

// copyRows copies the first n positions of a page.
func (c *cache) copyRows(dst, src int32, n int) {
	size, block := c.shape.pageBytes(), c.shape.blockBytes()
	d, s := c.arena[int(dst)*size:][:size], c.arena[int(src)*size:][:size]
	for at := 0; at < size; at += block {
		copy(d[at:at+n*c.shape.rowBytes()], s[at:])
	}
}

// store writes one row of keys (values 0) or values (1), [KVHeads·HeadDim], of a
// position.
func (c *cache) store(s *sequence, layer, position, values int, x []float32) {
	page := int(s.pages[position/pageTokens]) * c.shape.pageBytes()
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

package mlx

import (
	"fmt"
	"io"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/paging"
	"github.com/inferflux/inferflux/mlx"
)

// kvShape is what the pools hold of a position.
type kvShape struct{ layers, heads, headDim int }

// growPages is the least number of pages that the pools grow by: 256 positions.
const growPages = 256 / paging.PageTokens

// cache is the engine's memory of sequences: two pools for each layer, [positions,
// kv_heads, head_dim], as long as the highest page that was ever in use.
type cache struct {
	*paging.Table
	e            *Engine
	shape        kvShape
	dtype        mlx.DType
	header       backend.KVHeader // of exports, Seq aside
	capacity     int              // pages
	pages        int              // that the pools have memory for
	keys, values []mlx.Array      // by layer that keeps them
	layers       []int            // the number of each of the model's layers among those, or -1
	slots        []stateSlot      // of states
	garbage      []mlx.Array      // of slots, to be freed
	err          error            // of CopyRows, which can't return one
}

var (
	_ backend.KV     = (*cache)(nil)
	_ paging.Storage = (*cache)(nil)
)

func newCache(e *Engine, shape kvShape, dtype mlx.DType, states paging.StateOptions, pages, context int, fingerprint string) *cache {
	layers, _ := e.config.KVLayers()
	c := &cache{
		layers: layers, slots: make([]stateSlot, states.Slots),
		e: e, shape: shape, dtype: dtype, capacity: pages,
		header: backend.KVHeader{Fingerprint: fingerprint, DType: backend.KVF32, Layers: shape.layers, KVHeads: shape.heads, HeadDim: shape.headDim},
		keys:   make([]mlx.Array, shape.layers), values: make([]mlx.Array, shape.layers),
	}
	if dtype == mlx.Float16 {
		c.header.DType = backend.KVF16 // bfloat16 has a wider range: f32 holds it
	}
	c.Table = paging.New(paging.Options{
		Pages: pages, Context: context, BytesPerToken: shape.bytesPerToken(dtype), Storage: c, States: states,
	})
	return c
}

func (s kvShape) bytesPerToken(d mlx.DType) int { return 2 * s.layers * s.heads * s.headDim * d.Size() }

// poolUpdate is a layer's pools before a step changed them.
type poolUpdate struct {
	layer        int
	keys, values mlx.Array
}

// setPools replaces a layer's pools by what the step makes of them. The old ones
// are let go of when the graph is complete.
func (s *step) setPools(layer int, keys, values mlx.Array) {
	c := s.e.kv
	s.pools = append(s.pools, poolUpdate{layer, c.keys[layer], c.values[layer]})
	c.keys[layer], c.values[layer] = s.g.Keep(keys), s.g.Keep(values)
}

// undoPools takes back what the step made.
func (s *step) undoPools() {
	c := s.e.kv
	for i := len(s.pools) - 1; i >= 0; i-- {
		u := s.pools[i]
		s.lib.Free(c.keys[u.layer], c.values[u.layer])
		c.keys[u.layer], c.values[u.layer] = u.keys, u.values
	}
	s.pools = s.pools[:0]
}

// keepPools lets go of the old ones: only then can MLX write the new ones in their
// place.
func (s *step) keepPools() {
	for _, u := range s.pools {
		s.lib.Free(u.keys, u.values)
	}
	s.pools = s.pools[:0]
}

// room makes the pools long enough for all pages in use.
func (c *cache) room(g *mlx.Scope, seqs []*paging.Sequence) error {
	need := 0
	for _, s := range seqs {
		for _, p := range s.Pages {
			need = max(need, int(p)+1)
		}
	}
	if need <= c.pages {
		return nil
	}
	pages := min(max(roundUp(need, growPages), c.pages+c.pages/2), c.capacity)
	c.e.forget()
	for _, pools := range [][]mlx.Array{c.keys, c.values} {
		for layer, old := range pools {
			// One after the other, so that but one is there twice; a failure leaves some
			// longer than the rest, for the next attempt to go on from.
			have := 0
			if !old.IsZero() {
				have = c.e.lib.Shape(old)[0]
			}
			if have >= pages*paging.PageTokens {
				continue
			}
			grown := g.Zeros(c.dtype, pages*paging.PageTokens-have, c.shape.heads, c.shape.headDim)
			if have > 0 {
				grown = g.Concatenate([]mlx.Array{old, grown}, 0)
			}
			if !g.Eval(grown) {
				return fmt.Errorf("grow the kv pools to %d positions: %w", pages*paging.PageTokens, g.Err())
			}
			pools[layer] = g.Keep(grown)
			c.e.lib.Free(old)
		}
	}
	c.pages = pages
	return nil
}

// Release implements paging.Storage. The pools never shrink.
func (c *cache) Release(int32) {}

// CopyRows implements paging.Storage.
func (c *cache) CopyRows(dst, src int32, n int) {
	g := c.e.lib.NewScope(c.e.stream)
	defer g.Close()
	if err := c.copyRows(g, int(dst)*paging.PageTokens, int(src)*paging.PageTokens, n); err != nil && c.err == nil {
		c.err = fmt.Errorf("%w: copy %d positions of a shared page: %w", backend.ErrEngineFailed, n, err)
	}
}

// copyRows copies n positions of all pools.
func (c *cache) copyRows(g *mlx.Scope, dst, src, n int) error {
	// The page that is written may lie past the end of the pools.
	if err := c.room(g, []*paging.Sequence{{Pages: []int32{int32(dst / paging.PageTokens)}}}); err != nil {
		return err
	}
	if f := c.e.fused; f != nil {
		row := c.shape.heads * c.shape.headDim
		places := g.FromInt32s([]int32{int32(src), int32(dst), int32(n)}, 3)
		var done []mlx.Array
		for _, pools := range [][]mlx.Array{c.keys, c.values} {
			for _, pool := range pools {
				done = append(done, g.Launch(f.copyRows, []mlx.Array{pool, places}, []mlx.KernelOutput{{Shape: []int{1}, DType: mlx.Int32}},
					[3]int{roundUp(n*row, 256), 1, 1}, [3]int{256, 1, 1},
					[]mlx.KernelTemplate{t("T", c.dtype), t("ROW", row)}, nil)...)
			}
		}
		g.AsyncEval(done...)
		return g.Err()
	}
	return c.rewrite(g, func(pool mlx.Array, _, _ int) mlx.Array {
		rows := g.Slice(pool, []int{src, 0, 0}, []int{src + n, c.shape.heads, c.shape.headDim})
		return g.SliceUpdate(pool, rows, []int{dst, 0, 0}, []int{dst + n, c.shape.heads, c.shape.headDim})
	})
}

// rewrite replaces every pool by what f makes of it; which is 0 for keys, 1 for
// values.
func (c *cache) rewrite(g *mlx.Scope, f func(pool mlx.Array, which, layer int) mlx.Array) error {
	for which, pools := range [][]mlx.Array{c.keys, c.values} {
		for layer, old := range pools {
			changed := f(old, which, layer)
			if !g.Eval(changed) {
				return g.Err()
			}
			pools[layer] = g.Keep(changed)
			c.e.lib.Free(old)
		}
	}
	return nil
}

// index is the places of a sequence's first n positions.
func (c *cache) index(g *mlx.Scope, s *paging.Sequence, n int) mlx.Array {
	return g.FromInt32s(slots(nil, s.Pages, 0, n), n)
}

// Export implements backend.KV.
func (c *cache) Export(id backend.SeqID, w io.Writer) error {
	s, err := c.Sequence(id)
	if err == nil {
		err = c.portable()
	}
	if err == nil && s.Len == 0 {
		err = fmt.Errorf("it is empty")
	}
	if err == nil {
		err = c.e.do(func() error { return c.export(s, w) })
	}
	if err != nil {
		return fmt.Errorf("export sequence %d: %w", id, err)
	}
	return nil
}

// portable is an error where sequences have states, for which the common format has no
// place.
func (c *cache) portable() error {
	if len(c.slots) > 0 {
		return fmt.Errorf("%w: the states of layers have no place in the common format", backend.ErrUnsupported)
	}
	return nil
}

func (c *cache) export(s *paging.Sequence, w io.Writer) error {
	h := c.header
	h.Seq = s.Len
	kw, err := backend.NewKVWriter(w, h)
	if err != nil {
		return err
	}
	dtype := mlx.Float32
	if h.DType == backend.KVF16 {
		dtype = mlx.Float16
	}
	for _, pools := range [][]mlx.Array{c.keys, c.values} {
		for _, pool := range pools {
			err := c.e.scoped(func(g *mlx.Scope) error {
				rows := g.Transpose(g.AsType(g.Take(pool, c.index(g, s, s.Len), 0), dtype), 1, 0, 2)
				_, err := kw.Write(g.Bytes(rows))
				if g.Err() != nil {
					return g.Err()
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return kw.Close()
}

// Import implements backend.KV. The header's element type may be either.
func (c *cache) Import(id backend.SeqID, r io.Reader) error {
	s, err := c.Empty(id, 0)
	if err == nil {
		err = c.portable()
	}
	if err == nil {
		err = c.e.do(func() error { return c.load(s, r) })
		if err != nil {
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
	dtype := mlx.Float32
	if h.DType == backend.KVF16 {
		dtype = mlx.Float16
	}
	buf := make([]byte, h.KVHeads*h.Seq*h.HeadDim*h.DType.Size())
	err = c.e.scoped(func(g *mlx.Scope) error { return c.room(g, []*paging.Sequence{s}) })
	if err != nil {
		return err
	}
	for _, pools := range [][]mlx.Array{c.keys, c.values} {
		for layer := range pools {
			if err := kr.ReadFull(buf); err != nil {
				return err
			}
			err := c.e.scoped(func(g *mlx.Scope) error {
				rows := g.Transpose(g.FromBytes(buf, dtype, h.KVHeads, h.Seq, h.HeadDim), 1, 0, 2)
				rows = g.Reshape(g.AsType(rows, c.dtype), h.Seq, 1, h.KVHeads, h.HeadDim)
				changed := g.Scatter(pools[layer], []mlx.Array{c.index(g, s, h.Seq)}, rows, []int{0})
				if !g.Eval(changed) {
					return g.Err()
				}
				c.e.forget()
				c.e.lib.Free(pools[layer])
				pools[layer] = g.Keep(changed)
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	if err := kr.Verify(); err != nil {
		return err
	}
	c.Lengthen(s, h.Seq)
	return nil
}

// kvType is the element type of the pools.
func kvType(o backend.LoadOptions, compute mlx.DType) (mlx.DType, error) {
	switch o.KVType {
	case "", "auto":
		return compute, nil
	case "f16":
		return mlx.Float16, nil
	case "f32":
		return mlx.Float32, nil
	}
	return compute, fmt.Errorf("kv type %q: expected auto, f16 or f32", o.KVType)
}

func (c *cache) close() {
	c.Table.Close()
	for i := range c.slots {
		c.ReleaseState(int32(i))
	}
	c.sweep()
	c.e.lib.Free(append(c.keys, c.values...)...)
	c.keys, c.values, c.pages = nil, nil, 0
}

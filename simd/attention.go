package simd

import (
	"fmt"
	"math"
	"unsafe"
)

// Attention computes softmax(Scale·Q·Kᵀ)·V for queries that share one head of
// keys and values, which lie in pages of an arena: positions i·Layout.Tokens to
// (i+1)·Layout.Tokens are the block at
//
//	Arena[Pages[i]·PageStride + Offset:]
//
// Positions are taken in chunks of [AttentionChunk]. In each, the softmax is
// taken relative to the chunk's own maximum; results of chunks are merged one
// after another by their maxima and sums (Milakov and Gimelshein, 2018; Dao et
// al., 2022). So what a query gets depends on its own positions alone, and chunks
// may be computed by different threads ([Attention.RunChunk], [Attention.Merge])
// with the same bits as by one ([Attention.Run]).
type Attention struct {
	Q           []float32 // [n, HeadDim], rotated
	First, Last []int32   // n: query i sees positions First[i] to Last[i] inclusive
	Scale       float32
	SoftCap     float32   // if not 0, scores become SoftCap·tanh(score/SoftCap)
	Sinks       []float32 // [n], if not nil: scores of nothing, beside those of positions

	Layout     KVLayout
	Arena      []byte
	Pages      []int32
	PageStride int // bytes
	Offset     int // bytes
	// After is what is likely to be read next: it may be fetched into the cache
	// ahead of time.
	After []byte

	Out []float32 // [n, HeadDim]
}

const (
	// AttentionChunk is the number of positions whose softmax is computed at once.
	AttentionChunk = 256
	// MaxChunkQueries is the most queries that [Attention.RunChunk] takes.
	MaxChunkQueries = 10 * tileRows

	lanes      = 16
	pieceMax   = 64                     // positions whose keys or values are read at once
	scoreWidth = AttentionChunk + lanes // of a row: not a power of 2, for the cache's sake
	noScore    = -math.MaxFloat32
)

// AttentionScratch is the memory that an [Attention] works in: one for each
// thread, reused from call to call. The zero value is ready.
type AttentionScratch struct {
	buf     []float32
	wide    []float32 // [AttentionChunk, dims] keys in panels, or values in rows
	queries []float32 // [MaxChunkQueries, dims] in tiles, as Activations has them
	scores  []float32 // [MaxChunkQueries, scoreWidth]
	chunk   sums      // of one chunk
	all     sums      // of all chunks so far
}

// sums are a softmax's sums for some queries, to be divided by total.
type sums struct {
	out   []float32 // [n, dims]
	top   []float32 // [n]: the maximum that exponentials are relative to
	total []float32 // [n]; 0 if nothing was seen
}

// PartSize is how many float32 [Attention.RunChunk] leaves for n queries.
func PartSize(l KVLayout, n int) int { return n * (l.dims() + 2) }

// part views memory as sums of n queries.
func part(buf []float32, n, dims int) sums {
	return sums{out: buf[:n*dims], top: buf[n*dims:][:n], total: buf[n*dims+n:][:n]}
}

func (s *AttentionScratch) resize(dims int) {
	const n = MaxChunkQueries
	sizes := []struct {
		p *[]float32
		n int
	}{
		{&s.wide, AttentionChunk * dims}, {&s.queries, n * dims}, {&s.scores, n * scoreWidth},
		{&s.chunk.out, n * dims}, {&s.chunk.top, n}, {&s.chunk.total, n},
		{&s.all.out, n * dims}, {&s.all.top, n}, {&s.all.total, n},
	}
	total := 0
	for _, v := range sizes {
		total += roundUp(v.n, lanes)
	}
	if len(s.wide) == sizes[0].n {
		return
	}
	if len(s.buf) < total {
		b := alignedBytes(4 * total)
		s.buf = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), total)
	}
	at := 0
	for _, v := range sizes {
		*v.p = s.buf[at : at+v.n : at+v.n]
		at += roundUp(v.n, lanes)
	}
}

// Chunks are the numbers, from and to, of the chunks that some query sees.
func (at *Attention) Chunks() (from, to int) {
	first, last := at.positions()
	if first > last {
		return 0, 0
	}
	return first / AttentionChunk, last/AttentionChunk + 1
}

// positions are the first and the last that any query sees.
func (at *Attention) positions() (first, last int) {
	first, last = math.MaxInt, -1
	for i, f := range at.First {
		if f < 0 {
			panic("simd: attention to a negative position")
		}
		if l := at.Last[i]; f <= l {
			first, last = min(first, int(f)), max(last, int(l))
		}
	}
	return first, last
}

// check panics if slices are too short for n queries.
func (at *Attention) check(n int) {
	if hd := at.Layout.HeadDim; n > 0 {
		_, _, _ = at.Last[n-1], at.Q[n*hd-1], at.Out[n*hd-1]
	}
}

// Run computes Out. It panics if a query sees positions that Pages doesn't have.
func (at *Attention) Run(s *AttentionScratch) {
	n, hd := len(at.First), at.Layout.HeadDim
	at.check(n)
	for i := 0; i < n; i += MaxChunkQueries {
		j := min(n, i+MaxChunkQueries)
		t := *at
		t.First, t.Last, t.Q, t.Out = at.First[i:j], at.Last[i:j], at.Q[i*hd:j*hd], at.Out[i*hd:j*hd]
		if at.Sinks != nil {
			t.Sinks = at.Sinks[i:j]
		}
		t.runTile(s)
	}
}

// runTile is Run for a few queries.
func (at *Attention) runTile(s *AttentionScratch) {
	n, dims := len(at.First), at.Layout.dims()
	s.resize(dims)
	at.setQueries(s)
	from, to := at.Chunks()
	if to-from == 1 { // its sums are those of all
		at.sumChunk(s, from)
		s.chunk.finish(at, n, dims)
		return
	}
	clear(s.all.total[:n])
	for c, after := from, at.After; c < to; c++ {
		if at.After = after; c+1 < to {
			at.After = at.keys((c + 1) * AttentionChunk)
		}
		at.sumChunk(s, c)
		s.all.add(&s.chunk, n, dims)
	}
	s.all.finish(at, n, dims)
}

// RunChunk computes what queries, at most [MaxChunkQueries], get from one chunk,
// and leaves it in part [PartSize] for [Attention.Merge].
func (at *Attention) RunChunk(s *AttentionScratch, chunk int, dst []float32) {
	n, dims := len(at.First), at.Layout.dims()
	at.check(n)
	s.resize(dims)
	at.setQueries(s)
	at.sumChunk(s, chunk)
	p := part(dst, n, dims)
	copy(p.out, s.chunk.out)
	copy(p.top, s.chunk.top)
	copy(p.total, s.chunk.total)
}

// Merge computes Out from what RunChunk left for each of the queries' chunks, in
// their order, one after another in parts. It overwrites parts.
func (at *Attention) Merge(parts []float32) {
	n, dims := len(at.First), at.Layout.dims()
	at.check(n)
	size := PartSize(at.Layout, n)
	all := part(parts, n, dims)
	for parts = parts[size:]; len(parts) > 0; parts = parts[size:] {
		p := part(parts, n, dims)
		all.add(&p, n, dims)
	}
	all.finish(at, n, dims)
}

// add merges the sums of the next chunk, which it may overwrite.
func (a *sums) add(b *sums, n, dims int) {
	for i := range n {
		if b.total[i] == 0 {
			continue
		}
		x, y := a.out[i*dims:][:dims], b.out[i*dims:][:dims]
		switch {
		case a.total[i] == 0:
			copy(x, y)
			a.top[i], a.total[i] = b.top[i], b.total[i]
		case b.top[i] <= a.top[i]:
			f := exp(b.top[i] - a.top[i])
			AddScaled(x, y, f)
			a.total[i] = fma(b.total[i], f, a.total[i])
		default:
			f := exp(a.top[i] - b.top[i])
			AddScaled(y, x, f)
			copy(x, y)
			a.top[i], a.total[i] = b.top[i], fma(a.total[i], f, b.total[i])
		}
	}
}

// finish divides by the totals, with those of the sinks.
func (a *sums) finish(at *Attention, n, dims int) {
	headDim := at.Layout.HeadDim
	for i := range n {
		to := at.Out[i*headDim:][:headDim]
		if a.total[i] == 0 {
			clear(to) // a query that sees nothing
			continue
		}
		factor := 1 / a.total[i]
		if at.Sinks != nil {
			factor = withSink(a.top[i], a.total[i], at.Sinks[i])
		}
		Scale(to, a.out[i*dims:][:headDim], factor)
	}
}

// withSink is what sums relative to top are to be multiplied by, if there is a sink beside
// what their total is of.
func withSink(top, total, sink float32) float32 {
	if sink <= top {
		return 1 / (total + exp(sink-top))
	}
	f := exp(top - sink)
	return f / fma(total, f, 1)
}

// setQueries copies the queries, times Scale, into tiles padded with zeros.
func (at *Attention) setQueries(s *AttentionScratch) {
	n, hd, dims := len(at.First), at.Layout.HeadDim, at.Layout.dims()
	tile := min(n, tileRows)
	scale := at.Scale
	if at.SoftCap != 0 {
		scale /= at.SoftCap
	}
	for i := range n {
		row := at.Q[i*hd:][:hd]
		to := i/tile*tile*dims + i%tile*floatChunk
		for c := 0; c < dims; c += floatChunk {
			x := s.queries[to : to+floatChunk]
			if k := min(len(row), floatChunk); k < floatChunk {
				clear(x)
				for j, v := range row {
					x[j] = v * scale
				}
				row = nil
			} else {
				for j, v := range row[:floatChunk] {
					x[j] = v * scale
				}
				row = row[floatChunk:]
			}
			to += tile * floatChunk
		}
	}
}

// sumChunk sets s.chunk to the sums of one chunk.
func (at *Attention) sumChunk(s *AttentionScratch, chunk int) {
	n, dims := len(at.First), at.Layout.dims()
	first, last := at.positions()
	// From a multiple of 16 on, so that a position always has the same lane.
	from := max(chunk*AttentionChunk, first&^(lanes-1))
	to := min((chunk+1)*AttentionChunk, last+1)
	if from >= to {
		clear(s.chunk.total[:n])
		return
	}
	at.score(s, from, to)
	out := s.chunk.out[:n*dims]
	clear(out)
	for p := from; p < to; {
		count := at.pieceLen(p, to)
		next := at.values(p)
		if p+count < to {
			next = at.values(p + count)
		} else if at.After != nil {
			next = at.After
		}
		at.addValues(s, out, s.scores[p-from:], p, count, next)
		p += count
	}
}

// pieceLen is how many positions from p on, up to end, can be treated together.
func (at *Attention) pieceLen(p, end int) int {
	return min(at.Layout.Tokens-p%at.Layout.Tokens, pieceMax, end-p)
}

// block is the block that has position p.
func (at *Attention) block(p int) []byte {
	page, size := int(at.Pages[p/at.Layout.Tokens]), at.Layout.Bytes()
	from := page*at.PageStride + at.Offset
	if page < 0 || at.Offset < 0 || from+size > len(at.Arena) {
		panic(fmt.Sprintf("simd: attention reads bytes %d to %d of an arena of %d", from, from+size, len(at.Arena)))
	}
	return at.Arena[from : from+size]
}

// keys are the panels from position p, a multiple of 16, on.
func (at *Attention) keys(p int) []byte {
	l := &at.Layout
	return at.block(p)[p%l.Tokens/lanes*l.panelBytes() : l.valuesAt()]
}

// values are those from position p on, without scales.
func (at *Attention) values(p int) []byte {
	l := &at.Layout
	n := l.dims() * l.elementBytes()
	return at.block(p)[l.valuesAt()+p%l.Tokens*n:][:(l.Tokens-p%l.Tokens)*n]
}

// direct reports whether kernels read keys and values as they are stored: for few
// queries that is cheaper than to widen them first.
func (at *Attention) direct() bool {
	return at.Layout.Type == KVF32 || at.Layout.Type == KVF16 && len(at.First) <= tileRows
}

// score sets s.scores to the weights of positions from to to, tile by tile of the
// queries so that a tile's scores stay in the first-level cache.
func (at *Attention) score(s *AttentionScratch, from, to int) {
	n, dims := len(at.First), at.Layout.dims()
	tile := min(n, tileRows)
	half := at.direct() && at.Layout.Type == KVF16
	var pieces [AttentionChunk / lanes][]byte // keys as the kernel reads them
	for i := 0; i < n; i += tile {
		rows := min(tile, n-i)
		x := floatTile{x: unsafe.Pointer(&s.queries[i*dims]), step: uintptr(4 * tile * floatChunk), chunks: dims / floatChunk}
		for p, piece := from, 0; p < to; piece++ {
			count := at.pieceLen(p, to)
			keys := pieces[piece]
			next := keys // nothing to fetch
			if i == 0 {
				next = at.values(from)
				if p+count < to {
					next = at.keys(p + count)
				}
				keys = at.keys(p)[:(count+lanes-1)/lanes*at.Layout.panelBytes()]
				if !at.direct() {
					wide := s.wide
					if n > tile { // other tiles need it too
						wide = wide[(p-from)*dims:]
					}
					keys = at.widenKeys(wide, keys, (count+lanes-1)/lanes, next)
					next = keys
				}
				pieces[piece] = keys
			}
			active.attend.scores(s.scores[i*scoreWidth+p-from:], keys, half, x, rows, next)
			p += count
		}
		at.weigh(s, i, i+rows, from, to)
	}
}

// widenKeys sets dst to n panels of keys in float32, and returns it as bytes.
func (at *Attention) widenKeys(dst []float32, keys []byte, n int, next []byte) []byte {
	dims := at.Layout.dims()
	dst = dst[:n*lanes*dims]
	if at.Layout.Type == KVF16 {
		active.attend.widenHalves(dst, keys, next)
	} else {
		active.attend.widenKeys(dst, keys, dims, n, next)
	}
	return asBytes(dst)
}

// addValues adds the values of count positions from p on, weighted.
func (at *Attention) addValues(s *AttentionScratch, out, weights []float32, p, count int, next []byte) {
	l, n := &at.Layout, len(at.First)
	dims := l.dims()
	values, half := at.values(p), l.Type == KVF16
	if !at.direct() {
		wide := s.wide[:count*dims]
		if half {
			active.attend.widenHalves(wide, values, next)
		} else {
			scales := elements[uint16](at.block(p)[l.valuesAt()+l.Tokens*dims:])
			active.attend.widenValues(wide, values, scales[p%l.Tokens*dims/q8Block:], next)
		}
		values, half = asBytes(wide), false
		next = values // fetched already, or not worth it
	}
	active.attend.addValues(out, weights, values, half, dims, count, n, next)
}

// weigh turns the scores of queries q0 to q1 for positions from to to into weights.
func (at *Attention) weigh(s *AttentionScratch, q0, q1, from, to int) {
	width := roundUp(to-from, lanes)
	if at.SoftCap != 0 {
		for i := q0; i < q1; i++ {
			for j, v := range s.scores[i*scoreWidth:][:to-from] {
				s.scores[i*scoreWidth+j] = at.SoftCap * tanh(v)
			}
		}
	}
	begin := q0 // of a run of queries that see something of the chunk
	flush := func(end int) {
		if begin < end {
			active.attend.softmax(s.scores[begin*scoreWidth:], width, end-begin, s.chunk.top[begin:], s.chunk.total[begin:])
		}
		begin = end + 1
	}
	for i := q0; i < q1; i++ {
		scores := s.scores[i*scoreWidth:][:width]
		lo := max(int(at.First[i])-from, 0)
		hi := min(int(at.Last[i])+1, to) - from
		if lo >= hi {
			clear(scores)
			s.chunk.total[i] = 0
			flush(i)
			continue
		}
		for j := range lo {
			scores[j] = noScore
		}
		for j := hi; j < width; j++ {
			scores[j] = noScore
		}
	}
	flush(q1)
}

func tanh(x float32) float32 { return float32(math.Tanh(float64(x))) }

// asBytes views elements as bytes.
func asBytes(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

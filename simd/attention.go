package simd

import (
	"fmt"
	"math"
	"unsafe"
)

// Attention computes softmax(Scale·Q·Kᵀ)·V for queries that share one head of
// keys and values, which lie in pages of an arena. Page Pages[i] holds positions
// i·PageTokens to (i+1)·PageTokens; position t of a page has its key at
//
//	Arena[page·PageStride + KOffset + t·RowStride:]
//
// and its value at VOffset likewise: HeadDim elements each, binary16 if F16 and
// float32 if not.
//
// The softmax is computed block by block of at most 64 positions, with a running
// maximum and sum (Milakov and Gimelshein, 2018; Dao et al., 2022). Blocks end
// where pages end, so what a query gets depends only on its own positions.
type Attention struct {
	Q           []float32 // [n, HeadDim], rotated
	First, Last []int32   // n: query i sees positions First[i] to Last[i] inclusive
	Scale       float32
	SoftCap     float32 // if not 0, scores become SoftCap·tanh(score/SoftCap)
	HeadDim     int
	F16         bool

	Arena      []byte
	Pages      []int32
	PageTokens int
	PageStride int // bytes, as all that follow
	KOffset    int
	VOffset    int
	RowStride  int

	Out []float32 // [n, HeadDim]
}

const (
	queryTile = 10 * tileRows // queries for which a block of keys is unpacked once
	blockMax  = 64            // positions of a block
	lanes     = 16
	noScore   = -math.MaxFloat32
)

// AttentionScratch is the memory that [Attention.Run] works in: one for each
// thread, reused from call to call. The zero value is ready.
type AttentionScratch struct {
	buf     []float32
	headDim int
	keys    []float32 // [blockMax/16][dims][16]: transposed
	values  []float32 // [blockMax][dims]
	queries []float32 // [queryTile, dims] in tiles, as Activations has them
	scores  []float32 // [queryTile, blockMax]
	out     []float32 // [queryTile, dims], not yet divided by the sum
	top     []float32 // [queryTile]: running maximum
	shrink  []float32 // [queryTile]: factor for what was computed so far
	sum     []float32 // [queryTile, lanes]
}

// attentionOps are a tier's kernels for a block. dims is a multiple of 16.
type attentionOps struct {
	// loadKeys transposes rows of keys to [n/16 rounded up][dims][16] and
	// loadValues widens rows of values to [n][dims]; what a row lacks is left.
	loadKeys   func(dst []float32, dims int, rows unsafe.Pointer, stride, n, headDim int, f16 bool)
	loadValues func(dst []float32, dims int, rows unsafe.Pointer, stride, n, headDim int, f16 bool)
	// softmax replaces, in each of rows rows of blockMax scores, the first width
	// (a multiple of 16) by their exponentials relative to the query's running
	// maximum, times scale, and adds them to its sum. It sets shrink to the factor
	// by which the maximum's change shrinks what came before.
	softmax func(s []float32, width, rows int, scale float32, top, shrink, sum []float32)
	// addValues sets out[r] to out[r]·shrink[r] + Σ p[r][t]·v[t] for rows
	// queries and n positions.
	addValues func(out, p, shrink, v []float32, dims, n, rows int)
}

func (s *AttentionScratch) resize(headDim int) {
	dims := roundUp(headDim, lanes)
	sizes := []struct {
		p *[]float32
		n int
	}{
		{&s.keys, blockMax * dims}, {&s.values, blockMax * dims},
		{&s.queries, queryTile * dims}, {&s.scores, queryTile * blockMax},
		{&s.out, queryTile * dims}, {&s.top, queryTile}, {&s.shrink, queryTile},
		{&s.sum, queryTile * lanes},
	}
	total := 0
	for _, v := range sizes {
		total += v.n
	}
	if s.headDim == headDim {
		return
	}
	s.headDim = headDim
	if len(s.buf) < total {
		b := alignedBytes(4 * total)
		s.buf = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), total)
	}
	clear(s.buf) // columns beyond headDim must be zero
	at := 0
	for _, v := range sizes {
		*v.p = s.buf[at : at+v.n : at+v.n]
		at += v.n
	}
}

// Run computes Out. It panics if a query sees positions that Pages doesn't have.
func (at *Attention) Run(s *AttentionScratch) {
	n := len(at.First)
	if n == 0 {
		return
	}
	_, _, _ = at.Last[n-1], at.Q[n*at.HeadDim-1], at.Out[n*at.HeadDim-1]
	s.resize(at.HeadDim)
	for q := 0; q < n; q += queryTile {
		at.runTile(s, q, min(n, q+queryTile))
	}
}

// runTile computes queries q0 to q1.
func (at *Attention) runTile(s *AttentionScratch, q0, q1 int) {
	n, hd := q1-q0, at.HeadDim
	dims := len(s.values) / blockMax
	tile := min(n, tileRows)
	s.setQueries(at.Q[q0*hd:q1*hd], hd, dims, tile)
	first, last := at.First[q0], at.Last[q0]
	for i := q0; i < q1; i++ {
		if at.First[i] < 0 {
			panic("simd: attention to a negative position")
		}
		first, last = min(first, at.First[i]), max(last, at.Last[i])
	}
	clear(s.out[:n*dims])
	clear(s.sum[:n*lanes])
	for i := range n {
		s.top[i] = noScore
	}
	for p := int(first) / at.PageTokens; p*at.PageTokens <= int(last); p++ {
		for t := 0; t < at.PageTokens; t += blockMax {
			b0 := p*at.PageTokens + t
			b1 := min(b0+blockMax, (p+1)*at.PageTokens)
			if b1 <= int(first) || b0 > int(last) {
				continue
			}
			at.runBlock(s, q0, n, dims, tile, p, t, min(b1, int(last)+1)-b0)
		}
	}
	for i := range n {
		out := at.Out[(q0+i)*hd:][:hd]
		l := sumLanes((*[lanes]float32)(s.sum[i*lanes:]))
		if l == 0 {
			clear(out) // a query that sees nothing
			continue
		}
		Scale(out, s.out[i*dims:][:hd], 1/l)
	}
}

// setQueries copies n rows into tiles, padded with zeros.
func (s *AttentionScratch) setQueries(q []float32, hd, dims, tile int) {
	for i := range len(q) / hd {
		row := q[i*hd:][:hd]
		at := i/tile*tile*dims + i%tile*floatChunk
		for ; len(row) >= floatChunk; at += tile * floatChunk {
			copy(s.queries[at:at+floatChunk], row)
			row = row[floatChunk:]
		}
		if len(row) > 0 {
			clear(s.queries[at : at+floatChunk])
			copy(s.queries[at:], row)
		}
	}
}

// runBlock adds the count positions from t on of page p to n queries.
func (at *Attention) runBlock(s *AttentionScratch, q0, n, dims, tile, p, t, count int) {
	hd, size := at.HeadDim, 4
	if at.F16 {
		size = 2
	}
	row := int(at.Pages[p])*at.PageStride + t*at.RowStride
	lowest := row + min(at.KOffset, at.VOffset)
	highest := row + max(at.KOffset, at.VOffset) + (count-1)*at.RowStride + hd*size
	if at.RowStride < 0 || lowest < 0 || highest > len(at.Arena) {
		panic(fmt.Sprintf("simd: attention reads bytes %d to %d of an arena of %d", lowest, highest, len(at.Arena)))
	}
	ops := &active.attend
	ops.loadKeys(s.keys, dims, unsafe.Pointer(&at.Arena[row+at.KOffset]), at.RowStride, count, hd, at.F16)
	ops.loadValues(s.values, dims, unsafe.Pointer(&at.Arena[row+at.VOffset]), at.RowStride, count, hd, at.F16)

	width := roundUp(count, lanes)
	panelBytes := 4 * lanes * dims
	keys := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s.keys))), width/lanes*panelBytes)
	for i := 0; i < n; i += tile {
		x := floatTile{x: unsafe.Pointer(&s.queries[i*dims]), step: uintptr(4 * tile * floatChunk), chunks: dims / floatChunk}
		active.dotFloat(float32Weights, s.scores[i*blockMax:], blockMax, keys, panelBytes, x, min(tile, n-i))
	}
	at.weigh(s, q0, n, p*at.PageTokens+t, count, width)
	ops.addValues(s.out, s.scores, s.shrink, s.values, dims, count, n)
}

// weigh turns the scores of n queries for count positions from b0 on into
// weights.
func (at *Attention) weigh(s *AttentionScratch, q0, n, b0, count, width int) {
	scale := at.Scale
	if at.SoftCap != 0 {
		for i := range n {
			for j, v := range s.scores[i*blockMax:][:count] {
				s.scores[i*blockMax+j] = at.SoftCap * tanh(v*scale/at.SoftCap)
			}
		}
		scale = 1
	}
	begin := 0 // of a run of queries that see something of the block
	flush := func(end int) {
		if begin < end {
			active.attend.softmax(s.scores[begin*blockMax:], width, end-begin, scale, s.top[begin:], s.shrink[begin:], s.sum[begin*lanes:])
		}
		begin = end + 1
	}
	for i := range n {
		scores := s.scores[i*blockMax:][:width]
		lo := max(int(at.First[q0+i])-b0, 0)
		hi := min(int(at.Last[q0+i])+1-b0, count)
		if lo >= hi {
			clear(scores)
			s.shrink[i] = 1
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
	flush(n)
}

func tanh(x float32) float32 { return float32(math.Tanh(float64(x))) }

var portableAttention = attentionOps{
	loadKeys: func(dst []float32, dims int, rows unsafe.Pointer, stride, n, headDim int, f16 bool) {
		for t := range n {
			lane := dst[t/lanes*lanes*dims+t%lanes:]
			row := unsafe.Add(rows, t*stride)
			for c := range headDim {
				lane[c*lanes] = element(row, c, f16)
			}
		}
	},
	loadValues: func(dst []float32, dims int, rows unsafe.Pointer, stride, n, headDim int, f16 bool) {
		for t := range n {
			row := unsafe.Add(rows, t*stride)
			for c := range headDim {
				dst[t*dims+c] = element(row, c, f16)
			}
		}
	},
	softmax: func(s []float32, width, rows int, scale float32, top, shrink, sum []float32) {
		for r := range rows {
			scores, total := s[r*blockMax:][:width], sum[r*lanes:][:lanes]
			m := top[r]
			for _, v := range scores {
				m = max(m, v*scale)
			}
			shrink[r] = exp(top[r] - m)
			top[r] = m
			for i := range total {
				total[i] *= shrink[r]
			}
			for i, v := range scores {
				scores[i] = exp(v*scale - m)
				total[i%lanes] += scores[i]
			}
		}
	},
	addValues: func(out, p, shrink, v []float32, dims, n, rows int) {
		for r := range rows {
			o := out[r*dims:][:dims]
			for c := range o {
				o[c] *= shrink[r]
			}
			for t := range n {
				weight := p[r*blockMax+t]
				for c, x := range v[t*dims:][:dims] {
					o[c] = fma(weight, x, o[c])
				}
			}
		}
	},
}

// element is element c of a row of keys or values.
func element(row unsafe.Pointer, c int, f16 bool) float32 {
	if f16 {
		return float16Weights.at(unsafe.Slice((*byte)(row), 2*c+2), c)
	}
	return float32Weights.at(unsafe.Slice((*byte)(row), 4*c+4), c)
}

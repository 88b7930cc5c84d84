package simd

import (
	"math"
	"unsafe"
)

// Activations are vectors to be multiplied: rows [n, cols] in the forms that the
// kernels read, one or both of
//
//   - int8: in each block of 32 columns x = d·q + z, with q in -127..127;
//   - float32, padded with zeros to whole chunks of 16 columns.
//
// Rows are stored in tiles of up to 12 (or what the tier wants), block by block,
// so that a kernel walks through memory in one direction. The zero value is ready for [Activations.Reset].
type Activations struct {
	rows, cols int
	intRows    int // rows of a tile of the int8 form
	floatRows  int // rows of a tile of the float32 form
	blocks     int // of a row
	chunks     int // of a row
	ints       []byte
	floats     []float32
}

const (
	tileRows   = 12 // what the kernels' registers hold the results of
	floatChunk = 16
	// actBytes is what one block of one row takes in a tile.
	actBytes = blockCols + int(unsafe.Sizeof(actScales{}))
)

// actScales are the scales of one block of a row.
type actScales struct {
	d, z float32  // x = d·q + z
	sum  float32  // d·Σq
	zero int32    // -128·Σq: what codes with an offset of 128 add too much, negated
	half [2]int32 // zero of the columns 0 to 15 and 16 to 31
}

// actTile is one row, and those that follow it in its tile, of the int8 form
// from some block on. A block of a tile of n rows is n times 32 codes, then n
// times actScales.
type actTile struct {
	codes  unsafe.Pointer // *[32]int8 of the row's block
	scales unsafe.Pointer // *actScales of the row's block
	step   uintptr        // bytes from a block to the next
	blocks int
}

// floatTile is the same for the float32 form: a chunk of a tile of n rows is n
// times 16 values.
type floatTile struct {
	x      unsafe.Pointer // *[16]float32
	step   uintptr        // bytes from a chunk to the next
	chunks int
}

// Reset makes room for rows·cols values, all of them to be set by
// [Activations.Set]. It allocates only when the room has never been that large.
func (a *Activations) Reset(rows, cols int) {
	a.rows, a.cols = rows, cols
	a.intRows = max(1, min(rows, max(tileRows, active.tileRows)))
	a.floatRows = max(1, min(rows, tileRows))
	a.blocks = (cols + blockCols - 1) / blockCols
	a.chunks = (cols + floatChunk - 1) / floatChunk
	if n := roundUp(rows, a.intRows) * a.blocks * actBytes; cap(a.ints) < n {
		a.ints = alignedBytes(n)
	} else {
		a.ints = a.ints[:n]
	}
	if n := roundUp(rows, a.floatRows) * a.chunks * floatChunk; cap(a.floats) < n {
		b := alignedBytes(4 * n)
		a.floats = unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
	} else {
		a.floats = a.floats[:n]
	}
}

// Rows is the number of rows given to [Activations.Reset].
func (a *Activations) Rows() int { return a.rows }

// Cols is the number of columns given to [Activations.Reset].
func (a *Activations) Cols() int { return a.cols }

// Set fills rows r0 to r1: row r from x[r*stride:], in the forms that are
// needed. Calls for different rows may run at the same time.
func (a *Activations) Set(r0, r1 int, x []float32, stride int, needInt8, needF32 bool) {
	for r := r0; r < r1; r++ {
		row := x[r*stride:][:a.cols]
		if needInt8 {
			whole := a.cols / blockCols * blockCols
			tile := a.intTile(r, 0)
			active.quantize(row[:whole], tile)
			if whole < a.cols {
				var last [blockCols]float32
				copy(last[:], row[whole:])
				active.quantize(last[:], tile.from(whole/blockCols))
			}
		}
		if needF32 {
			at := (r/a.floatRows*a.chunks*a.floatRows + r%a.floatRows) * floatChunk
			for len(row) >= floatChunk {
				copy(a.floats[at:at+floatChunk], row)
				row = row[floatChunk:]
				at += a.floatRows * floatChunk
			}
			if len(row) > 0 {
				clear(a.floats[at : at+floatChunk])
				copy(a.floats[at:], row)
			}
		}
	}
}

// intTile is the int8 form from row r and block b on.
func (a *Activations) intTile(r, b int) actTile {
	step := a.intRows * actBytes
	at := (r/a.intRows*a.blocks + b) * step
	base := unsafe.Pointer(&a.ints[at])
	return actTile{
		codes:  unsafe.Add(base, r%a.intRows*blockCols),
		scales: unsafe.Add(base, a.intRows*blockCols+r%a.intRows*int(unsafe.Sizeof(actScales{}))),
		step:   uintptr(step),
		blocks: a.blocks - b,
	}
}

// from is the tile from its block b on.
func (t actTile) from(b int) actTile {
	t.codes = unsafe.Add(t.codes, uintptr(b)*t.step)
	t.scales = unsafe.Add(t.scales, uintptr(b)*t.step)
	t.blocks -= b
	return t
}

// block is block b of row r of the tile.
func (t actTile) block(b, r int) (*[blockCols]int8, *actScales) {
	at := uintptr(b) * t.step
	return (*[blockCols]int8)(unsafe.Add(t.codes, at+uintptr(r)*blockCols)),
		(*actScales)(unsafe.Add(t.scales, at+uintptr(r)*unsafe.Sizeof(actScales{})))
}

// floatTile is the float32 form from row r on.
func (a *Activations) floatTile(r int) floatTile {
	at := (r/a.floatRows*a.chunks*a.floatRows + r%a.floatRows) * floatChunk
	return floatTile{
		x:      unsafe.Pointer(&a.floats[at]),
		step:   uintptr(a.floatRows * floatChunk * 4),
		chunks: a.chunks,
	}
}

// chunk is chunk c of row r of the tile.
func (t floatTile) chunk(c, r int) *[floatChunk]float32 {
	return (*[floatChunk]float32)(unsafe.Add(t.x, uintptr(c)*t.step+uintptr(r)*floatChunk*4))
}

// tiniest is the narrowest range that is worth quantizing: below it the inverse
// of the scale would overflow.
const tiniest = 1e-30

// quantizePortable converts whole blocks of one row.
func quantizePortable(x []float32, t actTile) {
	for b := range len(x) / blockCols {
		q, s := t.block(b, 0)
		v := (*[blockCols]float32)(x[b*blockCols:])
		lo, hi := v[0], v[0]
		for _, f := range v[1:] {
			lo, hi = min(lo, f), max(hi, f)
		}
		*s = actScales{}
		s.d, s.z = (hi-lo)*(1.0/254), (hi+lo)*0.5
		inverse := float32(0)
		if hi-lo > tiniest {
			inverse = 254 / (hi - lo)
		}
		for i, f := range v {
			q[i] = nearest((f - s.z) * inverse)
			s.half[i/16] -= signedZero * int32(q[i])
		}
		s.zero = s.half[0] + s.half[1]
		s.sum = s.d * float32(s.zero/-signedZero)
	}
}

// nearest rounds to the nearest integer, ties to even, for |x| ≤ 127 and a bit.
// Other values (a row with a NaN or an infinity) give some integer.
func nearest(x float32) int8 {
	const shift = 3 << 22 // above it a float32 has no fraction
	return int8(max(-127, min(127, int32(math.Float32bits(x+shift))-0x4b400000)))
}

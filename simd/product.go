package simd

import "sync"

// chunkBlocks is the number of blocks that are decoded at a time: few enough for
// the first-level cache to keep them while every row of activations passes.
const chunkBlocks = 32

// floatPanels is the number of floating-point panels that pass by a tile of
// activations before the next tile's turn.
const floatPanels = 4

// scratch is what one call of Mul works in.
type scratch struct {
	recs []record                // chunkBlocks of them, aligned
	out  [16 * panelRows]float32 // of a panel that ends the matrix
	sums []byte                  // of tiles
	pack []byte                  // panels of a matrix that isn't packed
}

var scratches = sync.Pool{New: func() any {
	return &scratch{recs: alignedRecords(chunkBlocks)}
}}

// Mul multiplies rows r0 to r1 of a with panels p0 to p1 of the matrix:
// dst[r*dstStride+j] is the product of row r of a and row j of the matrix, for
// each j of [Matrix.PanelRows](p0, p1). a must have the matrix's columns, in the
// form that [Matrix.NeedsInt8] and [Matrix.NeedsFloat] ask for. Calls for
// different rows or panels may run at the same time.
func (m *Matrix) Mul(dst []float32, dstStride int, a *Activations, r0, r1, p0, p1 int) {
	if r0 >= r1 || p0 >= p1 {
		return
	}
	if a.cols != m.cols {
		panic("simd: activations and matrix differ in columns")
	}
	sc := scratches.Get().(*scratch)
	for i := range m.segments {
		s := &m.segments[i]
		q0, q1 := max(p0-s.panel0, 0), min(p1-s.panel0, s.panels)
		if q0 >= q1 {
			continue
		}
		switch {
		case s.data == nil:
			s.mulStored(dst, dstStride, a, r0, r1, q0, q1, sc)
		case s.format == nil:
			s.mulFloat(dst, dstStride, a, r0, r1, q0, q1, sc)
		default:
			s.mulInt(dst, dstStride, a, r0, r1, q0, q1, sc)
		}
	}
	scratches.Put(sc)
}

// mulInt is Mul for the segment's own panels p0 to p1, quantized weights.
func (s *segment) mulInt(dst []float32, stride int, a *Activations, r0, r1, p0, p1 int, sc *scratch) {
	if whole := min(p1, s.rows/panelRows); whole > p0 && active.mulFused != nil && active.mulFused(s, dst, stride, a, r0, r1, p0, whole) {
		p0 = whole
	}
	if active.mulTiles != nil && p0 < p1 && active.mulTiles(s, dst, stride, a, r0, r1, p0, p1, sc) {
		return
	}
	for p := p0; p < p1; p++ {
		for b := 0; b < a.blocks; b += chunkBlocks {
			n := min(chunkBlocks, a.blocks-b)
			active.decode(s, p, b, n, sc.recs)
			for r := r0; r < r1; {
				rows := min(r1-r, a.intRows-r%a.intRows)
				out, outStride := s.output(dst, stride, r, rows, p, sc)
				active.dot(s.format.kind, out, outStride, sc.recs[:n], a.intTile(r, b), rows, b == 0)
				s.finish(dst, stride, r, rows, p, sc)
				r += rows
			}
		}
	}
}

// mulFloat is Mul for the segment's own panels p0 to p1, floating-point weights.
func (s *segment) mulFloat(dst []float32, stride int, a *Activations, r0, r1, p0, p1 int, sc *scratch) {
	for p := p0; p < p1; {
		n := max(1, min(floatPanels, p1-p, s.rows/panelRows-p)) // the last may be short
		for r := r0; r < r1; {
			rows := min(r1-r, a.floatRows-r%a.floatRows)
			out, outStride := s.output(dst, stride, r, rows, p, sc)
			active.dotFloat(s.float, out, outStride, s.data[p*s.panelBytes:(p+n)*s.panelBytes], s.panelBytes, a.floatTile(r), rows)
			s.finish(dst, stride, r, rows, p, sc)
			r += rows
		}
		p += n
	}
}

// output is where kernels write panel p of rows r..: dst itself, or the scratch
// if the panel has rows that the matrix lacks. finish copies from there.
func (s *segment) output(dst []float32, stride, r, rows, p int, sc *scratch) ([]float32, int) {
	at := r*stride + s.row0 + p*panelRows
	if n := s.rows - p*panelRows; n < panelRows {
		for i := range rows {
			copy(sc.out[i*panelRows:][:n], dst[at+i*stride:])
		}
		return sc.out[:], panelRows
	}
	_ = dst[at+(rows-1)*stride+panelRows-1] // kernels don't check
	return dst[at:], stride
}

func (s *segment) finish(dst []float32, stride, r, rows, p int, sc *scratch) {
	if n := s.rows - p*panelRows; n < panelRows {
		for i := range rows {
			copy(dst[(r+i)*stride+s.row0+p*panelRows:][:n], sc.out[i*panelRows:])
		}
	}
}

// dotPortable sets dst[r*stride+lane], or adds to it unless first, the products
// of decoded blocks with rows 0 to rows of a tile. Every kernel does the float
// operations of an element in this order.
func dotPortable(k kind, dst []float32, stride int, recs []record, act actTile, rows int, first bool) {
	for r := range rows {
		out := (*[panelRows]float32)(dst[r*stride:])
		if first {
			clear(out[:])
		}
		for b := range recs {
			rec := &recs[b]
			x, s := act.block(b, r)
			var sum [2][panelRows]int32
			for g := range groups {
				v := (*[groupCols]int8)(x[g*groupCols:])
				for lane := range panelRows {
					q := (*[groupCols]uint8)(rec.codes[g][lane*groupCols:])
					sum[g/4][lane] += int32(q[0])*int32(v[0]) + int32(q[1])*int32(v[1]) +
						int32(q[2])*int32(v[2]) + int32(q[3])*int32(v[3])
				}
			}
			for lane := range panelRows {
				o := out[lane]
				if k&halves == 0 {
					n := sum[0][lane] + sum[1][lane]
					if k&affine == 0 {
						n += s.zero
					}
					o = fma(float32(n), rec.d[0][lane]*s.d, o)
					if k&affine != 0 {
						o = fma(rec.m[0][lane], s.sum, o)
					}
				} else {
					n0, n1 := sum[0][lane], sum[1][lane]
					if k&affine == 0 {
						n0, n1 = n0+s.half[0], n1+s.half[1]
					}
					t := fma(float32(n1), rec.d[1][lane], float32(n0)*rec.d[0][lane])
					if k&affine != 0 {
						// half is -128·Σq of the half: exact after division.
						t = fma(rec.m[0][lane], float32(s.half[0])*(-1.0/signedZero), t)
						t = fma(rec.m[1][lane], float32(s.half[1])*(-1.0/signedZero), t)
					}
					o = fma(t, s.d, o)
				}
				out[lane] = fma(rec.sum[lane], s.z, o)
			}
		}
	}
}

// dotFloatPortable sets dst[r*stride+16*p+lane] to the products of each
// floating-point panel p of data with rows 0 to rows of a tile, summed in the
// order of the columns.
func dotFloatPortable(typ floatType, dst []float32, stride int, data []byte, panelBytes int, act floatTile, rows int) {
	for p := range len(data) / panelBytes {
		panel := data[p*panelBytes:]
		for r := range rows {
			var sum [panelRows]float32
			for c := range act.chunks {
				x := act.chunk(c, r)
				for i, v := range x {
					for lane := range sum {
						sum[lane] = fma(typ.weight(panel, c*floatChunk+i, lane), v, sum[lane])
					}
				}
			}
			copy(dst[r*stride+p*panelRows:][:panelRows], sum[:])
		}
	}
}

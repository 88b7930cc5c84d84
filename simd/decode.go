package simd

import "github.com/inferflux/inferflux/tensor"

// record is a decoded block of a panel: what the product kernels read, the same
// for all types. Code 4·lane+j of group g is that of column 4g+j of row lane.
type record struct {
	codes [groups][panelRows * groupCols]uint8
	d     [2][panelRows]float32 // scale of the block, or of its halves
	m     [2][panelRows]float32 // minimum likewise, for affine kinds
	sum   [panelRows]float32    // sum of the weights of the block
}

// recordForm is how the records of a tier differ from what type record says.
type recordForm struct {
	signed bool // codes are signed: q, not q+128; of kind affineLarge q-128
	// zipped: of each two groups, eight bytes for each lane: lanes 4p and 4p+1 at
	// 16p of the first group's place, 4p+2 and 4p+3 at 16p of the second's.
	zipped bool
}

// at is where the code of a lane's column is.
func (f recordForm) at(lane, c int) (group, i int) {
	group, i = c/groupCols, lane*groupCols+c%groupCols
	if f.zipped {
		i = lane/4*16 + lane%2*8 + group%2*groupCols + c%groupCols
		group = group&^1 | lane/2%2
	}
	return group, i
}

// zero is the code of q = 0.
func (f recordForm) zero(k kind) uint8 {
	switch {
	case k&large != 0 && f.signed:
		return signedZero // its codes are q-128
	case k&affine != 0 || f.signed:
		return 0
	}
	return signedZero
}

// decode is decodePortable for records of another form.
func (f recordForm) decode(s *segment, p, b0, n int, dst []record) {
	decodePortable(s, p, b0, n, dst)
	k := s.format.kind
	shift := recordForm{}.zero(k) - f.zero(k)
	for b := range dst[:n] {
		codes := dst[b].codes
		for lane := range panelRows {
			for c := range blockCols {
				g, i := f.at(lane, c)
				dst[b].codes[g][i] = codes[c/groupCols][lane*groupCols+c%groupCols] - shift
			}
		}
	}
}

// decodePortable decodes n blocks of a panel from block b0 on.
func decodePortable(s *segment, p, b0, n int, dst []record) {
	panel := s.panel(p)
	for i := range n {
		s.decodeBlock(panel, b0+i, &dst[i])
	}
}

func (s *segment) decodeBlock(panel []byte, b int, r *record) {
	f := s.format
	size := f.blockBytes()
	block := panel[b*size : (b+1)*size]
	lowSize := f.low * panelRows * blockCols / 8
	low, high := block[:lowSize], block[lowSize:]
	for g := range groups {
		codes := &r.codes[g]
		vector, at := planePosition(f.low, g)
		mask := uint8(1<<f.low - 1)
		for i, v := range (*[64]byte)(low[vector*64:]) {
			codes[i] = v >> at & mask
		}
		if f.high > 0 {
			vector, at := planePosition(f.high, g)
			mask := uint8(1<<f.high - 1)
			for i, v := range (*[64]byte)(high[vector*64:]) {
				codes[i] |= v >> at & mask << f.low
			}
		}
		if f.kind&affine == 0 && f.params != nil {
			for i, c := range codes {
				codes[i] = f.params.levels[c]
			}
		} else {
			for i := range codes {
				codes[i] += f.offset
			}
		}
	}
	f.blockScales(panel[s.scaleOffset:], b, r)
	r.sumWeights(f.kind)
}

// sumWeights sets sum from the rest of the record.
func (r *record) sumWeights(k kind) {
	zero := int32(0)
	if k&affine == 0 {
		zero = signedZero
	}
	for lane := range panelRows {
		var n [2]int32
		for g := range groups {
			for j := range groupCols {
				n[g/4] += int32(r.codes[g][lane*groupCols+j]) - zero
			}
		}
		if k&halves == 0 {
			r.sum[lane] = r.d[0][lane] * float32(n[0]+n[1])
			if k&affine != 0 {
				r.sum[lane] = fma(r.m[0][lane], blockCols, r.sum[lane])
			}
			continue
		}
		r.sum[lane] = fma(r.d[1][lane], float32(n[1]), r.d[0][lane]*float32(n[0]))
		if k&affine != 0 {
			r.sum[lane] = fma(r.m[0][lane], blockCols/2, r.sum[lane])
			r.sum[lane] = fma(r.m[1][lane], blockCols/2, r.sum[lane])
		}
	}
}

// blockScales reads the scales and minima of block b.
func (f *format) blockScales(src []byte, b int, r *record) {
	const vec16 = 2 * panelRows
	perSpan := f.span() / blockCols
	src = src[b/perSpan*f.scaleBytes():]
	sub := b % perSpan
	switch f.scales {
	case scaleMinGroup:
		typ := floatType(f.params.scaleType)
		for lane := range panelRows {
			r.d[0][lane], r.m[0][lane] = typ.at(src, lane), typ.at(src, panelRows+lane)
		}
		return
	case scaleE4M3:
		for lane := range panelRows {
			r.d[0][lane], r.d[1][lane] = e4m3(src[lane])/2, e4m3(src[panelRows+lane])/2
		}
		return
	}
	for lane := range panelRows {
		d := le.Uint16(src[2*lane:])
		if f.scales == scaleBF16 {
			r.d[0][lane] = tensor.BF16ToF32(d)
			continue
		}
		r.d[0][lane] = tensor.F16ToF32(d)
		if f.kind&affine != 0 {
			r.m[0][lane] = tensor.F16ToF32(le.Uint16(src[vec16+2*lane:]))
		}
	}
	for lane := range panelRows {
		d, m := r.d[0][lane], r.m[0][lane]
		switch f.scales {
		case scaleSuper:
			scale := src[vec16:]
			if f.kind&halves == 0 {
				r.d[0][lane] = d * float32(int8(scale[sub*panelRows+lane]))
				continue
			}
			r.d[0][lane] = d * float32(int8(scale[2*sub*panelRows+lane]))
			r.d[1][lane] = d * float32(int8(scale[(2*sub+1)*panelRows+lane]))
		case scaleMinSuper:
			scale := src[2*vec16+2*sub*panelRows:]
			r.d[0][lane] = d * float32(scale[lane])
			r.m[0][lane] = -(m * float32(scale[panelRows+lane]))
		case scaleMinSuperNib:
			scale := src[2*vec16+2*sub*panelRows:]
			for h := range 2 {
				b := scale[h*panelRows+lane]
				r.d[h][lane] = d * float32(b&15)
				r.m[h][lane] = -(m * float32(b>>4))
			}
		}
	}
}

// row dequantizes row i of the segment exactly.
func (s *segment) row(dst []float32, i int) {
	if s.data == nil {
		t, row := s.source(i)
		_ = t.Dequantize(dst, row, row+1) // LayOut checked the type and the lengths
		return
	}
	panel, lane := s.panel(i/panelRows), i%panelRows
	if s.format == nil {
		for c := range dst {
			dst[c] = s.float.weight(panel, c, lane)
		}
		return
	}
	k, form := s.format.kind, active.records
	zero := form.zero(k)
	sc := scratches.Get().(*scratch)
	blocks := s.cols / blockCols
	for b := range blocks {
		if b%chunkBlocks == 0 {
			active.decode(s, i/panelRows, b, min(chunkBlocks, blocks-b), sc.recs)
		}
		r := &sc.recs[b%chunkBlocks]
		for c := range blockCols {
			half := 0
			if k&halves != 0 {
				half = c / 16
			}
			g, at := form.at(lane, c)
			code := r.codes[g][at]
			d := r.d[half][lane]
			// The conversion keeps the compiler from fusing the operations.
			if k&affine != 0 {
				dst[b*blockCols+c] = float32(d*float32(code-zero)) + r.m[half][lane]
			} else {
				dst[b*blockCols+c] = d * float32(int8(code-zero))
			}
		}
	}
	scratches.Put(sc)
}

// fma is a·b+c, rounded once (to float64 and from there, which differs from one
// rounding in the rarest cases).
func fma(a, b, c float32) float32 { return float32(float64(a)*float64(b) + float64(c)) }

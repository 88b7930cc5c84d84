package simd

import (
	"math"

	"github.com/inferflux/inferflux/tensor"
)

// PackPanels packs panels p0 to p1 of a matrix made by [NewMatrix], or that
// [Matrix.PackInto] gave memory.
func (m *Matrix) PackPanels(p0, p1 int) {
	for i := range m.segments {
		s := &m.segments[i]
		for p := max(p0-s.panel0, 0); p < min(p1-s.panel0, s.panels); p++ {
			s.pack(s.panel(p), p)
		}
	}
	if m.unpacked.Add(int64(p0-p1)) == 0 {
		for i := range m.segments {
			m.segments[i].parts = nil
		}
	}
}

// pack packs panel p of the segment. Lanes and columns that the matrix lacks must
// be zero before.
func (s *segment) pack(panel []byte, p int) {
	if s.packFast(panel, p) {
		return
	}
	var buf []float32
	if s.expand {
		buf = make([]float32, s.cols)
	}
	for lane := range min(panelRows, s.rows-p*panelRows) {
		t, row := s.source(p*panelRows + lane)
		if s.expand {
			// The type and the lengths were checked by NewMatrix.
			_ = t.Dequantize(buf, row, row+1)
			for c, v := range buf {
				le.PutUint32(panel[(c*panelRows+lane)*4:], math.Float32bits(v))
			}
			continue
		}
		if s.format != nil {
			s.packRow(panel, lane, t, row)
		} else {
			packMXFP8(panel, lane, t, row)
		}
	}
}

// source is the matrix that row r of the segment is stored in, and its row there.
func (s *segment) source(r int) (tensor.Tensor, int) {
	for _, t := range s.parts {
		if rows := t.Rows(); r >= rows {
			r -= rows
			continue
		}
		return t, r
	}
	panic("simd: panel packed twice")
}

// packRow puts a row of quantized weights into its lane of a panel.
func (s *segment) packRow(panel []byte, lane int, t tensor.Tensor, row int) {
	f := s.format
	span := f.span()
	spans := s.cols / span
	spanBytes := len(t.Data) / t.Rows() / spans
	var u unpacked
	for i := range spans {
		if f.unpackMLX != nil {
			f.unpackMLX(t, row*spans+i, &u)
		} else {
			f.unpack(t.Data[(row*spans+i)*spanBytes:][:spanBytes], &u)
		}
		for b := range span / blockCols {
			codes := (*[blockCols]uint8)(u.codes[b*blockCols:])
			putCodes(panel[(i*span/blockCols+b)*f.blockBytes()+lane*groupCols:], f.low, f.high, codes)
		}
		f.putScales(panel[s.scaleOffset+i*f.scaleBytes():], lane, &u)
	}
}

// planePosition is the vector of a plane, and the bit in its bytes, at which the
// codes of group g are.
func planePosition(bits, g int) (vector, at int) {
	switch bits {
	case 8:
		return g, 0
	case 4:
		return g & 3, g >> 2 * 4
	case 2:
		return g >> 2, g & 3 * 2
	default:
		return 0, g
	}
}

// putScales puts the scales of a span into their lane.
func (f *format) putScales(dst []byte, lane int, u *unpacked) {
	const vec16 = 2 * panelRows
	switch f.scales {
	case scaleE4M3:
		for h, bits := range u.pair {
			dst[h*panelRows+lane] = uint8(bits)
		}
		return
	case scaleMinGroup:
		for i, bits := range u.pair {
			if at := i*panelRows + lane; f.params.scaleType == int64(float32Weights) {
				le.PutUint32(dst[4*at:], bits)
			} else {
				le.PutUint16(dst[2*at:], uint16(bits))
			}
		}
		return
	}
	le.PutUint16(dst[2*lane:], u.d)
	if f.kind&affine != 0 {
		le.PutUint16(dst[vec16+2*lane:], u.m)
	}
	switch f.scales {
	case scaleSuper:
		for i := range (f.scaleBytes() - vec16) / panelRows {
			dst[vec16+i*panelRows+lane] = uint8(u.scales[i])
		}
	case scaleMinSuper:
		for i := range 8 {
			dst[2*vec16+2*i*panelRows+lane] = uint8(u.scales[i])
			dst[2*vec16+(2*i+1)*panelRows+lane] = u.mins[i]
		}
	case scaleMinSuperNib:
		for i := range 16 {
			dst[2*vec16+i*panelRows+lane] = uint8(u.scales[i]) | u.mins[i]<<4
		}
	}
}

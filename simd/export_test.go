package simd

import (
	"math"

	"github.com/inferflux/inferflux/tensor"
)

// ForceTier makes a tier the one in use until restore is called.
func ForceTier(name string) (restore func()) {
	old := active
	t, err := chooseTier(name)
	if err != nil {
		panic(err)
	}
	active = t
	return func() { active = old }
}

// ChooseTier is what INFERFLUX_SIMD=name would choose.
func ChooseTier(name string) (string, error) {
	t, err := chooseTier(name)
	return t.name, err
}

// Quantized is what the int8 form of row r stands for, and the step d of each of
// its blocks.
func (a *Activations) Quantized(r int) (x, steps []float32) {
	for b := range a.blocks {
		q, s := a.intTile(r, b).block(0, 0)
		for _, v := range q {
			x = append(x, s.d*float32(v)+s.z)
		}
		steps = append(steps, s.d)
	}
	return x, steps
}

// Decoded is the codes of the blocks of panel p as the tier's records have them,
// decoded by the tier and in Go.
func (m *Matrix) Decoded(p int) (tier, portable []byte) {
	s := &m.segments[0]
	recs := alignedRecords(s.cols / blockCols)
	codes := func() (all []byte) {
		for i := range recs {
			for g := range recs[i].codes {
				all = append(all, recs[i].codes[g][:]...)
			}
		}
		return all
	}
	active.decode(s, p, 0, len(recs), recs)
	tier = codes()
	active.records.decode(s, p, 0, len(recs), recs)
	return tier, codes()
}

// Panels0 is the packed form of the matrix's first segment.
func (m *Matrix) Panels0() []byte { return m.segments[0].data }

// Repack packs a matrix of one part again.
func (m *Matrix) Repack(part tensor.Tensor) {
	s := &m.segments[0]
	s.parts = []tensor.Tensor{part}
	for p := range s.panels {
		s.pack(s.panel(p), p)
	}
	s.parts = nil
}

// ReferencePanels packs one matrix the plain way, code by code.
func ReferencePanels(t tensor.Tensor) []byte {
	m, err := NewMatrix(t)
	if err != nil {
		panic(err)
	}
	s := &m.segments[0]
	rowBytes := len(t.Data) / s.rows
	values := make([]float32, s.cols)
	for r := range s.rows {
		panel, lane := s.panel(r/panelRows), r%panelRows
		src := t.Data[r*rowBytes : (r+1)*rowBytes]
		f := s.format
		if f == nil {
			if err := t.Dequantize(values, r, r+1); err != nil {
				panic(err)
			}
			for c, v := range values {
				at := c*panelRows + lane
				switch {
				case s.expand || s.float == float32Weights:
					le.PutUint32(panel[4*at:], math.Float32bits(v))
				default:
					le.PutUint16(panel[2*at:], le.Uint16(src[2*c:]))
				}
			}
			continue
		}
		var u unpacked
		perSpan := rowBytes / (s.cols / f.span())
		for i := range s.cols / f.span() {
			f.unpack(src[i*perSpan:(i+1)*perSpan], &u)
			for c, code := range u.codes[:f.span()] {
				b := i*f.span()/blockCols + c/blockCols
				g, j := c%blockCols/groupCols, c%groupCols
				block := panel[b*f.blockBytes():]
				vector, at := planePosition(f.low, g)
				block[vector*64+lane*groupCols+j] |= code & (1<<f.low - 1) << at
				if f.high > 0 {
					vector, at := planePosition(f.high, g)
					block[f.low*64+vector*64+lane*groupCols+j] |= code >> f.low << at
				}
			}
			f.putScales(panel[s.scaleOffset+i*f.scaleBytes():], lane, &u)
		}
	}
	return s.data
}

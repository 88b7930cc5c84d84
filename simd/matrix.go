package simd

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/inferflux/inferflux/tensor"
)

// Matrix is a weight matrix [Rows, Cols], packed for the kernels or as it is stored
// (see [LayOut]). It is safe for concurrent use once all its panels are packed.
type Matrix struct {
	rows, cols int
	panels     int
	segments   []segment
	unpacked   atomic.Int64 // panels that PackPanels has still to do
}

// segment is a run of rows of one type. It starts with a panel of its own.
type segment struct {
	parts       []tensor.Tensor // nil once packed
	row0, rows  int
	cols        int
	panel0      int    // first panel
	panels      int    // number of panels
	data        []byte // panels, aligned to 64 bytes; nil if they aren't packed
	panelBytes  int
	scaleOffset int     // of a panel's scales, after its codes
	format      *format // nil for floating-point weights
	float       floatType
	expand      bool // floating-point weights that tensor.Dequantize supplies
}

// Pack packs one matrix from its stored form: rows·cols elements of type t.
func Pack(t tensor.Type, rows, cols int, data []byte) (*Matrix, error) {
	return PackParts(tensor.Tensor{Type: t, Shape: []int{rows, cols}, Data: data})
}

// PackParts packs matrices with the same number of columns as one, stacked by
// rows in the order given. Their types may differ.
func PackParts(parts ...tensor.Tensor) (*Matrix, error) {
	m, err := NewMatrix(parts...)
	if err != nil {
		return nil, err
	}
	m.PackPanels(0, m.Panels())
	return m, nil
}

// NewMatrix is [PackParts] without the packing: [Matrix.PackPanels] must be
// called once for every panel, from as many goroutines as desired, before the
// matrix is used. The parts' data must stay valid until then.
func NewMatrix(parts ...tensor.Tensor) (*Matrix, error) {
	m, err := LayOut(parts...)
	if err != nil {
		return nil, err
	}
	m.PackInto(alignedBytes(m.Bytes()))
	return m, nil
}

// LayOut is [PackParts] without a packed copy: a product packs the panels that it
// needs into memory of its own, each time. That makes no difference to results, and
// takes next to no memory, but time: much of it where few rows are multiplied. The
// parts' data must stay valid. [Matrix.PackInto] changes to a copy.
func LayOut(parts ...tensor.Tensor) (*Matrix, error) {
	if len(parts) == 0 {
		return nil, errors.New("pack matrix: no parts")
	}
	m := &Matrix{cols: parts[0].Cols()}
	for _, p := range parts {
		rows := p.Rows()
		if p.Cols() != m.cols {
			return nil, fmt.Errorf("pack matrix: %s has %d columns, the first part %d", p, p.Cols(), m.cols)
		}
		if rows < 1 || m.cols < 1 {
			return nil, fmt.Errorf("pack matrix: %s is empty", p)
		}
		s := segment{parts: []tensor.Tensor{p}, row0: m.rows, rows: rows, cols: m.cols}
		if err := checkData(p); err != nil {
			return nil, fmt.Errorf("pack matrix %s: %w", p, err)
		}
		if err := s.layOut(p); err != nil {
			return nil, fmt.Errorf("pack matrix %s: %w", p, err)
		}
		m.rows += rows
		if n := len(m.segments); n > 0 && m.segments[n-1].packedAs(&s) {
			last := &m.segments[n-1]
			last.parts = append(last.parts, p)
			last.rows += rows
			continue
		}
		m.segments = append(m.segments, s)
	}
	for i := range m.segments {
		s := &m.segments[i]
		s.panel0 = m.panels
		s.panels = (s.rows + panelRows - 1) / panelRows
		m.panels += s.panels
	}
	return m, nil
}

// PackInto has the matrix use a packed copy in b: [Matrix.Bytes] zeroed bytes at an
// address that is a multiple of 64. [Matrix.PackPanels] must be called once for
// every panel, from as many goroutines as desired, before the matrix is used.
func (m *Matrix) PackInto(b []byte) {
	useHugePages(b)
	for i := range m.segments {
		s := &m.segments[i]
		n := s.panels * s.panelBytes
		s.data, b = b[:n:n], b[n:]
	}
	m.unpacked.Store(int64(m.panels))
}

// checkData proves that the matrix's rows can be read.
func checkData(p tensor.Tensor) error {
	if p.Packed != nil {
		return p.Dequantize(nil, 0, 0) // checks all but the values
	}
	rowBytes, err := p.Type.RowBytes(p.Cols())
	if err != nil {
		return err
	}
	if rows := p.Rows(); rowBytes > len(p.Data)/rows || rowBytes*rows != len(p.Data) {
		return fmt.Errorf("%d rows of %d bytes expected, got %d bytes", rows, rowBytes, len(p.Data))
	}
	return nil
}

// layOut chooses the packed form for a type.
func (s *segment) layOut(p tensor.Tensor) error {
	var size int
	switch p.Type {
	case tensor.F32:
		s.float = float32Weights
	case tensor.F16:
		s.float = float16Weights
	case tensor.BF16:
		s.float = bfloat16Weights
	case tensor.MLXMXFP8:
		s.float = mxfp8Weights
	default:
		s.format = formatOf(p)
		s.expand = s.format == nil
		if s.expand && !p.CanDequantize() {
			return fmt.Errorf("no kernels for type %s", p.Type)
		}
	}
	if f := s.format; f != nil {
		s.scaleOffset = s.cols / blockCols * f.blockBytes()
		size = s.scaleOffset + s.cols/f.span()*f.scaleBytes()
	} else {
		size = s.float.panelBytes(roundUp(s.cols, floatChunk))
	}
	s.panelBytes = roundUp(size, 64)
	return nil
}

// packedAs reports whether o's rows can follow the segment's.
func (s *segment) packedAs(o *segment) bool {
	return s.parts[0].Type == o.parts[0].Type && s.format == o.format
}

// Rows is the number of rows: the length of a product.
func (m *Matrix) Rows() int { return m.rows }

// Cols is the number of columns: the length of the vectors it multiplies.
func (m *Matrix) Cols() int { return m.cols }

// Panels is the number of panels, the unit in which work is split.
func (m *Matrix) Panels() int { return m.panels }

// Bytes is the memory that a packed copy of the weights takes.
func (m *Matrix) Bytes() int {
	n := 0
	for i := range m.segments {
		n += m.segments[i].panels * m.segments[i].panelBytes
	}
	return n
}

// NeedsInt8 reports whether [Matrix.Mul] reads the int8 form of activations.
func (m *Matrix) NeedsInt8() bool { return m.needs(true) }

// NeedsFloat reports whether [Matrix.Mul] reads the float32 form of activations.
func (m *Matrix) NeedsFloat() bool { return m.needs(false) }

func (m *Matrix) needs(int8s bool) bool {
	for i := range m.segments {
		if (m.segments[i].format != nil) == int8s {
			return true
		}
	}
	return false
}

// PanelRows is the range of rows that panels p0 to p1 compute.
func (m *Matrix) PanelRows(p0, p1 int) (r0, r1 int) {
	if p0 >= p1 {
		return 0, 0
	}
	for i := range m.segments {
		s := &m.segments[i]
		if p0 >= s.panel0 && p0 < s.panel0+s.panels {
			r0 = s.row0 + (p0-s.panel0)*panelRows
		}
		if p1 > s.panel0 && p1 <= s.panel0+s.panels {
			r1 = s.row0 + min((p1-s.panel0)*panelRows, s.rows)
		}
	}
	return r0, r1
}

// Row writes the exact values of row i, as [tensor.Dequantize] gives them, to
// dst, which has Cols elements.
func (m *Matrix) Row(dst []float32, i int) {
	for k := range m.segments {
		s := &m.segments[k]
		if i >= s.row0 && i < s.row0+s.rows {
			s.row(dst[:m.cols], i-s.row0)
			return
		}
	}
	panic(fmt.Sprintf("simd: row %d of a matrix of %d rows", i, m.rows))
}

// panel is the data of the segment's panel p, counted from its own first.
func (s *segment) panel(p int) []byte { return s.data[p*s.panelBytes : (p+1)*s.panelBytes] }

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

// alignedBytes allocates n zeroed bytes at a multiple of 64, so that no vector of
// a panel straddles two cache lines.
func alignedBytes(n int) []byte {
	b := make([]byte, n+63)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & 63
	return b[skip : skip+n : skip+n]
}

func alignedRecords(n int) []record {
	b := alignedBytes(n * int(unsafe.Sizeof(record{})))
	return unsafe.Slice((*record)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

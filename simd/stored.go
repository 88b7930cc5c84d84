package simd

// storedPanels is how many panels of a matrix that isn't packed are packed at a
// time: the floating-point kernels' number, which the integer ones like too.
const storedPanels = floatPanels

// mulStored is mulInt or mulFloat for a segment that isn't packed: it does panels
// p0 to p1 a few at a time, as a matrix of their own.
func (s *segment) mulStored(dst []float32, stride int, a *Activations, r0, r1, p0, p1 int, sc *scratch) {
	if n := storedPanels * s.panelBytes; cap(sc.pack) < n {
		sc.pack = alignedBytes(n)
	}
	few := *s
	for p := p0; p < p1; p += storedPanels {
		n := min(storedPanels, p1-p)
		few.row0, few.rows = s.row0+p*panelRows, min(n*panelRows, s.rows-p*panelRows)
		few.panel0, few.panels = 0, n
		few.data = sc.pack[:n*s.panelBytes]
		if few.rows < n*panelRows || s.format == nil && s.cols%floatChunk != 0 {
			clear(few.data) // lanes or columns that the matrix lacks
		}
		for i := range n {
			s.pack(few.panel(i), p+i)
		}
		if s.format == nil {
			few.mulFloat(dst, stride, a, r0, r1, 0, n, sc)
		} else {
			few.mulInt(dst, stride, a, r0, r1, 0, n, sc)
		}
	}
}

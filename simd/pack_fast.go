package simd

import "github.com/inferflux/inferflux/tensor"

// Packing is a transposition: the codes of a block are as many 32-bit words as they
// have bits, each holding those of four columns from several groups (see format), and
// word i of row lane goes to vector i of the block. The usual types have a packer for
// whole rows here, which has little more to do than that: the nibbles of many are
// stored in just this order. The others go through unpacked and putCodes.

// rowPacker puts a whole stored row into its lane: codes is the panel from the
// lane's first word on, scales the panel's scales.
type rowPacker func(codes, scales []byte, lane int, src []byte)

// rowPackers has them by stored type.
var rowPackers = map[tensor.Type]rowPacker{
	tensor.Q4_0:   packQ4_0,
	tensor.Q4_1:   packQ4_1,
	tensor.Q5_0:   packQ5_0,
	tensor.Q5_1:   packQ5_1,
	tensor.Q8_0:   packQ8_0,
	tensor.Q4_K:   packQ4_K,
	tensor.Q5_K:   packQ5_K,
	tensor.Q6_K:   packQ6_K,
	tensor.IQ4_NL: packQ4_0,
	tensor.MXFP4:  packMXFP4,
}

const vectorBytes = 64

// packFast packs panel p if the segment's type has a fast way.
func (s *segment) packFast(panel []byte, p int) bool {
	packRow := rowPackers[s.parts[0].Type]
	words := s.format == nil && !s.expand && s.float == float32Weights
	halfWords := s.format == nil && !s.expand && (s.float == float16Weights || s.float == bfloat16Weights)
	if packRow == nil && !words && !halfWords {
		return false
	}
	n := min(panelRows, s.rows-p*panelRows)
	var rows [panelRows][]byte
	for lane := range n {
		t, row := s.source(p*panelRows + lane)
		size := len(t.Data) / t.Rows()
		rows[lane] = t.Data[row*size : (row+1)*size]
	}
	switch {
	case packRow != nil:
		for lane, src := range rows[:n] {
			packRow(panel[lane*groupCols:], panel[s.scaleOffset:], lane, src)
		}
	case words:
		packWords(panel, rows[:n])
	default:
		for lane := 0; lane < n; lane += 4 {
			packHalfWords(panel[2*lane:], rows[lane:min(lane+4, n)])
		}
	}
	return true
}

// packWords puts rows of 32-bit elements into a panel: element c of row lane at
// 16c + lane.
func packWords(panel []byte, rows [][]byte) {
	for lane, src := range rows {
		for dst := panel[4*lane:]; len(src) >= 4; src = src[4:] {
			le.PutUint32(dst, le.Uint32(src))
			if len(src) > 4 {
				dst = dst[vectorBytes:]
			}
		}
	}
}

// packHalfWords does that with up to four rows of 16-bit elements: four elements of
// each at a time, transposed in registers.
func packHalfWords(panel []byte, rows [][]byte) {
	const step = 2 * panelRows
	done := 0 // columns
	if len(rows) == 4 {
		a, b, c, d := rows[0], rows[1], rows[2], rows[3]
		n := len(a) / 8
		b, c, d = b[:len(a)], c[:len(a)], d[:len(a)]
		for i := range n {
			at := 8 * i
			w0, w1, w2, w3 := le.Uint64(a[at:]), le.Uint64(b[at:]), le.Uint64(c[at:]), le.Uint64(d[at:])
			// Pairs of rows: even columns, odd columns.
			const even = 0x0000ffff0000ffff
			e01, o01 := w0&even|w1&even<<16, w0>>16&even|w1&^even
			e23, o23 := w2&even|w3&even<<16, w2>>16&even|w3&^even
			out := panel[4*step*i:][:3*step+8]
			le.PutUint64(out, e01&0xffffffff|e23<<32)
			le.PutUint64(out[step:], o01&0xffffffff|o23<<32)
			le.PutUint64(out[2*step:], e01>>32|e23>>32<<32)
			le.PutUint64(out[3*step:], o01>>32|o23>>32<<32)
		}
		done = 4 * n
	}
	for lane, src := range rows {
		for c := done; c < len(src)/2; c++ {
			le.PutUint16(panel[c*step+2*lane:], le.Uint16(src[2*c:]))
		}
	}
}

// putCodes puts the codes of a block, of low and high bits, into a lane of its
// planes.
func putCodes(dst []byte, low, high int, codes *[blockCols]uint8) {
	w0, w1, w2, w3 := le.Uint64(codes[0:]), le.Uint64(codes[8:]), le.Uint64(codes[16:]), le.Uint64(codes[24:])
	switch mask := uint64(1<<low-1) * eachByte; low {
	case 8:
		putWords(fourVectors(dst, 0), w0, w1)
		putWords(fourVectors(dst, 4), w2, w3)
	case 4:
		putWords(fourVectors(dst, 0), w0&mask|w2&mask<<4, w1&mask|w3&mask<<4)
	default:
		putPairs(dst, w0&mask, w1&mask, w2&mask, w3&mask)
	}
	if high == 0 {
		return
	}
	mask := uint64(1<<high-1) * eachByte
	w0, w1, w2, w3 = w0>>low&mask, w1>>low&mask, w2>>low&mask, w3>>low&mask
	dst = dst[low*vectorBytes:]
	if high == 2 {
		putPairs(dst, w0, w1, w2, w3)
		return
	}
	putBits(dst, w0, w1, w2, w3)
}

// putBits puts a block of single bits into a lane of one vector.
func putBits(dst []byte, w0, w1, w2, w3 uint64) {
	w := w0 | w1<<2 | w2<<4 | w3<<6 // groups 0, 2, 4, 6 and 1, 3, 5, 7
	le.PutUint32(dst, uint32(w)|uint32(w>>32)<<1)
}

// putPairs puts a block of 2-bit codes into a lane of two vectors.
func putPairs(dst []byte, w0, w1, w2, w3 uint64) {
	first, second := w0|w1<<4, w2|w3<<4
	le.PutUint32(dst, uint32(first)|uint32(first>>32)<<2)
	le.PutUint32(dst[vectorBytes:], uint32(second)|uint32(second>>32)<<2)
}

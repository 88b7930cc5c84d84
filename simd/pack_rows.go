package simd

// putWords puts four words into a lane of four vectors.
func putWords(dst *[3*vectorBytes + 4]byte, low, high uint64) {
	le.PutUint32(dst[0:], uint32(low))
	le.PutUint32(dst[vectorBytes:], uint32(low>>32))
	le.PutUint32(dst[2*vectorBytes:], uint32(high))
	le.PutUint32(dst[3*vectorBytes:], uint32(high>>32))
}

// fourVectors is the lane in the vectors from i on.
func fourVectors(codes []byte, i int) *[3*vectorBytes + 4]byte {
	return (*[3*vectorBytes + 4]byte)(codes[i*vectorBytes:])
}

// packQ4_0 serves IQ4_NL too, which differs only in what codes mean.
func packQ4_0(codes, scales []byte, lane int, src []byte) {
	const size = 18
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		le.PutUint16(scales[2*(i*panelRows+lane):], le.Uint16(block[:]))
		putWords(fourVectors(codes, 4*i), le.Uint64(block[2:]), le.Uint64(block[10:]))
	}
}

func packQ4_1(codes, scales []byte, lane int, src []byte) {
	const size = 20
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		putScaleMin(scales[i*4*panelRows+2*lane:], block[:])
		putWords(fourVectors(codes, 4*i), le.Uint64(block[4:]), le.Uint64(block[12:]))
	}
}

func packQ5_0(codes, scales []byte, lane int, src []byte) {
	const size = 22
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		le.PutUint16(scales[2*(i*panelRows+lane):], le.Uint16(block[:]))
		putWords(fourVectors(codes, 5*i), le.Uint64(block[6:]), le.Uint64(block[14:]))
		le.PutUint32(codes[(5*i+4)*vectorBytes:], fifthBits(le.Uint32(block[2:])))
	}
}

func packQ5_1(codes, scales []byte, lane int, src []byte) {
	const size = 24
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		putScaleMin(scales[i*4*panelRows+2*lane:], block[:])
		putWords(fourVectors(codes, 5*i), le.Uint64(block[8:]), le.Uint64(block[16:]))
		le.PutUint32(codes[(5*i+4)*vectorBytes:], fifthBits(le.Uint32(block[4:])))
	}
}

// fifthBits turns the word whose bit 4g+j is that of column 4g+j into one with it in
// bit g of byte j.
func fifthBits(bits uint32) uint32 {
	// Two bytes of the result at a time: every fourth bit moves next to its
	// neighbour, then pairs to pairs, then fours to fours.
	squeeze := func(w uint64) uint64 {
		w &= 0x1111111111111111
		w = (w | w>>3) & 0x0303030303030303
		w = (w | w>>6) & 0x000f000f000f000f
		return (w | w>>12) & 0x000000ff000000ff
	}
	w := squeeze(uint64(bits)|uint64(bits>>1)<<32) | squeeze(uint64(bits>>2)|uint64(bits>>3)<<32)<<16
	return uint32(w) | uint32(w>>32)<<8
}

func packQ8_0(codes, scales []byte, lane int, src []byte) {
	const size = 34
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		le.PutUint16(scales[2*(i*panelRows+lane):], le.Uint16(block[:]))
		const sign = signedZero * eachByte
		putWords(fourVectors(codes, 8*i), le.Uint64(block[2:])^sign, le.Uint64(block[10:])^sign)
		putWords(fourVectors(codes, 8*i+4), le.Uint64(block[18:])^sign, le.Uint64(block[26:])^sign)
	}
}

func packMXFP4(codes, scales []byte, lane int, src []byte) {
	const size = 17
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		le.PutUint16(scales[2*(i*panelRows+lane):], halfE8M0(block[0]))
		putWords(fourVectors(codes, 4*i), le.Uint64(block[1:]), le.Uint64(block[9:]))
	}
}

// putScaleMin puts the scale and minimum that begin a block, or super-block.
func putScaleMin(scales, block []byte) {
	le.PutUint16(scales, le.Uint16(block))
	le.PutUint16(scales[2*panelRows:], le.Uint16(block[2:]))
}

func packQ4_K(codes, scales []byte, lane int, src []byte) {
	const size = 144
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		putScalesK(scales[i*20*panelRows:], lane, (*[16]byte)(block[:]))
		for j := range 4 {
			low, high := nibblePair((*[blockCols]byte)(block[16+32*j:]))
			putWords(fourVectors(codes, 32*i+8*j), low[0], low[1])
			putWords(fourVectors(codes, 32*i+8*j+4), high[0], high[1])
		}
	}
}

func packQ5_K(codes, scales []byte, lane int, src []byte) {
	const size, bits = 176, 5
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		putScalesK(scales[i*20*panelRows:], lane, (*[16]byte)(block[:]))
		h0, h1, h2, h3 := le.Uint64(block[16:]), le.Uint64(block[24:]), le.Uint64(block[32:]), le.Uint64(block[40:])
		for j := range 4 {
			low, high := nibblePair((*[blockCols]byte)(block[48+32*j:]))
			at := (8*i + 2*j) * bits
			putWords(fourVectors(codes, at), low[0], low[1])
			putBits(codes[(at+4)*vectorBytes:], h0&eachByte, h1&eachByte, h2&eachByte, h3&eachByte)
			putWords(fourVectors(codes, at+bits), high[0], high[1])
			putBits(codes[(at+bits+4)*vectorBytes:], h0>>1&eachByte, h1>>1&eachByte, h2>>1&eachByte, h3>>1&eachByte)
			h0, h1, h2, h3 = h0>>2, h1>>2, h2>>2, h3>>2
		}
	}
}

func packQ6_K(codes, scales []byte, lane int, src []byte) {
	const size, bits = 210, 6
	const pair = 3 * eachByte
	for i := range len(src) / size {
		block := (*[size]byte)(src[i*size:])
		s := scales[i*18*panelRows:][:18*panelRows]
		le.PutUint16(s[2*lane:], le.Uint16(block[208:]))
		for g, scale := range block[192:208] {
			s[(2+g)*panelRows+lane] = scale
		}
		for half := range 2 {
			h := block[128+32*half:]
			h0, h1, h2, h3 := le.Uint64(h), le.Uint64(h[8:]), le.Uint64(h[16:]), le.Uint64(h[24:])
			low0, high0 := nibblePair((*[blockCols]byte)(block[64*half:]))
			low1, high1 := nibblePair((*[blockCols]byte)(block[64*half+32:]))
			at := (8*i + 4*half) * bits
			for _, w := range [4]*[2]uint64{&low0, &low1, &high0, &high1} {
				putWords(fourVectors(codes, at), w[0], w[1])
				putPairs(codes[(at+4)*vectorBytes:], h0&pair, h1&pair, h2&pair, h3&pair)
				h0, h1, h2, h3 = h0>>2, h1>>2, h2>>2, h3>>2
				at += bits
			}
		}
	}
}

// putScalesK puts the scales of a super-block of Q4_K or Q5_K, the 6-bit ones of
// four blocks at a time.
func putScalesK(dst []byte, lane int, src *[16]byte) {
	putScaleMin(dst[2*lane:], src[:])
	a, b, c := le.Uint32(src[4:]), le.Uint32(src[8:]), le.Uint32(src[12:])
	const four, six, top = 0x0f0f0f0f, 0x3f3f3f3f, 0x30303030
	scales := uint64(a&six) | uint64(c&four|a>>2&top)<<32
	mins := uint64(b&six) | uint64(c>>4&four|b>>2&top)<<32
	dst = dst[4*panelRows:][:16*panelRows]
	for i := range 8 {
		dst[2*i*panelRows+lane] = uint8(scales >> (8 * i))
		dst[(2*i+1)*panelRows+lane] = uint8(mins >> (8 * i))
	}
}

// nibblePair turns 32 bytes, whose low nibbles are one block and high nibbles
// another, into the two blocks' words.
func nibblePair(src *[blockCols]byte) (low, high [2]uint64) {
	for i := range low {
		a, b := le.Uint64(src[8*i:]), le.Uint64(src[16+8*i:])
		low[i], high[i] = a&nibbles|b&nibbles<<4, a>>4&nibbles|b&^nibbles
	}
	return low, high
}

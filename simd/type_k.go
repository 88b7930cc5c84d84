package simd

// Super-blocks of 256: ggml-common.h, struct block_q2_K and on; tensor.Dequantize
// documents the layouts.

// unpackPairs adds 2-bit values at bit shift of the codes: bits 2j of byte l of
// each 32 are column 128·half + 32j + l.
func unpackPairs(codes *[superCols]uint8, src *[64]byte, shift int) {
	for i := 0; i < 64; i += 8 {
		w := le.Uint64(src[i:])
		for j := range 4 {
			c := codes[i/32*128+i%32+32*j:]
			le.PutUint64(c, le.Uint64(c)|w>>(2*j)&(3*eachByte)<<shift)
		}
	}
}

// unpackBits adds single bits at bit shift of the codes: bit j of byte l is column
// 32j + l.
func unpackBits(codes *[superCols]uint8, src *[32]byte, shift int) {
	for i := 0; i < 32; i += 8 {
		w := le.Uint64(src[i:])
		for j := range 8 {
			c := codes[i+32*j:]
			le.PutUint64(c, le.Uint64(c)|w>>j&eachByte<<shift)
		}
	}
}

func unpackQ2_K(src []byte, u *unpacked) {
	u.codes = [superCols]uint8{}
	unpackPairs(&u.codes, (*[64]byte)(src[16:]), 0)
	for i, b := range (*[16]byte)(src) {
		u.scales[i], u.mins[i] = int8(b&15), b>>4
	}
	u.d, u.m = le.Uint16(src[80:]), le.Uint16(src[82:])
}

func unpackQ3_K(src []byte, u *unpacked) {
	u.codes = [superCols]uint8{}
	unpackPairs(&u.codes, (*[64]byte)(src[32:]), 0)
	unpackBits(&u.codes, (*[32]byte)(src), 2)
	s := src[96:108]
	for i := range u.scales {
		low := s[i%8] >> (i / 8 * 4) & 15
		u.scales[i] = int8(low|s[8+i%4]>>(i/4*2)&3<<4) - 32
	}
	u.d = le.Uint16(src[108:])
}

// unpackScalesK reads the eight 6-bit scales and minima of Q4_K and Q5_K.
func unpackScalesK(src []byte, u *unpacked) {
	u.d, u.m = le.Uint16(src), le.Uint16(src[2:])
	s := (*[12]byte)(src[4:])
	for i := range 4 {
		u.scales[i], u.mins[i] = int8(s[i]&63), s[4+i]&63
		u.scales[4+i] = int8(s[8+i]&15 | s[i]>>6<<4)
		u.mins[4+i] = s[8+i]>>4 | s[4+i]>>6<<4
	}
}

func unpackNibblesK(codes *[superCols]uint8, src *[128]byte) {
	for i := 0; i < 128; i += 8 {
		w := le.Uint64(src[i:])
		c := codes[i/32*64+i%32:]
		le.PutUint64(c, w&nibbles)
		le.PutUint64(c[32:], w>>4&nibbles)
	}
}

func unpackQ4_K(src []byte, u *unpacked) {
	unpackScalesK(src, u)
	unpackNibblesK(&u.codes, (*[128]byte)(src[16:]))
}

func unpackQ5_K(src []byte, u *unpacked) {
	unpackScalesK(src, u)
	unpackNibblesK(&u.codes, (*[128]byte)(src[48:]))
	unpackBits(&u.codes, (*[32]byte)(src[16:]), 4)
}

func unpackQ6_K(src []byte, u *unpacked) {
	for i := 0; i < 128; i += 8 {
		w := le.Uint64(src[i:])
		c := u.codes[i/64*128+i%64:]
		le.PutUint64(c, w&nibbles)
		le.PutUint64(c[64:], w>>4&nibbles)
	}
	unpackPairs(&u.codes, (*[64]byte)(src[128:]), 4)
	for i := range u.scales {
		u.scales[i] = int8(src[192+i])
	}
	u.d = le.Uint16(src[208:])
}

func unpackIQ4_XS(src []byte, u *unpacked) {
	u.d = le.Uint16(src)
	high := le.Uint16(src[2:])
	for i := range 8 {
		u.scales[i] = int8(src[4+i/2]>>(i%2*4)&15|uint8(high>>(2*i)&3)<<4) - 32
		for j := 0; j < 16; j += 8 {
			w := le.Uint64(src[8+16*i+j:])
			le.PutUint64(u.codes[32*i+j:], w&nibbles)
			le.PutUint64(u.codes[32*i+16+j:], w>>4&nibbles)
		}
	}
}

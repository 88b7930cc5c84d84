package simd

import "encoding/binary"

// Blocks of 32: ggml-common.h, struct block_q4_0 and on. Low nibbles are columns
// 0 to 15, high nibbles 16 to 31.

var le = binary.LittleEndian

// Eight codes are handled at a time, a byte each of a word.
const (
	eachByte = 0x0101010101010101
	nibbles  = 15 * eachByte
)

func unpackNibbles(codes *[superCols]uint8, src *[16]byte) {
	for i := 0; i < 16; i += 8 {
		w := le.Uint64(src[i:])
		le.PutUint64(codes[i:], w&nibbles)
		le.PutUint64(codes[i+16:], w>>4&nibbles)
	}
}

func unpackQ4_0(src []byte, u *unpacked) {
	u.d = le.Uint16(src)
	unpackNibbles(&u.codes, (*[16]byte)(src[2:]))
}

func unpackQ4_1(src []byte, u *unpacked) {
	u.d, u.m = le.Uint16(src), le.Uint16(src[2:])
	unpackNibbles(&u.codes, (*[16]byte)(src[4:]))
}

// unpackFifthBits adds bit i of a word to code i.
func unpackFifthBits(codes *[superCols]uint8, bits uint32) {
	for i := 0; i < blockCols; i += 8 {
		// Copy eight bits to every byte, keep bit j in byte j, and make what is
		// not 0 a 1: adding 127 carries into a byte's highest bit.
		w := uint64(bits>>i&0xff) * eachByte & 0x8040201008040201
		w = (w + 0x7f*eachByte) >> 7 & eachByte
		le.PutUint64(codes[i:], le.Uint64(codes[i:])|w<<4)
	}
}

func unpackQ5_0(src []byte, u *unpacked) {
	u.d = le.Uint16(src)
	unpackNibbles(&u.codes, (*[16]byte)(src[6:]))
	unpackFifthBits(&u.codes, le.Uint32(src[2:]))
}

func unpackQ5_1(src []byte, u *unpacked) {
	u.d, u.m = le.Uint16(src), le.Uint16(src[2:])
	unpackNibbles(&u.codes, (*[16]byte)(src[8:]))
	unpackFifthBits(&u.codes, le.Uint32(src[4:]))
}

func unpackQ8_0(src []byte, u *unpacked) {
	u.d = le.Uint16(src)
	for i := 0; i < blockCols; i += 8 {
		le.PutUint64(u.codes[i:], le.Uint64(src[2+i:])^signedZero*eachByte)
	}
}

func unpackMXFP4(src []byte, u *unpacked) {
	u.d = halfE8M0(src[0])
	unpackNibbles(&u.codes, (*[16]byte)(src[1:]))
}

// halfE8M0 is the scale of MXFP4 in bfloat16: 2^(e-127), half of it here as the
// levels are doubled. Both that and its two subnormals are exact.
func halfE8M0(e uint8) uint16 {
	if e < 2 {
		return 0x20 << e
	}
	return uint16(e-1) << 7
}

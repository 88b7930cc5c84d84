package simd

import "encoding/binary"

// Blocks of 32: ggml-common.h, struct block_q4_0 and on. Low nibbles are columns
// 0 to 15, high nibbles 16 to 31.

var le = binary.LittleEndian

func unpackNibbles(codes *[superCols]uint8, src *[16]byte) {
	for i, b := range src {
		codes[i], codes[i+16] = b&15, b>>4
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

func unpackFifthBits(codes *[superCols]uint8, bits uint32) {
	for i := range blockCols {
		codes[i] |= uint8(bits>>i&1) << 4
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
	for i, b := range (*[blockCols]byte)(src[2:]) {
		u.codes[i] = b ^ signedZero
	}
}

// MXFP4: the scale is 2^(e-127), half of it here as the levels are doubled. Both
// that and its two subnormals are exact in bfloat16.
func unpackMXFP4(src []byte, u *unpacked) {
	if e := src[0]; e < 2 {
		u.d = 0x20 << e
	} else {
		u.d = uint16(e-1) << 7
	}
	unpackNibbles(&u.codes, (*[16]byte)(src[1:]))
}

package tensor

import "math"

// Types whose 4-bit values are indices into a table of 16 levels.

// iq4Levels are the levels of IQ4_NL and IQ4_XS (ggml-common.h, kvalues_iq4nl).
var iq4Levels = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// fp4Levels are the values of E2M1, the 4-bit float of OCP's Microscaling
// Formats specification 1.0, doubled; the scale is halved in return. ggml reads
// negative zero as zero.
var fp4Levels = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// lookUp sets 32 elements to d·levels[q]: low nibbles first, then high ones.
func lookUp(y *[32]float32, d float32, levels *[16]float32, nibbles *[16]byte) {
	for i, q := range nibbles {
		y[i] = d * levels[q&15]
		y[i+16] = d * levels[q>>4]
	}
}

// IQ4_NL: d (binary16), 16 bytes of nibbles.
func dequantizeIQ4_NL(dst []float32, src []byte) {
	for ; len(src) >= 18; src, dst = src[18:], dst[32:] {
		lookUp((*[32]float32)(dst), F16ToF32(le.Uint16(src)), &iq4Levels, (*[16]byte)(src[2:]))
	}
}

// IQ4_XS: d (binary16), the upper bit pairs of 8 scales, their low nibbles, 128
// bytes of nibbles: super-blocks of 256 in sub-blocks of 32 with 6-bit scales.
func dequantizeIQ4_XS(dst []float32, src []byte) {
	for ; len(src) >= 136; src, dst = src[136:], dst[256:] {
		d, high := F16ToF32(le.Uint16(src)), le.Uint16(src[2:])
		for sub := range 8 {
			scale := int32(src[4+sub/2]>>(sub%2*4)&15) | int32(high>>(2*sub)&3)<<4
			lookUp((*[32]float32)(dst[32*sub:]), d*float32(scale-32), &iq4Levels, (*[16]byte)(src[8+16*sub:]))
		}
	}
}

// MXFP4: the scale's exponent (E8M0), 16 bytes of nibbles.
func dequantizeMXFP4(dst []float32, src []byte) {
	for ; len(src) >= 17; src, dst = src[17:], dst[32:] {
		lookUp((*[32]float32)(dst), e8m0Half(src[0]), &fp4Levels, (*[16]byte)(src[1:]))
	}
}

// e8m0Half is half of 2^(e-127): 2^(e-128), subnormal for the two smallest. Like
// ggml it gives 255, which the specification reserves for NaN, no special
// meaning.
func e8m0Half(e byte) float32 {
	if e < 2 {
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

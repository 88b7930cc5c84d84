package tensor

import "math"

// The K types: super-blocks of 256 with a scale d (and a minimum dmin) in
// binary16, divided into sub-blocks of 16 or 32 that have small integer scales
// (and minima) of their own. Layouts: ggml-common.h, struct block_q2_K and on.

// Q2_K: 16 bytes of scale (low nibble) and minimum (high nibble), 64 bytes of
// 2-bit values, d, dmin. Each half of the super-block has 32 bytes; bits 2j and
// 2j+1 of byte l are its element 32j+l.
func dequantizeQ2_K(dst []float32, src []byte) {
	for ; len(src) >= 84; src, dst = src[84:], dst[256:] {
		scales := (*[16]byte)(src)
		d, dmin := F16ToF32(le.Uint16(src[80:])), F16ToF32(le.Uint16(src[82:]))
		for sub, s := range scales { // 16 elements each
			dl, ml := d*float32(int32(s&15)), dmin*float32(int32(s>>4))
			shift := sub / 2 % 4 * 2
			y := (*[16]float32)(dst[16*sub:])
			for i, q := range (*[16]byte)(src[16+sub/8*32+sub%2*16:]) {
				y[i] = float32(dl*float32(int32(q>>shift&3))) - ml
			}
		}
	}
}

// Q3_K: 32 bytes of third bits, 64 bytes of lower bits as in Q2_K, 12 bytes of
// 6-bit scales, d. Bit k of byte l of the third bits belongs to element 32k+l;
// where it is clear, 4 is subtracted.
func dequantizeQ3_K(dst []float32, src []byte) {
	for ; len(src) >= 110; src, dst = src[110:], dst[256:] {
		scales := q3Scales((*[12]byte)(src[96:]))
		d := F16ToF32(le.Uint16(src[108:]))
		for sub, s := range scales { // 16 elements each
			dl := d * float32(s)
			shift := sub / 2 % 4 * 2
			y := (*[16]float32)(dst[16*sub:])
			high := (*[16]byte)(src[sub%2*16:])
			for i, q := range (*[16]byte)(src[32+sub/8*32+sub%2*16:]) {
				y[i] = dl * float32(int32(q>>shift&3)+int32(high[i]>>(sub/2)&1)<<2-4)
			}
		}
	}
}

// q3Scales unpacks Q3_K's sub-block scales, -32 to 31: low nibbles of 0 to 7 and
// 8 to 15 in the halves of the first 8 bytes, upper two bits of scale i in the
// bit pair i/4 of byte 8+i%4.
func q3Scales(b *[12]byte) (scales [16]int8) {
	for i := range scales {
		low := b[i%8] >> (i / 8 * 4) & 15
		scales[i] = int8(low|b[8+i%4]>>(i/4*2)&3<<4) - 32
	}
	return scales
}

// q4Scales unpacks the 6-bit scales and minima of Q4_K and Q5_K: those of
// sub-blocks 0 to 3 are the lower six bits of bytes 0 to 3 and 4 to 7; of the
// others, byte 8+i has the lower nibbles and the upper two bits of those bytes
// the rest.
func q4Scales(b *[12]byte) (scales, mins [8]uint8) {
	for i := range 4 {
		scales[i], mins[i] = b[i]&63, b[4+i]&63
		scales[4+i] = b[8+i]&15 | b[i]>>6<<4
		mins[4+i] = b[8+i]>>4 | b[4+i]>>6<<4
	}
	return scales, mins
}

// Q4_K: d, dmin, 12 bytes of scales and minima, 128 bytes of nibbles. Every 32
// bytes hold two sub-blocks of 32: the low nibbles, then the high ones.
func dequantizeQ4_K(dst []float32, src []byte) {
	for ; len(src) >= 144; src, dst = src[144:], dst[256:] {
		d, dmin := F16ToF32(le.Uint16(src)), F16ToF32(le.Uint16(src[2:]))
		scales, mins := q4Scales((*[12]byte)(src[4:]))
		for pair := range 4 {
			d0, m0 := d*float32(scales[2*pair]), dmin*float32(mins[2*pair])
			d1, m1 := d*float32(scales[2*pair+1]), dmin*float32(mins[2*pair+1])
			y := (*[64]float32)(dst[64*pair:])
			for i, q := range (*[32]byte)(src[16+32*pair:]) {
				y[i] = float32(d0*float32(int32(q&15))) - m0
				y[i+32] = float32(d1*float32(int32(q>>4))) - m1
			}
		}
	}
}

// Q5_K: as Q4_K, with 32 bytes of fifth bits before the nibbles: bit k of byte l
// belongs to element l of sub-block k.
func dequantizeQ5_K(dst []float32, src []byte) {
	for ; len(src) >= 176; src, dst = src[176:], dst[256:] {
		d, dmin := F16ToF32(le.Uint16(src)), F16ToF32(le.Uint16(src[2:]))
		scales, mins := q4Scales((*[12]byte)(src[4:]))
		high := (*[32]byte)(src[16:])
		for pair := range 4 {
			d0, m0 := d*float32(scales[2*pair]), dmin*float32(mins[2*pair])
			d1, m1 := d*float32(scales[2*pair+1]), dmin*float32(mins[2*pair+1])
			y := (*[64]float32)(dst[64*pair:])
			for i, q := range (*[32]byte)(src[48+32*pair:]) {
				h := high[i] >> (2 * pair)
				y[i] = float32(d0*float32(int32(q&15|h&1<<4))) - m0
				y[i+32] = float32(d1*float32(int32(q>>4|h>>1&1<<4))) - m1
			}
		}
	}
}

// Q6_K: 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed bytes
// of scale, d. Each half of the super-block has 64 and 32 of the bytes: its
// elements 0 to 63 are the low nibbles and 64 to 127 the high ones; element
// 32j+l has bit pair j of byte l.
func dequantizeQ6_K(dst []float32, src []byte) {
	for ; len(src) >= 210; src, dst = src[210:], dst[256:] {
		scales := (*[16]byte)(src[192:])
		d := F16ToF32(le.Uint16(src[208:]))
		for sub, s := range scales { // 16 elements each
			dl := d * float32(int8(s))
			half, j, odd := sub/8, sub/2%4, sub%2*16
			nibble := j / 2 * 4
			y := (*[16]float32)(dst[16*sub:])
			high := (*[16]byte)(src[128+32*half+odd:])
			for i, q := range (*[16]byte)(src[64*half+j%2*32+odd:]) {
				y[i] = dl * float32(int32(q>>nibble&15|high[i]>>(2*j)&3<<4)-32)
			}
		}
	}
}

// Q8_K: d (float32), 256 signed bytes, 16 sums (int16) that only products use.
func dequantizeQ8_K(dst []float32, src []byte) {
	for ; len(src) >= 292; src, dst = src[292:], dst[256:] {
		d := math.Float32frombits(le.Uint32(src))
		y := (*[256]float32)(dst)
		for i, q := range (*[256]byte)(src[4:]) {
			y[i] = d * float32(int8(q))
		}
	}
}

package repack

import "github.com/inferflux/inferflux/tensor"

// The types with blocks of 32. Their layouts are described in package tensor.

func half(b []byte) float32 { return tensor.F16ToF32(le.Uint16(b)) }

// putNibbles writes 32 elements from 16 bytes: low nibbles first, then high ones.
func putNibbles(dst *[4]uint32, src *[16]byte) {
	a, b := le.Uint64(src[:]), le.Uint64(src[8:])
	dst[0], dst[1] = pack4(a), pack4(b)
	dst[2], dst[3] = pack4(a>>4), pack4(b>>4)
}

// putFives writes 32 elements from 16 bytes of nibbles and the bits above them.
func putFives(dst *[5]uint32, src *[16]byte, high uint32) {
	const low = 0x0f * eachByte
	a, b := le.Uint64(src[:]), le.Uint64(src[8:])
	put5(dst, a&low|fifthBits(high), b&low|fifthBits(high>>8),
		a>>4&low|fifthBits(high>>16), b>>4&low|fifthBits(high>>24))
}

// d·(q-8) = d·q - 8d: both products and their sum fit a float32.
func fillQ4_0(w *Weight, src []byte) {
	for i := range w.Scales {
		b := (*[18]byte)(src[18*i:])
		d := half(b[:])
		w.Scales[i], w.Biases[i] = d, -8*d
		putNibbles((*[4]uint32)(w.Packed[4*i:]), (*[16]byte)(b[2:]))
	}
}

func fillQ4_1(w *Weight, src []byte) {
	for i := range w.Scales {
		b := (*[20]byte)(src[20*i:])
		w.Scales[i], w.Biases[i] = half(b[:]), half(b[2:])
		putNibbles((*[4]uint32)(w.Packed[4*i:]), (*[16]byte)(b[4:]))
	}
}

func fillQ5_0(w *Weight, src []byte) {
	for i := range w.Scales {
		b := (*[22]byte)(src[22*i:])
		d := half(b[:])
		w.Scales[i], w.Biases[i] = d, -16*d
		putFives((*[5]uint32)(w.Packed[5*i:]), (*[16]byte)(b[6:]), le.Uint32(b[2:]))
	}
}

func fillQ5_1(w *Weight, src []byte) {
	for i := range w.Scales {
		b := (*[24]byte)(src[24*i:])
		w.Scales[i], w.Biases[i] = half(b[:]), half(b[2:])
		putFives((*[5]uint32)(w.Packed[5*i:]), (*[16]byte)(b[8:]), le.Uint32(b[4:]))
	}
}

// A signed byte is q-128 with the sign bit turned.
func fillQ8_0(w *Weight, src []byte) {
	for i := range w.Scales {
		b := (*[34]byte)(src[34*i:])
		d := half(b[:])
		w.Scales[i], w.Biases[i] = d, -128*d
		dst := (*[8]uint32)(w.Packed[8*i:])
		for j := range 4 {
			put8((*[2]uint32)(dst[2*j:]), le.Uint64(b[2+8*j:])^0x80*eachByte)
		}
	}
}

// iq4Bytes are the levels of IQ4_NL and IQ4_XS (ggml-common.h, kvalues_iq4nl)
// plus 128, for two indices at once: the one in the low nibble in the low byte.
var iq4Bytes = func() (t [256]uint16) {
	levels := [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	for i := range t {
		t[i] = uint16(uint8(levels[i&15])^0x80) | uint16(uint8(levels[i>>4])^0x80)<<8
	}
	return t
}()

// putLevels writes 32 elements from 16 bytes of indices.
func putLevels(dst *[8]uint32, src *[16]byte) {
	var indices [4]uint32
	putNibbles(&indices, src)
	for j, x := range indices {
		dst[2*j] = uint32(iq4Bytes[x&255]) | uint32(iq4Bytes[x>>8&255])<<16
		dst[2*j+1] = uint32(iq4Bytes[x>>16&255]) | uint32(iq4Bytes[x>>24])<<16
	}
}

func fillIQ4_NL(w *Weight, src []byte) {
	for i := range w.Scales {
		b := (*[18]byte)(src[18*i:])
		d := half(b[:])
		w.Scales[i], w.Biases[i] = d, -128*d
		putLevels((*[8]uint32)(w.Packed[8*i:]), (*[16]byte)(b[2:]))
	}
}

// IQ4_XS has the indices of IQ4_NL and eight 6-bit scales in a block of 256.
func fillIQ4_XS(w *Weight, src []byte) {
	for i := range len(w.Scales) / 8 {
		b := (*[136]byte)(src[136*i:])
		d, high := half(b[:]), le.Uint16(b[2:])
		for sub := range 8 {
			scale := int32(b[4+sub/2]>>(sub%2*4)&15) | int32(high>>(2*sub)&3)<<4
			dl := d * float32(scale-32)
			g := 8*i + sub
			w.Scales[g], w.Biases[g] = dl, -128*dl
			putLevels((*[8]uint32)(w.Packed[8*g:]), (*[16]byte)(b[8+16*sub:]))
		}
	}
}

// MXFP4 differs from MLX's only in the order of the nibbles.
func fillMXFP4(w *Weight, src []byte) {
	for i := range w.Scales8 {
		b := (*[17]byte)(src[17*i:])
		w.Scales8[i] = b[0]
		putNibbles((*[4]uint32)(w.Packed[4*i:]), (*[16]byte)(b[1:]))
	}
}

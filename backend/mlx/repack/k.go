package repack

import "math"

// The K types: blocks of 256, whose layouts are described in package tensor.

// sixBits unpacks the 6-bit scales and minima of Q4_K and Q5_K.
func sixBits(b *[12]byte) (scales, mins [8]uint8) {
	const upper = 0x30303030
	x, y, z := le.Uint32(b[:]), le.Uint32(b[4:]), le.Uint32(b[8:])
	le.PutUint32(scales[:], x&0x3f3f3f3f)
	le.PutUint32(mins[:], y&0x3f3f3f3f)
	le.PutUint32(scales[4:], z&0x0f0f0f0f|x>>2&upper)
	le.PutUint32(mins[4:], z>>4&0x0f0f0f0f|y>>2&upper)
	return scales, mins
}

// putScales sets the scales and biases of a block of Q4_K or Q5_K. The products
// fit a float32, and so does scale·q: nothing is rounded but the sum.
func putScales(w *Weight, block int, b []byte) {
	d, dmin := half(b), half(b[2:])
	scales, mins := sixBits((*[12]byte)(b[4:]))
	s, m := (*[8]float32)(w.Scales[8*block:]), (*[8]float32)(w.Biases[8*block:])
	for i := range 8 {
		s[i], m[i] = d*float32(scales[i]), -(dmin * float32(mins[i]))
	}
}

func fillQ4_K(w *Weight, src []byte) {
	for i := range len(w.Scales) / 8 {
		b := (*[144]byte)(src[144*i:])
		putScales(w, i, b[:])
		dst := (*[32]uint32)(w.Packed[32*i:])
		for pair := range 4 {
			for j := range 4 {
				x := le.Uint64(b[16+32*pair+8*j:])
				dst[8*pair+j], dst[8*pair+4+j] = pack4(x), pack4(x>>4)
			}
		}
	}
}

func fillQ5_K(w *Weight, src []byte) {
	for i := range len(w.Scales) / 8 {
		b := (*[176]byte)(src[176*i:])
		putScales(w, i, b[:])
		dst := (*[40]uint32)(w.Packed[40*i:])
		for sub := range 8 {
			var x [4]uint64
			for j := range x {
				x[j] = le.Uint64(b[48+32*(sub/2)+8*j:])>>(sub%2*4)&(0x0f*eachByte) |
					le.Uint64(b[16+8*j:])>>sub&eachByte<<4
			}
			put5((*[5]uint32)(dst[5*sub:]), x[0], x[1], x[2], x[3])
		}
	}
}

// quarters lays out 32 elements of two halves, d·s0·(q-zero) and d·s1·(q-zero),
// in a common step of a quarter of the larger: element = step·(Q-middle) with
// Q = (m·q + c) / 256 in each half.
//
// Where the halves' signs differ and the smaller scale is so close to the larger
// that the far end of its range falls off, the step is a third.
func quarters(s0, s1, zero, middle int32) (m, c [2]int32, steps float32) {
	large := s0
	if max(s1, -s1) > max(s0, -s0) {
		large = s1
	}
	if large == 0 {
		return m, [2]int32{middle << 8, middle << 8}, 1
	}
	unit := int32(4 << 8)
	round := middle<<8 + 128
	for {
		m = [2]int32{divide(unit*s0, large), divide(unit*s1, large)}
		c = [2]int32{round - zero*m[0], round - zero*m[1]}
		if max(c[0], c[1]) < middle<<9 {
			return m, c, float32(large) / float32(unit>>8)
		}
		unit -= 1 << 8
	}
}

// divide rounds a/b to nearest.
func divide(a, b int32) int32 {
	if b < 0 {
		a, b = -a, -b
	}
	if a < 0 {
		return -((b/2 - a) / b)
	}
	return (a + b/2) / b
}

func fillQ6_K(w *Weight, src []byte) {
	for i := range len(w.Scales) / 8 {
		b := (*[210]byte)(src[210*i:])
		d := half(b[208:])
		for sub := range 8 { // 32 elements each
			g := 8*i + sub
			m, c, steps := quarters(int32(int8(b[192+2*sub])), int32(int8(b[193+2*sub])), 32, 128)
			w.Scales[g] = d * steps
			w.Biases[g] = -128 * w.Scales[g]
			dst := (*[8]uint32)(w.Packed[8*g:])
			low, high, j := b[64*(sub/4)+sub%2*32:], b[128+32*(sub/4):], sub%4
			for k := range 4 {
				q := le.Uint64(low[8*k:])>>(j/2*4)&(0x0f*eachByte) |
					le.Uint64(high[8*k:])>>(2*j)&(0x03*eachByte)<<4
				put8((*[2]uint32)(dst[2*k:]), linear(q, m[k/2], c[k/2]))
			}
		}
	}
}

// threes unpacks the 6-bit scales of Q3_K, which stand for themselves less 32.
func threes(b *[12]byte) (scales [16]uint8) {
	x, y, z := le.Uint32(b[:]), le.Uint32(b[4:]), le.Uint32(b[8:])
	const low, upper = 0x0f0f0f0f, 0x03030303
	le.PutUint32(scales[:], x&low|z&upper<<4)
	le.PutUint32(scales[4:], y&low|z>>2&upper<<4)
	le.PutUint32(scales[8:], x>>4&low|z>>4&upper<<4)
	le.PutUint32(scales[12:], y>>4&low|z>>6&upper<<4)
	return scales
}

func fillQ3_K(w *Weight, src []byte) {
	for i := range len(w.Scales) / 8 {
		b := (*[110]byte)(src[110*i:])
		d, scales := half(b[108:]), threes((*[12]byte)(b[96:]))
		for sub := range 8 {
			g := 8*i + sub
			m, c, steps := quarters(int32(scales[2*sub])-32, int32(scales[2*sub+1])-32, 4, 16)
			w.Scales[g] = d * steps
			w.Biases[g] = -16 * w.Scales[g]
			var x [4]uint64
			for k := range x {
				q := le.Uint64(b[32+32*(sub/4)+8*k:])>>(sub%4*2)&(0x03*eachByte) |
					le.Uint64(b[8*k:])>>sub&eachByte<<2
				x[k] = linear(q, m[k/2], c[k/2])
			}
			put5((*[5]uint32)(w.Packed[5*g:]), x[0], x[1], x[2], x[3])
		}
	}
}

// Q2_K's 32 elements lie between the ends of the two halves' ranges, in 15 steps.
func fillQ2_K(w *Weight, src []byte) {
	for i := range len(w.Scales) / 8 {
		b := (*[84]byte)(src[84*i:])
		d, dmin := half(b[80:]), half(b[82:])
		for sub := range 8 {
			g := 8*i + sub
			var step, first [2]float32
			for h, s := range b[2*sub : 2*sub+2] {
				step[h], first[h] = d*float32(int32(s&15)), -(dmin * float32(int32(s>>4)))
			}
			last0, last1 := first[0]+3*step[0], first[1]+3*step[1]
			low, high := min(first[0], last0, first[1], last1), max(first[0], last0, first[1], last1)
			scale := (high - low) / 15
			w.Scales[g], w.Biases[g] = scale, low

			var m, c [2]int32
			if scale > 0 && scale < inf {
				for h := range 2 {
					m[h] = round(256 * step[h] / scale)
					c[h] = round(256*(first[h]-low)/scale) + 128
				}
			}
			dst := (*[4]uint32)(w.Packed[4*g:])
			for k := range 4 {
				q := le.Uint64(b[16+32*(sub/4)+8*k:]) >> (sub % 4 * 2) & (0x03 * eachByte)
				dst[k] = pack4(linear(q, m[k/2], c[k/2]))
			}
		}
	}
}

var inf = float32(math.Inf(1))

// round is x to the nearest integer.
func round(x float32) int32 { return int32(math.Floor(float64(x) + 0.5)) }

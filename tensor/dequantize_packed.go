package tensor

import "math"

// dequantizePacked reads rows from up to to of a matrix that checkPacked passed.
func (t Tensor) dequantizePacked(dst []float32, from, to int) {
	p := t.Packed
	rowBytes, groups := t.Cols()/8*p.Bits, t.Cols()/p.Group
	codes := t.Data[from*rowBytes : to*rowBytes]
	groupBytes := p.Group / 8 * p.Bits
	for i := from * groups; i < to*groups; i++ {
		y, src := dst[:p.Group], codes[:groupBytes]
		switch t.Type {
		case MLXAffine:
			affineGroup(y, src, p.Bits, p.Scales.float(i), p.Biases.float(i))
		case MLXMXFP4:
			fp4Group(y, src, e8m0(p.Scales.Data[i]))
		case MLXNVFP4:
			fp4Group(y, src, e4m3[p.Scales.Data[i]])
		case MLXMXFP8:
			scale := e8m0(p.Scales.Data[i])
			for j, q := range src {
				y[j] = e4m3[q] * scale
			}
		}
		dst, codes = dst[p.Group:], codes[groupBytes:]
	}
}

// affineGroup is code·scale + bias, rounded twice. Eight codes take bits bytes.
func affineGroup(y []float32, src []byte, bits int, scale, bias float32) {
	mask := uint64(1)<<bits - 1
	for ; len(y) >= 8; y, src = y[8:], src[bits:] {
		var eight uint64
		for i, b := range src[:bits] {
			eight |= uint64(b) << (8 * i)
		}
		for i := range 8 {
			y[i] = float32(float32(int32(eight&mask))*scale) + bias
			eight >>= bits
		}
	}
}

// fp4Group is level·scale: the low nibble of a byte comes before the high one.
func fp4Group(y []float32, src []byte, scale float32) {
	for i, b := range src {
		y[2*i], y[2*i+1] = e2m1[b&15]*scale, e2m1[b>>4]*scale
	}
}

// float is element i of a tensor of F32, F16 or BF16.
func (t Tensor) float(i int) float32 {
	switch t.Type {
	case F32:
		return math.Float32frombits(le.Uint32(t.Data[4*i:]))
	case F16:
		return F16ToF32(le.Uint16(t.Data[2*i:]))
	default:
		return BF16ToF32(le.Uint16(t.Data[2*i:]))
	}
}

// e2m1 are the values of the 4-bit float, negative zero among them.
var e2m1 = [16]float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6}

// e4m3 are the values of the 8-bit float with 4 bits of exponent, whose bias is 7,
// no infinity and one NaN. Shifted left by 7 its bits are those of a binary16
// number that is 2⁸ times smaller, as that has the bias 15.
var e4m3 = func() (values [256]float32) {
	for b := range uint16(256) {
		values[b] = 256 * F16ToF32(b&127<<7)
		if b&127 == 127 {
			values[b] = float32(math.NaN())
		}
		if b >= 128 {
			values[b] = -values[b]
		}
	}
	return values
}()

// e8m0 is 2^(e-127): subnormal for 0, infinity for 255.
func e8m0(e byte) float32 {
	if e == 0 {
		return math.Float32frombits(0x00400000)
	}
	return math.Float32frombits(uint32(e) << 23)
}

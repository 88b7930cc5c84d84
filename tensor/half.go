package tensor

import "math"

// F16ToF32 widens an IEEE 754 binary16 number, given by its bits. Every value
// is represented exactly; a NaN keeps its sign and payload.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	mag := uint32(h & 0x7fff)
	switch {
	case mag >= 0x7c00: // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | mag<<13)
	case mag >= 0x0400: // normal: move the exponent's bias from 15 to 127
		return math.Float32frombits(sign | (mag<<13 + (127-15)<<23))
	default:
		// Zero or subnormal: mag·2⁻²⁴. The last bit of a float32 in [½, 1) is
		// worth exactly that, so put mag there and take the ½ away again.
		// Scales of quantized blocks are often subnormal; this way the
		// processor never sees a subnormal float32, which would be slow.
		const half = 0x3f000000
		return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(half|mag)-0.5))
	}
}

// F32ToF16 narrows to the nearest IEEE 754 binary16 number, ties to even, and
// returns its bits. What is too large becomes infinity, a NaN becomes a quiet
// NaN.
func F32ToF16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	mag := bits & 0x7fffffff
	switch {
	case mag > 0x7f800000: // NaN: set the quiet bit, keep what fits of the payload
		return sign | 0x7e00 | uint16(mag>>13&0x01ff)
	case mag >= 0x477ff000: // 65520 and more rounds to infinity
		return sign | 0x7c00
	case mag >= 0x38800000: // 2⁻¹⁴ and more: normal
		mag += 0x0fff + mag>>13&1
		return sign | uint16(mag>>13-(127-15)<<10)
	default:
		// Subnormal: adding ½ makes the addition itself round to 2⁻²⁴, ties to
		// even; see F16ToF32.
		return sign | uint16(math.Float32bits(math.Float32frombits(mag)+0.5)-0x3f000000)
	}
}

// BF16ToF32 widens a bfloat16 number, given by its bits: they are the upper
// half of a float32.
func BF16ToF32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// F32ToBF16 narrows to the nearest bfloat16 number, ties to even, and returns
// its bits. What is too large becomes infinity, a NaN becomes a quiet NaN.
func F32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x0040
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

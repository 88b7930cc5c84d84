package simd

import (
	"math"

	"github.com/inferflux/inferflux/tensor"
)

// MLX's quantizations: tensor.Packed documents the layouts.

// affineKey is what tells the formats of affine matrices apart. Matrices of one
// width share a kernel, which is given the rest.
type affineKey struct {
	bits, group int
	scales      floatType
}

var affineFormats = func() map[affineKey]*format {
	widths := map[int]format{
		2: {kernel: kernelMLX2, kind: affine, low: 2},
		3: {kernel: kernelMLX3, kind: affine, low: 2, high: 1},
		4: {kernel: kernelMLX4, kind: affine, low: 4},
		5: {kernel: kernelMLX5, kind: affine, low: 4, high: 1},
		6: {kernel: kernelMLX6, kind: affineLarge, low: 4, high: 2},
		8: {kernel: kernelMLX8, kind: affineLarge, low: 8},
	}
	all := map[affineKey]*format{}
	for bits, f := range widths {
		f.scales, f.unpackMLX = scaleMinGroup, unpackMLXAffine
		for _, group := range []int{32, 64, 128} {
			for _, typ := range []floatType{float32Weights, float16Weights, bfloat16Weights} {
				f := f
				f.params = &kernelParams{groupBlocks: int64(group / blockCols), scaleType: int64(typ), scaleBytes: int64(typ.panelBytes(2))}
				all[affineKey{bits, group, typ}] = &f
			}
		}
	}
	return all
}()

// affineScaleType is the type that a matrix's scales and biases are kept in:
// their own, or if they differ one that has the values of both.
func affineScaleType(p *tensor.Packed) floatType {
	switch {
	case p.Scales.Type != p.Biases.Type:
		return float32Weights
	case p.Scales.Type == tensor.F16:
		return float16Weights
	case p.Scales.Type == tensor.BF16:
		return bfloat16Weights
	default:
		return float32Weights
	}
}

func unpackMLXAffine(t tensor.Tensor, i int, u *unpacked) {
	p := t.Packed
	spread(u.codes[:p.Group], t.Data[i*p.Group/8*p.Bits:], p.Bits)
	same := p.Scales.Type == p.Biases.Type
	u.pair = [2]uint32{scaleBits(p.Scales, i, same), scaleBits(p.Biases, i, same)}
}

// scaleBits is element i of a tensor of scales: its own bits, or those of its
// value as float32.
func scaleBits(s tensor.Tensor, i int, own bool) uint32 {
	switch {
	case s.Type == tensor.F32:
		return le.Uint32(s.Data[4*i:])
	case own:
		return uint32(le.Uint16(s.Data[2*i:]))
	case s.Type == tensor.F16:
		return math.Float32bits(tensor.F16ToF32(le.Uint16(s.Data[2*i:])))
	default:
		return math.Float32bits(tensor.BF16ToF32(le.Uint16(s.Data[2*i:])))
	}
}

// spread puts the codes of a stream of bits, lowest first, into a byte each, eight
// at a time.
func spread(codes []uint8, src []byte, bits int) {
	if bits == 8 {
		copy(codes, src)
		return
	}
	// Halve what a word has in every part, until a part is one code.
	four := uint64(1)<<(4*bits) - 1
	two := uint64(1<<(2*bits)-1) * 0x1_0000_0001
	one := uint64(1<<bits-1) * 0x0001_0001_0001_0001
	for ; len(codes) >= 8; codes, src = codes[8:], src[bits:] {
		var w uint64
		switch bits {
		case 2:
			w = uint64(le.Uint16(src))
		case 3:
			w = uint64(le.Uint16(src)) | uint64(src[2])<<16
		case 4:
			w = uint64(le.Uint32(src))
		case 5:
			w = uint64(le.Uint32(src)) | uint64(src[4])<<32
		case 6:
			w = uint64(le.Uint32(src)) | uint64(le.Uint16(src[4:]))<<32
		}
		w = w&four | w>>(4*bits)<<32
		w = w&two | w>>(2*bits)&two<<16
		w = w&one | w>>bits&one<<8
		le.PutUint64(codes, w)
	}
}

// unpackMLXMXFP4: as unpackMXFP4, but MLX has codes in order and a scale of
// infinity.
func unpackMLXMXFP4(t tensor.Tensor, i int, u *unpacked) {
	spread(u.codes[:blockCols], t.Data[i*blockCols/2:], 4)
	if e := t.Packed.Scales.Data[i]; e == 255 {
		u.d = 0x7f80
	} else {
		u.d = halfE8M0(e)
	}
}

// NVFP4: the signs of scales go to the codes, of which bit 3 is the sign. 255
// remains for NaN, which it is to kernels too, if they extend it by its sign.
func unpackMLXNVFP4(t tensor.Tensor, i int, u *unpacked) {
	spread(u.codes[:blockCols], t.Data[i*blockCols/2:], 4)
	for h, scale := range t.Packed.Scales.Data[2*i : 2*i+2] {
		switch {
		case scale&127 == 127:
			scale = 255
		case scale >= 128:
			scale -= 128
			for c := range u.codes[16*h : 16*h+16] {
				u.codes[16*h+c] ^= 8
			}
		}
		u.pair[h] = uint32(scale)
	}
}

// e4m3 is the value of an 8-bit float. Shifted left by 7, its bits but the sign
// are those of a binary16 number that is 256 times smaller.
func e4m3(b uint8) float32 {
	v := 256 * tensor.F16ToF32(uint16(b&127)<<7)
	if b&127 == 127 {
		v = float32(math.NaN())
	}
	if b >= 128 {
		v = -v
	}
	return v
}

// A block of 32 columns of a panel of MXFP8 has the scale of each row, bfloat16,
// and the codes of each column. They become float32 by way of binary16 numbers
// 256 times smaller, so the scales are 256 times larger: 2^(e-119). Those above
// 2^119 become infinity, at which no product is finite in practice; and so that
// kernels needn't look for codes that are NaN, a block with one has NaN for its
// scale.
const (
	mxfp8Codes      = 2 * panelRows
	mxfp8BlockBytes = mxfp8Codes + blockCols*panelRows
)

// packMXFP8 puts a row into its lane of a panel.
func packMXFP8(panel []byte, lane int, t tensor.Tensor, row int) {
	const inf, nan = 0x7f80, 0x7fc0
	cols := t.Cols()
	src := t.Data[row*cols : (row+1)*cols]
	for b := range cols / blockCols {
		block := panel[b*mxfp8BlockBytes:][:mxfp8BlockBytes]
		d := min((uint16(t.Packed.Scales.Data[row*cols/blockCols+b])+8)<<7, inf)
		for c, code := range src[b*blockCols:][:blockCols] {
			block[mxfp8Codes+c*panelRows+lane] = code
			if code&127 == 127 {
				d = nan
			}
		}
		le.PutUint16(block[2*lane:], d)
	}
}

// mxfp8Weight is that of a lane and column of a panel.
func mxfp8Weight(panel []byte, col, lane int) float32 {
	block := panel[col/blockCols*mxfp8BlockBytes:]
	code := block[mxfp8Codes+col%blockCols*panelRows+lane]
	return e4m3(code) / 256 * tensor.BF16ToF32(le.Uint16(block[2*lane:]))
}

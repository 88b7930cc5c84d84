package simd

import (
	"math"

	"github.com/inferflux/inferflux/tensor"
)

// Geometry of packed matrices.
const (
	panelRows = 16 // rows of a panel: the lanes of a 512-bit register of float32
	blockCols = 32 // columns that share a scale of the activations
	groupCols = 4  // columns that one lane of an integer dot product sums
	groups    = blockCols / groupCols
	superCols = 256 // columns of a super-block of the K types
)

// kind says which terms a block's product has. Kernels exist once per kind, not
// once per type.
type kind uint8

const (
	signed      kind = 0 // w = d·q, q in -128..127; its code is q+128
	affine      kind = 1 // w = d·q + m, q in 0..31
	halves      kind = 2 // with it: the first and last 16 columns have their own d and m
	large       kind = 4 // with affine: q in 0..255
	signed16         = signed | halves
	affine16         = affine | halves
	affineLarge      = affine | large
	numKinds         = affineLarge + 1
	signedZero       = 128 // the code of q = 0
)

// scaleLayout says how the scales of a panel are stored. Each item is a vector
// of 16, one for each row of the panel.
type scaleLayout uint8

const (
	scaleF16         scaleLayout = iota // per block: d binary16
	scaleBF16                           // per block: d bfloat16
	scaleMinF16                         // per block: d, m binary16
	scaleSuper                          // per super-block: d binary16, int8 scale of each group
	scaleMinSuper                       // per super-block: d, dmin binary16, uint8 scale and min of each block
	scaleMinSuperNib                    // per super-block: d, dmin binary16, scale | min<<4 of each group
	scaleE4M3                           // per block: 2·d of each half, E4M3 without sign, 255 for NaN
	scaleMinGroup                       // per group of several blocks: d, m of a type that the format names
)

// kernelID names a packed form for tiers that have a kernel for each: types that
// differ only in their levels share one.
type kernelID uint8

const (
	kernelQ4_0 kernelID = iota
	kernelQ4_1
	kernelQ5_0
	kernelQ5_1
	kernelQ8_0
	kernelQ2_K
	kernelQ3_K
	kernelQ4_K
	kernelQ5_K
	kernelQ6_K
	kernelIQ4_NL
	kernelIQ4_XS
	kernelMXFP4
	kernelNVFP4
	kernelMLX2
	kernelMLX3
	kernelMLX4
	kernelMLX5
	kernelMLX6
	kernelMLX8
	numKernels
)

// format is how weights of one tensor type are packed. A code has low bits and
// high bits that are stored apart: in each block's low plane, then its high one.
// Byte 4·lane+j of 64-byte vector v of a plane has the codes of column 4g+j of
// row lane, several groups g to a byte:
//
//	8 bits: vector g
//	4 bits: vector g%4, bits 4·(g/4) and up
//	2 bits: vector g/4, bits 2·(g%4) and up
//	1 bit:  vector 0, bit g
//
// For kind signed, a code becomes q+128 through levels (4-bit codes) or by adding
// offset.
type format struct {
	kernel    kernelID
	kind      kind
	low, high int // bits
	offset    uint8
	params    *kernelParams // with levels or scaleMinGroup
	scales    scaleLayout
	// unpack reads a span from its stored block, unpackMLX span i, counted from the
	// matrix's first, of what MLX quantized. A format has one of them.
	unpack    func(src []byte, u *unpacked)
	unpackMLX func(t tensor.Tensor, i int, u *unpacked)
}

// kernelParams is what formats that share a kernel differ in. The kernels know
// where its fields are.
type kernelParams struct {
	levels [16]uint8 // that 4-bit codes stand for
	// For scaleMinGroup: the blocks of a group, the type of its scale and minimum,
	// and the bytes that those take.
	groupBlocks, scaleType, scaleBytes int64
}

// unpacked is one block, or super-block, of a row in the form common to all
// types.
type unpacked struct {
	codes  [superCols]uint8
	d, m   uint16 // bits of the scale and minimum, binary16 or bfloat16
	scales [16]int8
	mins   [16]uint8
	pair   [2]uint32 // bits of what scaleE4M3 and scaleMinGroup store
}

func (f *format) bits() int { return f.low + f.high }

// blockBytes is the size of the codes of one block of a panel.
func (f *format) blockBytes() int { return panelRows * blockCols / 8 * f.bits() }

// span is the number of columns that unpack fills in.
func (f *format) span() int {
	switch f.scales {
	case scaleSuper, scaleMinSuper, scaleMinSuperNib:
		return superCols
	case scaleMinGroup:
		return int(f.params.groupBlocks) * blockCols
	default:
		return blockCols
	}
}

// scaleBytes is the size of the scales of one span of a panel.
func (f *format) scaleBytes() int {
	switch f.scales {
	case scaleF16, scaleBF16, scaleE4M3:
		return 2 * panelRows
	case scaleMinF16:
		return 4 * panelRows
	case scaleMinGroup:
		return int(f.params.scaleBytes)
	case scaleSuper:
		if f.kind&halves != 0 {
			return (2 + 16) * panelRows
		}
		return (2 + 8) * panelRows
	case scaleMinSuper:
		return (4 + 2*8) * panelRows
	default: // scaleMinSuperNib
		return (4 + 16) * panelRows
	}
}

// formats has the types whose blocks are multiplied as integers.
var formats = map[tensor.Type]*format{
	tensor.Q4_0:   {kernel: kernelQ4_0, kind: signed, low: 4, offset: signedZero - 8, scales: scaleF16, unpack: unpackQ4_0},
	tensor.Q4_1:   {kernel: kernelQ4_1, kind: affine, low: 4, scales: scaleMinF16, unpack: unpackQ4_1},
	tensor.Q5_0:   {kernel: kernelQ5_0, kind: signed, low: 4, high: 1, offset: signedZero - 16, scales: scaleF16, unpack: unpackQ5_0},
	tensor.Q5_1:   {kernel: kernelQ5_1, kind: affine, low: 4, high: 1, scales: scaleMinF16, unpack: unpackQ5_1},
	tensor.Q8_0:   {kernel: kernelQ8_0, kind: signed, low: 8, scales: scaleF16, unpack: unpackQ8_0},
	tensor.Q2_K:   {kernel: kernelQ2_K, kind: affine16, low: 2, scales: scaleMinSuperNib, unpack: unpackQ2_K},
	tensor.Q3_K:   {kernel: kernelQ3_K, kind: signed16, low: 2, high: 1, offset: signedZero - 4, scales: scaleSuper, unpack: unpackQ3_K},
	tensor.Q4_K:   {kernel: kernelQ4_K, kind: affine, low: 4, scales: scaleMinSuper, unpack: unpackQ4_K},
	tensor.Q5_K:   {kernel: kernelQ5_K, kind: affine, low: 4, high: 1, scales: scaleMinSuper, unpack: unpackQ5_K},
	tensor.Q6_K:   {kernel: kernelQ6_K, kind: signed16, low: 4, high: 2, offset: signedZero - 32, scales: scaleSuper, unpack: unpackQ6_K},
	tensor.IQ4_NL: {kernel: kernelIQ4_NL, kind: signed, low: 4, params: iq4Levels, scales: scaleF16, unpack: unpackQ4_0},
	tensor.IQ4_XS: {kernel: kernelIQ4_XS, kind: signed, low: 4, params: iq4Levels, scales: scaleSuper, unpack: unpackIQ4_XS},
	tensor.MXFP4:  {kernel: kernelMXFP4, kind: signed, low: 4, params: fp4Levels, scales: scaleBF16, unpack: unpackMXFP4},

	tensor.MLXMXFP4: {kernel: kernelMXFP4, kind: signed, low: 4, params: fp4Levels, scales: scaleBF16, unpackMLX: unpackMLXMXFP4},
	tensor.MLXNVFP4: {kernel: kernelNVFP4, kind: signed16, low: 4, params: fp4Levels, scales: scaleE4M3, unpackMLX: unpackMLXNVFP4},
}

// formatOf is the format of a matrix, or nil if it is multiplied as float32.
func formatOf(t tensor.Tensor) *format {
	f := formats[t.Type]
	if t.Type == tensor.MLXAffine && t.Packed != nil {
		f = affineFormats[affineKey{t.Packed.Bits, t.Packed.Group, affineScaleType(t.Packed)}]
	}
	if f == nil || t.Cols()%f.span() != 0 {
		return nil // such as NVFP4 with half a block at the end
	}
	return f
}

func levelCodes(levels [16]int8) *kernelParams {
	var p kernelParams
	for i, v := range levels {
		p.levels[i] = uint8(signedZero + int(v))
	}
	return &p
}

var (
	// iq4Levels: ggml-common.h, kvalues_iq4nl.
	iq4Levels = levelCodes([16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113})
	// fp4Levels are twice the values of E2M1 (OCP Microscaling Formats 1.0).
	fp4Levels = levelCodes([16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12})
)

// floatType is the element type of a packed floating-point matrix.
type floatType uint8

const (
	float32Weights floatType = iota
	float16Weights
	bfloat16Weights
	mxfp8Weights // in blocks; see type_mlx.go
	numFloatTypes
)

// panelBytes is the size of a panel of cols columns, whole chunks.
func (t floatType) panelBytes(cols int) int {
	switch t {
	case float32Weights:
		return 4 * panelRows * cols
	case mxfp8Weights:
		return cols / blockCols * mxfp8BlockBytes
	default:
		return 2 * panelRows * cols
	}
}

// weight is that of a lane and column of a panel.
func (t floatType) weight(panel []byte, col, lane int) float32 {
	if t == mxfp8Weights {
		return mxfp8Weight(panel, col, lane)
	}
	return t.at(panel, col*panelRows+lane)
}

// at is element i of an array of plain numbers.
func (t floatType) at(w []byte, i int) float32 {
	switch t {
	case float32Weights:
		return math.Float32frombits(le.Uint32(w[4*i:]))
	case float16Weights:
		return tensor.F16ToF32(le.Uint16(w[2*i:]))
	default:
		return tensor.BF16ToF32(le.Uint16(w[2*i:]))
	}
}

package simd_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

var allTypes = []tensor.Type{
	tensor.F32, tensor.F16, tensor.BF16, tensor.F64, tensor.I8,
	tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1, tensor.Q8_0,
	tensor.Q2_K, tensor.Q3_K, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K, tensor.Q8_K,
	tensor.IQ4_NL, tensor.IQ4_XS, tensor.MXFP4,
}

// encoding is how the weights of a test are stored: a type, and for those of MLX
// the rest.
type encoding struct {
	typ         tensor.Type
	bits, group int
	scales      tensor.Type
}

func (e encoding) String() string {
	if e.bits == 0 {
		return e.typ.String()
	}
	return fmt.Sprintf("%s-%d-%d-%s", e.typ, e.bits, e.group, e.scales)
}

// mlxEncodings has every mode of MLX, and for affine every width with every size of
// groups and type of scales, though not with each two of them.
var mlxEncodings = func() []encoding {
	all := []encoding{
		{tensor.MLXMXFP4, 4, 32, tensor.U8},
		{tensor.MLXMXFP8, 8, 32, tensor.U8},
		{tensor.MLXNVFP4, 4, 16, tensor.U8},
	}
	for i, bits := range []int{2, 3, 4, 5, 6, 8} {
		for j, group := range []int{32, 64, 128} {
			all = append(all, encoding{tensor.MLXAffine, bits, group, []tensor.Type{tensor.BF16, tensor.F16, tensor.F32}[(i+j)%3]})
		}
	}
	return all
}()

var allEncodings = func() []encoding {
	all := mlxEncodings
	for _, typ := range allTypes {
		all = append(all, encoding{typ: typ})
	}
	return all
}()

// random has random codes under random scales of about 1/100.
func (e encoding) random(rng *rand.Rand, rows, cols int) tensor.Tensor {
	if e.bits == 0 {
		return randomTensor(rng, e.typ, rows, cols)
	}
	p := tensor.Packed{Mode: e.typ.String(), Bits: e.bits, Group: e.group, Scales: randomTensor(rng, e.scales, rows, cols/e.group)}
	data := randomTensor(rng, tensor.U8, rows, cols/8*e.bits).Data
	switch e.typ {
	case tensor.MLXAffine:
		p.Biases = randomTensor(rng, e.scales, rows, cols/e.group)
	case tensor.MLXMXFP4, tensor.MLXMXFP8:
		for i, b := range p.Scales.Data {
			p.Scales.Data[i] = 120 + b%4
		}
	}
	for _, codes := range [][]byte{data, p.Scales.Data} {
		for i, b := range codes {
			if e.scales == tensor.U8 && e.typ != tensor.MLXMXFP4 && b&127 == 127 {
				codes[i] = 126 // 127 is NaN
			}
		}
	}
	t, err := tensor.NewPacked("w", []int{rows, cols}, data, p)
	if err != nil {
		panic(err)
	}
	return t
}

// forTiers runs a test once for each tier of this machine.
func forTiers(t *testing.T, f func(t *testing.T)) {
	for _, name := range simd.Tiers() {
		t.Run(name, func(t *testing.T) {
			defer simd.ForceTier(name)()
			f(t)
		})
	}
}

// scaleOffsets are where a block has binary16 scales.
var scaleOffsets = map[tensor.Type][]int{
	tensor.Q4_0: {0}, tensor.Q4_1: {0, 2}, tensor.Q5_0: {0}, tensor.Q5_1: {0, 2}, tensor.Q8_0: {0},
	tensor.Q2_K: {80, 82}, tensor.Q3_K: {108}, tensor.Q4_K: {0, 2}, tensor.Q5_K: {0, 2}, tensor.Q6_K: {208},
	tensor.IQ4_NL: {0}, tensor.IQ4_XS: {0},
}

// randomTensor has random codes under random scales of about 1/100.
func randomTensor(rng *rand.Rand, typ tensor.Type, rows, cols int) tensor.Tensor {
	rowBytes, err := typ.RowBytes(cols)
	if err != nil {
		panic(err)
	}
	t := tensor.Tensor{Name: "w", Type: typ, Shape: []int{rows, cols}, Data: make([]byte, rows*rowBytes)}
	for i := range t.Data {
		t.Data[i] = byte(rng.Uint32())
	}
	elems, size := typ.Block()
	for i := range rows * cols / elems {
		b := t.Data[i*size:]
		v := float32(rng.NormFloat64()) / 100
		switch typ {
		case tensor.F32, tensor.Q8_K:
			binary.LittleEndian.PutUint32(b, math.Float32bits(v))
		case tensor.F64:
			binary.LittleEndian.PutUint64(b, math.Float64bits(float64(v)))
		case tensor.F16:
			binary.LittleEndian.PutUint16(b, tensor.F32ToF16(v))
		case tensor.BF16:
			binary.LittleEndian.PutUint16(b, tensor.F32ToBF16(v))
		case tensor.MXFP4:
			b[0] = byte(120 + rng.IntN(4))
		}
		for _, at := range scaleOffsets[typ] {
			binary.LittleEndian.PutUint16(b[at:], tensor.F32ToF16(float32(rng.NormFloat64())/100))
		}
	}
	return t
}

func dequantize(t tensor.Tensor) []float32 {
	w := make([]float32, t.Elems())
	if err := t.Dequantize(w, 0, t.Rows()); err != nil {
		panic(err)
	}
	return w
}

func randomVector(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
		if rng.IntN(50) == 0 {
			x[i] *= 20
		}
	}
	return x
}

func sameBits(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

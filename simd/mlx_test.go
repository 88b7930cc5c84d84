package simd_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

// Columns that end with less than a chunk of what is decoded together, and groups
// that are a row.
func TestMulGroups(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		for _, e := range mlxEncodings {
			t.Run(e.String(), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(11, 0))
				for _, groups := range []int{1, 3, 33} {
					cols := groups * max(e.group, 32)
					w := e.random(rng, 21, cols)
					m, err := simd.PackParts(w)
					if err != nil {
						t.Fatal(err)
					}
					for _, n := range []int{1, 2, 3, 4, 8, 13} {
						x := randomVector(rng, n*cols)
						a, dst := product(m, x, n)
						checkProduct(t, dst, dequantize(w), x, a, n, cols, m.NeedsInt8())
					}
				}
			})
		}
	})
}

// What MLX quantized is multiplied as integers, all but the 8-bit floats.
func TestMLXNeedsInt8(t *testing.T) {
	for _, e := range mlxEncodings {
		m, err := simd.PackParts(e.random(rand.New(rand.NewPCG(12, 0)), 3, 128))
		if err != nil {
			t.Fatal(err)
		}
		if want := e.typ != tensor.MLXMXFP8; m.NeedsInt8() != want || m.NeedsFloat() == want {
			t.Errorf("%s: needs int8: %v, float: %v", e, m.NeedsInt8(), m.NeedsFloat())
		}
	}
}

// equalRows compares every row of a matrix with its stored form. NaN equals NaN.
func equalRows(t *testing.T, m *simd.Matrix, w ...tensor.Tensor) {
	t.Helper()
	var want []float32
	for _, w := range w {
		want = append(want, dequantize(w)...)
	}
	got := make([]float32, m.Cols())
	for i := range m.Rows() {
		m.Row(got, i)
		for c, v := range got {
			if x := want[i*m.Cols()+c]; v != x && (v == v || x == x) {
				t.Fatalf("row %d column %d: %g, want %g", i, c, v, x)
			}
		}
	}
}

// Matrices whose width, group or type of scales differ are not stacked as one.
func TestPackPartsOfMLX(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(13, 0))
		const cols, n = 128, 3
		var parts []tensor.Tensor
		var want []float32
		panels := 0
		for _, e := range []encoding{
			{tensor.MLXAffine, 4, 64, tensor.BF16}, {tensor.MLXAffine, 8, 64, tensor.BF16}, {tensor.MLXAffine, 8, 32, tensor.BF16},
			{tensor.MLXAffine, 8, 32, tensor.F16}, {typ: tensor.F32}, {tensor.MLXMXFP8, 8, 32, tensor.U8}, {tensor.MLXMXFP4, 4, 32, tensor.U8},
		} {
			for _, rows := range []int{5, 16} { // as one
				parts = append(parts, e.random(rng, rows, cols))
				want = append(want, dequantize(parts[len(parts)-1])...)
			}
			panels += 2
		}
		m, err := simd.PackParts(parts...)
		if err != nil {
			t.Fatal(err)
		}
		if m.Panels() != panels {
			t.Errorf("%d panels, expected %d", m.Panels(), panels)
		}
		equalRows(t, m, parts...)
		x := randomVector(rng, n*cols)
		_, dst := product(m, x, n)
		for r := range n {
			for j := range m.Rows() {
				sum, size := 0.0, 0.0
				for c := range cols {
					p := float64(want[j*cols+c]) * float64(x[r*cols+c])
					sum, size = sum+p, size+math.Abs(p)
				}
				if got := float64(dst[r*m.Rows()+j]); !(math.Abs(got-sum) <= 2e-2*size) {
					t.Fatalf("row %d output %d: got %g, want %g", r, j, got, sum)
				}
			}
		}
	})
}

// Scales and biases of different types, and rows that end with half a block.
func TestMLXOddities(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 0))
	const rows = 21
	mixed := func(scales, biases tensor.Type) tensor.Tensor {
		w := encoding{tensor.MLXAffine, 3, 64, scales}.random(rng, rows, 128)
		w.Packed.Biases = randomTensor(rng, biases, rows, 2)
		return w
	}
	forTiers(t, func(t *testing.T) {
		for _, w := range []tensor.Tensor{
			mixed(tensor.F16, tensor.BF16), mixed(tensor.BF16, tensor.F32), mixed(tensor.F32, tensor.F16),
			encoding{tensor.MLXNVFP4, 4, 16, tensor.U8}.random(rng, rows, 48),
		} {
			m, err := simd.PackParts(w)
			if err != nil {
				t.Fatal(err)
			}
			equalRows(t, m, w)
			x := randomVector(rng, 2*w.Cols())
			a, dst := product(m, x, 2)
			checkProduct(t, dst, dequantize(w), x, a, 2, w.Cols(), m.NeedsInt8())
		}
	})
}

// Every scale of the modes whose scales are a byte, with every code. MXFP8's NaN
// makes its whole block NaN, and a scale of 2^120 and more is infinity.
func TestRowOfEveryByteScale(t *testing.T) {
	for _, e := range []encoding{{tensor.MLXMXFP4, 4, 32, tensor.U8}, {tensor.MLXMXFP8, 8, 32, tensor.U8}, {tensor.MLXNVFP4, 4, 16, tensor.U8}} {
		const cols = 256
		w := e.random(rand.New(rand.NewPCG(15, 0)), 256, cols)
		for i := range w.Data {
			w.Data[i] = byte(i)
			if e.bits == 8 && i&127 == 127 {
				w.Data[i] = 0
			}
		}
		perRow := cols / e.group
		for i := range w.Packed.Scales.Data {
			scale := byte(i / perRow)
			if e.bits == 8 {
				scale = min(scale, 246)
			}
			w.Packed.Scales.Data[i] = scale
		}
		forTiers(t, func(t *testing.T) {
			t.Run(e.String(), func(t *testing.T) {
				m, err := simd.PackParts(w)
				if err != nil {
					t.Fatal(err)
				}
				equalRows(t, m, w)
			})
		})
	}
}

// A product with weights that aren't numbers is none either.
func TestMulNaN(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		for _, e := range []encoding{{tensor.MLXMXFP8, 8, 32, tensor.U8}, {tensor.MLXNVFP4, 4, 16, tensor.U8}} {
			for _, code := range []byte{0x7f, 0xff} {
				w := e.random(rand.New(rand.NewPCG(16, 0)), 32, 64)
				if e.bits == 8 {
					w.Data[3*64+40] = code
				} else {
					w.Packed.Scales.Data[3*4+2] = code
				}
				m, err := simd.PackParts(w)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range []int{1, 5} {
					_, dst := product(m, randomVector(rand.New(rand.NewPCG(17, 0)), n*64), n)
					for i, v := range dst {
						if (i%32 == 3) != (v != v) {
							t.Fatalf("%s: %d rows, output %d is %g", e, n, i%32, v)
						}
					}
				}
			}
		}
	})
}

// FuzzPackMLX packs whatever codes and scales: rows are what Dequantize has.
func FuzzPackMLX(f *testing.F) {
	for i := range mlxEncodings {
		f.Add(uint8(i), []byte("some bytes of codes and scales, which are repeated"))
	}
	f.Fuzz(func(t *testing.T, which uint8, bytes []byte) {
		e := mlxEncodings[int(which)%len(mlxEncodings)]
		if len(bytes) == 0 {
			return
		}
		w := e.random(rand.New(rand.NewPCG(18, 0)), 17, 256)
		at := 0
		for _, part := range [][]byte{w.Data, w.Packed.Scales.Data, w.Packed.Biases.Data} {
			for i := range part {
				part[i] = bytes[at%len(bytes)]
				at++
			}
		}
		if e.typ == tensor.MLXMXFP8 { // see TestRowOfEveryByteScale
			for i, b := range w.Data {
				if b&127 == 127 {
					w.Data[i] = 0
				}
			}
			for i, b := range w.Packed.Scales.Data {
				w.Packed.Scales.Data[i] = min(b, 246)
			}
		}
		for _, tier := range simd.Tiers() {
			restore := simd.ForceTier(tier)
			m, err := simd.PackParts(w)
			if err != nil {
				t.Fatal(err)
			}
			equalRows(t, m, w)
			restore()
		}
	})
}

func BenchmarkPackMLX(b *testing.B) {
	for _, e := range mlxEncodings {
		b.Run(fmt.Sprint(e), func(b *testing.B) {
			w := e.random(rand.New(rand.NewPCG(19, 0)), 256, 2048)
			b.SetBytes(w.Bytes())
			for b.Loop() {
				if _, err := simd.PackParts(w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

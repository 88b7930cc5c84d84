package simd_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

// product sets up activations and multiplies them with all of m.
func product(m *simd.Matrix, x []float32, rows int) (*simd.Activations, []float32) {
	var a simd.Activations
	a.Reset(rows, m.Cols())
	a.Set(0, rows, x, m.Cols(), m.NeedsInt8(), m.NeedsFloat())
	dst := make([]float32, rows*m.Rows())
	for i := range dst {
		dst[i] = float32(math.NaN())
	}
	m.Mul(dst, m.Rows(), &a, 0, rows, 0, m.Panels())
	return &a, dst
}

// checkProduct compares dst to weights times the values that the activations
// stand for, summed in float64. The bound is a few roundings of what the terms add
// up to, as the parts d·q and m of a weight can be larger than itself.
func checkProduct(t *testing.T, dst, w, x []float32, a *simd.Activations, rows, cols int, int8s bool) {
	t.Helper()
	n := len(w) / cols
	for r := range rows {
		v := x[r*cols : (r+1)*cols]
		if int8s {
			v, _ = a.Quantized(r)
		}
		for j := range n {
			want, size := 0.0, 0.0
			for c := range cols {
				p := float64(w[j*cols+c]) * float64(v[c])
				want += p
				size += math.Abs(p)
			}
			if got := float64(dst[r*n+j]); !(math.Abs(got-want) <= 4e-6*size+1e-30) {
				t.Fatalf("row %d, output %d: got %g, want %g (terms add up to %g)", r, j, got, want, size)
			}
		}
	}
}

func TestMulAgreesWithDequantizedWeights(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		for _, e := range allEncodings {
			t.Run(e.String(), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, uint64(e.typ)))
				for _, size := range []struct{ rows, cols, n int }{
					{1, 256, 1}, {16, 256, 3}, {33, 512, 17}, {48, 1280, 1}, {40, 2304, 5},
				} {
					w := e.random(rng, size.rows, size.cols)
					m, err := simd.PackParts(w)
					if err != nil {
						t.Fatal(err)
					}
					x := randomVector(rng, size.n*size.cols)
					a, dst := product(m, x, size.n)
					checkProduct(t, dst, dequantize(w), x, a, size.n, size.cols, m.NeedsInt8())
				}
			})
		}
	})
}

// Columns that are not a whole number of the kernels' blocks.
func TestMulOddFloatColumns(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 0))
		for _, typ := range []tensor.Type{tensor.F32, tensor.F16, tensor.BF16} {
			for _, cols := range []int{1, 15, 16, 17, 100} {
				w := randomTensor(rng, typ, 19, cols)
				m, err := simd.PackParts(w)
				if err != nil {
					t.Fatal(err)
				}
				x := randomVector(rng, 18*cols)
				a, dst := product(m, x, 18)
				checkProduct(t, dst, dequantize(w), x, a, 18, cols, false)
			}
		}
	})
}

func TestMulExtremes(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 0))
		const cols = 512
		fills := map[string]func(i int) float32{
			"zero":       func(int) float32 { return 0 },
			"constant":   func(int) float32 { return -3.5 },
			"tiny":       func(int) float32 { return float32(rng.NormFloat64()) * 1e-38 },
			"alternates": func(i int) float32 { return float32(1 - i%2*2) },
			"spike": func(i int) float32 {
				if i%32 == 7 {
					return 1e4
				}
				return float32(rng.NormFloat64())
			},
		}
		for _, e := range allEncodings {
			w := e.random(rng, 32, cols)
			switch { // the integers that overflow 16-bit sums
			case e.typ == tensor.Q8_0:
				for i := range w.Data {
					if i%34 >= 2 {
						w.Data[i] = 0x80
					}
				}
			case e.typ == tensor.MLXAffine && e.group > 32:
				for i := range w.Data {
					w.Data[i] = 0xff
				}
			}
			m, err := simd.PackParts(w)
			if err != nil {
				t.Fatal(err)
			}
			for name, fill := range fills {
				t.Run(fmt.Sprint(e, " ", name), func(t *testing.T) {
					x := make([]float32, 2*cols)
					for i := range x {
						x[i] = fill(i)
					}
					a, dst := product(m, x, 2)
					checkProduct(t, dst, dequantize(w), x, a, 2, cols, m.NeedsInt8())
				})
			}
		}
	})
}

func TestQuantizationError(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 0))
		const rows, cols = 19, 320
		x := randomVector(rng, rows*cols)
		var a simd.Activations
		a.Reset(rows, cols)
		a.Set(0, rows, x, cols, true, false)
		for r := range rows {
			got, steps := a.Quantized(r)
			for c, v := range got {
				want, step := x[r*cols+c], steps[c/32]
				if e := math.Abs(float64(v - want)); e > 0.501*float64(step) {
					t.Fatalf("row %d, column %d: %g became %g, %g steps away", r, c, want, v, e/float64(step))
				}
			}
		}
	})
}

// A format that a tier has no kernel for is decoded in Go to the tier's records.
func TestDecodeAgreesWithPortable(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(12, 0))
		for _, e := range allEncodings {
			m, err := simd.PackParts(e.random(rng, 32, 512))
			if err != nil {
				t.Fatal(err)
			}
			if !m.NeedsInt8() {
				continue
			}
			if got, want := m.Decoded(1); !bytes.Equal(got, want) {
				t.Errorf("%s: codes differ", e)
			}
		}
	})
}

func TestRowIsExact(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 0))
		for _, e := range allEncodings {
			w := e.random(rng, 19, 512)
			m, err := simd.PackParts(w)
			if err != nil {
				t.Fatal(err)
			}
			want := dequantize(w)
			got := make([]float32, 512)
			for i := range 19 {
				m.Row(got, i)
				for c, v := range got {
					if v != want[i*512+c] {
						t.Fatalf("%s row %d column %d: %g, want %g", e, i, c, v, want[i*512+c])
					}
				}
			}
		}
	})
}

// Parts of different types and of sizes that don't fill panels.
func TestPackParts(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(6, 0))
		const cols, n = 256, 5
		var parts []tensor.Tensor
		var want []float32
		for _, p := range []struct {
			typ  tensor.Type
			rows int
		}{{tensor.Q4_1, 20}, {tensor.Q4_1, 7}, {tensor.Q8_0, 16}, {tensor.F16, 3}, {tensor.Q6_K, 35}} {
			w := randomTensor(rng, p.typ, p.rows, cols)
			parts = append(parts, w)
			want = append(want, dequantize(w)...)
		}
		m, err := simd.PackParts(parts...)
		if err != nil {
			t.Fatal(err)
		}
		if m.Rows() != 81 || m.Cols() != cols || m.Panels() != 2+1+1+3 {
			t.Fatalf("got %d rows, %d columns, %d panels", m.Rows(), m.Cols(), m.Panels())
		}
		x := randomVector(rng, n*cols)
		a, dst := product(m, x, n)
		for r := range n {
			var v []float32
			for j := range m.Rows() {
				sum, size, tolerance := 0.0, 0.0, 2e-6
				if j >= 43 && j < 46 {
					v = x[r*cols : (r+1)*cols]
				} else {
					v, _ = a.Quantized(r)
				}
				for c := range cols {
					p := float64(want[j*cols+c]) * float64(v[c])
					sum, size = sum+p, size+math.Abs(p)
				}
				if math.Abs(float64(dst[r*m.Rows()+j])-sum) > tolerance*size {
					t.Fatalf("row %d output %d: got %g, want %g", r, j, dst[r*m.Rows()+j], sum)
				}
			}
		}
		row := make([]float32, cols)
		for i := range m.Rows() {
			m.Row(row, i)
			if at := sameBits(row, want[i*cols:]); at >= 0 && row[at] != want[i*cols+at] {
				t.Fatalf("row %d column %d: got %g, want %g", i, at, row[at], want[i*cols+at])
			}
		}
		for p := range m.Panels() {
			r0, r1 := m.PanelRows(p, m.Panels())
			if r1 != m.Rows() || r0%16 != []int{0, 0, 11, 11, 14, 14, 14}[p] {
				t.Fatalf("panel %d is rows %d to %d", p, r0, r1)
			}
		}
	})
}

func TestPackPanelsConcurrently(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 0))
	w := randomTensor(rng, tensor.Q4_K, 200, 256)
	whole, err := simd.PackParts(w)
	if err != nil {
		t.Fatal(err)
	}
	m, err := simd.NewMatrix(w)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for p := 0; p < m.Panels(); p += 3 {
		wg.Go(func() { m.PackPanels(p, min(p+3, m.Panels())) })
	}
	wg.Wait()
	x := randomVector(rng, 256)
	_, want := product(whole, x, 1)
	_, got := product(m, x, 1)
	if i := sameBits(got, want); i >= 0 {
		t.Fatalf("output %d differs", i)
	}
}

func TestPackErrors(t *testing.T) {
	for name, parts := range map[string][]tensor.Tensor{
		"no parts":   {},
		"columns":    {{Type: tensor.Q4_0, Shape: []int{1, 31}, Data: make([]byte, 18)}},
		"short data": {{Type: tensor.Q4_0, Shape: []int{2, 32}, Data: make([]byte, 35)}},
		"long data":  {{Type: tensor.Q4_0, Shape: []int{2, 32}, Data: make([]byte, 37)}},
		"overflow":   {{Type: tensor.Q4_0, Shape: []int{1 << 62, 1 << 5}, Data: nil}},
		"no rows":    {{Type: tensor.F32, Shape: []int{0, 32}}},
		"no columns": {{Type: tensor.F32, Shape: []int{3, 0}}},
		"negative":   {{Type: tensor.F32, Shape: []int{-1, 32}}},
		"no scales":  {{Type: tensor.MLXAffine, Shape: []int{1, 64}, Data: make([]byte, 32)}},
		"bad scales": {{Type: tensor.MLXAffine, Shape: []int{1, 64}, Data: make([]byte, 32), Packed: &tensor.Packed{Mode: "affine", Bits: 4, Group: 64}}},
		"type":       {{Type: tensor.IQ1_S, Shape: []int{1, 256}, Data: make([]byte, 50)}},
		"unknown":    {{Type: tensor.Type(200), Shape: []int{1, 256}, Data: make([]byte, 50)}},
		"unlike": {{Type: tensor.F32, Shape: []int{1, 32}, Data: make([]byte, 128)},
			{Type: tensor.F32, Shape: []int{1, 31}, Data: make([]byte, 124)}},
	} {
		if _, err := simd.PackParts(parts...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPackedSize(t *testing.T) {
	for _, e := range allEncodings {
		if e.typ == tensor.F64 || e.typ == tensor.I8 || e.typ == tensor.Q8_K {
			continue // multiplied as F32
		}
		w := e.random(rand.New(rand.NewPCG(8, 0)), 256, 2048)
		m, err := simd.PackParts(w)
		if err != nil {
			t.Fatal(err)
		}
		if float64(m.Bytes()) > 1.06*float64(w.Bytes()) {
			t.Errorf("%s: %d bytes packed, %d in the file", e, m.Bytes(), w.Bytes())
		}
	}
}

// A result row has the same bits however the work is split and whatever other
// rows there are.
func TestMulSameBitsAlone(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		for _, e := range allEncodings {
			t.Run(e.String(), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(9, uint64(e.typ)))
				const cols, n = 1280, 37
				m, err := simd.PackParts(e.random(rng, 40, cols))
				if err != nil {
					t.Fatal(err)
				}
				x := randomVector(rng, n*cols)
				a, want := product(m, x, n)
				pieces, step := 20, 1
				if testing.Short() {
					pieces, step = 4, 6
				}
				for r := 0; r < n; r += step {
					_, got := product(m, x[r*cols:(r+1)*cols], 1)
					if i := sameBits(got, want[r*m.Rows():][:m.Rows()]); i >= 0 {
						t.Fatalf("row %d output %d: %g alone, %g in a batch", r, i, got[i], want[r*m.Rows()+i])
					}
				}
				for range pieces {
					got := make([]float32, len(want))
					for r0 := 0; r0 < n; {
						r1 := r0 + 1 + rng.IntN(n-r0)
						for p0 := 0; p0 < m.Panels(); {
							p1 := p0 + 1 + rng.IntN(m.Panels()-p0)
							m.Mul(got, m.Rows(), a, r0, r1, p0, p1)
							p0 = p1
						}
						r0 = r1
					}
					if i := sameBits(got, want); i >= 0 {
						t.Fatalf("output %d: %g in pieces, %g whole", i, got[i], want[i])
					}
				}
			})
		}
	})
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	if poolForgets {
		t.Skip("scratch memory is not kept under the race detector")
	}
	rng := rand.New(rand.NewPCG(10, 0))
	m, err := simd.PackParts(randomTensor(rng, tensor.Q4_1, 64, 256))
	if err != nil {
		t.Fatal(err)
	}
	var a simd.Activations
	x, dst := randomVector(rng, 8*256), make([]float32, 8*64)
	a.Reset(8, 256)
	if n := testing.AllocsPerRun(100, func() {
		for _, rows := range []int{8, 1, 3} {
			a.Reset(rows, 256)
			a.Set(0, rows, x, 256, true, false)
			m.Mul(dst, 64, &a, 0, rows, 0, m.Panels())
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

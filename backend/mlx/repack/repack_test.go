package repack_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend/mlx/repack"
	"github.com/inferflux/inferflux/tensor"
)

// elements reads a weight as MLX does, in float32: TestReference holds it to MLX.
func elements(w *repack.Weight) []float32 {
	out := make([]float32, w.Rows*w.Cols)
	for i := range out {
		var q uint32
		for bit := range w.Bits {
			at := i*w.Bits + bit
			q |= w.Packed[at/32] >> (at % 32) & 1 << bit
		}
		if w.Mode == repack.MXFP4 {
			levels := [8]float64{0, 0.5, 1, 1.5, 2, 3, 4, 6}
			out[i] = float32(math.Ldexp(levels[q&7], int(w.Scales8[i/w.Group])-127))
			if q&8 != 0 {
				out[i] = -out[i]
			}
			continue
		}
		out[i] = float32(float32(q)*w.Scales[i/w.Group]) + w.Biases[i/w.Group]
	}
	return out
}

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReferenceIsMLX(t *testing.T) {
	for _, tt := range []struct {
		mode string
		bits int
	}{{repack.Affine, 4}, {repack.Affine, 5}, {repack.Affine, 8}, {repack.MXFP4, 4}} {
		name := fmt.Sprint(tt.mode, tt.bits)
		t.Run(name, func(t *testing.T) {
			w := repack.Weight{Format: repack.Format{Mode: tt.mode, Bits: tt.bits, Group: 32}, Rows: 4, Cols: 64}
			w.Packed = make([]uint32, 4*64*tt.bits/32)
			want := make([]float32, 4*64)
			parts := []any{w.Packed}
			if tt.mode == repack.Affine {
				w.Scales, w.Biases = make([]float32, 8), make([]float32, 8)
				parts = append(parts, w.Scales, w.Biases)
			} else {
				w.Scales8 = make([]uint8, 8)
				parts = append(parts, w.Scales8)
			}
			r := bytes.NewReader(fixture(t, name))
			for _, part := range append(parts, want) {
				if err := binary.Read(r, binary.LittleEndian, part); err != nil {
					t.Fatal(err)
				}
			}
			for i, got := range elements(&w) {
				if got != want[i] {
					t.Fatalf("element %d is %g, MLX has %g", i, got, want[i])
				}
			}
		})
	}
}

// scaleOffsets are where a block has binary16 scales.
var scaleOffsets = map[tensor.Type][]int{
	tensor.Q4_0: {0}, tensor.Q4_1: {0, 2}, tensor.Q5_0: {0}, tensor.Q5_1: {0, 2}, tensor.Q8_0: {0},
	tensor.Q2_K: {80, 82}, tensor.Q3_K: {108}, tensor.Q4_K: {0, 2}, tensor.Q5_K: {0, 2}, tensor.Q6_K: {208},
	tensor.IQ4_NL: {0}, tensor.IQ4_XS: {0}, tensor.MXFP4: {},
}

// random is a tensor of random bits whose scales are finite.
func random(typ tensor.Type, rows, cols int) tensor.Tensor {
	r := rand.New(rand.NewPCG(1, uint64(typ)))
	_, size := typ.Block()
	rowBytes, err := typ.RowBytes(cols)
	if err != nil {
		panic(err)
	}
	data := make([]byte, rows*rowBytes)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for b := data; len(b) > 0; b = b[size:] {
		for _, at := range scaleOffsets[typ] {
			if b[at+1]&0x7c == 0x7c {
				b[at+1] ^= 0x40
			}
		}
		if typ == tensor.MXFP4 && b[0] == 255 {
			b[0] = 0
		}
	}
	return tensor.Tensor{Name: "w", Type: typ, Shape: []int{rows, cols}, Data: data}
}

func dequantized(t testing.TB, x tensor.Tensor, from, to int) []float32 {
	t.Helper()
	rowBytes, err := x.Type.RowBytes(x.Cols())
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float32, (to-from)*x.Cols())
	if err := tensor.Dequantize(want, x.Type, x.Data[from*rowBytes:to*rowBytes]); err != nil {
		t.Fatal(err)
	}
	return want
}

func TestExactTypes(t *testing.T) {
	tests := []struct {
		typ  tensor.Type
		mode string
		bits int
	}{
		{tensor.Q4_0, "affine", 4}, {tensor.Q4_1, "affine", 4}, {tensor.Q4_K, "affine", 4},
		{tensor.Q5_0, "affine", 5}, {tensor.Q5_1, "affine", 5}, {tensor.Q5_K, "affine", 5},
		{tensor.Q8_0, "affine", 8}, {tensor.IQ4_NL, "affine", 8}, {tensor.IQ4_XS, "affine", 8},
		{tensor.MXFP4, "mxfp4", 4},
	}
	for _, tt := range tests {
		t.Run(tt.typ.String(), func(t *testing.T) {
			const rows, cols = 24, 1024
			x := random(tt.typ, rows, cols)
			var w repack.Weight // reused: what one range leaves must not show in the next
			for _, r := range [][2]int{{0, rows}, {3, 4}, {0, 0}, {5, rows}, {rows, rows}} {
				if err := repack.Repack(x, r[0], r[1], &w); err != nil {
					t.Fatal(err)
				}
				if w.Mode != tt.mode || w.Bits != tt.bits || w.Group != 32 || !w.Exact || w.Rows != r[1]-r[0] || w.Cols != cols {
					t.Fatalf("made %+v", w.Format)
				}
				if len(w.Packed) != w.Rows*cols*w.Bits/32 || len(w.Scales) != len(w.Biases) ||
					len(w.Scales)+len(w.Scales8) != w.Rows*cols/32 || len(w.Dense)+len(w.Raw) != 0 {
					t.Fatalf("%d words, %d scales, %d biases, %d exponents, %d dense", len(w.Packed),
						len(w.Scales), len(w.Biases), len(w.Scales8), len(w.Dense)+len(w.Raw))
				}
				want := dequantized(t, x, r[0], r[1])
				for i, got := range elements(&w) {
					if got != want[i] {
						t.Fatalf("rows %v: element %d is %g, want %g", r, i, got, want[i])
					}
				}
			}
		})
	}
}

// TestFinerTypes holds the types that MLX has no groups for to what is promised:
// on any bits, no element is farther off than its group allows, and on weights as
// they are, the error is the promised part of the quantization's own.
func TestFinerTypes(t *testing.T) {
	tests := []struct {
		typ  tensor.Type
		bits int
		rms  float64 // of the quantization's own error
	}{
		{tensor.Q2_K, 4, 0.23}, {tensor.Q3_K, 5, 0.19}, {tensor.Q6_K, 8, 0.22},
	}
	for _, tt := range tests {
		t.Run(tt.typ.String(), func(t *testing.T) {
			var w repack.Weight
			x := random(tt.typ, 64, 2048)
			if err := repack.Repack(x, 0, 64, &w); err != nil {
				t.Fatal(err)
			}
			if w.Mode != repack.Affine || w.Bits != tt.bits || w.Group != 32 || w.Exact {
				t.Fatalf("made %+v", w.Format)
			}
			if says := fmt.Sprintf("%.2f", tt.rms); !strings.Contains(w.Note, says) {
				t.Errorf("the note %q doesn't say %s", w.Note, says)
			}
			want := dequantized(t, x, 0, 64)
			for i, got := range elements(&w) {
				// Half of MLX's step and what fixed-point factors lose.
				limit := 0.57 * math.Abs(float64(w.Scales[i/32]))
				if d := math.Abs(float64(got) - float64(want[i])); d > limit {
					t.Fatalf("element %d is %g instead of %g: off by %.3g of a step", i, got, want[i], d/math.Abs(float64(w.Scales[i/32])))
				}
			}

			original := make([]float32, 8192)
			if err := binary.Read(bytes.NewReader(fixture(t, "normal")), binary.LittleEndian, original); err != nil {
				t.Fatal(err)
			}
			x = tensor.Tensor{Name: "w", Type: tt.typ, Shape: []int{16, 512}, Data: fixture(t, tt.typ.String())}
			if err := repack.Repack(x, 0, 16, &w); err != nil {
				t.Fatal(err)
			}
			var ours, own, both float64
			stored := dequantized(t, x, 0, 16)
			for i, got := range elements(&w) {
				ours += square(got - stored[i])
				own += square(stored[i] - original[i])
				both += square(got - original[i])
			}
			ratio := math.Sqrt(ours / own)
			t.Logf("error %.3f of the quantization's own; together %.4f", ratio, math.Sqrt(both/own))
			if math.Abs(ratio-tt.rms) > 0.015 {
				t.Errorf("the error is %.3f of the quantization's own, promised is %.2f", ratio, tt.rms)
			}
			if both > 1.03*1.03*own {
				t.Errorf("together %.4f times the quantization's own error", math.Sqrt(both/own))
			}
		})
	}
}

func square(x float32) float64 { return float64(x) * float64(x) }

func TestDense(t *testing.T) {
	data := make([]byte, 8*6*5)
	for i := range data {
		data[i] = byte(i * 37)
	}
	for _, typ := range []tensor.Type{tensor.F32, tensor.F16, tensor.BF16, tensor.F64, tensor.I8, tensor.I16, tensor.I32} {
		t.Run(typ.String(), func(t *testing.T) {
			_, size := typ.Block()
			x := tensor.Tensor{Name: "w", Type: typ, Shape: []int{2, 3, 5}, Data: data[:30*size]}
			var w repack.Weight
			if err := repack.Repack(random(tensor.Q4_0, 1, 32), 0, 1, &w); err != nil {
				t.Fatal(err)
			}
			if err := repack.Repack(x, 2, 5, &w); err != nil {
				t.Fatal(err)
			}
			if w.Mode != repack.Dense || w.Bits != 0 || w.Group != 0 || !w.Exact || w.Rows != 3 || w.Cols != 5 ||
				len(w.Packed)+len(w.Scales)+len(w.Biases)+len(w.Scales8) != 0 {
				t.Fatalf("made %+v", w)
			}
			if raw := typ == tensor.F32 || typ == tensor.F16 || typ == tensor.BF16; raw {
				if !bytes.Equal(w.Raw, x.Data[10*size:25*size]) || len(w.Dense) != 0 {
					t.Errorf("%d raw bytes, %d elements", len(w.Raw), len(w.Dense))
				}
				return
			}
			want := dequantized(t, x, 2, 5)
			for i, v := range want {
				if w.Dense[i] != v && v == v {
					t.Errorf("element %d is %g, want %g", i, w.Dense[i], v)
				}
			}
			if len(w.Raw) != 0 || len(w.Dense) != 15 {
				t.Errorf("%d raw bytes, %d elements", len(w.Raw), len(w.Dense))
			}
		})
	}
}

// TestScalesThatAreNotFinite: what can't be represented is NaN, never a number.
func TestScalesThatAreNotFinite(t *testing.T) {
	for _, typ := range slices.Sorted(maps.Keys(scaleOffsets)) {
		for _, at := range scaleOffsets[typ] {
			for _, bits := range []uint16{0x7c00, 0xfc00, 0x7e01} {
				x := random(typ, 1, 256)
				binary.LittleEndian.PutUint16(x.Data[at:], bits)
				var w repack.Weight
				if err := repack.Repack(x, 0, 1, &w); err != nil {
					t.Fatal(err)
				}
				elems, _ := typ.Block()
				got := elements(&w)
				for i, want := range dequantized(t, x, 0, 1) {
					finite := !math.IsNaN(float64(want)) && !math.IsInf(float64(want), 0)
					if g := float64(got[i]); !finite && !math.IsNaN(g) && !math.IsInf(g, 0) {
						t.Fatalf("%s, scale %#x: element %d is %g, want %g", typ, bits, i, g, want)
					}
					if i >= elems && w.Exact && got[i] != want {
						t.Fatalf("%s, scale %#x: element %d of another block is %g, want %g", typ, bits, i, got[i], want)
					}
				}
			}
		}
	}
}

func TestErrors(t *testing.T) {
	good := random(tensor.Q4_0, 4, 64)
	tests := []struct {
		name     string
		typ      tensor.Type
		shape    []int
		from, to int
		want     string
	}{
		{"part of a block", tensor.Q4_0, []int{4, 48}, 0, 4, "repack w [4 48] Q4_0: a row of 48 elements is not a whole number"},
		{"type without values", tensor.IQ1_S, []int{1, 256}, 0, 1, "values of type IQ1_S can't be read"},
		{"invalid type", tensor.Invalid, []int{1}, 0, 1, "values of type invalid can't be read"},
		{"unknown type", 200, []int{1}, 0, 1, "Type(200)"},
		{"before the first row", tensor.Q4_0, []int{4, 64}, -1, 2, "rows -1 to 2 of 4"},
		{"backwards", tensor.Q4_0, []int{4, 64}, 2, 1, "rows 2 to 1 of 4"},
		{"past the last row", tensor.Q4_0, []int{4, 64}, 0, 5, "rows 0 to 5 of 4"},
		{"more shape than bytes", tensor.Q4_0, []int{5, 64}, 1, 5, "5 rows are wanted, and the tensor has only 144 bytes"},
		{"a huge shape", tensor.F32, []int{math.MaxInt, 1}, 0, math.MaxInt, "has only 144 bytes"},
		{"a huge row", tensor.I32, []int{1, 1<<62 + 1}, 0, 1, "more bytes than can be counted"},
		{"a negative row", tensor.F32, []int{1, -4}, 0, 1, "a row of -4 elements"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := tensor.Tensor{Name: "w", Type: tt.typ, Shape: tt.shape, Data: good.Data}
			if err := repack.Repack(x, tt.from, tt.to, new(repack.Weight)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	var w repack.Weight
	if err := repack.Repack(tensor.Tensor{Type: tensor.Q4_0, Shape: []int{3, 0}}, 0, 3, &w); err != nil || len(w.Packed) != 0 {
		t.Errorf("rows without columns: %v, %+v", err, w)
	}
}

func FuzzRepack(f *testing.F) {
	for _, typ := range slices.Sorted(maps.Keys(scaleOffsets)) {
		f.Add(uint8(typ), 1, 256, random(typ, 1, 256).Data)
	}
	f.Add(uint8(tensor.F16), 3, 5, make([]byte, 30))
	f.Fuzz(func(t *testing.T, typ uint8, rows, cols int, data []byte) {
		x := tensor.Tensor{Name: "w", Type: tensor.Type(typ), Shape: []int{rows, cols}, Data: data}
		var w repack.Weight
		if err := repack.Repack(x, 0, rows, &w); err != nil || w.Mode == repack.Dense || cols == 0 {
			return
		}
		want := dequantized(t, x, 0, rows)
		for i, got := range elements(&w) {
			v := float64(want[i])
			ulps := 2 * 0x1p-23 * math.Abs(v) // where a block's values differ by little, its scale is below their rounding
			switch {
			case w.Mode == repack.MXFP4 && w.Scales8[i/32] == 255:
			case math.IsNaN(v) || math.IsInf(v, 0):
				if g := float64(got); !math.IsNaN(g) && !math.IsInf(g, 0) {
					t.Fatalf("element %d is %g, want %g", i, g, v)
				}
			case math.IsNaN(float64(got)): // the block's scale is infinite: 0 times it may still be NaN
				if s := float64(w.Scales[i/32]); !math.IsNaN(s) && !math.IsInf(s, 0) {
					t.Fatalf("element %d is NaN, want %g", i, v)
				}
			case w.Exact && got != want[i], math.Abs(float64(got)-v) > 0.57*math.Abs(float64(scale(&w, i)))+ulps:
				t.Fatalf("element %d is %g, want %g", i, got, v)
			}
		}
	})
}

func scale(w *repack.Weight, elem int) float32 {
	if w.Mode == repack.MXFP4 {
		return float32(math.Inf(1))
	}
	return w.Scales[elem/w.Group]
}

func BenchmarkRepack(b *testing.B) {
	for _, typ := range slices.Sorted(maps.Keys(scaleOffsets)) {
		b.Run(typ.String(), func(b *testing.B) {
			x := random(typ, 64, 4096)
			var w repack.Weight
			b.SetBytes(int64(len(x.Data))) // read
			for b.Loop() {
				if err := repack.Repack(x, 0, 64, &w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package tensor_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/tensor"
)

var scalar = map[string]tensor.Type{"F32": tensor.F32, "F16": tensor.F16, "BF16": tensor.BF16, "U8": tensor.U8}

// readPacked reads one of testdata/make_mlx.py's files: a matrix [4, 256], and
// what MLX makes of it.
func readPacked(t testing.TB, path string) (tensor.Tensor, []float32) {
	t.Helper()
	const rows, cols = 4, 256
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(n int) []byte {
		part := b[:n]
		b = b[n:]
		return part
	}
	field := strings.Split(strings.TrimSuffix(filepath.Base(path), ".bin"), "-")
	p := tensor.Packed{Mode: field[0]}
	if _, err := fmt.Sscan(field[1]+" "+field[2], &p.Bits, &p.Group); err != nil {
		t.Fatal(err)
	}
	codes := cut(rows * cols * p.Bits / 8)
	beside := func() tensor.Tensor {
		s := tensor.Tensor{Type: scalar[field[3]], Shape: []int{rows, cols / p.Group}}
		_, size := s.Type.Block()
		s.Data = cut(s.Elems() * size)
		return s
	}
	p.Scales = beside()
	if p.Mode == "affine" {
		p.Biases = beside()
	}
	x, err := tensor.NewPacked("w", []int{rows, cols}, codes, p)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float32, rows*cols)
	for i := range want {
		want[i] = math.Float32frombits(binary.LittleEndian.Uint32(cut(4)))
	}
	if len(b) > 0 {
		t.Fatalf("%s: %d bytes too many", path, len(b))
	}
	return x, want
}

func packedFixtures(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/mlx/*.bin")
	if err != nil || len(paths) != 21 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	return paths
}

func TestPackedMatchesMLX(t *testing.T) {
	for _, path := range packedFixtures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			x, want := readPacked(t, path)
			if !x.CanDequantize() || !x.Type.Quantized() {
				t.Errorf("can be read: %v, quantized: %v", x.CanDequantize(), x.Type.Quantized())
			}
			// All rows together, then each on its own.
			for _, step := range []int{4, 1} {
				for from := 0; from < 4; from += step {
					got := make([]float32, step*256)
					if err := x.Dequantize(got, from, from+step); err != nil {
						t.Fatal(err)
					}
					for i, v := range got {
						if w := want[from*256+i]; !equal(v, w) {
							t.Fatalf("element %d of row %d is %g, MLX has %g", i%256, from+i/256, v, w)
						}
					}
				}
			}
		})
	}
}

func TestPackedDescribes(t *testing.T) {
	x, _ := readPacked(t, "testdata/mlx/affine-4-32-BF16.bin")
	if got, want := x.String(), "w [4 256] affine 4-bit/32"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got := x.Bytes(); got != 4*256/2+2*4*8*2 {
		t.Errorf("%d bytes", got)
	}
	plain := tensor.Tensor{Name: "w", Type: tensor.Q8_0, Shape: []int{1, 32}, Data: make([]byte, 34)}
	if plain.Encoding() != "Q8_0" || plain.Bytes() != 34 {
		t.Errorf("%s of %d bytes", plain.Encoding(), plain.Bytes())
	}
}

func TestNewPackedErrors(t *testing.T) {
	f32 := func(rows, groups int) tensor.Tensor {
		return tensor.Tensor{Type: tensor.F32, Shape: []int{rows, groups}, Data: make([]byte, 4*rows*groups)}
	}
	u8 := tensor.Tensor{Type: tensor.U8, Shape: []int{2, 2}, Data: make([]byte, 4)}
	good := tensor.Packed{Mode: "affine", Bits: 4, Group: 32, Scales: f32(2, 2), Biases: f32(2, 2)}
	with := func(change func(*tensor.Packed)) tensor.Packed {
		p := good
		change(&p)
		return p
	}
	tests := []struct {
		name  string
		shape []int
		bytes int
		p     tensor.Packed
		want  string // "": it is fine
	}{
		{"fine", []int{2, 64}, 64, good, ""},
		{"experts", []int{1, 2, 64}, 64, with(func(p *tensor.Packed) {
			p.Scales.Shape, p.Biases.Shape = []int{1, 2, 2}, []int{1, 2, 2}
		}), ""},
		{"mode", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Mode = "int4" }), `mode "int4" isn't known`},
		{"a GGUF type as mode", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Mode = "MXFP4" }), `mode "MXFP4" isn't known`},
		{"bits", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Bits = 7 }), "to 7 bits isn't known"},
		{"no bits", []int{2, 64}, 0, with(func(p *tensor.Packed) { p.Bits = 0 }), "to 0 bits isn't known"},
		{"group", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Group = 16 }), "groups of 16 isn't known"},
		{"vector", []int{64}, 32, good, "only matrices"},
		{"part of a group", []int{2, 48}, 48, good, "not whole groups of 32"},
		{"empty rows", []int{2, 0}, 0, good, "not whole groups of 32"},
		{"no rows", []int{0, 64}, 0, good, "doesn't fit 0 bytes"},
		{"negative", []int{-2, 64}, 64, good, "doesn't fit"},
		{"codes missing", []int{2, 64}, 63, good, "doesn't fit 63 bytes"},
		{"codes too many", []int{2, 64}, 128, good, "doesn't fit 128 bytes"},
		{"overflowing", []int{1 << 31, 1 << 31, 64}, 64, good, "doesn't fit"},
		{"overflowing columns", []int{1, 1 << 62}, 64, good, "doesn't fit"},
		{"scales of another shape", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Scales = f32(4, 1) }), "scales have the shape [4 1], expected [2 2]"},
		{"scales of another type", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Scales = u8 }), "scales are stored as U8"},
		{"scales cut short", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Scales.Data = p.Scales.Data[:15] }), "scales take 15 bytes, expected 16"},
		{"biases missing", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Biases = tensor.Tensor{} }), "biases are stored as invalid"},
		{"biases of another shape", []int{2, 64}, 64, with(func(p *tensor.Packed) { p.Biases = f32(2, 1) }), "biases have the shape"},
		{"mxfp4", []int{2, 64}, 64, tensor.Packed{Mode: "mxfp4", Bits: 4, Group: 32, Scales: u8}, ""},
		{"mxfp4 with biases", []int{2, 64}, 64, tensor.Packed{Mode: "mxfp4", Bits: 4, Group: 32, Scales: u8, Biases: u8}, "has no biases"},
		{"mxfp4 with float scales", []int{2, 64}, 64, tensor.Packed{Mode: "mxfp4", Bits: 4, Group: 32, Scales: f32(2, 2)}, "scales are stored as F32"},
		{"mxfp4 in 8 bits", []int{2, 64}, 128, tensor.Packed{Mode: "mxfp4", Bits: 8, Group: 32, Scales: u8}, "to 8 bits isn't known"},
		{"nvfp4 in groups of 32", []int{2, 64}, 64, tensor.Packed{Mode: "nvfp4", Bits: 4, Group: 32, Scales: u8}, "groups of 32 isn't known"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, err := tensor.NewPacked("blk.w", tt.shape, make([]byte, tt.bytes), tt.p)
			if tt.want == "" {
				if err == nil {
					err = x.Dequantize(make([]float32, x.Elems()), 0, x.Rows())
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "blk.w") {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestDequantizeRowsErrors(t *testing.T) {
	q8 := tensor.Tensor{Name: "w", Type: tensor.Q8_0, Shape: []int{3, 64}, Data: make([]byte, 3*68)}
	short := q8
	short.Data = short.Data[:2*68]
	naked := tensor.Tensor{Name: "w", Type: tensor.MLXAffine, Shape: []int{3, 64}, Data: make([]byte, 96)}
	tests := []struct {
		name     string
		x        tensor.Tensor
		elems    int
		from, to int
		want     string // "": it is fine
	}{
		{"all", q8, 192, 0, 3, ""},
		{"none", q8, 0, 3, 3, ""},
		{"last", short, 64, 1, 2, ""},
		{"missing bytes", short, 64, 2, 3, "136 bytes hold 2 rows"},
		{"past the end", q8, 128, 2, 4, "rows 2 to 4 of 3"},
		{"backwards", q8, 0, 2, 1, "rows 2 to 1"},
		{"negative", q8, 64, -1, 0, "rows -1 to 0"},
		{"dst too short", q8, 63, 0, 1, "into 63 elements"},
		{"a type without values", tensor.Tensor{Name: "w", Type: tensor.F8_E4M3, Shape: []int{4}, Data: make([]byte, 4)}, 4, 0, 1, "values of type F8_E4M3 can't be read"},
		{"without its scales", naked, 192, 0, 3, "isn't known"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.x.Dequantize(make([]float32, tt.elems), tt.from, tt.to)
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzPacked takes any parameters and any bytes: they are refused, or can be read.
func FuzzPacked(f *testing.F) {
	f.Add("affine", 4, 32, 2, 64, 64, 2, 2)
	f.Add("nvfp4", 4, 16, 1, 64, 32, 1, 4)
	f.Add("affine", 3, 128, 1<<32, 1<<32, 48, -1, 1)
	f.Fuzz(func(t *testing.T, mode string, bits, group, rows, cols, bytes, srows, scols int) {
		bytes &= 0xffff
		s := tensor.Tensor{Type: tensor.U8, Shape: []int{srows, scols}}
		if mode == "affine" {
			s.Type = tensor.F16
		}
		_, size := s.Type.Block()
		s.Data = make([]byte, uint16(srows*scols*size))
		p := tensor.Packed{Mode: mode, Bits: bits, Group: group, Scales: s}
		if mode == "affine" {
			p.Biases = s
		}
		x, err := tensor.NewPacked("w", []int{rows, cols}, make([]byte, bytes), p)
		if err != nil {
			return
		}
		if err := x.Dequantize(make([]float32, x.Elems()), 0, x.Rows()); err != nil {
			t.Errorf("%s was accepted, then %v", x, err)
		}
	})
}

func BenchmarkDequantizePacked(b *testing.B) {
	for _, path := range packedFixtures(b) {
		b.Run(strings.TrimSuffix(filepath.Base(path), ".bin"), func(b *testing.B) {
			x, want := readPacked(b, path)
			dst := make([]float32, len(want))
			b.SetBytes(int64(4 * len(dst))) // float32 made
			for b.Loop() {
				if err := x.Dequantize(dst, 0, x.Rows()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

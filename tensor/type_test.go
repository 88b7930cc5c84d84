package tensor_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/tensor"
)

func TestBlockSizes(t *testing.T) {
	b, err := os.ReadFile("testdata/types.txt")
	if err != nil {
		t.Fatal(err)
	}
	// Newer than the package that types.txt is made with: ggml-common.h.
	lines := string(b) + "Q2_0 64 18\n"
	// safetensors' own dtypes (its format's documentation).
	lines += "BOOL 1 1\nU8 1 1\nU16 1 2\nU32 1 4\nU64 1 8\nC64 1 8\nF8_E4M3 1 1\nF8_E5M2 1 1\nF8_E8M0 1 1\n" +
		"F8_E4M3FNUZ 1 1\nF8_E5M2FNUZ 1 1\nF6_E2M3 4 3\nF6_E3M2 4 3\nF4 2 1\n"
	want := make(map[string][2]int)
	for line := range strings.Lines(lines) {
		var name string
		var elems, bytes int
		if _, err := fmt.Sscan(line, &name, &elems, &bytes); err != nil {
			t.Fatal(err)
		}
		want[name] = [2]int{elems, bytes}
	}
	for _, typ := range allTypes() {
		elems, bytes := typ.Block()
		if w, ok := want[typ.String()]; !ok || w != [2]int{elems, bytes} {
			t.Errorf("%s: %d elements in %d bytes, want %v", typ, elems, bytes, w)
		}
		if typ.Quantized() != (elems > 1 && typ < tensor.Bool) {
			t.Errorf("%s: Quantized() = %v", typ, typ.Quantized())
		}
		delete(want, typ.String())
	}
	for name := range want {
		t.Errorf("type %s is missing", name)
	}
}

func TestRowBytes(t *testing.T) {
	tests := []struct {
		typ  tensor.Type
		cols int
		want int // -1: an error
	}{
		{tensor.F32, 0, 0},
		{tensor.F32, 7, 28},
		{tensor.Q4_0, 64, 36},
		{tensor.Q4_0, 63, -1},
		{tensor.Q6_K, 512, 420},
		{tensor.Q6_K, 128, -1},
		{tensor.F16, -1, -1},
		{tensor.F32, 1 << 62, -1},
		{tensor.Invalid, 1, -1},
		{tensor.Type(255), 1, -1},
	}
	for _, tt := range tests {
		got, err := tt.typ.RowBytes(tt.cols)
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("%s.RowBytes(%d) = %d, %v; want %d", tt.typ, tt.cols, got, err, tt.want)
		}
	}
}

func TestShape(t *testing.T) {
	tests := []struct {
		shape             []int
		rows, cols, elems int
	}{
		{nil, 1, 1, 1},
		{[]int{5}, 1, 5, 5},
		{[]int{3, 5}, 3, 5, 15},
		{[]int{2, 3, 5}, 6, 5, 30},
	}
	for _, tt := range tests {
		x := tensor.Tensor{Shape: tt.shape}
		if x.Rows() != tt.rows || x.Cols() != tt.cols || x.Elems() != tt.elems {
			t.Errorf("%v: %d rows of %d, %d elements", tt.shape, x.Rows(), x.Cols(), x.Elems())
		}
	}
	x := tensor.Tensor{Name: "output.weight", Type: tensor.Q6_K, Shape: []int{32, 256}}
	if got, want := x.String(), "output.weight [32 256] Q6_K"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

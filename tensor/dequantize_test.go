package tensor_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/tensor"
)

// allTypes are the types that have a size.
func allTypes() (types []tensor.Type) {
	for t := tensor.F32; ; t++ {
		if _, bytes := t.Block(); bytes == 0 {
			return types
		}
		types = append(types, t)
	}
}

// readFixture gives 2048 elements as blocks and as the reference's float32
// values; see testdata/make.py.
func readFixture(t testing.TB, typ tensor.Type) (blocks []byte, want []float32) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", typ.String()+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	const elems = 2048
	split := len(b) - 4*elems
	want = make([]float32, elems)
	for i := range want {
		want[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[split+4*i:]))
	}
	return b[:split], want
}

func equal(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || math.IsNaN(float64(a)) && math.IsNaN(float64(b))
}

func TestDequantizeMatchesReference(t *testing.T) {
	for _, typ := range allTypes() {
		if !typ.CanDequantize() {
			continue
		}
		t.Run(typ.String(), func(t *testing.T) {
			blocks, want := readFixture(t, typ)
			got := make([]float32, len(want))
			if err := tensor.Dequantize(got, typ, blocks); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if !equal(got[i], want[i]) {
					t.Fatalf("element %d is %g, the reference has %g", i, got[i], want[i])
				}
			}
			// One block at a time gives the same: blocks don't see each other.
			elems, bytes := typ.Block()
			one := make([]float32, elems)
			for i := range len(blocks) / bytes {
				if err := tensor.Dequantize(one, typ, blocks[i*bytes:(i+1)*bytes]); err != nil {
					t.Fatal(err)
				}
				for j, v := range one {
					if !equal(v, want[i*elems+j]) {
						t.Fatalf("alone, element %d of block %d is %g, want %g", j, i, v, want[i*elems+j])
					}
				}
			}
		})
	}
}

func TestCanDequantize(t *testing.T) {
	var can []string
	for _, typ := range allTypes() {
		if typ.CanDequantize() {
			can = append(can, typ.String())
		}
	}
	const want = "F32 F16 BF16 F64 I8 I16 I32 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ4_NL IQ4_XS MXFP4"
	if got := strings.Join(can, " "); got != want {
		t.Errorf("values can be read of\n%s, want\n%s", got, want)
	}
	for _, typ := range []tensor.Type{tensor.Invalid, 250} {
		if typ.CanDequantize() {
			t.Errorf("%s can't be dequantized", typ)
		}
	}
}

func TestDequantizeErrors(t *testing.T) {
	tests := []struct {
		name  string
		typ   tensor.Type
		elems int
		bytes int
		want  string
	}{
		{"type without values", tensor.IQ1_S, 256, 50, "values of type IQ1_S can't be read"},
		{"invalid type", tensor.Invalid, 1, 0, "values of type invalid can't be read"},
		{"unknown type", 200, 1, 1, "values of type Type(200) can't be read"},
		{"part of a block", tensor.Q4_0, 31, 18, "not a whole number of Q4_0 blocks of 32"},
		{"src too short", tensor.Q6_K, 256, 209, "256 elements of type Q6_K take 210 bytes, got 209"},
		{"src too long", tensor.F16, 3, 8, "3 elements of type F16 take 6 bytes, got 8"},
		{"no src", tensor.F32, 1, 0, "1 elements of type F32 take 4 bytes, got 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst := make([]float32, tt.elems)
			dst[0] = 42
			err := tensor.Dequantize(dst, tt.typ, make([]byte, tt.bytes))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if dst[0] != 42 {
				t.Error("dst was written to")
			}
		})
	}
	if err := tensor.Dequantize(nil, tensor.Q4_K, nil); err != nil {
		t.Errorf("nothing to do is an error: %v", err)
	}
}

func BenchmarkDequantize(b *testing.B) {
	for _, typ := range allTypes() {
		if !typ.CanDequantize() {
			continue
		}
		b.Run(typ.String(), func(b *testing.B) {
			blocks, want := readFixture(b, typ)
			dst := make([]float32, len(want))
			b.SetBytes(int64(4 * len(dst))) // float32 made
			for b.Loop() {
				if err := tensor.Dequantize(dst, typ, blocks); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

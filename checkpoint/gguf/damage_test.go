package gguf_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

var le = binary.LittleEndian

// raw builds a file field by field, right or wrong.
type raw []byte

func (r raw) u8(v ...uint8) raw { return append(r, v...) }
func (r raw) u32(v uint32) raw  { return le.AppendUint32(r, v) }
func (r raw) u64(v uint64) raw  { return le.AppendUint64(r, v) }
func (r raw) str(s string) raw  { return append(r.u64(uint64(len(s))), s...) }
func (r raw) zeros(n int) raw   { return append(r, make([]byte, n)...) }
func (r raw) to(n int) raw      { return r.zeros(n - len(r)) }

// start is magic, version and counts: 24 bytes.
func start(tensors, pairs uint64) raw { return raw("GGUF").u32(3).u64(tensors).u64(pairs) }

// tensor adds a row of the table: 8+len(name)+4+8·dims+4+8 bytes.
func (r raw) tensor(name string, typ uint32, offset uint64, dims ...uint64) raw {
	r = r.str(name).u32(uint32(len(dims)))
	for _, d := range dims {
		r = r.u64(d)
	}
	return r.u32(typ).u64(offset)
}

// Numbers of value and tensor types in files.
const (
	valueU8, valueU32, valueF32, valueBool, valueString, valueArray = 0, 4, 6, 7, 8, 9
	tensorF32, tensorQ4_0, tensorQ6_K                               = 0, 2, 14
)

type damage struct {
	name            string
	file            []byte
	offset          int64
	what            string // part of FormatError.What, and so on
	expected, found string
}

func damages() []damage {
	nested := func(levels int) raw {
		r := start(0, 1).str("k").u32(valueArray)
		for range levels - 1 {
			r = r.u32(valueArray).u64(1)
		}
		return r.u32(valueU8).u64(1).u8(7)
	}
	one := start(1, 0).tensor("t", tensorF32, 0, 4)                                  // 24 + 33 bytes, data at 64
	two := func(typ1, typ2 uint32, offset1, offset2 uint64, dim1, dim2 uint64) raw { // 24 + 2·33, data at 96
		return start(2, 0).tensor("a", typ1, offset1, dim1).tensor("b", typ2, offset2, dim2).to(96)
	}
	aligned := func(typ uint32, value raw) raw {
		return append(start(0, 1).str("general.alignment").u32(typ), value...) // value at 24+8+17+4
	}
	return []damage{
		{"empty", nil, 0, "header", "at least 24 bytes", "0"},
		{"shorter than the header", raw("GGUF").u32(3), 0, "header", "at least 24 bytes", "8"},
		{"wrong magic", raw("GGML").to(64), 0, "magic", `"GGUF"`, `"GGML"`},
		{"version 1", raw("GGUF").u32(1).to(64), 4, "version", "2 or 3", "1"},
		{"version 4", raw("GGUF").u32(4).to(64), 4, "version", "2 or 3", "4"},
		{"big-endian", raw("GGUF").u8(0, 0, 0, 3).to(64), 4, "version", "little-endian", "big-endian"},
		{"absurd number of tensors", start(math.MaxUint64, 0).to(64), 8, "number of tensors", "at most 1048576", "18446744073709551615"},
		{"more tensors than fit", start(1<<20, 0).to(1000), 8, "number of tensors", "984 bytes left", "1048576"},
		{"absurd number of pairs", start(0, 1<<63).to(64), 16, "number of metadata pairs", "at most 65536", "9223372036854775808"},
		{"more pairs than fit", start(0, 60000).to(1000), 16, "number of metadata pairs", "976 bytes left", "60000"},

		{"key longer than the file", start(0, 1).u64(5000).to(100), 24, "metadata key 0: length", "68 bytes left", "5000"},
		{"absurd key length", start(0, 1).u64(1 << 62).to(100), 24, "metadata key 0: length", "at most 65535", "4611686018427387904"},
		{"empty key", start(0, 1).str("").u32(valueU8).to(100), 24, "metadata key 0", "a name", "an empty one"},
		{"key twice", start(0, 2).str("k").u32(valueU8).u8(1).str("k").u32(valueU8).u8(1), 38, `metadata "k"`, "each key once", "it again"},
		{"unknown value type", start(0, 1).str("k").u32(13).to(100), 33, `metadata "k": type`, "from 0 to 12", "13"},
		{"no room for a value", start(0, 1).str("k").u32(valueU32).u8(1), 37, `metadata "k"`, "4 more bytes", "the end of the file after 1"},
		{"no room for the value type", start(0, 1).str("key!").u8(1, 2), 36, `metadata "key!": type`, "4 more bytes", "after 2"},
		{"string longer than the file", start(0, 1).str("k").u32(valueString).u64(100), 37, `metadata "k": length`, "0 bytes left", "100"},
		{"absurd string", start(0, 1).str("k").u32(valueString).u64(1 << 40), 37, `metadata "k": length`, "at most 67108864", "1099511627776"},
		{"neither true nor false", start(0, 1).str("k").u32(valueBool).u8(2), 37, `metadata "k"`, "0 or 1", "2"},

		{"array longer than the file", start(0, 1).str("k").u32(valueArray).u32(valueU32).u64(100).to(200), 41, `"k": number of elements`, "at most 37,", "100"},
		{"absurd array", start(0, 1).str("k").u32(valueArray).u32(valueU8).u64(1 << 60), 41, `"k": number of elements`, "at most 16777216", "1152921504606846976"},
		{"absurd array of strings", start(0, 1).str("k").u32(valueArray).u32(valueString).u64(1 << 20).to(4000), 41, `"k": number of elements`, "at most 493,", "1048576"},
		{"unknown element type", start(0, 1).str("k").u32(valueArray).u32(99).u64(1).to(100), 37, `"k": element type`, "from 0 to 12", "99"},
		{"string in an array too long", start(0, 1).str("k").u32(valueArray).u32(valueString).u64(2).str("ab").u64(9).to(70), 59, `metadata "k"[1]: length`, "3 bytes left", "9"},
		{"array ends early", start(0, 1).str("k").u32(valueArray).u32(valueString).u64(2).str("abcdefgh").u32(0), 65, `metadata "k"[1]: length`, "8 more bytes", "after 4"},
		{"bad bool in an array", start(0, 1).str("k").u32(valueArray).u32(valueBool).u64(3).u8(0, 1, 3), 51, `metadata "k"`, "0 or 1", "3"},
		{"nested too deep", nested(9), 121, `metadata "k"`, "nested at most 8 deep", "one more level"},
		{"nested without end", nested(4000), 121, `metadata "k"`, "nested at most 8 deep", "one more level"},
		{"inner array too long", start(0, 1).str("k").u32(valueArray).u32(valueArray).u64(1).u32(valueU32).u64(50).to(80), 53, `"k": number of elements`, "at most 4,", "50"},

		{"alignment zero", aligned(valueU32, raw{}.u32(0)), 53, `metadata "general.alignment"`, "a power of two", "0"},
		{"alignment 48", aligned(valueU32, raw{}.u32(48)), 53, `metadata "general.alignment"`, "a power of two", "48"},
		{"alignment 4", aligned(valueU32, raw{}.u32(4)), 53, `metadata "general.alignment"`, "from 8", "4"},
		{"alignment 2^31", aligned(valueU32, raw{}.u32(1<<31)), 53, `metadata "general.alignment"`, "to 1073741824", "2147483648"},
		{"alignment as text", aligned(valueString, raw{}.str("32")), 61, `metadata "general.alignment"`, "a power of two", "no integer"},
		{"alignment as a list", aligned(valueArray, raw{}.u32(valueU8).u64(1).u8(32)), 65, `metadata "general.alignment"`, "a power of two", "an array"},

		{"empty tensor name", start(1, 0).tensor("", tensorF32, 0, 4).to(128), 24, "name of tensor 0", "a name", "an empty one"},
		{"tensor twice", start(2, 0).tensor("t", tensorF32, 0, 4).tensor("t", tensorF32, 32, 4).to(200), 57, `tensor "t"`, "each name once", "it again"},
		{"too many dimensions", start(1, 0).tensor("t", tensorF32, 0, 1, 1, 1, 1, 1).to(200), 33, `tensor "t": number of dimensions`, "at most 4", "5"},
		{"absurd number of dimensions", start(1, 0).str("t").u32(math.MaxUint32).to(200), 33, `tensor "t": number of dimensions`, "at most 4", "4294967295"},
		{"zero dimension", start(1, 0).tensor("t", tensorF32, 0, 4, 0).to(200), 45, `tensor "t": dimension`, "positive", "0"},
		{"dimensions overflow 64 bits", start(1, 0).tensor("t", tensorF32, 0, 1<<32, 1<<32).to(200), 45, `tensor "t": dimension`, "product fits", "4294967296"},
		{"dimensions overflow the sign", start(1, 0).tensor("t", tensorF32, 0, 1<<62, 2).to(200), 45, `tensor "t": dimension`, "product fits", "2"},
		{"dimension past the sign", start(1, 0).tensor("t", tensorF32, 0, 1<<63).to(200), 37, `tensor "t": dimension`, "product fits", "9223372036854775808"},
		{"bytes overflow", start(1, 0).tensor("t", tensorF32, 0, 1<<20, 1<<41).to(200), 24, `tensor "t"`, "a size that fits", "2199023255552 rows of 4194304 bytes"},
		{"unknown tensor type", start(1, 0).tensor("t", 43, 0, 4).to(200), 45, `tensor "t": type`, "a ggml type from 0 to 42", "43"},
		{"absurd tensor type", start(1, 0).tensor("t", math.MaxUint32, 0, 4).to(200), 45, `tensor "t": type`, "a ggml type", "4294967295"},
		{"tensor type that was removed", start(1, 0).tensor("t", 31, 0, 32).to(200), 45, `tensor "t": type`, "a ggml type", "31 (Q4_0_4_4, which ggml no longer has"},
		{"part of a block", start(1, 0).tensor("t", tensorQ4_0, 0, 33).to(200), 45, `tensor "t": type`, "whole Q4_0 blocks of 32", "33"},
		{"quantized scalar", start(1, 0).tensor("t", tensorQ6_K, 0).to(400), 37, `tensor "t": type`, "whole Q6_K blocks of 256", "rows of 1 "},
		{"table of tensors ends early", start(1, 0).tensor("tensor", tensorF32, 0, 4)[:54], 54, `tensor "tensor": offset`, "8 more bytes", "after 0"},

		{"no data at all", one, 24, `tensor "t"`, "16 bytes at offset 0 of the data, which begins at 64", "a file of 57 bytes"},
		{"padding alone", one.to(64), 24, `tensor "t"`, "16 bytes at offset 0 of the data", "a file of 64 bytes"},
		{"data one byte short", one.to(64 + 15), 24, `tensor "t"`, "its 16 bytes", "a file of 79 bytes"},
		{"offset past the end", start(1, 0).tensor("t", tensorF32, 128, 4).to(64 + 32), 24, `tensor "t"`, "16 bytes at offset 128", "a file of 96 bytes"},
		{"absurd offset", start(1, 0).tensor("t", tensorF32, 1<<63, 4).to(200), 49, `tensor "t": offset`, "within the file", "9223372036854775808"},
		{"offset that would wrap round", start(1, 0).tensor("t", tensorF32, math.MaxInt64-31, 4).to(200), 24, `tensor "t"`, "at offset 9223372036854775776", "a file of 200 bytes"},
		{"larger than any file", start(1, 0).tensor("t", tensorF32, 0, 1<<60).to(200), 24, `tensor "t"`, "4611686018427387904 bytes", "a file of 200 bytes"},
		{"misaligned", start(1, 0).tensor("t", tensorF32, 16, 4).to(200), 24, `tensor "t": offset`, "a multiple of the alignment, 32", "16"},
		{"same place", two(tensorF32, tensorF32, 0, 0, 4, 4).to(200), 57, `tensor "b"`, `after the end of tensor "a" at 112`, "it at 96: they overlap"},
		{"overlap in reverse order", two(tensorF32, tensorQ4_0, 32, 0, 4, 64).to(200), 24, `tensor "a"`, `after the end of tensor "b" at 132`, "it at 128: they overlap"},
	}
}

func TestDamage(t *testing.T) {
	for _, tt := range damages() {
		t.Run(tt.name, func(t *testing.T) {
			path := save(t, "bad.gguf", tt.file)
			f, err := gguf.Open(path)
			if err == nil {
				f.Close()
				t.Fatal("it opens")
			}
			var bad *gguf.FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("error %v is not a FormatError", err)
			}
			if bad.File != path || bad.Offset != tt.offset ||
				!strings.Contains(bad.What, tt.what) || !strings.Contains(bad.Expected, tt.expected) || !strings.Contains(bad.Found, tt.found) {
				t.Errorf("got  offset %d: %s: expected %s, found %s\nwant offset %d: %s: expected %s, found %s",
					bad.Offset, bad.What, bad.Expected, bad.Found, tt.offset, tt.what, tt.expected, tt.found)
			}
			for _, part := range []string{path, bad.What, bad.Expected, bad.Found} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the message %q lacks %q", err, part)
				}
			}
		})
	}
}

// TestDamageCostsNothing: what a bad file claims must not be allocated.
func TestDamageCostsNothing(t *testing.T) {
	for _, tt := range damages() {
		path := save(t, "bad.gguf", tt.file)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := gguf.Open(path); err == nil {
			t.Errorf("%s: it opens", tt.name)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: opening %d bytes allocated %d", tt.name, len(tt.file), n)
		}
	}
}

// TestEdges are files just inside the rules.
func TestEdges(t *testing.T) {
	nested := start(0, 1).str("k").u32(valueArray)
	for range 7 {
		nested = nested.u32(valueArray).u64(1)
	}
	tests := []struct {
		name string
		file []byte
		want string // the tensors
	}{
		{"nothing in it", start(0, 0), ""},
		{"metadata without data", start(0, 1).str("k").u32(valueU8).u8(1), ""},
		{"arrays 8 deep", nested.u32(valueU8).u64(1).u8(7), ""},
		{"empty arrays", start(0, 2).str("a").u32(valueArray).u32(valueString).u64(0).str("b").u32(valueArray).u32(valueArray).u64(0), ""},
		{"a scalar", start(1, 0).tensor("t", tensorF32, 0).to(64 + 4), "t [] F32"},
		{"four dimensions, innermost first", start(1, 0).tensor("t", tensorF32, 0, 5, 3, 2, 1).to(96 + 120), "t [1 2 3 5] F32"},
		{"tensors side by side, no padding at the end", start(2, 0).tensor("a", tensorF32, 0, 8).tensor("b", tensorQ4_0, 32, 32).to(96 + 32 + 18), "a [8] F32, b [32] Q4_0"},
		{"data in another order than the table", start(2, 0).tensor("a", tensorF32, 32, 8).tensor("b", tensorQ4_0, 0, 32).to(96 + 64), "a [8] F32, b [32] Q4_0"},
		{"a gap and a tail", start(1, 0).tensor("t", tensorF32, 64, 1).to(64 + 64 + 4 + 99), "t [1] F32"},
		{"alignment 8, as a u8", start(1, 1).str("general.alignment").u32(valueU8).u8(8).tensor("t", tensorF32, 8, 2).to(88 + 16), "t [2] F32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t, save(t, "edge.gguf", tt.file))
			var got []string
			for _, e := range f.Tensors() {
				x, ok := f.Tensor(e.Name)
				if !ok || int64(len(x.Data)) != e.Bytes {
					t.Errorf("tensor %s has %d bytes, listed are %d", x, len(x.Data), e.Bytes)
				}
				got = append(got, x.String())
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("tensors %q, want %q", s, tt.want)
			}
			f.Fingerprint()
			for _, key := range f.Metadata().Keys() {
				if _, ok := f.Metadata().Value(key); !ok {
					t.Errorf("no value for %q", key)
				}
			}
		})
	}
}

// TestTruncatedAnywhere cuts a good file at every length: it must fail, and say
// so as a FormatError.
func TestTruncatedAnywhere(t *testing.T) {
	whole, err := os.ReadFile("testdata/split-00003-of-00003.gguf")
	if err != nil {
		t.Fatal(err)
	}
	path := save(t, "cut.gguf", nil)
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Open(path)
		var bad *gguf.FormatError
		if !errors.As(err, &bad) {
			if err == nil {
				f.Close()
			}
			t.Errorf("cut to %d of %d bytes: error %v", n, len(whole), err)
		}
	}
}

// TestTensorTypeNumbers: each number of a type that ggml has today opens as a
// type of the expected size.
func TestTensorTypeNumbers(t *testing.T) {
	removed := []uint32{4, 5, 31, 32, 33, 36, 37, 38}
	var names []string
	for n := range uint32(43) {
		f, err := gguf.Open(save(t, "t.gguf", start(1, 0).tensor("t", n, 0, 256).to(64+4096)))
		if err != nil {
			if !slices.Contains(removed, n) {
				t.Errorf("type %d: %v", n, err)
			}
			continue
		}
		x, _ := f.Tensor("t")
		if size, err := x.Type.RowBytes(256); err != nil || size != len(x.Data) {
			t.Errorf("%s: %d bytes, want %d (%v)", x, len(x.Data), size, err)
		}
		names = append(names, x.Type.String())
		f.Close()
	}
	const want = "F32 F16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS " +
		"I8 I16 I32 I64 F64 IQ1_M BF16 TQ1_0 TQ2_0 MXFP4 NVFP4 Q1_0 Q2_0"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("types in the order of their numbers:\n%s, want\n%s", got, want)
	}
	if len(names) != int(tensor.Q2_0-tensor.F32)+1 {
		t.Errorf("%d types have a number", len(names))
	}
}

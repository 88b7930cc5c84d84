package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/safetensors"
	"github.com/inferflux/inferflux/tensor"
)

// encode is a file of a header and data.
func encode(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func save(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	// Out of order, with an empty tensor, a scalar, and padding.
	header := `{"__metadata__":{"format":"pt"},
		"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[5,17]},
		"empty":{"dtype":"F32","shape":[0,4],"data_offsets":[5,5]},
		"a":{"shape":[],"data_offsets":[0,4],"dtype":"F32","unknown":[1,{"x":null}]},
		"é":{"dtype":"U8","shape":[1],"data_offsets":[4,5]}}   `
	path := save(t, encode(header, "aaaacbbbbbbbbbbbb"))
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	start := int64(8 + len(header))
	want := []checkpoint.Entry{
		{Name: "a", Type: tensor.F32, Shape: []int{}, File: path, Offset: start, Bytes: 4},
		{Name: "é", Type: tensor.U8, Shape: []int{1}, File: path, Offset: start + 4, Bytes: 1},
		{Name: "empty", Type: tensor.F32, Shape: []int{0, 4}, File: path, Offset: start + 5},
		{Name: "b", Type: tensor.BF16, Shape: []int{2, 3}, File: path, Offset: start + 5, Bytes: 12},
	}
	if d := cmp.Diff(want, f.Entries()); d != "" {
		t.Error(d)
	}
	for i, data := range []string{"aaaa", "c", "", "bbbbbbbbbbbb"} {
		if got := f.Data(i); string(got) != data || cap(got) != len(got) {
			t.Errorf("entry %d is %q, want %q", i, got, data)
		}
		f.Release(i)
	}
	if got := string(f.Data(0)); got != "aaaa" {
		t.Errorf("released, it is %q", got)
	}
	if f.Size() != start+17 || string(f.Header()[8:]) != header {
		t.Errorf("%d bytes, header %q", f.Size(), f.Header())
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestDTypes(t *testing.T) {
	for dtype, want := range map[string]tensor.Type{
		"F64": tensor.F64, "F32": tensor.F32, "F16": tensor.F16, "BF16": tensor.BF16, "I64": tensor.I64, "I32": tensor.I32, "I16": tensor.I16,
		"I8": tensor.I8, "U64": tensor.U64, "U32": tensor.U32, "U16": tensor.U16, "U8": tensor.U8, "BOOL": tensor.Bool, "C64": tensor.C64,
		"F8_E4M3": tensor.F8_E4M3, "F8_E5M2": tensor.F8_E5M2, "F8_E8M0": tensor.F8_E8M0, "F4": tensor.F4, "F6_E2M3": tensor.F6_E2M3, "F6_E3M2": tensor.F6_E3M2,
	} {
		elems, size := want.Block()
		n := 8 / elems * size
		f, err := safetensors.Open(save(t, encode(fmt.Sprintf(`{"x":{"dtype":%q,"shape":[2,4],"data_offsets":[0,%d]}}`, dtype, n), strings.Repeat("x", n))))
		if err != nil {
			t.Errorf("%s: %v", dtype, err)
			continue
		}
		if e := f.Entries()[0]; e.Type != want || len(f.Data(0)) != n {
			t.Errorf("%s: %s of %d bytes", dtype, e.Type, len(f.Data(0)))
		}
		f.Close()
	}
}

func TestDamage(t *testing.T) {
	one := func(entry, data string) []byte { return encode(`{"blk.w":`+entry+`}`, data) }
	two := func(a, b, data string) []byte { return encode(`{"a":`+a+`,"blk.w":`+b+`}`, data) }
	u8 := func(from, to int) string {
		return fmt.Sprintf(`{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}`, to-from, from, to)
	}
	tests := []struct {
		name    string
		content []byte
		want    string
	}{
		{"empty", nil, "too few for a header"},
		{"cut in the length", []byte("1234567"), "too few for a header"},
		{"header past the end", encode("{}", "")[:9], "the header's length is 2, but only 1 bytes follow"},
		{"huge header", binary.LittleEndian.AppendUint64(nil, 1<<63), "expected at most"},
		{"another format", []byte("GGUF\x03\x00\x00\x00 and more"), "the file is damaged, or of another format"},
		{"no JSON", encode("hello", ""), "invalid character"},
		{"no object", encode("[]", ""), "not a JSON object"},
		{"unclosed", encode(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, ""), "ends too early"},
		{"more after it", encode(`{} {}`, ""), "2 bytes follow the JSON"},
		{"not an entry", one(`7`, ""), `tensor "blk.w"`},
		{"no dtype", one(`{"shape":[1],"data_offsets":[0,1]}`, "x"), "dtype, shape or data_offsets is missing"},
		{"null shape", one(`{"dtype":"U8","shape":null,"data_offsets":[0,1]}`, "x"), "dtype, shape or data_offsets is missing"},
		{"unknown dtype", one(`{"dtype":"Q4","shape":[1],"data_offsets":[0,1]}`, "x"), `dtype "Q4" isn't known`},
		{"negative dimension", one(`{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}`, "x"), "dimension 0 is out of range"},
		{"fraction", one(`{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}`, "x"), `tensor "blk.w"`},
		{"overflowing shape", one(`{"dtype":"U8","shape":[4294967296,4294967296,16],"data_offsets":[0,1]}`, "x"), "more than 2^48 elements"},
		{"many dimensions", one(`{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}`, "x"), "9 dimensions"},
		{"one offset", one(`{"dtype":"U8","shape":[1],"data_offsets":[0]}`, "x"), "expected where the bytes begin and end"},
		{"backwards", one(`{"dtype":"U8","shape":[0],"data_offsets":[1,0]}`, "x"), "expected where the bytes begin and end"},
		{"negative offset", one(`{"dtype":"U8","shape":[2],"data_offsets":[-1,1]}`, "x"), "expected where the bytes begin and end"},
		{"huge offset", one(`{"dtype":"U8","shape":[1],"data_offsets":[0,99999999999999999999]}`, "x"), `tensor "blk.w"`},
		{"size and shape", one(`{"dtype":"F32","shape":[2,2],"data_offsets":[0,15]}`, strings.Repeat("x", 15)), "takes 16 bytes, but data_offsets [0 15] are of 15"},
		{"half a byte", one(`{"dtype":"F4","shape":[3],"data_offsets":[0,2]}`, "xx"), "takes 2 bytes"},
		{"data cut", one(u8(0, 4), "xxx"), "take 4 bytes, but 3 follow the header: the file is truncated"},
		{"bytes left over", one(u8(0, 4), "xxxxx"), "the rest belongs to no tensor"},
		{"a hole", two(u8(0, 2), u8(3, 4), "xxxx"), "leaves 1 bytes before it"},
		{"a hole at the start", one(u8(1, 4), "xxxx"), "leaves 1 bytes before it"},
		{"overlap", two(u8(0, 3), u8(2, 4), "xxxx"), "overlaps"},
		{"the same bytes", two(u8(0, 4), u8(0, 4), "xxxx"), "overlaps"},
		{"twice", encode(`{"blk.w":`+u8(0, 1)+`,"blk.w":`+u8(1, 2)+`}`, "xx"), `tensor "blk.w" is there twice`},
		{"metadata of another kind", encode(`{"__metadata__":{"a":1}}`, ""), "__metadata__"},
		{"deeply nested", one(strings.Repeat("[", 20000), ""), `tensor "blk.w"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := save(t, tt.content)
			f, err := safetensors.Open(path)
			if err == nil {
				f.Close()
				t.Fatal("it was opened")
			}
			for _, want := range []string{tt.want, path} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.Contains(string(tt.content), "blk.w") && strings.Contains(tt.want, "overlap") && !strings.Contains(err.Error(), "blk.w") {
				t.Errorf("error %q doesn't name the tensor", err)
			}
		})
	}
	if _, err := safetensors.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := safetensors.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

// FuzzOpen: whatever is in a file, it is refused, or every tensor's bytes are there
// and no two share any.
func FuzzOpen(f *testing.F) {
	f.Add(encode(`{}`, ""))
	f.Add(encode(`{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[1,13]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}  `, "abbbbbbbbbbbb"))
	f.Add(encode(`{"a":{"dtype":"F4","shape":[0,2],"data_offsets":[0,0]}}`, ""))
	f.Add(encode(`{"a":{"dtype":"I64","shape":[9223372036854775807,2],"data_offsets":[0,16]}}`, "0123456789abcdef"))
	path := filepath.Join(f.TempDir(), "f.safetensors")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := safetensors.Open(path)
		if err != nil {
			return
		}
		defer s.Close()
		var all []byte
		for i, e := range s.Entries() {
			data := s.Data(i)
			x := tensor.Tensor{Name: e.Name, Type: e.Type, Shape: e.Shape, Data: data}
			elems, size := e.Type.Block()
			if x.Elems()/elems*size != len(data) {
				t.Errorf("%s has %d bytes", x, len(data))
			}
			s.Release(i)
			all = append(all, data...)
		}
		if !bytes.Equal(append(bytes.Clone(s.Header()), all...), content) {
			t.Error("header and tensors are not the whole file")
		}
	})
}

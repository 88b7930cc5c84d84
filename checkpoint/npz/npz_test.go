package npz_test

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/checkpoint/npz"
	"github.com/inferflux/inferflux/tensor"
)

// TestFixtures reads what MLX and NumPy wrote; see testdata/make.py.
func TestFixtures(t *testing.T) {
	text, err := os.ReadFile("testdata/arrays.json")
	if err != nil {
		t.Fatal(err)
	}
	var arrays map[string][3]json.RawMessage
	if err := json.Unmarshal(text, &arrays); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"mlx": 11, "mlx-compressed": 11, "numpy": 10, "numpy-compressed": 10} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".npz")
			f, err := npz.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Entries()) != n || f.Size() != int64(len(file)) {
				t.Errorf("%d arrays in %d bytes", len(f.Entries()), f.Size())
			}
			for i, e := range f.Entries() {
				var typ, data string
				var shape []int
				for j, v := range []any{&typ, &shape, &data} {
					if err := json.Unmarshal(arrays[e.Name][j], v); err != nil {
						t.Fatalf("%s: %v", e.Name, err)
					}
				}
				got := f.Data(i)
				if e.Type.String() != typ || !slices.Equal(e.Shape, shape) || e.File != path || hex.EncodeToString(got) != data || e.Bytes != int64(len(got)) {
					t.Errorf("%+v: %d bytes, want %s %v", e, len(got), typ, shape)
				}
				if !strings.HasSuffix(name, "compressed") && !bytes.Equal(file[e.Offset:e.Offset+e.Bytes], got) {
					t.Errorf("%s is not at byte %d", e.Name, e.Offset)
				}
				f.Release(i)
				if again := f.Data(i); hex.EncodeToString(again) != data {
					t.Errorf("%s was lost when it was released", e.Name)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// array is an .npy file.
func array(header, data string) string {
	return "\x93NUMPY\x01\x00" + string([]byte{byte(len(header)), byte(len(header) >> 8)}) + header + data
}

const (
	good    = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }    \n"
	twoRows = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }\n"
)

type member struct {
	name, content string
	method        uint16
}

func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		w, err := z.CreateHeader(&zip.FileHeader{Name: m.name, Method: m.method})
		if err == nil {
			_, err = w.Write([]byte(m.content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDamage(t *testing.T) {
	one := func(header, data string) []byte { return archive(t, member{"w.npy", array(header, data), zip.Store}) }
	header := func(descr, order, shape string) string {
		return fmt.Sprintf("{'descr': %s, 'fortran_order': %s, 'shape': %s, }\n", descr, order, shape)
	}
	whole := one(good, "12345678")
	deflated := archive(t, member{"w.npy", array(good, "12345678"), zip.Deflate})
	broken := bytes.Replace(deflated, deflated[40:44], []byte("\xff\xff\xff\xff"), 1)
	// What the directory says of the size inflated is 24 bytes into an entry.
	bomb := bytes.Clone(deflated)
	copy(bomb[bytes.LastIndex(bomb, []byte("PK\x01\x02"))+24:], "\xff\xff\xff\x7f")
	tests := []struct {
		name    string
		content []byte
		want    string // "": it is fine
	}{
		{"fine", whole, ""},
		{"other quotes and order", one(`{"shape":(2 ,),"fortran_order":False, "descr":"<f4"}`, "12345678"), ""},
		{"empty", nil, "not a valid zip file"},
		{"cut", whole[:len(whole)-30], "not a valid zip file"},
		{"not an array", archive(t, member{"w.txt", "hello", zip.Store}), `"w.txt" is not an .npy array`},
		{"no .npy", archive(t, member{"w.npy", "hello, this is no array", zip.Store}), "not in .npy format"},
		{"nothing", archive(t, member{"w.npy", "", zip.Store}), "not in .npy format"},
		{"twice", archive(t, member{"w.npy", array(good, "12345678"), zip.Store}, member{"w.npy", array(good, "12345678"), zip.Store}), `array "w" is there twice`},
		{"version", archive(t, member{"w.npy", "\x93NUMPY\x04\x00..................", zip.Store}), "version 4 isn't known"},
		{"header past the end", archive(t, member{"w.npy", "\x93NUMPY\x01\x00\xff\x00" + good, zip.Store}), "its header takes 255 bytes"},
		{"huge header", archive(t, member{"w.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff" + good, zip.Store}), "its header takes 4294967295 bytes"},
		{"no dictionary", one("hello", ""), "isn't a dictionary"},
		{"unclosed", one("{'descr': '<f4'", ""), "expected another key"},
		{"a key twice", one("{'descr': '<f4', 'descr': '<f4'}", ""), "expected another key"},
		{"unknown key", one("{'hello': 1}", ""), `unknown key "hello"`},
		{"missing key", one("{'descr': '<f4'}", ""), "expected descr, fortran_order and shape"},
		{"more after it", one(strings.TrimSpace(good)+"x", "12345678"), "and nothing else"},
		{"no colon", one("{'descr' '<f4'}", ""), "expected a colon"},
		{"order", one(header("'<f4'", "Maybe", "(2,)"), "12345678"), `fortran_order is "Maybe"`},
		{"structured", one(header("[('a', '<f4')]", "False", "(2,)"), "12345678"), "expected a plain element type"},
		{"pickled objects", one(header("'|O'", "False", "(2,)"), "12345678"), `dtype "|O" isn't supported`},
		{"big-endian", one(header("'>f4'", "False", "(2,)"), "12345678"), `dtype ">f4" isn't supported`},
		{"columns", one(twoRows, "1234567812345678"), "stored column by column"},
		{"shape", one(header("'<f4'", "False", "2"), "12345678"), "expected a tuple"},
		{"negative", one(header("'<f4'", "False", "(-2,)"), "12345678"), "dimensions below 2^48"},
		{"overflow", one(header("'<f4'", "False", "(4294967296, 4294967296, 4)"), "12345678"), "more than 2^48 elements"},
		{"many dimensions", one(header("'<f4'", "False", "(1,1,1,1,1,1,1,1,2)"), "12345678"), "at most 8 dimensions"},
		{"too short", one(good, "1234567"), "takes 8 bytes, but there are 7"},
		{"too long", one(good, "123456789"), "takes 8 bytes, but there are 9"},
		{"damaged stream", broken, "inflate"},
		{"a bomb", bomb, "take more than"},
		{"another compression", bytes.ReplaceAll(whole, []byte("PK\x01\x02\x14\x00\x14\x00\x08\x00\x00\x00"), []byte("PK\x01\x02\x14\x00\x14\x00\x08\x00\x0c\x00")), "compression method 12 isn't supported"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "weights.npz")
			if err := os.WriteFile(path, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := npz.Open(path)
			if err == nil {
				if e := f.Entries()[0]; e.Type != tensor.F32 || string(f.Data(0)) != "12345678" {
					t.Errorf("%+v, %q", e, f.Data(0))
				}
				f.Close()
			}
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it was opened")
			}
			for _, want := range []string{tt.want, path} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
	if _, err := npz.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestOverlap: two entries of the directory may not be the same bytes.
func TestOverlap(t *testing.T) {
	whole := archive(t, member{"a.npy", array(good, "12345678"), zip.Store}, member{"b.npy", array(good, "12345678"), zip.Store})
	// The second entry's offset, 42 bytes into it, becomes the first's.
	second := bytes.LastIndex(whole, []byte("PK\x01\x02"))
	copy(whole[second+42:], []byte{0, 0, 0, 0})
	path := filepath.Join(t.TempDir(), "weights.npz")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := npz.Open(path); err == nil || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("error %v", err)
	}
}

// FuzzOpen: whatever is in a file, it is refused, or every array has the bytes that
// its shape says.
func FuzzOpen(f *testing.F) {
	f.Add(archive(f, member{"w.npy", array(good, "12345678"), zip.Store}))
	f.Add(archive(f, member{"w.npy", array(good, "12345678"), zip.Deflate}, member{"v.npy", array(twoRows, "1234567812345678"), zip.Store}))
	path := filepath.Join(f.TempDir(), "f.npz")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, path)
	})
}

// FuzzArray is FuzzOpen past the archive.
func FuzzArray(f *testing.F) {
	f.Add([]byte(array(good, "12345678")))
	f.Add([]byte(array(twoRows, "1234567812345678")))
	f.Add([]byte("\x93NUMPY\x02\x00\x20\x00\x00\x00{'shape': (0,), 'descr': '|b1', 'fortran_order': False}"))
	path := filepath.Join(f.TempDir(), "f.npz")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, archive(t, member{"w.npy", string(content), zip.Store}), 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, path)
	})
}

func check(t *testing.T, path string) {
	z, err := npz.Open(path)
	if err != nil {
		return
	}
	defer z.Close()
	for i, e := range z.Entries() {
		_, size := e.Type.Block()
		if n := (tensor.Tensor{Shape: e.Shape}).Elems() * size; n != len(z.Data(i)) || int64(n) != e.Bytes {
			t.Errorf("%+v has %d bytes", e, len(z.Data(i)))
		}
		z.Release(i)
	}
}

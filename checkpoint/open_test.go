package checkpoint_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/checkpoint/gguf"
)

func TestOpen(t *testing.T) {
	var bytes strings.Builder
	if _, err := gguf.NewWriter().WriteTo(&bytes); err != nil {
		t.Fatal(err)
	}
	model := bytes.String()
	tests := []struct {
		name  string
		files map[string]string // what there is
		open  string            // below the folder
		want  []string          // in the error; none: it opens
	}{
		{"a gguf file", map[string]string{"m.gguf": model}, "m.gguf", nil},
		{"by content, whatever its name", map[string]string{"blob": model}, "blob", nil},
		{"damaged, but named gguf", map[string]string{"m.GGUF": "<html>404 not found</html>"}, "m.GGUF", []string{"offset 0: magic", `expected "GGUF", found "<htm"`}},
		{"nothing there", nil, "m.gguf", []string{"open model", "m.gguf"}},
		{"empty", map[string]string{"m.gguf": ""}, "m.gguf", []string{"the file is empty"}},
		{"another kind of file", map[string]string{"notes.txt": "hello there"}, "notes.txt", []string{"not a model file", `"hello th"`, "supported: gguf"}},
		{"a Git LFS pointer", map[string]string{"m.gguf": "version https://git-lfs.github.com/spec/v1\n"}, "m.gguf", []string{"Git LFS pointer", "git lfs pull"}},
		{"an empty folder", nil, "", []string{"holds no model files"}},
		{"a folder with one model", map[string]string{"a.gguf": model, "README.md": ""}, "", []string{"name the model file", "found a.gguf"}},
		{"a folder with many", map[string]string{"a.gguf": "", "b.gguf": "", "c.gguf": "", "d.gguf": "", "e.gguf": ""}, "", []string{"found a.gguf, b.gguf, c.gguf, d.gguf and 1 more"}},
		{"a pickle", map[string]string{"pytorch_model.bin": "PK"}, "pytorch_model.bin", []string{"can run code", "use safetensors"}},
		{"a folder with a pickle", map[string]string{"pytorch_model.bin": "PK"}, "", []string{"found only pytorch_model.bin", "can run code"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, tt.open)
			c, err := checkpoint.Open(path)
			if err == nil {
				defer c.Close()
				if c.Format() != checkpoint.GGUF || c.Path() != path {
					t.Errorf("format %q, path %q", c.Format(), c.Path())
				}
			} else if c != nil {
				t.Error("both a checkpoint and an error")
			}
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			for _, want := range append(tt.want, path) {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
	if _, err := checkpoint.Open(filepath.Join(t.TempDir(), "m.gguf")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v, not fs.ErrNotExist", err)
	}
}

const format checkpoint.Format = "test"

var errTest = errors.New("opened by the test's format")

// registerTest is once for all runs of the test, as an init function would be.
var registerTest = sync.OnceFunc(func() {
	checkpoint.Register(format,
		func(c checkpoint.Candidate) bool {
			return c.Dir && len(c.Names) == 2 && c.Names[0] == "a" && c.Names[1] == "b" || string(c.Head) == "TEST"
		},
		func(string) (checkpoint.Checkpoint, error) { return nil, errTest })
})

func TestRegister(t *testing.T) {
	registerTest()
	if got := checkpoint.Formats(); len(got) != 2 || got[0] != checkpoint.GGUF || got[1] != format {
		t.Errorf("formats %q", got)
	}
	dir := t.TempDir()
	for _, name := range []string{"b", "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("TEST"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "a")} {
		if _, err := checkpoint.Open(path); !errors.Is(err, errTest) {
			t.Errorf("%s gives %v", path, err)
		}
	}
	defer func() {
		if r := recover(); r == nil {
			t.Error("registering a format twice is accepted")
		}
	}()
	checkpoint.Register(format, nil, nil)
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := checkpoint.ReadFile(path, 5); err != nil || string(got) != "12345" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := checkpoint.ReadFile(path, 4); err == nil || !strings.Contains(err.Error(), path+" is larger than 4 bytes") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := checkpoint.ReadFile(filepath.Join(dir, "none"), 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := checkpoint.ReadFile(dir, 4); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
}

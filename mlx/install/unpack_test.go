package install

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// member is a file of a test's wheel.
type member struct {
	name, content string
	mode          fs.FileMode
}

func writeWheel(t testing.TB, path string, members ...member) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(m.mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestUnpack(t *testing.T) {
	for _, c := range []struct {
		name    string
		members []member
		want    string // part of the error
	}{
		{"files and folders", []member{{"mlx/", "", fs.ModeDir | 0o755}, {"mlx/lib/libmlx.so", "so", 0o755}, {"a", "a", 0o600}}, ""},
		{"up and out", []member{{"../evil", "x", 0o644}}, `"../evil" leads out`},
		{"out by the middle", []member{{"mlx/../../evil", "x", 0o644}}, "leads out"},
		{"absolute", []member{{"/evil", "x", 0o644}}, "leads out"},
		{"a link", []member{{"mlx", "/etc", fs.ModeSymlink | 0o777}}, `"mlx" is neither a file nor a folder`},
		{"a device", []member{{"mlx", "", fs.ModeDevice | 0o644}}, "neither a file nor a folder"},
		{"twice the same", []member{{"a", "1", 0o644}, {"a", "2", 0o644}}, "exists"},
		{"a file for a folder", []member{{"a", "1", 0o644}, {"a/b", "2", 0o644}}, "a/b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			wheel, dir := filepath.Join(base, "x.whl"), filepath.Join(base, "in", "tree")
			writeWheel(t, wheel, c.members...)
			n, err := unpack(t.Context(), wheel, dir)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("unpack: %v, want %q", err, c.want)
				}
			} else if err != nil || n != 2 {
				t.Errorf("unpack = %d, %v", n, err)
			}
			for _, evil := range []string{filepath.Join(base, "evil"), filepath.Join(base, "in", "evil")} {
				if _, err := os.Stat(evil); err == nil {
					t.Errorf("%s was written", evil)
				}
			}
		})
	}
}

func TestUnpackKeepsContentAndDropsBits(t *testing.T) {
	base := t.TempDir()
	wheel := filepath.Join(base, "x.whl")
	writeWheel(t, wheel, member{"bin/tool", "run me", fs.ModeSetuid | 0o777}, member{"data", "read me", 0o600})
	if _, err := unpack(t.Context(), wheel, base); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		content string
		mode    fs.FileMode
	}{"bin/tool": {"run me", 0o755}, "data": {"read me", 0o644}} {
		data, err := os.ReadFile(filepath.Join(base, name))
		if err != nil || string(data) != want.content {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		if st, err := os.Stat(filepath.Join(base, name)); err != nil || st.Mode() != want.mode {
			t.Errorf("%s: mode %v, %v; want %v", name, st.Mode(), err, want.mode)
		}
	}
}

// An archive may not unpack to more than it is allowed to.
func TestExtractIsBounded(t *testing.T) {
	base := t.TempDir()
	wheel := filepath.Join(base, "x.whl")
	writeWheel(t, wheel, member{"zeros", strings.Repeat("\x00", 1<<20), 0o644})
	z, err := zip.OpenReader(wheel)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	root, err := os.OpenRoot(base)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := extract(root, z.File[0], 1<<20-1); err == nil || !strings.Contains(err.Error(), "unpacks to more") {
		t.Errorf("extract: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	seed := filepath.Join(f.TempDir(), "seed.whl")
	writeWheel(f, seed, member{"mlx/lib/libmlx.so", "library", 0o755}, member{"a/b", "", 0o644})
	data, err := os.ReadFile(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(bytes.ReplaceAll(data, []byte("a/b"), []byte("../")))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		wheel := filepath.Join(base, "x.whl")
		if err := os.WriteFile(wheel, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = unpack(t.Context(), wheel, filepath.Join(base, "tree")) // most aren't archives at all
		entries, err := os.ReadDir(base)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "x.whl" && e.Name() != "tree" {
				t.Errorf("%s was written outside", e.Name())
			}
		}
	})
}

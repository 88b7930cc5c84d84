//go:build (linux || darwin) && (amd64 || arm64) && !nonative

package mlx_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

func TestOpenWhatIsNoLibrary(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, path string }{
		{"missing", filepath.Join(dir, "missing.so")},
		{"empty", touch(t, "", dir, "empty.so")},
		{"text", touch(t, strings.Repeat("this is no library\n", 1000), dir, "text.so")},
		{"cut short", touch(t, "\x7fELF\x02\x01\x01", dir, "short.so")},
		{"folder", dir},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // with the race detector every process sleeps a second as it ends
			if out := openInChild(t, mlx.Location{Path: tt.path}); !strings.HasPrefix(out, "error: load "+tt.path+": ") || !strings.Contains(out, "install MLX anew") {
				t.Errorf("%s", out)
			}
			if out := openInChild(t, mlx.Location{Path: tt.path, MLX: tt.path}); !strings.HasPrefix(out, "error: load "+tt.path+": ") {
				t.Errorf("%s", out)
			}
		})
	}
}

// fakeC is an mlx-c that has nothing but a version.
const fakeC = `
#include <stdio.h>
struct string { const char *text; };
void mlx_set_error_handler(void *f, void *data, void *dtor) {}
struct string mlx_string_new(void) { struct string s = {0}; return s; }
int mlx_version(struct string *s) { s->text = VERSION; return FAILS; }
const char *mlx_string_data(struct string s) { return s.text; }
int mlx_string_free(struct string s) { return 0; }
`

func TestOpenFakes(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("needs a C compiler")
	}
	dir := t.TempDir()
	build := func(name, source string, args ...string) string {
		t.Helper()
		src, out := touch(t, source, dir, name+".c"), filepath.Join(dir, libraryFile(name))
		if msg, err := exec.Command(cc, append([]string{"-w", "-shared", "-fPIC", "-o", out, src}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, msg)
		}
		return out
	}
	version := func(v string) []string { return []string{fmt.Sprintf("-DVERSION=%q", v), "-DFAILS=0"} }
	for _, tt := range []struct {
		name, source string
		args         []string
		want         []string
	}{
		{"corrupt", fakeC, version("0.31.2"), []string{"version error: ", "is MLX 0.31.2, which computes rotary position embeddings wrongly", "install MLX 0.32.4"}},
		{"old", fakeC, version("0.30.6"), []string{"version error: ", "is too old"}},
		{"hollow", fakeC, version("0.32.4.dev20261101+abc"), []string{"error: ", "(MLX 0.32.4.dev20261101+abc) lacks ", "mlx_matmul, ", "install a newer mlx-c"}},
		{"nonsense", fakeC, version("soon"), []string{"error: ", `version "soon"`}},
		{"failing", fakeC, []string{`-DVERSION=""`, "-DFAILS=1"}, []string{"error: ", "ask its version"}},
		{"unrelated", "int f(void) { return 1; }", nil, []string{"error: ", "not mlx-c, or one older than 0.6", "mlx_version"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // with the race detector every process sleeps a second as it ends
			out := openInChild(t, mlx.Location{Path: build(tt.name, tt.source, tt.args...)})
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in %s", want, out)
				}
			}
		})
	}
	t.Run("libmlx is missing", func(t *testing.T) {
		needed := build("mlxneeded", "int g(void) { return 1; }")
		path := build("needy", "int g(void); int f(void) { return g(); }", "-L"+dir, "-lmlxneeded")
		if err := os.Remove(needed); err != nil {
			t.Fatal(err)
		}
		if out := openInChild(t, mlx.Location{Path: path}); !strings.HasPrefix(out, "error: ") || !strings.Contains(out, "mlxneeded") || !strings.Contains(out, "install MLX anew") {
			t.Errorf("%s", out)
		}
	})
}

package shim_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/mlx/shim"
)

func TestCompileArgs(t *testing.T) {
	runs := shim.CompileArgs("/opt/mlx/include", "/opt/mlx/lib", "/opt/lib/libmlxc.so")
	if len(runs) != 1 {
		t.Fatalf("%d runs of the compiler, want one", len(runs))
	}
	args := runs[0]
	for _, want := range []string{"-std=c++20", "/opt/mlx/include", "-L/opt/mlx/lib", "/opt/lib/libmlxc.so"} {
		if !slices.Contains(args, want) {
			t.Errorf("no %s in %q", want, args)
		}
	}
	if all := strings.Join(args, " "); !strings.Contains(all, "/../mlx/lib") {
		t.Errorf("libmlx is not looked for relative to the shim: %s", all)
	}
	sources, err := fs.Glob(shim.Sources, "*.cpp")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	for _, name := range sources {
		if !slices.Contains(args, name) {
			t.Errorf("%s is not compiled", name)
		}
	}
}

func TestSHA256(t *testing.T) {
	if sum := shim.SHA256(); len(sum) != 64 || sum != shim.SHA256() {
		t.Errorf("SHA256() = %q", sum)
	}
}

// TestCompile builds the shim against the MLX under test, without warnings. It
// needs the headers beside the library, as an installation has them.
func TestCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for a quarter of a minute")
	}
	library := os.Getenv("INFERFLUX_TEST_MLX_LIBRARY")
	root := filepath.Join(filepath.Dir(filepath.Dir(library)), "mlx")
	cxx, err := exec.LookPath("c++")
	if _, statErr := os.Stat(filepath.Join(root, "include", "mlx", "mlx.h")); library == "" || statErr != nil || err != nil {
		t.Skip("needs c++, and INFERFLUX_TEST_MLX_LIBRARY naming a library with MLX's headers beside it")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, shim.Sources); err != nil {
		t.Fatal(err)
	}
	for _, args := range shim.CompileArgs(filepath.Join(root, "include"), filepath.Join(root, "lib"), filepath.Join(dir, "libmlxc.so")) {
		cmd := exec.Command(cxx, append([]string{"-Wall", "-Wextra", "-Werror"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

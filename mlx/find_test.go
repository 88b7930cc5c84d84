package mlx_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/mlx"
)

// libraryFile is the file name of a shared library here.
func libraryFile(name string) string {
	if runtime.GOOS == "darwin" {
		return "lib" + name + ".dylib"
	}
	return "lib" + name + ".so"
}

// touch makes a file with content, and the folders it lies in.
func touch(t *testing.T, content string, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFindOrder makes every place hold a library, and takes them away one by
// one: the next in order must be found.
func TestFindOrder(t *testing.T) {
	dir := t.TempDir()
	c, m := libraryFile("mlxc"), libraryFile("mlx")
	loaderVariable := "LD_LIBRARY_PATH"
	if runtime.GOOS == "darwin" {
		loaderVariable = "DYLD_LIBRARY_PATH"
	}
	configured := touch(t, "", dir, "configured", "lib", c)
	root := touch(t, "", dir, "root", "lib", c)
	rootMLX := touch(t, "", dir, "root", "lib", m)
	home := filepath.Join(dir, "home")
	installed, installedMLX := touch(t, "", dir, "wheel", c), touch(t, "", dir, "wheel", "lib", m)
	record := touch(t, fmt.Sprintf(`{"mlx_version": "0.32.4", "library": %q, "mlx_library": %q}`, installed, installedMLX), home, "mlx", "0.32.4-cpu", "install.json")
	if err := os.Symlink("0.32.4-cpu", filepath.Join(home, "mlx", "current")); err != nil {
		t.Fatal(err)
	}
	brewed := touch(t, "", dir, "brew", "lib", c)
	loaded := touch(t, "", dir, "loader", c)
	environment := map[string]string{
		"MLX_C_ROOT":      filepath.Join(dir, "root"),
		"HOMEBREW_PREFIX": filepath.Join(dir, "brew"),
		loaderVariable:    filepath.Join(dir, "empty") + string(os.PathListSeparator) + filepath.Join(dir, "loader"),
	}
	o := mlx.FindOptions{Library: filepath.Join(dir, "configured"), Home: home, Getenv: func(name string) string { return environment[name] }}
	for _, step := range []struct {
		want mlx.Location
		then func()
	}{
		{mlx.Location{Path: configured, Source: "configuration"}, func() { o.Library = configured }},
		{mlx.Location{Path: configured, Source: "configuration"}, func() { o.Library = "" }},
		{mlx.Location{Path: root, MLX: rootMLX, Source: "MLX_C_ROOT"}, func() { delete(environment, "MLX_C_ROOT") }},
		{mlx.Location{Path: installed, MLX: installedMLX, Source: "installed"}, func() { o.Home = ""; environment["INFERFLUX_HOME"] = home }},
		{mlx.Location{Path: installed, MLX: installedMLX, Source: "installed"}, func() { os.Remove(record) }},
		{mlx.Location{Path: brewed, Source: "Homebrew"}, func() { os.Remove(brewed) }},
		{mlx.Location{Path: loaded, Source: "loader path"}, func() { os.Remove(loaded) }},
	} {
		got, err := mlx.Find(o)
		if err != nil || got != step.want {
			t.Errorf("found %+v, want %+v: %v", got, step.want, err)
		}
		step.then()
	}
	_, err := mlx.Find(o)
	if e := (*mlx.NotFoundError)(nil); !errors.As(err, &e) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{filepath.Join(home, "mlx", "current"), filepath.Join(dir, "brew"), filepath.Join(dir, "loader"), "install", "MLX_C_ROOT"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

func TestFindRefuses(t *testing.T) {
	dir := t.TempDir()
	lib := touch(t, "", dir, "lib", libraryFile("mlxc"))
	tests := []struct {
		name        string
		o           mlx.FindOptions
		environment map[string]string
		record      string
		want        string
	}{
		{name: "switched off", environment: map[string]string{"ENABLE_MLX": "0", "MLX_C_ROOT": dir}, want: "switched off by ENABLE_MLX"},
		{name: "switched off by name", environment: map[string]string{"ENABLE_MLX": "Off", "MLX_C_ROOT": dir}, want: "switched off by ENABLE_MLX"},
		{name: "configured library is missing", o: mlx.FindOptions{Library: dir + "/nowhere"}, want: dir + "/nowhere (from the configuration)"},
		{name: "configured folder is empty", o: mlx.FindOptions{Library: t.TempDir()}, want: "nor a folder that holds it in lib"},
		{name: "MLX_C_ROOT is wrong", environment: map[string]string{"MLX_C_ROOT": dir + "/nowhere"}, want: dir + "/nowhere (from the MLX_C_ROOT)"},
		{name: "record is broken", record: `{"library": 7}`, want: "install.json: "},
		{name: "record is empty", record: `{}`, want: "install it anew with inferctl backends install mlx"},
		{name: "installed library is gone", record: `{"library": "/nowhere/libmlxc.so"}`, want: `"/nowhere/libmlxc.so" it names is gone`},
		{name: "installed MLX is gone", record: fmt.Sprintf(`{"library": %q, "mlx_library": "/nowhere/libmlx.so"}`, lib), want: `"/nowhere/libmlx.so" it names is gone`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Getenv = func(name string) string { return tt.environment[name] }
			if tt.o.Home = t.TempDir(); tt.record != "" {
				touch(t, tt.record, tt.o.Home, "mlx", "current", "install.json")
			}
			l, err := mlx.Find(tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("found %+v, error %v, want %q", l, err, tt.want)
			}
			if strings.HasPrefix(tt.name, "switched off") != errors.Is(err, mlx.ErrDisabled) {
				t.Errorf("%v is ErrDisabled: %v", err, errors.Is(err, mlx.ErrDisabled))
			}
		})
	}
	for _, on := range []string{"", "1", "true"} {
		o := mlx.FindOptions{Library: lib, Getenv: func(string) string { return on }}
		if _, err := mlx.Find(o); err != nil {
			t.Errorf("ENABLE_MLX=%s: %v", on, err)
		}
	}
}

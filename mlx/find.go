package mlx

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// ErrDisabled says that ENABLE_MLX=0 switched MLX off.
var ErrDisabled = errors.New("MLX is switched off by ENABLE_MLX=0")

// FindOptions says where to look besides the usual places.
type FindOptions struct {
	// Library is runtime.backends[].library of the configuration: a libmlxc file,
	// or a prefix that holds one in lib.
	Library string
	// Home is InferFlux's folder, in which inferctl backends install puts MLX; ""
	// is INFERFLUX_HOME or ~/.inferflux.
	Home string
	// Getenv reads the environment; nil is os.Getenv.
	Getenv func(string) string
}

// Location is where a library lies.
type Location struct {
	Path string // of libmlxc
	MLX  string // of the libmlx to load before it, or "" if the loader finds it
	// Source says how it was found: "configuration", "MLX_C_ROOT", "installed",
	// "Homebrew" or "loader path".
	Source string
}

// NotFoundError says that there is no MLX, and where it was looked for.
type NotFoundError struct {
	Looked []string // the places, in order
}

func (e *NotFoundError) Error() string {
	how := "run inferctl backends install mlx"
	if runtime.GOOS == "darwin" {
		how = "run brew install mlx-c"
	}
	return fmt.Sprintf("no MLX found (looked at %s); %s, or set MLX_C_ROOT or runtime.backends[].library", strings.Join(e.Looked, ", "), how)
}

// Find looks for mlx-c: where the configuration or MLX_C_ROOT says, where
// inferctl backends install put it, in Homebrew's folders, on the loader's path.
// It loads nothing. A place that is named but holds no library is an error, as
// is ENABLE_MLX=0 ([ErrDisabled]); that there is none at all is a
// [*NotFoundError].
func Find(o FindOptions) (Location, error) {
	getenv := o.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	switch strings.ToLower(getenv("ENABLE_MLX")) {
	case "0", "false", "off", "no":
		return Location{}, ErrDisabled
	}
	for _, named := range []struct{ path, source string }{
		{o.Library, "configuration"},
		{getenv("MLX_C_ROOT"), "MLX_C_ROOT"},
	} {
		if named.path == "" {
			continue
		}
		l, ok := locate(named.path, named.source)
		if !ok {
			return Location{}, fmt.Errorf("find MLX: %s (from the %s) is neither %s nor a folder that holds it in lib", named.path, named.source, libraryName("mlxc"))
		}
		return l, nil
	}
	var looked []string
	home := o.Home
	if home == "" {
		home = getenv("INFERFLUX_HOME")
	}
	if home == "" && getenv("HOME") != "" {
		home = filepath.Join(getenv("HOME"), ".inferflux")
	}
	if home != "" {
		current := filepath.Join(home, "mlx", "current")
		l, ok, err := installed(current)
		if ok || err != nil {
			return l, err
		}
		looked = append(looked, current)
	}
	for _, prefix := range homebrewPrefixes(getenv) {
		if l, ok := locate(prefix, "Homebrew"); ok {
			return l, nil
		}
		looked = append(looked, prefix)
	}
	for _, dir := range loaderPath(getenv) {
		if l, ok := locate(filepath.Join(dir, libraryName("mlxc")), "loader path"); ok {
			return l, nil
		}
		looked = append(looked, dir)
	}
	return Location{}, &NotFoundError{Looked: looked}
}

// libraryName is the file name of a shared library: libmlx.so, libmlx.dylib.
func libraryName(name string) string {
	if runtime.GOOS == "darwin" {
		return "lib" + name + ".dylib"
	}
	return "lib" + name + ".so"
}

// locate looks for libmlxc at a path: the file itself or a prefix. A libmlx
// beside it is its own.
func locate(path, source string) (Location, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return Location{}, false
	}
	candidates := []string{path}
	if info.IsDir() {
		name := libraryName("mlxc")
		candidates = []string{filepath.Join(path, "lib", name), filepath.Join(path, "lib64", name), filepath.Join(path, name)}
	}
	for _, file := range candidates {
		if !isFile(file) {
			continue
		}
		l := Location{Path: file, Source: source}
		if beside := filepath.Join(filepath.Dir(file), libraryName("mlx")); isFile(beside) {
			l.MLX = beside
		}
		return l, true
	}
	return Location{}, false
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// installed reads the record that inferctl backends install leaves.
func installed(folder string) (Location, bool, error) {
	record := filepath.Join(folder, "install.json")
	data, err := os.ReadFile(record)
	if errors.Is(err, os.ErrNotExist) {
		return Location{}, false, nil
	}
	var files struct {
		Library    string `json:"library"`
		MLXLibrary string `json:"mlx_library"`
	}
	if err == nil {
		err = json.Unmarshal(data, &files)
	}
	if err == nil && !isFile(files.Library) {
		err = fmt.Errorf("the library %q it names is gone", files.Library)
	}
	if err == nil && files.MLXLibrary != "" && !isFile(files.MLXLibrary) {
		err = fmt.Errorf("the library %q it names is gone", files.MLXLibrary)
	}
	if err != nil {
		return Location{}, false, fmt.Errorf("find MLX: read %s: %w; install it anew with inferctl backends install mlx", record, err)
	}
	return Location{Path: files.Library, MLX: files.MLXLibrary, Source: "installed"}, true, nil
}

// homebrewPrefixes are where Homebrew links what it installs.
func homebrewPrefixes(getenv func(string) string) []string {
	var prefixes []string
	if p := getenv("HOMEBREW_PREFIX"); p != "" {
		prefixes = append(prefixes, p)
	}
	switch {
	case runtime.GOOS == "darwin" && runtime.GOARCH == "arm64":
		return append(prefixes, "/opt/homebrew")
	case runtime.GOOS == "darwin":
		return append(prefixes, "/usr/local")
	}
	return append(prefixes, "/home/linuxbrew/.linuxbrew")
}

// loaderPath is where the dynamic loader looks.
func loaderPath(getenv func(string) string) []string {
	variables := []string{"LD_LIBRARY_PATH"}
	system := []string{"/usr/local/lib", "/usr/lib", "/usr/lib64"}
	switch {
	case runtime.GOOS == "darwin":
		variables = []string{"DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"}
		system = []string{"/usr/local/lib", "/usr/lib"}
	case runtime.GOARCH == "amd64":
		system = append(system, "/usr/lib/x86_64-linux-gnu")
	case runtime.GOARCH == "arm64":
		system = append(system, "/usr/lib/aarch64-linux-gnu")
	}
	var dirs []string
	for _, v := range variables {
		for _, dir := range filepath.SplitList(getenv(v)) {
			if dir != "" {
				dirs = append(dirs, dir)
			}
		}
	}
	return append(dirs, system...)
}

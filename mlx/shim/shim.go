// Package shim holds the C++ sources of a small mlx-c: the part of MLX's C API
// that package mlx calls, written on MLX's own C++ headers.
//
// No Linux package carries mlx-c, but MLX's wheels on PyPI carry libmlx.so and
// its headers. Compiled once against those, the shim gives a libmlxc.so with the
// symbols and the semantics of the genuine one; package mlx works with either.
// The sources are for MLX 0.32.4:
//
//	os.CopyFS(dir, shim.Sources)
//	for _, args := range shim.CompileArgs(include, lib, out) {
//		// run c++ with args, in dir
//	}
package shim

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
)

// The sources lie in a folder of their own because the go command takes a C++
// file in a package for cgo's.
//
//go:embed src
var embedded embed.FS

// Sources are the C++ files.
var Sources = func() fs.FS {
	src, err := fs.Sub(embedded, "src")
	if err != nil {
		panic(err) // the name is valid
	}
	return src
}()

// files are the translation units.
var files = []string{
	"array.cpp", "device.cpp", "elementwise.cpp", "io.cpp", "kernel.cpp", "matmul.cpp", "random.cpp", "shape.cpp", "transforms.cpp",
}

// CompileArgs are the arguments with which to run a C++20 compiler (g++ or
// clang++), one run after another in the folder of the sources, to build the
// shim as the file out. include is the folder that holds mlx/mlx.h, lib the one
// that holds libmlx; the result finds libmlx as long as the two lie in the same
// places relative to each other.
func CompileArgs(include, lib, out string) [][]string {
	shared, name, origin := "-shared", "-Wl,-soname,libmlxc.so", "$ORIGIN"
	if runtime.GOOS == "darwin" {
		shared, name, origin = "-dynamiclib", "-Wl,-install_name,@rpath/libmlxc.dylib", "@loader_path"
	}
	rpath := lib
	if rel, err := filepath.Rel(filepath.Dir(out), lib); err == nil {
		rpath = origin + "/" + rel // not Join, which would shorten it
	}
	args := []string{"-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", shared, name, "-isystem", include}
	args = append(args, files...)
	return [][]string{append(args, "-L"+lib, "-lmlx", "-Wl,-rpath,"+rpath, "-o", out)}
}

// SHA256 identifies the sources and how they are compiled.
func SHA256() string {
	h := sha256.New()
	entries, err := fs.ReadDir(Sources, ".")
	if err != nil {
		panic(err) // embedded, so it can't fail
	}
	for _, e := range entries {
		data, err := fs.ReadFile(Sources, e.Name())
		if err != nil {
			panic(err) // embedded, so it can't fail
		}
		fmt.Fprintf(h, "%s %d\n", e.Name(), len(data))
		h.Write(data)
	}
	fmt.Fprintln(h, CompileArgs("include", "lib", "out"))
	return hex.EncodeToString(h.Sum(nil))
}

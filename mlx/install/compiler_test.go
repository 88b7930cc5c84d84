package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// programs puts shell scripts on the PATH, alone.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	bin := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	return bin
}

const (
	good = `[ "$1" = --version ] && echo "g++ 12.2.0"; exit 0`
	old  = `if [ "$1" = --version ]; then echo "g++ 4.8.5"; else echo "cc1plus: error: unrecognized command line option '-std=c++20'" >&2; exit 1; fi`
)

func TestFindCompiler(t *testing.T) {
	for _, c := range []struct {
		name, cxx string
		scripts   map[string]string
		want      string // the command
		wantErr   []string
	}{
		{name: "none", wantErr: []string{"no C++ compiler (c++, g++ or clang++) on the PATH", "apt install g++"}},
		{name: "the usual one", scripts: map[string]string{"c++": good, "g++": old}, want: "c++"},
		{name: "an old one is passed over", scripts: map[string]string{"c++": old, "clang++": good}, want: "clang++"},
		{name: "only an old one", scripts: map[string]string{"g++": old}, wantErr: []string{"g++ (g++ 4.8.5) can't compile C++20: cc1plus: error: unrecognized", "g++ 11 or newer", "CXX"}},
		{name: "CXX", cxx: "mycc", scripts: map[string]string{"c++": good, "mycc": good}, want: "mycc"},
		{name: "CXX with arguments", cxx: " wrap  -q ", scripts: map[string]string{"wrap": "shift\n" + good}, want: "wrap -q"},
		{name: "CXX is absent", cxx: "mycc", scripts: map[string]string{"c++": good}, wantErr: []string{`CXX is "mycc"`, "unset it"}},
		{name: "CXX is old", cxx: "g++", scripts: map[string]string{"c++": good, "g++": old}, wantErr: []string{"can't compile C++20"}},
		{name: "CXX is broken", cxx: "g++", scripts: map[string]string{"g++": "exit 1"}, wantErr: []string{"g++ --version fails"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			programs(t, c.scripts)
			got, err := findCompiler(t.Context(), c.cxx)
			if c.wantErr == nil {
				if err != nil || strings.Join(got.command, " ") != c.want || got.version != "g++ 12.2.0" {
					t.Errorf("findCompiler = %+v, %v; want %s", got, err, c.want)
				}
				return
			}
			for _, part := range c.wantErr {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("findCompiler: %v, want %q", err, part)
				}
			}
		})
	}
}

func TestCompilerSaysWhy(t *testing.T) {
	bin := programs(t, map[string]string{"c++": `echo "In file included from x"; echo "a.cpp:3:1: error: no such thing"; echo "a.cpp:9:1: error: more"; exit 1`})
	c := compiler{command: []string{"c++"}}
	if err := c.run(t.Context(), bin); err == nil || err.Error() != "c++ fails (exit status 1): a.cpp:3:1: error: no such thing" {
		t.Errorf("run: %v", err)
	}
}

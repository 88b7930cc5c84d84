package install

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/inferflux/inferflux/subprocess"
)

const installCompiler = "install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++), or name it with CXX"

// compiler is a C++20 compiler's command line.
type compiler struct {
	command []string
	version string // the first line of --version
}

// A program that compilers before C++20 refuse.
const probe = `#include <concepts>
#include <span>
template <std::integral T> T first(std::span<const T> s) { return s.empty() ? T{} : s.front(); }
int f() { const int a[]{1}; return first<int>(a); }
`

// findCompiler finds a compiler that knows C++20: the one that CXX names and no
// other, or the first of the usual names.
func findCompiler(ctx context.Context, cxx string) (compiler, error) {
	candidates := [][]string{{"c++"}, {"g++"}, {"clang++"}}
	if fields := strings.Fields(cxx); len(fields) > 0 { // "ccache g++" is common
		candidates = [][]string{fields}
	}
	var refusals error
	for _, command := range candidates {
		if _, err := exec.LookPath(command[0]); err != nil {
			continue
		}
		c := compiler{command: command}
		err := c.probe(ctx)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return compiler{}, ctx.Err()
		}
		if refusals == nil {
			refusals = err
		}
	}
	switch {
	case refusals != nil:
		return compiler{}, fmt.Errorf("%w; g++ 11 or newer can: %s", refusals, installCompiler)
	case cxx != "":
		return compiler{}, fmt.Errorf("CXX is %q, and there is no such program on the PATH: correct it, or unset it", cxx)
	}
	return compiler{}, errors.New("there is no C++ compiler (c++, g++ or clang++) on the PATH: " + installCompiler)
}

func (c *compiler) probe(ctx context.Context) error {
	version, err := subprocess.Command(ctx, c.command[0], slices.Concat(c.command[1:], []string{"--version"})...).Output()
	if err != nil {
		return fmt.Errorf("%s --version fails: %w", strings.Join(c.command, " "), err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	c.version = strings.TrimSpace(first)
	cmd := subprocess.Command(ctx, c.command[0], slices.Concat(c.command[1:], []string{"-std=c++20", "-fsyntax-only", "-x", "c++", "-"})...)
	cmd.Stdin = strings.NewReader(probe)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s (%s) can't compile C++20: %s", strings.Join(c.command, " "), c.version, firstError(out.String()))
	}
	return nil
}

// run runs the compiler in a folder.
func (c compiler) run(ctx context.Context, dir string, args ...string) error {
	cmd := subprocess.Command(ctx, c.command[0], slices.Concat(c.command[1:], args)...)
	cmd.Dir = dir
	// Compilers leave files in TMPDIR when they are killed: let it be one that is swept.
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s fails (%w): %s", filepath.Base(c.command[0]), err, firstError(out.String()))
	}
	return nil
}

// firstError is the first line of a compiler's output that says error, or else
// its last lines: what follows the first is mostly its consequence.
func firstError(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, "error") {
			return strings.TrimSpace(line)
		}
	}
	return cmp.Or(subprocess.LastLines(out, 3), "without a message")
}

package pip_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inferflux/inferflux/pip"
)

// fake puts a python3 of the given script on the PATH, alone but for the
// system's own programs.
func fake(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(bin, "python3"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"sleep", "cp", "mkdir"} {
		if err := os.Symlink("/bin/"+program, filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
}

const hasPip = "[ \"$3\" = --version ] && exit 0\n"

func TestFind(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"no python", "", "there is no python3 on the PATH: install Python 3 with pip (Debian"},
		{"no pip", "exit 1", "/python3 has no pip: run "},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake(t, c.script)
			if _, err := pip.Find(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Find: %v, want %q", err, c.want)
			}
		})
	}
	fake(t, hasPip)
	if p, err := pip.Find(t.Context()); err != nil || filepath.Base(p.Python) != "python3" {
		t.Errorf("Find = %v, %v", p, err)
	}
}

func TestDownload(t *testing.T) {
	dest := `while [ $# -gt 1 ]; do [ "$1" = --dest ] && dest=$2; shift; done
`
	for _, c := range []struct{ name, script, want string }{
		{"one wheel", dest + `echo w > "$dest/a-1.whl"`, ""},
		{"two wheels", dest + `echo w > "$dest/a-1.whl"; echo w > "$dest/b-1.whl"; echo odd`, "pip downloaded 2 wheels for a==1, want 1: odd"},
		{"none", "echo nothing here", "pip downloaded 0 wheels for a==1, want 1: nothing here"},
		{"failure", "echo ERROR: no route >&2; exit 3", "pip could not download a==1 (exit status 3): ERROR: no route"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake(t, hasPip+c.script)
			p, err := pip.Find(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			path, err := p.Download(t.Context(), "a==1", dir, nil)
			if c.want == "" {
				if err != nil || path != filepath.Join(dir, "a-1.whl") {
					t.Errorf("Download = %q, %v", path, err)
				}
			} else if err == nil || err.Error() != c.want {
				t.Errorf("Download: %v, want %q", err, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, pip.TempPattern)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestInstall(t *testing.T) {
	fake(t, hasPip+`case "$*" in *"a==1 b==2"*) ;; *) exit 1;; esac
while [ $# -gt 1 ]; do [ "$1" = --target ] && dir=$2; shift; done
mkdir -p "$dir/a"; echo x > "$TMPDIR/part"; sleep 0.3`)
	p, err := pip.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "tree")
	var most int64
	if err := p.Install(t.Context(), []string{"a==1", "b==2"}, target, func(n int64) { most = max(most, n) }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(target, "a")); err != nil || most != 2 {
		t.Errorf("%v; %d bytes were reported, want 2", err, most)
	}
	if err := p.Install(t.Context(), []string{"c"}, target, nil); err == nil || !strings.Contains(err.Error(), "could not install c ") {
		t.Errorf("Install: %v", err)
	}
}

// A cancelled pip ends at once, whatever it is doing.
func TestCancel(t *testing.T) {
	fake(t, hasPip+"sleep 60")
	p, err := pip.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Download(ctx, "a==1", t.TempDir(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Download: %v", err)
	}
}

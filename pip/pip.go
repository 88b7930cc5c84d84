// Package pip fetches Python packages through the machine's own pip, so that its
// configuration (index, mirrors, certificates, proxies, PIP_ variables) holds
// for us too. Nothing of a package is run.
package pip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/inferflux/inferflux/subprocess"
)

const howToInstall = "install Python 3 with pip (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip; macOS: brew install python)"

// Pip is a Python interpreter that has pip.
type Pip struct {
	Python string // its path
}

// Find finds an interpreter that has pip. Its error says what to install.
func Find(ctx context.Context) (Pip, error) {
	var found string
	for _, name := range []string{"python3", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		found = path
		if subprocess.Command(ctx, path, "-m", "pip", "--version").Run() == nil {
			return Pip{path}, nil
		}
		if ctx.Err() != nil {
			return Pip{}, ctx.Err()
		}
	}
	if found == "" {
		return Pip{}, errors.New("there is no python3 on the PATH: " + howToInstall)
	}
	return Pip{}, fmt.Errorf("%s has no pip: run %s -m ensurepip, or %s", found, found, howToInstall)
}

// Download fetches the one wheel of a requirement such as "mlx-cpu==0.32.4",
// without what it depends on, into dir, and returns its path. Meanwhile arrived,
// if set, is told now and then how many bytes have come.
func (p Pip) Download(ctx context.Context, requirement, dir string, arrived func(bytes int64), flags ...string) (string, error) {
	tmp, err := os.MkdirTemp(dir, TempPattern)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	args := append([]string{"download", "--no-deps", "--only-binary", ":all:", "--dest", tmp}, flags...)
	out, err := p.run(ctx, tmp, arrived, append(args, requirement)...)
	if err != nil {
		return "", fmt.Errorf("pip could not download %s %w", requirement, err)
	}
	files, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("pip downloaded %d wheels for %s, want 1: %s", len(files), requirement, subprocess.LastLines(out, 4))
	}
	path := filepath.Join(dir, filepath.Base(files[0]))
	return path, os.Rename(files[0], path)
}

// Install unpacks the wheels of requirements, and of all that they depend on,
// into the folder target. Meanwhile arrived, if set, is told now and then how
// many bytes of them have come and been unpacked.
func (p Pip) Install(ctx context.Context, requirements []string, target string, arrived func(bytes int64)) error {
	tmp, err := os.MkdirTemp(filepath.Dir(target), TempPattern)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	args := []string{"install", "--only-binary", ":all:", "--no-compile", "--no-warn-conflicts", "--upgrade", "--target", target}
	if _, err := p.run(ctx, tmp, arrived, append(args, requirements...)...); err != nil {
		return fmt.Errorf("pip could not install %s %w", strings.Join(requirements, ", "), err)
	}
	return nil
}

// TempPattern matches the folders in which pip works. One that is left belongs
// to a process that was killed, and can be deleted.
const TempPattern = "pip-*"

// run runs pip with its temporary files in tmp, whose growth it reports, and
// returns what it printed.
func (p Pip) run(ctx context.Context, tmp string, arrived func(bytes int64), args ...string) (string, error) {
	args = append([]string{"-m", "pip"}, args...)
	cmd := subprocess.Command(ctx, p.Python, append(args, "--progress-bar", "off", "--disable-pip-version-check", "--no-input")...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("run %s: %w", p.Python, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			if err != nil {
				return "", fmt.Errorf("(%w): %s", err, subprocess.LastLines(out.String(), 4))
			}
			return out.String(), nil
		case <-tick.C:
			if arrived != nil {
				arrived(folderSize(tmp))
			}
		}
	}
}

func folderSize(dir string) int64 {
	var n int64
	// Files come and go meanwhile: what can't be read doesn't count.
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if st, err := d.Info(); err == nil {
				n += st.Size()
			}
		}
		return nil
	})
	return n
}

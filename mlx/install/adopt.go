package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/inferflux/inferflux/subprocess"
)

// homebrew takes Homebrew's mlx-c, which it installs first if it isn't there.
func (r *run) homebrew(ctx context.Context) (Record, error) {
	brew, err := exec.LookPath("brew")
	if err != nil {
		return Record{}, errors.New("on macOS MLX comes from Homebrew, and there is no brew on the PATH: install it (https://brew.sh), then run this again")
	}
	start := time.Now()
	prefix, err := brewPrefix(ctx, brew)
	if err != nil {
		return Record{}, err
	}
	l := Library{C: filepath.Join(prefix, "lib", "libmlxc.dylib")}
	if _, err := os.Stat(l.C); err != nil {
		r.Progress("brew install mlx-c", 0, 0)
		out, err := subprocess.Command(ctx, brew, "install", "mlx-c").CombinedOutput()
		if ctx.Err() != nil {
			return Record{}, ctx.Err()
		}
		if err != nil {
			return Record{}, fmt.Errorf("brew install mlx-c fails (%w): %s", err, subprocess.LastLines(string(out), 6))
		}
		r.Step("mlx-c", "installed by Homebrew", time.Since(start))
	} else {
		r.Step("mlx-c", "Homebrew has it", time.Since(start))
	}
	return r.adopt(ctx, l, Metal)
}

// brewPrefix is the folder by which Homebrew's mlx-c is reached whatever its
// version, installed or not.
func brewPrefix(ctx context.Context, brew string) (string, error) {
	out, err := subprocess.Command(ctx, brew, "--prefix", "mlx-c").Output()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	prefix := strings.TrimSpace(string(out))
	if err != nil || prefix == "" {
		return "", errors.New("find mlx-c: Homebrew doesn't know it; run brew update, then this again")
	}
	return prefix, nil
}

// adopt records a genuine mlx-c that lies elsewhere.
func (r *run) adopt(ctx context.Context, l Library, d Device) (Record, error) {
	rec := Record{MLXVersion: "unknown", Device: d, Library: l.C, MLXLibrary: l.MLX, InstalledAt: time.Now().UTC().Truncate(time.Second)}
	var err error
	if rec.Verified, err = r.verified(ctx, l, d); err != nil {
		return Record{}, err
	}
	if rec.Verified != nil {
		rec.MLXVersion = rec.Verified.Version
	}
	rec.Dir = filepath.Join(r.root, rec.MLXVersion+"-"+string(d))
	if have, err := readRecord(rec.Dir); err == nil && have.Library == rec.Library && have.MLXLibrary == rec.MLXLibrary && !r.Force {
		have.Verified = rec.Verified
		return have, r.use(have.Dir)
	}
	rec.Fresh = true
	staging, err := os.MkdirTemp(r.root, ".partial-*")
	if err != nil {
		return Record{}, err
	}
	defer os.RemoveAll(staging)
	if err := os.Chmod(staging, 0o755); err != nil {
		return Record{}, err
	}
	if rec, err = r.publish(staging, rec); err != nil {
		return rec, fmt.Errorf("record MLX: %w", err)
	}
	return rec, nil
}

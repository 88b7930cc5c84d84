package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/inferflux/inferflux/pip"
	"github.com/inferflux/inferflux/subprocess"
)

// wheel is MLX's wheel for one device.
type wheel struct {
	name   string            // on PyPI
	size   int64             // about, for progress
	sha256 map[string]string // by GOARCH
	// needs are NVIDIA's packages: those that the wheel lists, and the CUDA
	// headers, with which MLX compiles kernels at run time.
	needs []string
}

var wheels = map[Device]wheel{
	CPU: {name: "mlx-cpu", size: 10_500_000, sha256: map[string]string{
		"amd64": "0e0a24fa2ce8b6b94d2e6a90604e8813aa8e29fcb918bb2aa01cfb6d133d8cee",
		"arm64": "1289e85e64af1fd16380bf331438bfe4afe875d27afc3e0bcf35f427c488fadd",
	}},
	CUDA12: {name: "mlx-cuda-12", size: 89_000_000, sha256: map[string]string{
		"amd64": "f385c7af7c1f63a9d6ce3e442e1c9ba881c881bcb45c6534ff8155b359da47e5",
		"arm64": "cea869b007c809013c369819d485e3b534f3ecc261199b4c655ef92a21f73f28",
	}, needs: []string{
		"nvidia-cudnn-cu12==9.*", "nvidia-nccl-cu12", "nvidia-cublas-cu12==12.9.*", "nvidia-cufft-cu12==11.4.*",
		"nvidia-cuda-nvrtc-cu12==12.9.*", "nvidia-cusolver-cu12==11.7.*", "nvidia-cuda-runtime-cu12==12.9.*",
	}},
	CUDA13: {name: "mlx-cuda-13", size: 89_000_000, sha256: map[string]string{
		"amd64": "94cb48fba73e5ee39467e51c35c51c691123359ca17bafd1a24cf92ad6732bee",
		"arm64": "cf8a67b49cebff85cd98b1d118c09f6c8ee966b899a914c50cc74d614b25616e",
	}, needs: []string{
		"nvidia-cudnn-cu13==9.*", "nvidia-nccl-cu13", "nvidia-cublas==13.*", "nvidia-cufft==12.*",
		"nvidia-cuda-nvrtc==13.*", "nvidia-cusolver==12.*", "nvidia-cuda-runtime==13.*",
	}},
}

const minGlibc = "2.35"

// platforms are the wheels' platform tags.
var platforms = map[string]string{"amd64": "manylinux_2_35_x86_64", "arm64": "manylinux_2_35_aarch64"}

// fetch returns the path of the device's wheel, checked. A wheel that an earlier
// run fetched is used again.
func (r *run) fetch(ctx context.Context, p pip.Pip) (string, error) {
	start := time.Now()
	w, dir := wheels[r.Device], filepath.Join(r.root, "wheels")
	want, platform := w.sha256[runtime.GOARCH], platforms[runtime.GOARCH]
	path := filepath.Join(dir, fmt.Sprintf("%s-%s-py3-none-%s.whl", strings.ReplaceAll(w.name, "-", "_"), Version, platform))
	err := checkSHA256(path, want)
	if err == nil {
		r.Step("wheel", fmt.Sprintf("%s %s, fetched earlier, sha256 checked", w.name, Version), time.Since(start))
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		os.Remove(path) // what is wrong with it doesn't matter
	}
	// The platform is named, and Python's own version isn't asked, since Python
	// only fetches here.
	got, err := p.Download(ctx, w.name+"=="+Version, dir, func(n int64) { r.Progress("downloading", min(n, w.size), w.size) },
		"--platform", platform, "--python-version", "3.12")
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%w\n(pip asked the index and proxy that it is configured for: python3 -m pip config list)", err)
	}
	if err := checkSHA256(got, want); err != nil {
		os.Remove(got)
		return "", fmt.Errorf("the downloaded wheel can't be used: %w", err)
	}
	if err := os.Rename(got, path); err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	r.Step("wheel", fmt.Sprintf("%s %s, %.1f MB, sha256 checked", w.name, Version, float64(st.Size())/1e6), time.Since(start))
	return path, nil
}

func checkSHA256(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%s has sha256 %s, not %s as it should", filepath.Base(path), got, want)
	}
	return nil
}

// checkGlibc says whether the C library is too old for the wheels. Where it
// can't be asked, loading will tell.
func checkGlibc(ctx context.Context) error {
	out, err := subprocess.Command(ctx, "getconf", "GNU_LIBC_VERSION").Output()
	name, version, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err == nil && ok && name == "glibc" && !atLeast(version, []int{2, 35}) {
		return fmt.Errorf("MLX needs glibc %s or newer (Ubuntu 22.04, Debian 12, Fedora 36), and this machine has %s", minGlibc, version)
	}
	if musl, _ := filepath.Glob("/lib/ld-musl-*"); err != nil && len(musl) > 0 {
		return fmt.Errorf("MLX needs glibc %s or newer, and this machine has musl (as Alpine has): use a Debian or Ubuntu image", minGlibc)
	}
	return ctx.Err()
}

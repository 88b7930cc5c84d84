package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/inferflux/inferflux/mlx/shim"
	"github.com/inferflux/inferflux/pip"
)

// build makes an installation from MLX's wheel and the shim, or finds that the
// one that is there is what it would make.
func (r *run) build(ctx context.Context) (Record, error) {
	want := Record{
		MLXVersion: Version, Device: r.Device, WheelSHA256: wheels[r.Device].sha256[runtime.GOARCH], ShimSHA256: shim.SHA256(),
		Dir: filepath.Join(r.root, Version+"-"+string(r.Device)),
	}
	if have, ok, err := r.reuse(ctx, want); ok || err != nil {
		return have, err
	}
	if err := checkGlibc(ctx); err != nil {
		return Record{}, err
	}
	start := time.Now()
	cxx, err := findCompiler(ctx, os.Getenv("CXX"))
	if err != nil {
		return Record{}, err
	}
	r.Step("compiler", cxx.version, time.Since(start))
	start = time.Now()
	p, err := pip.Find(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("MLX comes from PyPI, and %w", err)
	}
	r.Step("pip", "of "+p.Python, time.Since(start))
	path, err := r.fetch(ctx, p)
	if err != nil {
		return Record{}, err
	}
	staging, err := os.MkdirTemp(r.root, ".partial-*")
	if err != nil {
		return Record{}, err
	}
	defer os.RemoveAll(staging)
	if err := os.Chmod(staging, 0o755); err != nil { // MkdirTemp's are for their owner alone
		return Record{}, err
	}
	start = time.Now()
	files, err := unpack(ctx, path, staging)
	if err != nil {
		return Record{}, err
	}
	r.Step("unpack", fmt.Sprintf("%d files", files), time.Since(start))
	if err := r.compile(ctx, cxx, staging); err != nil {
		return Record{}, err
	}
	want.Wheel, want.Compiler, want.InstalledAt, want.Fresh = filepath.Base(path), cxx.version, time.Now().UTC().Truncate(time.Second), true
	if want.Packages, err = r.nvidia(ctx, p, staging); err != nil {
		return Record{}, err
	}
	if want.Verified, err = r.verified(ctx, libraries(staging), r.Device); err != nil {
		if ctx.Err() != nil {
			return Record{}, ctx.Err()
		}
		return Record{}, fmt.Errorf("what was built doesn't work, and was removed: %w", err)
	}
	l := libraries(want.Dir)
	want.Library, want.MLXLibrary = l.C, l.MLX
	if want, err = r.publish(staging, want); err != nil {
		return want, fmt.Errorf("put MLX in its place: %w", err)
	}
	return want, os.RemoveAll(filepath.Dir(path)) // the fetched wheels have served
}

// libraries are where an installation has them.
func libraries(dir string) Library {
	return Library{C: filepath.Join(dir, "lib", "libmlxc.so"), MLX: filepath.Join(dir, "mlx", "lib", "libmlx.so")}
}

// reuse looks for an installation like want that works, and makes it current.
func (r *run) reuse(ctx context.Context, want Record) (Record, bool, error) {
	have, err := readRecord(want.Dir)
	switch {
	case errors.Is(err, ErrNotInstalled):
		return have, false, nil
	case r.Force:
		return have, false, nil
	case err != nil:
		r.Step("found", fmt.Sprintf("an installation that can't be used: %v", err), 0)
		return have, false, nil
	case have.MLXVersion != want.MLXVersion || have.Device != want.Device || have.WheelSHA256 != want.WheelSHA256:
		r.Step("found", "an installation of another wheel: installing anew", 0)
		return have, false, nil
	case have.ShimSHA256 != want.ShimSHA256:
		r.Step("found", "an installation with an older shim: installing anew", 0)
		return have, false, nil
	}
	have.Verified, err = r.verified(ctx, Library{have.Library, have.MLXLibrary}, have.Device)
	if ctx.Err() != nil {
		return have, false, ctx.Err()
	}
	if err != nil {
		r.Step("found", fmt.Sprintf("an installation that doesn't work: %v", err), 0)
		return have, false, nil
	}
	return have, true, r.use(have.Dir)
}

// compile builds the shim against the headers and the library of the wheel that
// was unpacked in dir.
func (r *run) compile(ctx context.Context, cxx compiler, dir string) error {
	start := time.Now()
	r.Progress("compiling the shim (about a minute)", 0, 0)
	src, out := filepath.Join(dir, ".shim"), libraries(dir)
	if err := os.CopyFS(src, shim.Sources); err != nil {
		return fmt.Errorf("write the shim's sources: %w", err)
	}
	defer os.RemoveAll(src)
	if err := os.MkdirAll(filepath.Dir(out.C), 0o755); err != nil {
		return err
	}
	for _, args := range shim.CompileArgs(filepath.Join(dir, "mlx", "include"), filepath.Dir(out.MLX), out.C) {
		if err := cxx.run(ctx, src, args...); err != nil {
			return fmt.Errorf("compile the shim with %s: %w", cxx.version, err)
		}
	}
	r.Step("shim", "lib/libmlxc.so compiled", time.Since(start))
	return nil
}

// nvidia adds NVIDIA's libraries to an installation, unless the system's own do.
// It returns the packages that it added.
func (r *run) nvidia(ctx context.Context, p pip.Pip, dir string) ([]string, error) {
	needs := wheels[r.Device].needs
	if len(needs) == 0 {
		return nil, nil
	}
	start := time.Now()
	if !r.NoVerify {
		if _, err := r.verifyElsewhere(ctx, libraries(dir), r.Device); err == nil {
			r.Step("CUDA", "the system's own libraries", time.Since(start))
			return nil, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	report := func(n int64) { r.Progress("fetching and unpacking NVIDIA's libraries", n, 0) }
	if err := p.Install(ctx, needs, dir, report); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("MLX needs NVIDIA's CUDA libraries: %w", err)
	}
	packages, err := distributions(dir)
	if err != nil {
		return nil, err
	}
	r.Step("CUDA", fmt.Sprintf("%d packages of NVIDIA's", len(packages)), time.Since(start))
	return packages, nil
}

// distributions lists NVIDIA's packages in a folder that pip installed into, as
// "nvidia_cublas-13.10.0.20".
func distributions(dir string) ([]string, error) {
	found, err := fs.Glob(os.DirFS(dir), "nvidia_*.dist-info")
	if err != nil {
		return nil, err
	}
	for i, name := range found {
		found[i] = name[:len(name)-len(".dist-info")]
	}
	slices.Sort(found)
	return found, nil
}

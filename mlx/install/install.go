// Package install puts MLX on a machine for package mlx to find.
//
// On Linux no distribution packages MLX's C library, but MLX's own wheels carry
// libmlx.so and its C++ headers. [Run] fetches the wheel of a device through the
// machine's pip, checks its SHA-256 against the one pinned here, compiles the
// shim (package shim) against it with the machine's C++20 compiler, has a child
// process load the result and compute with it, and only then makes it the
// current one. On macOS it takes Homebrew's mlx-c, fetching it if need be.
//
// What it leaves, under the folder mlx of Home:
//
//	0.32.4-cpu/                 one installation: version and device
//	0.32.4-cpu/install.json     what it is and where it came from: [Record]
//	0.32.4-cpu/lib/libmlxc.so   the shim
//	0.32.4-cpu/mlx/             libmlx.so and headers, as the wheel has them
//	current                     a link to the installation in use
//
// A run that was cut off leaves nothing that the next one doesn't remove or use,
// and a run with nothing to do only verifies.
package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Version is the version of MLX that this package installs on Linux.
const Version = "0.32.4"

// Options say what to install, and where.
type Options struct {
	// Home is the folder of installed libraries: registry.Home.
	Home string
	// Device is what to install for; "" is [Detect]'s choice.
	Device Device
	// Force installs anew what is there already.
	Force bool
	// NoVerify leaves out the check by loading, as on a machine without the GPU
	// on which an image for others is built.
	NoVerify bool
	// Foreign, if set, is a genuine mlx-c: nothing is built, it is only verified
	// and recorded.
	Foreign *Library
	// Verifier is the command line of a program that calls [Verify] with the
	// arguments that follow; usually this program itself.
	Verifier []string
	// Step, if set, is told what was done, on what, and how long it took.
	Step func(name, detail string, took time.Duration)
	// Progress, if set, is told how a download goes on, in bytes; total may be 0.
	Progress func(phase string, done, total int64)
}

// Library is a pair of shared libraries.
type Library struct {
	C   string // libmlxc
	MLX string // libmlx, to be loaded first; "" if libmlxc finds it itself
}

// Record is install.json.
type Record struct {
	MLXVersion  string    `json:"mlx_version"`
	Device      Device    `json:"device"`
	Wheel       string    `json:"wheel,omitempty"` // file name
	WheelSHA256 string    `json:"wheel_sha256,omitempty"`
	Packages    []string  `json:"packages,omitempty"` // NVIDIA's, with their versions
	Library     string    `json:"library"`            // path of libmlxc
	MLXLibrary  string    `json:"mlx_library,omitempty"`
	Compiler    string    `json:"compiler,omitempty"`
	ShimSHA256  string    `json:"shim_sha256,omitempty"` // of the sources it was compiled from
	InstalledAt time.Time `json:"installed_at"`

	// Dir is the installation's folder.
	Dir string `json:"-"`
	// Verified is what the library said of itself; nil without verification.
	Verified *Facts `json:"-"`
	// Fresh says that this run made the installation.
	Fresh bool `json:"-"`
}

// ErrNotInstalled says that there is no current installation.
var ErrNotInstalled = errors.New("MLX isn't installed")

// Current reads the record of the installation in use.
func Current(home string) (Record, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(home, "mlx", "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, ErrNotInstalled
	}
	if err != nil {
		return Record{}, err
	}
	return readRecord(dir)
}

func readRecord(dir string) (Record, error) {
	path := filepath.Join(dir, "install.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, ErrNotInstalled
	}
	if err != nil {
		return Record{}, err
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("read %s (inferctl backends install mlx --force writes it anew): %w", path, err)
	}
	r.Dir = dir
	return r, nil
}

func (r Record) write(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "install.json"), append(data, '\n'), 0o644)
}

// run is one call of Run.
type run struct {
	Options
	root string // Home/mlx
}

// Run installs MLX, or finds that it is installed, and makes it current. When
// ctx ends, so do all programs that it started.
func Run(ctx context.Context, o Options) (Record, error) {
	home, err := filepath.Abs(o.Home)
	if err != nil {
		return Record{}, err
	}
	o.Home = home
	if o.Step == nil {
		o.Step = func(string, string, time.Duration) {}
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	r := &run{Options: o, root: filepath.Join(home, "mlx")}
	if err := os.MkdirAll(r.root, 0o755); err != nil {
		return Record{}, fmt.Errorf("make the folder for MLX: %w", err)
	}
	unlock, err := lock(filepath.Join(r.root, ".lock"))
	if err != nil {
		return Record{}, err
	}
	defer unlock()
	if err := r.sweep(); err != nil {
		return Record{}, fmt.Errorf("remove what an earlier run left: %w", err)
	}
	if o.Foreign != nil {
		return r.adopt(ctx, *o.Foreign, External)
	}
	if r.Device == "" {
		var why string
		r.Device, why = Detect(ctx)
		r.Step("device", fmt.Sprintf("%s: %s", r.Device, why), 0)
	}
	if err := r.Device.check(runtime.GOOS, runtime.GOARCH); err != nil {
		return Record{}, err
	}
	if r.Device == Metal {
		return r.homebrew(ctx)
	}
	if !r.NoVerify {
		if err := needsDriver(ctx, r.Device); err != nil {
			return Record{}, err
		}
	}
	return r.build(ctx)
}

// sweep removes what runs left that were cut off. Complete wheels stay.
func (r *run) sweep() error {
	for _, pattern := range []string{".partial-*", ".old-*", ".current-*", filepath.Join("wheels", "pip-*")} {
		left, err := filepath.Glob(filepath.Join(r.root, pattern))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// publish gives a complete installation its name and makes it current.
func (r *run) publish(staging string, rec Record) (Record, error) {
	if err := rec.write(staging); err != nil {
		return rec, err
	}
	old := filepath.Join(r.root, ".old-"+filepath.Base(rec.Dir))
	if err := os.Rename(rec.Dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return rec, err
	}
	if err := os.Rename(staging, rec.Dir); err != nil {
		return rec, err
	}
	if err := r.use(rec.Dir); err != nil {
		return rec, err
	}
	return rec, os.RemoveAll(old)
}

// use makes an installation the current one.
func (r *run) use(dir string) error {
	link, name := filepath.Join(r.root, "current"), filepath.Base(dir)
	if now, err := os.Readlink(link); err == nil && now == name {
		return nil
	}
	fresh := filepath.Join(r.root, ".current-"+name)
	if err := os.Symlink(name, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, link)
}

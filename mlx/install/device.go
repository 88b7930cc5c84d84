package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/inferflux/inferflux/subprocess"
)

// Device is what an installation computes on.
type Device string

// The devices. External stands for a genuine mlx-c that isn't ours.
const (
	CPU      Device = "cpu"
	CUDA12   Device = "cuda12"
	CUDA13   Device = "cuda13"
	Metal    Device = "metal"
	External Device = "external"
)

// Devices are those that can be asked for.
var Devices = []Device{CPU, CUDA12, CUDA13, Metal}

// check says why a device can't be had on a platform.
func (d Device) check(goos, goarch string) error {
	if !slices.Contains(Devices, d) {
		return fmt.Errorf("there is no device %q: use one of cpu, cuda12, cuda13, metal", d)
	}
	switch {
	case goos == "darwin" && goarch != "arm64":
		return fmt.Errorf("MLX needs a Mac with Apple silicon, and this one has %s: use the cpu backend", goarch)
	case goos == "darwin" && d == Metal:
		return nil
	case goos == "darwin":
		return fmt.Errorf("on macOS MLX comes for the device metal, not %s; to compute on the CPU set device: cpu in the mlx entry of runtime.backends", d)
	case goos != "linux":
		return fmt.Errorf("MLX can't be installed on %s: use the cpu backend", goos)
	case d == Metal:
		return fmt.Errorf("the device metal is for macOS: on Linux use cpu, cuda12 or cuda13")
	}
	if _, ok := wheels[d].sha256[goarch]; !ok {
		return fmt.Errorf("MLX has no wheel for linux/%s: use the cpu backend", goarch)
	}
	return nil
}

// NVIDIA driver versions that MLX's wheels need.
var (
	driverForCUDA12 = []int{550, 54, 14}
	driverForCUDA13 = []int{580}
)

// Detect chooses the device for this machine and says why.
func Detect(ctx context.Context) (Device, string) {
	if runtime.GOOS == "darwin" {
		return Metal, "Apple's GPU"
	}
	return thisMachine().detect(ctx)
}

// needsDriver says that a CUDA device can't be tried here, before gigabytes are
// fetched for it.
func needsDriver(ctx context.Context, d Device) error {
	if d != CUDA12 && d != CUDA13 || thisMachine().hasLibrary(ctx, driverLibrary) {
		return nil
	}
	return fmt.Errorf("%s needs the NVIDIA driver, and its library %s isn't here (in a container: start it with the GPU, as by --gpus all); "+
		"to install for another machine, add --no-verify", d, driverLibrary)
}

// driverLibrary is the part of the driver that programs load.
const driverLibrary = "libcuda.so.1"

// detector looks for an NVIDIA GPU on Linux.
type detector struct {
	root          string
	smi, ldconfig func(context.Context) string
	libraryPath   string
}

func thisMachine() detector {
	return detector{root: "/", smi: nvidiaSMI, ldconfig: ldconfigCache, libraryPath: os.Getenv("LD_LIBRARY_PATH")}
}

func (d detector) detect(ctx context.Context) (Device, string) {
	version := d.driver(ctx)
	if version == "" {
		return CPU, "no NVIDIA driver was found"
	}
	if !d.hasLibrary(ctx, driverLibrary) {
		return CPU, fmt.Sprintf("the NVIDIA driver is %s, but its library %s isn't here (in a container: start it with the GPU, as by --gpus all)", version, driverLibrary)
	}
	switch {
	case atLeast(version, driverForCUDA13):
		return CUDA13, "NVIDIA driver " + version
	case atLeast(version, driverForCUDA12):
		return CUDA12, "NVIDIA driver " + version + " (580 or newer would allow cuda13)"
	}
	return CPU, "the NVIDIA driver is " + version + ", and MLX needs 550.54.14 or newer"
}

var driverVersion = regexp.MustCompile(`\b[0-9]{3,4}(\.[0-9]+){1,3}\b`)

func (d detector) driver(ctx context.Context) string {
	if data, err := os.ReadFile(filepath.Join(d.root, "proc/driver/nvidia/version")); err == nil {
		if v := driverVersion.FindString(string(data)); v != "" {
			return v
		}
	}
	return driverVersion.FindString(d.smi(ctx))
}

// nvidiaSMI asks NVIDIA's tool where /proc doesn't tell, as under WSL.
func nvidiaSMI(ctx context.Context) string {
	return output(ctx, "nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
}

// ldconfigCache lists what the dynamic loader knows.
func ldconfigCache(ctx context.Context) string { return output(ctx, "/sbin/ldconfig", "-p") }

// output is what a program prints, "" if it fails.
func output(ctx context.Context, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := subprocess.Command(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// hasLibrary looks where the dynamic loader does, and where drivers are mounted
// into containers.
func (d detector) hasLibrary(ctx context.Context, name string) bool {
	dirs := filepath.SplitList(d.libraryPath)
	for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib", "lib64",
		"usr/lib/wsl/lib", "usr/local/nvidia/lib64", "usr/local/cuda/compat", "run/opengl-driver/lib"} {
		dirs = append(dirs, filepath.Join(d.root, dir))
	}
	there := slices.ContainsFunc(dirs, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return dir != "" && err == nil
	})
	return there || strings.Contains(d.ldconfig(ctx), name+" ")
}

// atLeast compares dotted versions.
func atLeast(version string, least []int) bool {
	var have []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		have = append(have, n)
	}
	return slices.Compare(have, least) >= 0
}

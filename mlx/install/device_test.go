package install

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	const proc = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  %s  Release Build  (builder)\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
	for _, c := range []struct {
		name, proc, smi, library string
		want                     Device
		why                      string
	}{
		{"no driver", "", "", "", CPU, "no NVIDIA driver"},
		{"new", "580.95.05", "", "usr/lib/x86_64-linux-gnu", CUDA13, "580.95.05"},
		{"newer, two parts", "610.10", "", "usr/lib64", CUDA13, "610.10"},
		{"middle", "570.124.06", "", "usr/lib/x86_64-linux-gnu", CUDA12, "580 or newer would allow cuda13"},
		{"the oldest for 12", "550.54.14", "", "usr/lib", CUDA12, "550.54.14"},
		{"just too old", "550.54.13", "", "usr/lib", CPU, "MLX needs 550.54.14"},
		{"WSL: only nvidia-smi", "", "581.29\n", "usr/lib/wsl/lib", CUDA13, "581.29"},
		{"known to the loader only", "580.95.05", "", "ldconfig", CUDA13, "580.95.05"},
		{"a container without the GPU", "580.95.05", "", "", CPU, "--gpus all"},
		{"nvidia-smi without a driver", "", "NVIDIA-SMI has failed because it couldn't communicate with the driver\n", "usr/lib", CPU, "no NVIDIA driver"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			write := func(path, content string) {
				t.Helper()
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if c.proc != "" {
				write("proc/driver/nvidia/version", strings.Replace(proc, "%s", c.proc, 1))
			}
			cache := "	libcudart.so.13 (libc6,x86-64) => /opt/lib/libcudart.so.13\n"
			if c.library == "ldconfig" {
				cache += "	libcuda.so.1 (libc6,x86-64) => /opt/lib/libcuda.so.1\n"
			} else if c.library != "" {
				write(filepath.Join(c.library, "libcuda.so.1"), "")
			}
			d := detector{root: root, smi: func(context.Context) string { return c.smi }, ldconfig: func(context.Context) string { return cache }}
			got, why := d.detect(t.Context())
			if got != c.want || !strings.Contains(why, c.why) {
				t.Errorf("detect = %s, %q; want %s, %q", got, why, c.want, c.why)
			}
		})
	}
	d := detector{root: t.TempDir(), smi: func(context.Context) string { return "590.1" }, ldconfig: func(context.Context) string { return "" },
		libraryPath: ":" + t.TempDir()}
	if got, _ := d.detect(t.Context()); got != CPU {
		t.Errorf("an empty part of LD_LIBRARY_PATH: %s", got)
	}
}

func TestDevicePlatforms(t *testing.T) {
	for _, c := range []struct {
		device, goos, goarch, want string
	}{
		{"cpu", "linux", "amd64", ""}, {"cuda12", "linux", "arm64", ""}, {"cuda13", "linux", "amd64", ""}, {"metal", "darwin", "arm64", ""},
		{"metal", "linux", "amd64", "metal is for macOS"}, {"cpu", "darwin", "arm64", "device: cpu"}, {"metal", "darwin", "amd64", "Apple silicon"},
		{"cpu", "linux", "riscv64", "no wheel for linux/riscv64"}, {"cpu", "windows", "amd64", "on windows"}, {"rocm", "linux", "amd64", `no device "rocm"`},
	} {
		err := Device(c.device).check(c.goos, c.goarch)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s on %s/%s: %v, want %q", c.device, c.goos, c.goarch, err, c.want)
		}
	}
}

// Every wheel is pinned for both processors.
func TestPins(t *testing.T) {
	for device, w := range wheels {
		for goarch := range platforms {
			if sum := w.sha256[goarch]; len(sum) != 64 {
				t.Errorf("%s on %s: sha256 %q", device, goarch, sum)
			}
		}
	}
}

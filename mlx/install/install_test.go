//go:build linux

package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// machine is a machine on which pip, the compiler and the verifier are scripts
// that note their calls.
type machine struct {
	t    *testing.T
	bin  string
	home string
	log  string
}

const (
	fakePip = `case "$3" in
--version) exit 0;;
download) echo download $* >> "$LOG"; while [ $# -gt 1 ]; do [ "$1" = --dest ] && cp "$WHEEL" "$2/"; shift; done;;
install) echo install $* >> "$LOG"; while [ $# -gt 1 ]; do [ "$1" = --target ] && mkdir -p "$2/nvidia" "$2/nvidia_nccl_cu13-2.1.dist-info" "$2/nvidia_cublas-13.0.dist-info"; shift; done;;
esac`
	fakeCompiler = `case "$*" in
--version) echo "c++ 99";;
*-fsyntax-only*) ;;
*) echo compile >> "$LOG"; while [ $# -gt 1 ]; do [ "$1" = -o ] && echo shim > "$2"; shift; done;;
esac`
	fakeVerifier = `echo verify $* >> "$LOG"
[ -s "$2" ] || { echo "inferctl: load $2: it isn't there" >&2; exit 1; }
echo '{"version": "0.32.4", "device": "a fake", "gpu": false}'`
)

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, bin: t.TempDir(), home: filepath.Join(t.TempDir(), "home"), log: filepath.Join(t.TempDir(), "calls")}
	m.program("python3", fakePip)
	m.program("c++", fakeCompiler)
	m.program("verifier", fakeVerifier)
	t.Setenv("PATH", m.bin+":/usr/bin:/bin")
	t.Setenv("LOG", m.log)
	t.Setenv("CXX", "")
	driver := t.TempDir()
	if err := os.WriteFile(filepath.Join(driver, driverLibrary), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LD_LIBRARY_PATH", driver)
	file := filepath.Join(t.TempDir(), "mlx-1-py3-none-any.whl")
	writeWheel(t, file, member{"mlx/lib/libmlx.so", "library", 0o755}, member{"mlx/include/mlx/mlx.h", "", 0o644})
	t.Setenv("WHEEL", file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	pinned := maps.Clone(wheels)
	t.Cleanup(func() { wheels = pinned })
	wheels = map[Device]wheel{}
	for _, d := range []Device{CPU, CUDA13} {
		w := pinned[d]
		w.sha256 = map[string]string{runtime.GOARCH: hex.EncodeToString(sum[:])}
		wheels[d] = w
	}
	return m
}

func (m *machine) program(name, script string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// run installs, and returns which programs were called.
func (m *machine) run(change ...func(*Options)) (Record, []string, error) {
	m.t.Helper()
	os.Remove(m.log)
	o := Options{Home: m.home, Device: CPU, Verifier: []string{filepath.Join(m.bin, "verifier")}}
	for _, f := range change {
		f(&o)
	}
	r, err := Run(m.t.Context(), o)
	return r, m.calls(), err
}

func (m *machine) calls() []string {
	data, _ := os.ReadFile(m.log)
	var calls []string
	for line := range strings.Lines(string(data)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		calls = append(calls, word)
	}
	return calls
}

// left lists what lies in the folder of installations.
func (m *machine) left() []string {
	entries, _ := os.ReadDir(filepath.Join(m.home, "mlx"))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (m *machine) must(want []string, change ...func(*Options)) Record {
	m.t.Helper()
	r, calls, err := m.run(change...)
	if err != nil {
		m.t.Fatal(err)
	}
	if !slices.Equal(calls, want) {
		m.t.Errorf("called %v, want %v", calls, want)
	}
	now, err := Current(m.home)
	if err != nil || now.Library != r.Library || now.Dir != r.Dir {
		m.t.Errorf("the current one is %+v, %v", now, err)
	}
	return r
}

func (m *machine) mustFail(want string, change ...func(*Options)) {
	m.t.Helper()
	if _, _, err := m.run(change...); err == nil || !strings.Contains(err.Error(), want) {
		m.t.Errorf("Run: %v, want %q", err, want)
	}
	if left, _ := filepath.Glob(filepath.Join(m.home, "mlx", ".partial-*")); len(left) > 0 {
		m.t.Errorf("left behind: %v", left)
	}
}

var (
	everything = []string{"download", "compile", "verify"}
	onlyVerify = []string{"verify"}
)

func force(o *Options) { o.Force = true }

func TestInstall(t *testing.T) {
	m := newMachine(t)
	if _, err := Current(m.home); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("Current: %v, want %v", err, ErrNotInstalled)
	}
	var steps []string
	r := m.must(everything, func(o *Options) {
		o.Step = func(name, _ string, _ time.Duration) { steps = append(steps, name) }
	})
	if want := []string{"compiler", "pip", "wheel", "unpack", "shim", "verify"}; !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	dir := filepath.Join(m.home, "mlx", Version+"-cpu")
	if !r.Fresh || r.Library != filepath.Join(dir, "lib", "libmlxc.so") || r.MLXLibrary != filepath.Join(dir, "mlx", "lib", "libmlx.so") || r.Compiler != "c++ 99" {
		t.Errorf("record %+v", r)
	}
	for _, path := range []string{r.Library, r.MLXLibrary, filepath.Join(m.home, "mlx", "current", "lib", "libmlxc.so")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if got, want := m.left(), []string{".lock", Version + "-cpu", "current"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
	if r := m.must(onlyVerify); r.Fresh || r.Verified == nil || r.Verified.Device != "a fake" {
		t.Errorf("the second run: %+v", r)
	}
	m.must(everything, force)
}

// What has changed since is installed anew.
func TestInstallAnew(t *testing.T) {
	for name, change := range map[string]func(r *Record){
		"another shim":  func(r *Record) { r.ShimSHA256 = "old" },
		"another wheel": func(r *Record) { r.WheelSHA256 = "old" },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			r := m.must(everything)
			change(&r)
			if err := r.write(r.Dir); err != nil {
				t.Fatal(err)
			}
			m.must(everything)
			m.must(onlyVerify)
		})
	}
	t.Run("a damaged record", func(t *testing.T) {
		m := newMachine(t)
		r := m.must(everything)
		if err := os.WriteFile(filepath.Join(r.Dir, "install.json"), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Current(m.home); err == nil || !strings.Contains(err.Error(), "--force") {
			t.Errorf("Current: %v", err)
		}
		m.must(everything)
	})
	t.Run("a library that was deleted", func(t *testing.T) {
		m := newMachine(t)
		os.Remove(m.must(everything).Library)
		m.must([]string{"verify", "download", "compile", "verify"})
	})
	t.Run("another device and back", func(t *testing.T) {
		m := newMachine(t)
		m.must(everything)
		m.must([]string{"download", "compile", "verify", "verify"}, func(o *Options) { o.Device = CUDA13 })
		m.must(onlyVerify)
	})
}

func TestInstallFails(t *testing.T) {
	t.Run("a wheel that isn't the pinned one", func(t *testing.T) {
		m := newMachine(t)
		if err := os.WriteFile(os.Getenv("WHEEL"), []byte("evil"), 0o644); err != nil {
			t.Fatal(err)
		}
		m.mustFail("has sha256")
		if got := m.left(); slices.Contains(got, "current") || len(m.wheels()) > 0 {
			t.Errorf("the folder holds %v, wheels %v", got, m.wheels())
		}
	})
	t.Run("no compiler", func(t *testing.T) {
		m := newMachine(t)
		t.Setenv("CXX", "absent")
		m.mustFail(`CXX is "absent"`)
		if calls := m.calls(); len(calls) > 0 {
			t.Errorf("%v was called before", calls)
		}
	})
	t.Run("pip fails", func(t *testing.T) {
		m := newMachine(t)
		m.program("python3", `[ "$3" = --version ] && exit 0; echo "ERROR: No matching distribution found for mlx-cpu==0.32.4" >&2; exit 1`)
		m.mustFail("No matching distribution")
	})
	t.Run("the shim doesn't compile", func(t *testing.T) {
		m := newMachine(t)
		m.program("c++", `case "$*" in --version) echo "c++ 99";; *-fsyntax-only*) ;; *) echo "x.cpp:1:1: error: oh"; exit 1;; esac`)
		m.mustFail("compile the shim with c++ 99: c++ fails (exit status 1): x.cpp:1:1: error: oh")
	})
	t.Run("the library doesn't work, then it does", func(t *testing.T) {
		m := newMachine(t)
		m.program("verifier", `echo "inferctl: libfoo.so.1 is missing" >&2; exit 1`)
		m.mustFail("libfoo.so.1 is missing")
		if _, err := Current(m.home); !errors.Is(err, ErrNotInstalled) {
			t.Errorf("a library that doesn't work is current: %v", err)
		}
		m.program("verifier", fakeVerifier)
		m.must([]string{"compile", "verify"}) // the wheel is here still
	})
	t.Run("the library crashes", func(t *testing.T) {
		m := newMachine(t)
		m.program("verifier", `echo "terminate called" >&2; kill -SEGV $$`)
		m.mustFail("crashed when it was tried (signal: segmentation fault")
	})
	t.Run("an upgrade that fails leaves the old one", func(t *testing.T) {
		m := newMachine(t)
		m.must(everything)
		m.program("verifier", "exit 7")
		m.mustFail("can't be used, without a message", force)
		m.program("verifier", fakeVerifier)
		m.must(onlyVerify)
	})
	t.Run("another installer is at work", func(t *testing.T) {
		m := newMachine(t)
		m.must(everything)
		unlock, err := lock(filepath.Join(m.home, "mlx", ".lock"))
		if err != nil {
			t.Fatal(err)
		}
		m.mustFail("another process is installing MLX")
		unlock()
		m.must(onlyVerify)
	})
	t.Run("no room", func(t *testing.T) {
		m := newMachine(t)
		m.home = "/dev/null/x"
		m.mustFail("make the folder for MLX")
	})
}

func (m *machine) wheels() []string {
	found, _ := filepath.Glob(filepath.Join(m.home, "mlx", "wheels", "*"))
	return found
}

// A run that is interrupted leaves nothing running and nothing half done.
func TestInstallInterrupted(t *testing.T) {
	m := newMachine(t)
	m.program("c++", `case "$*" in --version) echo "c++ 99";; *-fsyntax-only*) ;; *) echo compile >> "$LOG"; sleep 60;; esac`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, Options{Home: m.home, Device: CPU, Verifier: []string{"false"}})
		ended <- err
	}()
	for !slices.Contains(m.calls(), "compile") {
		select {
		case err := <-ended:
			t.Fatalf("it ended early: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	// One that was killed had no time to clean up.
	for _, name := range []string{".partial-1", ".old-x", "wheels/pip-1"} {
		if err := os.MkdirAll(filepath.Join(m.home, "mlx", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.program("c++", fakeCompiler)
	m.must([]string{"compile", "verify"})
	if got, want := m.left(), []string{".lock", Version + "-cpu", "current"}; !slices.Equal(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

// NVIDIA's libraries are fetched only where the system's don't do.
func TestInstallCUDA(t *testing.T) {
	cuda := func(o *Options) { o.Device = CUDA13 }
	t.Run("the system's do", func(t *testing.T) {
		m := newMachine(t)
		if r := m.must([]string{"download", "compile", "verify", "verify"}, cuda); r.Packages != nil {
			t.Errorf("packages %v", r.Packages)
		}
	})
	t.Run("they don't", func(t *testing.T) {
		m := newMachine(t)
		m.program("verifier", `dir=$(dirname "$(dirname "$2")")
[ -d "$dir/nvidia" ] || { echo verify >> "$LOG"; echo "libcudnn.so.9 is missing" >&2; exit 1; }
`+fakeVerifier)
		r := m.must([]string{"download", "compile", "verify", "install", "verify"}, cuda)
		if want := []string{"nvidia_cublas-13.0", "nvidia_nccl_cu13-2.1"}; !slices.Equal(r.Packages, want) {
			t.Errorf("packages %v, want %v", r.Packages, want)
		}
	})
	t.Run("for another machine", func(t *testing.T) {
		m := newMachine(t)
		r := m.must([]string{"download", "compile", "install"}, cuda, func(o *Options) { o.NoVerify = true })
		if r.Verified != nil || len(r.Packages) != 2 {
			t.Errorf("record %+v", r)
		}
	})
}

// A genuine mlx-c is recorded where it lies.
func TestInstallForeign(t *testing.T) {
	m := newMachine(t)
	path := filepath.Join(t.TempDir(), "libmlxc.so")
	foreign := func(o *Options) { o.Foreign = &Library{C: path} }
	m.mustFail("it isn't there", foreign)
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := m.must(onlyVerify, foreign); !r.Fresh || r.Library != path || r.Device != External || r.MLXVersion != "0.32.4" {
		t.Errorf("record %+v", r)
	}
	if r := m.must(onlyVerify, foreign); r.Fresh {
		t.Errorf("the second run: %+v", r)
	}
	m.must(everything)
}

// The record's JSON names are read by package mlx and by people's scripts.
func TestRecordNames(t *testing.T) {
	data, err := json.Marshal(Record{Packages: []string{"x"}, Wheel: "x", WheelSHA256: "x", MLXLibrary: "x", Compiler: "x", ShimSHA256: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]any
	if err := json.Unmarshal(data, &names); err != nil {
		t.Fatal(err)
	}
	want := []string{"compiler", "device", "installed_at", "library", "mlx_library", "mlx_version", "packages", "shim_sha256", "wheel", "wheel_sha256"}
	if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
}

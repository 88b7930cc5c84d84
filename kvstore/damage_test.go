package kvstore_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/kvstore"
)

// stored is the name and content of the file of one entry.
func stored(t testing.TB, key []byte, tokens []int32, data []byte) (name string, content []byte) {
	t.Helper()
	dir := t.TempDir()
	o := onDisk(dir, 1<<30)
	o.Key = key
	s := open(t, o)
	put(t, s, scope, tokens, data)
	closeStore(t, s)
	paths, _ := files(t, dir)
	if len(paths) != 1 {
		t.Fatal(paths)
	}
	content, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(paths[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	return filepath.Base(paths[0]), content
}

// tryFile opens a folder that holds one file and loads the entry from it. It says
// why the file isn't used, "" if it is, and whether it is still there.
func tryFile(t *testing.T, key []byte, name string, content, want []byte) (reason kvstore.Reason, remains bool) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	o := onDisk(dir, 1<<30)
	o.Key = key
	s, err := kvstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.List() {
		if got, err := load(s, e); err == nil && !bytes.Equal(got, want) {
			t.Error("an entry gave other bytes than it was given")
		} else if err != nil && !errors.Is(err, kvstore.ErrDamaged) {
			t.Error(err)
		} else if err != nil && (len(got) >= len(want) || !bytes.HasPrefix(want, got)) {
			t.Errorf("%d bytes were handed out before the damage was found", len(got))
		}
	}
	closeStore(t, s)
	st := s.Stats()
	n := uint64(0)
	for r, k := range st.Discarded {
		reason, n = r, n+k
	}
	if n > 1 || st.Errors != 0 {
		t.Errorf("stats %+v", st)
	}
	_, err = os.Stat(path)
	return reason, err == nil
}

var keys = []struct {
	name string
	key  []byte
}{{"plain", nil}, {"encrypted", keyA}}

func TestFlippedBits(t *testing.T) {
	for _, k := range keys {
		t.Run(k.name, func(t *testing.T) {
			data := random(1, 60)
			name, content := stored(t, k.key, ids(1, 2, 3), data)
			if reason, remains := tryFile(t, k.key, name, content, data); reason != "" || !remains {
				t.Fatalf("undamaged: %q, %t", reason, remains)
			}
			for i := range content {
				for _, mask := range []byte{1, 0x80, 0xff} {
					bad := bytes.Clone(content)
					bad[i] ^= mask
					reason, remains := tryFile(t, k.key, name, bad, data)
					switch {
					case i < 8: // it isn't known for ours any more
						if reason != "" || !remains {
							t.Errorf("byte %d: %q, %t", i, reason, remains)
						}
					case i < 12 && reason == kvstore.OtherVersion && remains:
					case reason != kvstore.BadHeader && reason != kvstore.BadBody, remains:
						t.Errorf("byte %d: %q, %t", i, reason, remains)
					}
				}
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	data := random(1, 60)
	name, content := stored(t, nil, ids(1, 2, 3), data)
	temp := strings.TrimSuffix(name, ".kv") + ".tmp"
	for n := range content {
		reason, remains := tryFile(t, nil, name, content[:n], data)
		want := kvstore.BadSize
		switch {
		case n < 8:
			want = ""
		case n < 52:
			want = kvstore.BadHeader
		}
		if reason != want || remains != (want == "") {
			t.Errorf("cut to %d: %q, %t", n, reason, remains)
		}
		// What a process that ends while it writes may leave.
		if n == 0 || n >= 8 {
			if reason, remains := tryFile(t, nil, temp, content[:n], data); reason != kvstore.Unfinished || remains {
				t.Errorf("temporary, cut to %d: %q, %t", n, reason, remains)
			}
		}
	}
	if reason, remains := tryFile(t, nil, name, append(bytes.Clone(content), 0), data); reason != kvstore.BadSize || remains {
		t.Errorf("grown: %q, %t", reason, remains)
	}
	if reason, remains := tryFile(t, nil, temp, content, data); reason != kvstore.Unfinished || remains {
		t.Errorf("temporary, whole: %q, %t", reason, remains)
	}
	if reason, remains := tryFile(t, nil, temp, make([]byte, 4096), data); reason != kvstore.Unfinished || remains {
		t.Errorf("temporary, zeros: %q, %t", reason, remains)
	}
}

// Whatever of its frames a file lost, exchanged or took from another.
func TestTornFrames(t *testing.T) {
	for _, k := range keys {
		t.Run(k.name, func(t *testing.T) {
			const frames = 4
			data := random(1, (frames-1)*kvstore.FrameSize+1000)
			name, content := stored(t, k.key, ids(1, 2, 3), data)
			_, other := stored(t, k.key, ids(1, 2, 3), data)
			seal := 4
			if k.key != nil {
				seal = 16
			}
			first := len(content) - len(data) - frames*seal
			bounds := []int{first}
			for i := 1; i < frames; i++ {
				bounds = append(bounds, first+i*(kvstore.FrameSize+seal))
			}
			bounds = append(bounds, len(content))
			frame := func(b []byte, i int) []byte { return b[bounds[i]:bounds[i+1]] }
			check := func(what string, bad []byte, want kvstore.Reason) {
				t.Helper()
				if reason, remains := tryFile(t, k.key, name, bad, data); reason != want || remains {
					t.Errorf("%s: %q, %t, want %q", what, reason, remains, want)
				}
			}
			for i, b := range bounds {
				for _, d := range []int{-1, 0, 1} {
					if n := b + d; n < len(content) {
						check("cut", content[:n], kvstore.BadSize)
						// The size was recorded, the data wasn't.
						zeros := bytes.Clone(content)
						clear(zeros[n:])
						check("zeros", zeros, map[bool]kvstore.Reason{true: kvstore.BadHeader, false: kvstore.BadBody}[n < first])
					}
				}
				if i < frames {
					bad := bytes.Clone(content)
					copy(frame(bad, i), frame(other, i))
					check("of another file", bad, kvstore.BadBody)
				}
			}
			bad := bytes.Clone(content)
			copy(frame(bad, 0), frame(content, 1))
			copy(frame(bad, 1), frame(content, 0))
			check("exchanged", bad, kvstore.BadBody)
			// All of another file but its header.
			check("other header", append(bytes.Clone(other[:first]), content[first:]...), kvstore.BadName)
		})
	}
}

// A file that changes after it was indexed is no better than one before.
func TestReplacedWhileOpen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, onDisk(dir, 1<<20))
	put(t, s, scope, ids(1), random(1, 100))
	e, _ := s.Lookup(scope, ids(1))
	_, other := stored(t, nil, ids(2), random(2, 100))
	paths, _ := files(t, dir)
	if err := os.WriteFile(paths[0], other, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := load(s, e); !errors.Is(err, kvstore.ErrDamaged) || len(got) != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if u := s.Usage(); u.Disk.Entries != 0 {
		t.Errorf("usage %+v", u)
	}
}

// An importer that ends well though it was told of damage isn't believed.
func TestDamageIsNotHidden(t *testing.T) {
	dir := t.TempDir()
	s := open(t, onDisk(dir, 1<<20))
	put(t, s, scope, ids(1), random(1, 100))
	paths, _ := files(t, dir)
	content, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-10]++
	if err := os.WriteFile(paths[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	e, _ := s.Lookup(scope, ids(1))
	err = s.Load(ctx, e, func(r io.Reader) error { _, _ = io.Copy(io.Discard, r); return nil })
	if !errors.Is(err, kvstore.ErrDamaged) {
		t.Error(err)
	}
}

func TestForeignFiles(t *testing.T) {
	data := random(1, 60)
	name, content := stored(t, nil, ids(1, 2, 3), data)
	id := strings.TrimSuffix(name, ".kv")
	foreign := []byte("something of somebody, long enough to be a header of ours, if it were")
	tests := []struct {
		name    string
		content []byte
		reason  kvstore.Reason
		remains bool
	}{
		{"notes.txt", foreign, "", true},
		{"notes.tmp", foreign, "", true},
		{"empty.tmp", nil, "", true},
		{name, foreign, "", true},
		{id + ".tmp", foreign, "", true},
		{"renamed.kv", content, kvstore.BadName, false},
		{id, content, kvstore.BadName, false},
		{hex.EncodeToString(make([]byte, 16)) + ".kv", content, kvstore.BadName, false},
	}
	for _, tt := range tests {
		if reason, remains := tryFile(t, nil, tt.name, tt.content, data); reason != tt.reason || remains != tt.remains {
			t.Errorf("%s: %q, %t", tt.name, reason, remains)
		}
	}
	// Nor is anything followed or opened that isn't a file.
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(outside, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
		t.Skip(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.kv"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, onDisk(dir, 0))
	if u := s.Usage(); u.Disk.Bytes != 0 || len(s.List()) != 0 {
		t.Errorf("usage %+v", u)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	data := random(1, 60)
	tests := []struct {
		name      string
		with, now []byte
		reason    kvstore.Reason
	}{
		{"same", keyA, keyA, ""},
		{"another", keyA, keyB, kvstore.OtherKey},
		{"none any more", keyA, nil, kvstore.OtherKey},
		{"none before", nil, keyA, kvstore.OtherKey},
	}
	for _, tt := range tests {
		name, content := stored(t, tt.with, ids(1, 2, 3), data)
		if reason, remains := tryFile(t, tt.now, name, content, data); reason != tt.reason || !remains {
			t.Errorf("%s: %q, %t", tt.name, reason, remains)
		}
		if tt.with != nil && (bytes.Contains(content, data[:8]) || bytes.Contains(content, []byte("tenant"))) {
			t.Errorf("%s: the file isn't encrypted", tt.name)
		}
	}
	// Files of another key count, and make room.
	dir := t.TempDir()
	o := onDisk(dir, 1000)
	o.Key = keyA
	s := open(t, o)
	put(t, s, scope, ids(1), random(1, 700))
	closeStore(t, s)
	o.Key = keyB
	s = open(t, o)
	if u := s.Usage(); u.Disk.Bytes < 700 || u.Disk.Entries != 1 || len(s.List()) != 0 {
		t.Errorf("usage %+v", u)
	}
	put(t, s, scope, ids(1), random(2, 700))
	if u := s.Usage(); u.Disk.Bytes > 1000 || u.Disk.Entries != 1 || len(s.List()) != 1 {
		t.Errorf("usage %+v", u)
	}
}

// Two files of which one covers the other, as a crash between writing and
// removing leaves them.
func TestCoveredFile(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		dir := t.TempDir()
		tokens := [][]int32{ids(1, 2), ids(1, 2, 3)}
		for _, i := range order {
			name, content := stored(t, nil, tokens[i], random(uint64(i), 100))
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, onDisk(dir, 1<<20))
		paths, size := files(t, dir)
		if list := s.List(); len(list) != 1 || list[0].Tokens != 3 || len(paths) != 1 || s.Usage().Disk.Bytes != size {
			t.Errorf("%+v, %v, %+v", list, paths, s.Usage())
		}
	}
}

func FuzzReadFile(f *testing.F) {
	for _, k := range keys {
		_, content := stored(f, k.key, ids(1, 2, 3), random(1, 60))
		f.Add(content, k.key != nil)
		f.Add(content[:52], k.key != nil)
		f.Add(content[:9], k.key != nil)
	}
	f.Fuzz(func(t *testing.T, b []byte, encrypted bool) {
		var key []byte
		if encrypted {
			key = keyA
		}
		scope, tokens, body, err := kvstore.ReadFile(b, key)
		if err != nil {
			return
		}
		if len(tokens) == 0 || len(body) == 0 || len(scope.Model)+len(scope.Tenant)+4*len(tokens)+len(body) > len(b) {
			t.Errorf("%d bytes give %v, %d tokens, %d bytes", len(b), scope, len(tokens), len(body))
		}
	})
}

// FuzzHeader makes the checksums right, that they don't keep the fuzzer out.
func FuzzHeader(f *testing.F) {
	_, content := stored(f, nil, ids(1, 2, 3), random(1, 60))
	f.Add(content[12:48], content[52:])
	f.Fuzz(func(t *testing.T, fields, rest []byte) {
		b := kvstore.Reseal(fields, rest)
		scope, tokens, body, err := kvstore.ReadFile(b, nil)
		if err == nil && len(scope.Model)+len(scope.Tenant)+4*len(tokens)+len(body) > len(b) {
			t.Errorf("%d bytes give %v, %d tokens, %d bytes", len(b), scope, len(tokens), len(body))
		}
	})
}

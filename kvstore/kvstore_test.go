package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/inferflux/inferflux/kvstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx   = context.Background()
	scope = kvstore.Scope{Model: "model", Tenant: "tenant"}
	keyA  = bytes.Repeat([]byte{0xA}, kvstore.KeySize)
	keyB  = bytes.Repeat([]byte{0xB}, kvstore.KeySize)
)

func open(t testing.TB, o kvstore.Options) *kvstore.Store {
	t.Helper()
	s, err := kvstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(ctx) })
	return s
}

func onDisk(dir string, limit int64) kvstore.Options {
	return kvstore.Options{Disk: kvstore.Disk{Path: dir, Limit: limit}}
}

func closeStore(t testing.TB, s *kvstore.Store) {
	t.Helper()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s *kvstore.Store, scope kvstore.Scope, tokens []int32, data []byte) {
	t.Helper()
	if err := s.Put(ctx, scope, tokens, int64(len(data)), writes(data)); err != nil {
		t.Fatal(err)
	}
}

func writes(data []byte) func(io.Writer) error {
	return func(w io.Writer) error { _, err := w.Write(data); return err }
}

func load(s *kvstore.Store, e kvstore.Entry) (data []byte, err error) {
	err = s.Load(ctx, e, func(r io.Reader) error { data, err = io.ReadAll(r); return err })
	return data, err
}

func random(seed uint64, n int) []byte {
	r, b := rand.New(rand.NewPCG(seed, 1)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func ids(n ...int32) []int32 { return n }

// files are the entries of a folder, and their sizes together.
func files(t testing.TB, dir string) (paths []string, size int64) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.kv"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return paths, size
}

func TestLookup(t *testing.T) {
	s := open(t, kvstore.Options{Memory: 1 << 20})
	other := kvstore.Scope{Model: "model", Tenant: "another"}
	put(t, s, scope, ids(1, 2, 3, 4), []byte("1234"))
	put(t, s, scope, ids(1, 2, 9), []byte("129+++"))
	put(t, s, scope, ids(1, 2, 3, 4, 5, 6), []byte("123456")) // drops 1 2 3 4
	put(t, s, scope, ids(7), []byte("7"))
	put(t, s, other, ids(1, 2, 3, 4), []byte("other"))
	if got := s.Stats(); got.Superseded != 1 || got.Puts != 5 {
		t.Errorf("stats %+v", got)
	}
	put(t, s, scope, ids(1, 2, 9), []byte("again"))
	put(t, s, scope, ids(1), []byte("a prefix"))
	if got := s.Stats(); got.Covered != 2 || got.Puts != 5 {
		t.Errorf("stats %+v", got)
	}
	tests := []struct {
		scope   kvstore.Scope
		tokens  []int32
		matched int
		data    string
	}{
		{scope, ids(1, 2, 3, 4, 5, 6), 6, "123456"},
		{scope, ids(1, 2, 3, 4, 5, 6, 7), 6, "123456"},
		{scope, ids(1, 2, 3, 4, 5), 5, "123456"},
		{scope, ids(1, 2, 3, 8), 3, "123456"},
		{scope, ids(1, 2, 9, 9), 3, "129+++"},
		{scope, ids(1, 2), 2, "123456"}, // both are of 6 bytes: the lower tokens
		{scope, ids(7, 1), 1, "7"},
		{scope, ids(2, 1), 0, ""},
		{scope, ids(), 0, ""},
		{other, ids(1, 2, 9), 2, "other"},
		{kvstore.Scope{Model: "other", Tenant: "tenant"}, ids(1), 0, ""},
		{kvstore.Scope{Model: "model"}, ids(1), 0, ""},
	}
	for _, tt := range tests {
		e, ok := s.Lookup(tt.scope, tt.tokens)
		if ok != (tt.data != "") || e.Matched != tt.matched {
			t.Errorf("%v %v: %+v, %t, want %d of %q", tt.scope, tt.tokens, e, ok, tt.matched, tt.data)
			continue
		}
		if !ok {
			continue
		}
		data, err := load(s, e)
		if err != nil || string(data) != tt.data || e.Bytes != int64(len(data)) || e.Tokens != len(e.TokenIDs()) {
			t.Errorf("%v: loaded %q, %v from %+v, want %q", tt.tokens, data, err, e, tt.data)
		}
	}
	if got := s.Stats(); got.Hits[kvstore.InMemory] != 8 || got.Misses != 4 || got.Loads[kvstore.InMemory] != 8 {
		t.Errorf("stats %+v", got)
	}
	stale, _ := s.Lookup(scope, ids(7))
	if n := s.Clear(func(c kvstore.Scope) bool { return c == scope }); n != 3 {
		t.Errorf("cleared %d", n)
	}
	if _, err := load(s, stale); !errors.Is(err, kvstore.ErrGone) {
		t.Errorf("a cleared entry: %v", err)
	}
	if list := s.List(); len(list) != 1 || list[0].Scope != other || list[0].Matched != 4 {
		t.Errorf("list %+v", list)
	}
	if u := s.Usage(); u.Memory.Bytes != 5 || u.Memory.Entries != 1 {
		t.Errorf("usage %+v", u)
	}
}

func TestTiers(t *testing.T) {
	dir := t.TempDir()
	o := kvstore.Options{Memory: 100, Disk: kvstore.Disk{Path: filepath.Join(dir, "a", "kv"), Limit: 1 << 20}}
	s := open(t, o)
	for i := range int32(10) {
		put(t, s, scope, ids(i, 0), random(uint64(i), 25))
		s.Settle()
		if u := s.Usage(); u.Memory.Bytes > 100 || u.Unsaved > 50 {
			t.Fatalf("usage %+v", u)
		}
	}
	put(t, s, scope, ids(100, 1), random(100, 5000)) // larger than the memory
	st, u := s.Stats(), s.Usage()
	if u.Memory.Bytes != 100 || u.Memory.Entries != 4 || u.Disk.Entries != 9 || st.EvictedMemory != 6 || st.Lost != 0 {
		t.Errorf("usage %+v, stats %+v", u, st)
	}
	if _, size := files(t, o.Disk.Path); size != u.Disk.Bytes {
		t.Errorf("%d bytes on disk, usage says %d", size, u.Disk.Bytes)
	}
	check := func(s *kvstore.Store, i int32, n int, where kvstore.Tier) {
		t.Helper()
		e, ok := s.Lookup(scope, ids(i))
		if !ok || e.Where != where {
			t.Fatalf("%d: %+v, %t, want it in %s", i, e, ok, where)
		}
		if data, err := load(s, e); err != nil || !bytes.Equal(data, random(uint64(i), n)) {
			t.Errorf("%d: %q, %v", i, data, err)
		}
	}
	check(s, 0, 25, kvstore.OnDisk)
	check(s, 9, 25, kvstore.InMemory)
	check(s, 100, 5000, kvstore.OnDisk)
	put(t, s, scope, ids(0, 0), random(0, 25)) // brings it back to memory
	check(s, 0, 25, kvstore.InMemory)
	closeStore(t, s)
	for _, p := range []string{o.Disk.Path, filepath.Join(o.Disk.Path, ".lock")} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", p, info.Mode(), err)
		}
	}
	s = open(t, o)
	for i := range int32(10) {
		check(s, i, 25, kvstore.OnDisk)
	}
	if u := s.Usage(); u.Disk.Entries != 11 || u.Memory.Bytes != 0 {
		t.Errorf("after a restart: %+v", u)
	}
	if n := s.Clear(nil); n != 11 {
		t.Errorf("cleared %d", n)
	}
	if paths, _ := files(t, o.Disk.Path); len(paths) != 0 || s.Usage().Disk.Bytes != 0 {
		t.Errorf("files remain: %v", paths)
	}
}

func TestOrderOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, kvstore.Options{Memory: 1 << 20, Disk: kvstore.Disk{Path: dir, Limit: 1 << 20}})
	for i := range int32(8) {
		put(t, s, scope, ids(i), random(1, 100))
	}
	for _, i := range ids(5, 0, 3) {
		e, _ := s.Lookup(scope, ids(i))
		if _, err := load(s, e); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	_, size := files(t, dir)
	for n := 8; n >= 0; n-- { // a smaller limit each time
		s = open(t, onDisk(dir, size/8*int64(n)))
		var got []int32
		for _, e := range s.List() {
			got = append(got, e.TokenIDs()...)
		}
		if want := ids(3, 0, 5, 7, 6, 4, 2, 1)[:n]; !slices.Equal(got, want) {
			t.Fatalf("limit of %d entries: %v, want %v", n, got, want)
		}
		closeStore(t, s)
	}
}

// A tier smaller than the other must not make the saver go round in circles.
func TestDiskSmallerThanMemory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, kvstore.Options{Memory: 1000, Disk: kvstore.Disk{Path: dir, Limit: 400}})
	for i := range int32(30) {
		put(t, s, scope, ids(i), random(1, 100))
		s.Settle()
		if _, size := files(t, dir); size > 400 || size != s.Usage().Disk.Bytes {
			t.Fatalf("%d bytes on disk, usage %+v", size, s.Usage())
		}
	}
	if u := s.Usage(); u.Memory.Bytes != 1000 || u.Disk.Entries != 2 {
		t.Errorf("usage %+v", u)
	}
	closeStore(t, s)
	s = open(t, onDisk(dir, 400))
	if list := s.List(); len(list) != 2 || list[0].TokenIDs()[0] != 29 || list[1].TokenIDs()[0] != 28 {
		t.Errorf("after a restart: %+v", list)
	}
}

func TestPutFails(t *testing.T) {
	broken := errors.New("broken")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, memory := range []int64{0, 1000} {
		t.Run(fmt.Sprint("memory ", memory), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, kvstore.Options{Memory: memory, Disk: kvstore.Disk{Path: dir, Limit: 2000}})
			tests := []struct {
				name   string
				ctx    context.Context
				scope  kvstore.Scope
				tokens []int32
				size   int64
				write  func(io.Writer) error
				want   string
			}{
				{"no tokens", ctx, scope, nil, 1, writes([]byte{1}), "out of range"},
				{"no size", ctx, scope, ids(1), 0, writes(nil), "out of range"},
				{"long name", ctx, kvstore.Scope{Model: strings.Repeat("\xff", 2000)}, ids(1), 1, writes([]byte{1}), "longer than"},
				{"nothing", ctx, scope, ids(1), 10, writes(nil), "no bytes"},
				{"too much", ctx, scope, ids(1), 10, writes(make([]byte, 11)), "longer than was said"},
				{"too much, and quiet", ctx, scope, ids(1), 10, func(w io.Writer) error { w.Write(make([]byte, 11)); return nil }, "longer than was said"},
				{"own error", ctx, scope, ids(1), 10, func(w io.Writer) error { w.Write([]byte{1}); return broken }, "broken"},
				{"cancelled", cancelled, scope, ids(1), 10, writes([]byte{1}), "canceled"},
				{"larger than the tiers", ctx, scope, ids(1), 5000, writes([]byte{1}), "no room"},
			}
			for _, tt := range tests {
				err := s.Put(tt.ctx, tt.scope, tt.tokens, tt.size, tt.write)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
				}
				if u := s.Usage(); u.Memory.Bytes != 0 || u.Disk.Bytes != 0 || u.DiskError != nil {
					t.Errorf("%s: usage %+v", tt.name, u)
				}
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != 1 { // the lock
				t.Errorf("in the folder: %v, %v", list, err)
			}
			// A size that was too careful costs nothing.
			if err := s.Put(ctx, scope, ids(1), 1000, writes([]byte("abc"))); err != nil {
				t.Error(err)
			}
			if u := s.Usage(); u.Memory.Bytes+u.Disk.Bytes > 100 {
				t.Errorf("usage %+v", u)
			}
			if e, ok := s.Lookup(scope, ids(1)); !ok || e.Bytes != 3 {
				t.Errorf("%+v", e)
			} else if data, err := load(s, e); err != nil || string(data) != "abc" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = open(t, onDisk(filepath.Join(dir, "used"), 1))
	tests := []struct {
		name string
		o    kvstore.Options
		want string
	}{
		{"negative limit", kvstore.Options{Memory: -1}, "negative"},
		{"short key", kvstore.Options{Key: make([]byte, 16)}, "16 bytes"},
		{"a file", onDisk(file, 1), "file"},
		{"in use", onDisk(filepath.Join(dir, "used"), 1), "belongs to another process"},
	}
	for _, tt := range tests {
		if _, err := kvstore.Open(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := kvstore.Open(tests[3].o); !errors.Is(err, kvstore.ErrInUse) {
		t.Error(err)
	}
}

func TestVanishedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kv")
	s := open(t, kvstore.Options{Memory: 100, Disk: kvstore.Disk{Path: dir, Limit: 1 << 20}})
	put(t, s, scope, ids(1), random(1, 200)) // on disk
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	e, _ := s.Lookup(scope, ids(1))
	if _, err := load(s, e); err == nil {
		t.Error("loaded from nowhere")
	}
	if _, ok := s.Lookup(scope, ids(1)); ok || s.Stats().Discarded[kvstore.Unreadable] != 1 {
		t.Errorf("stats %+v", s.Stats())
	}
	for i := range int32(20) {
		put(t, s, scope, ids(10+i), random(1, 30))
		s.Settle()
	}
	if st, u := s.Stats(), s.Usage(); st.Errors != 1 || u.DiskError == nil || u.Memory.Entries != 3 || u.Disk.Bytes != 0 {
		t.Errorf("usage %+v, stats %+v", u, st)
	}
	if err := s.Put(ctx, scope, ids(2), 200, writes(random(1, 200))); !errors.Is(err, kvstore.ErrNoRoom) {
		t.Error(err)
	}
	if err := s.Close(ctx); err == nil {
		t.Error("Close doesn't say that nothing was saved")
	}
	if err := s.Put(ctx, scope, ids(2), 2, writes(random(1, 2))); !errors.Is(err, kvstore.ErrClosed) {
		t.Error(err)
	}
}

func TestCloseIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, kvstore.Options{Memory: 1 << 20, Disk: kvstore.Disk{Path: dir, Limit: 1 << 20}})
	put(t, s, scope, ids(1), random(1, 200))
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Close(done); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if paths, _ := files(t, dir); len(paths) != 0 {
		t.Error(paths)
	}
	s = open(t, onDisk(dir, 1<<20)) // the lock is free
	if u := s.Usage(); u.Disk.Bytes != 0 {
		t.Errorf("usage %+v", u)
	}
}

func tempDir(t interface {
	Fatal(...any)
	Cleanup(func())
}) string {
	dir, err := os.MkdirTemp("", "kvstore")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

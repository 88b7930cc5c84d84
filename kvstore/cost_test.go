package kvstore_test

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inferflux/inferflux/kvstore"
)

func TestCheaper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, kvstore.Options{Memory: 1 << 20})
		put(t, s, scope, ids(1, 2, 3, 4), random(1, 1000))
		e, _ := s.Lookup(scope, ids(1, 2, 3, 4))
		half, _ := s.Lookup(scope, ids(1, 2))
		check := func(what string, e kvstore.Entry, want bool) {
			t.Helper()
			if got := s.Cheaper(e); got != want {
				t.Errorf("%s: %t", what, got)
			}
		}
		loadIn := func(d time.Duration) {
			t.Helper()
			err := s.Load(ctx, e, func(r io.Reader) error { time.Sleep(d); _, err := io.Copy(io.Discard, r); return err })
			if err != nil {
				t.Fatal(err)
			}
		}
		check("nothing was measured", e, true)
		s.ObservePrefill("model", 400, time.Second) // 10 ms for four tokens
		check("loading wasn't measured", e, true)
		loadIn(8 * time.Millisecond)
		check("loading is faster", e, true)
		check("loading is slower than computing the part that matched", half, false)
		s.ObservePrefill("another", 4, time.Second)
		s.ObservePrefill("model", 0, time.Second)
		check("what says nothing of this model", half, false)
		disk := half
		disk.Where = kvstore.OnDisk
		check("the disk wasn't measured", disk, true)

		// What was measured is forgotten by and by.
		for range 20 {
			s.ObservePrefill("model", 40, time.Second)
		}
		check("computing became slower", half, true)
		for range 20 {
			loadIn(time.Second)
		}
		check("loading became slower", e, false)
		refused := 1
		for ; !s.Cheaper(e); refused++ {
			if refused > 1000 {
				t.Fatal("loading is never tried again")
			}
		}
		check("it was tried again just now", e, false)
	})
}

func TestParseKey(t *testing.T) {
	key := random(1, kvstore.KeySize)
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"hexadecimal", hex.EncodeToString(key) + "\n", true},
		{"upper case", strings.ToUpper(hex.EncodeToString(key)), true},
		{"base64", base64.StdEncoding.EncodeToString(key), true},
		{"without padding", base64.RawStdEncoding.EncodeToString(key), true},
		{"for URLs", base64.URLEncoding.EncodeToString(key), true},
		{"nothing", "", false},
		{"short", hex.EncodeToString(key[:31]), false},
		{"long", hex.EncodeToString(key) + "00", false},
		{"a password", "correct horse battery staple", false},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		parsed, err := kvstore.ParseKey(tt.text)
		read, readErr := kvstore.ReadKey(path)
		if tt.ok != (err == nil) || tt.ok != (readErr == nil) || tt.ok && (string(parsed) != string(key) || string(read) != string(key)) {
			t.Errorf("%s: %x, %v, %x, %v", tt.name, parsed, err, read, readErr)
		}
		if err != nil && tt.text != "" && strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: the error tells the key", tt.name)
		}
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, key, 0o600); err != nil {
		t.Fatal(err)
	}
	if read, err := kvstore.ReadKey(path); err != nil || string(read) != string(key) {
		t.Errorf("%x, %v", read, err)
	}
	if _, err := kvstore.ReadKey(path + " missing"); err == nil {
		t.Error("read a key that isn't there")
	}
}

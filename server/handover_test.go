package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/kvstore"
	"github.com/inferflux/inferflux/scheduler"
	"github.com/inferflux/inferflux/server"
)

// raw posts bytes and returns what comes.
func (s *site) raw(path, key string, body []byte) (int, []byte) {
	s.t.Helper()
	req := s.request(http.MethodPost, path, "")
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	a := s.do(req)
	return a.StatusCode, a.body
}

// What one server has computed, another one goes on from, and says the same.
func TestHandover(t *testing.T) {
	onTiny := siteOptions{model: func(o scheduler.Options) *generate.Model { return tiny(t, o) }, server: server.Options{MaxBodyBytes: 4096}}
	a, b := newSite(t, onTiny), newSite(t, onTiny)
	status, data := a.raw("/v1/admin/cache/export", "", fmt.Appendf(nil, `{"prompt": %q}`, longPrompt))
	if status != http.StatusOK || len(data) < 4096 {
		t.Fatalf("%d: %d bytes", status, len(data))
	}
	if status, body := b.raw("/v1/admin/cache/import?model=fake", "", data); status != http.StatusOK || !strings.HasPrefix(string(body), `{"tokens":`) {
		t.Fatalf("%d: %s", status, body)
	}
	want, _ := a.completion("", longPrompt, "")
	got, held := b.completion("", longPrompt, "")
	if got != want || held < 64 {
		t.Errorf("%g tokens were held; got %q, expected %q", held, got, want)
	}
	// The same again is no harm.
	if status, body := b.raw("/v1/admin/cache/import", "", data); status != http.StatusOK {
		t.Errorf("%d: %s", status, body)
	}
	// What is damaged anywhere is refused.
	damaged := func(at int) []byte {
		d := bytes.Clone(data)
		d[at] ^= 1
		return d
	}
	c := newSite(t, onTiny)
	for name, body := range map[string][]byte{
		"empty": nil, "short": data[:len(data)-1], "its head": data[:20], "magic": damaged(0), "version": damaged(8), "count": damaged(13),
		"a token": damaged(20), "the kv's head": damaged(len(data) / 10), "kv": damaged(len(data) / 2), "checksum": damaged(len(data) - 1),
		"longer": append(bytes.Clone(data), 0),
	} {
		if status, got := c.raw("/v1/admin/cache/import", "", body); status != http.StatusBadRequest {
			t.Errorf("%s: %d: %s", name, status, got)
		}
	}
	if status, _ := c.raw("/v1/admin/cache/import", "", make([]byte, 100<<20)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("100 MiB: %d", status)
	}
	if _, held := c.completion("", longPrompt, ""); held != 0 {
		t.Errorf("%g tokens of damaged sequences were held", held)
	}
	for _, body := range []string{`{}`, `{"prompt": "a", "tokens": [1]}`, `{"tokens": [100000]}`} {
		if status, got := a.raw("/v1/admin/cache/export", "", []byte(body)); status != http.StatusBadRequest {
			t.Errorf("%s: %d: %s", body, status, got)
		}
	}
	off := newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model {
		o.PrefixTokens = -1
		return tiny(t, o)
	}})
	if status, body := off.raw("/v1/admin/cache/import", "", data); status != http.StatusConflict {
		t.Errorf("%d: %s", status, body)
	}
	if status, body := off.raw("/v1/admin/cache/save", "", nil); status != http.StatusConflict || !strings.Contains(string(body), "runtime.kv.disk") {
		t.Errorf("%d: %s", status, body)
	}
}

// What is saved is there after a restart, and can be fetched before somebody asks.
func TestSaveAndRestore(t *testing.T) {
	folder := t.TempDir()
	prompt := strings.Repeat(longPrompt, 2)
	open := func(t *testing.T) *site {
		return newSite(t, siteOptions{model: func(o scheduler.Options) *generate.Model {
			store, err := kvstore.Open(kvstore.Options{Memory: 64 << 20, Disk: kvstore.Disk{Path: folder, Limit: 64 << 20}})
			if err != nil {
				t.Fatal(err)
			}
			o.Store, o.StoreModel = store, "tiny"
			m := tiny(t, o)
			t.Cleanup(func() { // before the site's own
				_ = m.Close()
				if err := store.Close(t.Context()); err != nil {
					t.Log(err)
				}
			})
			return m
		}})
	}
	t.Run("save", func(t *testing.T) {
		s := open(t)
		s.completion("", prompt, "")
		if v := s.send(http.MethodPost, "/v1/admin/cache/save", "", `{}`, http.StatusOK); v["saved_tokens"].(float64) < 128 {
			t.Errorf("%v", v)
		}
	})
	t.Run("restore", func(t *testing.T) {
		s := open(t)
		if v := s.send(http.MethodPost, "/v1/admin/cache/restore", "", `{"model": "fake"}`, http.StatusOK); v["restored_tokens"].(float64) < 128 {
			t.Errorf("%v", v)
		}
		if v := s.send(http.MethodGet, "/v1/admin/cache", "", "", http.StatusOK); v["models"].([]any)[0].(map[string]any)["entries"] == 0.0 {
			t.Errorf("%v", v)
		}
		if _, held := s.completion("", prompt, ""); held < 128 {
			t.Errorf("%g tokens were held", held)
		}
		// What is cleared is gone for good.
		s.send(http.MethodPost, "/v1/admin/cache/clear", "", `{}`, http.StatusOK)
		if v := s.send(http.MethodPost, "/v1/admin/cache/restore", "", `{}`, http.StatusOK); v["restored_entries"] != 0.0 {
			t.Errorf("%v", v)
		}
	})
}

// What people have asked is shown to administrators only, where there are several people.
func TestWhoMayAdminister(t *testing.T) {
	for _, c := range []struct {
		api, admin []string
		key        string
		want       int
	}{
		{nil, nil, "", http.StatusOK},
		{[]string{"only"}, nil, "only", http.StatusOK},
		{[]string{"only"}, nil, "", http.StatusUnauthorized},
		{[]string{"one", "two"}, nil, "one", http.StatusForbidden},
		{[]string{"one", "two"}, nil, "two", http.StatusForbidden},
		{[]string{"one"}, []string{"root"}, "one", http.StatusForbidden},
		{[]string{"one"}, []string{"root"}, "root", http.StatusOK},
		{[]string{"one", "both"}, []string{"both"}, "both", http.StatusOK},
	} {
		s := newSite(t, siteOptions{server: server.Options{APIKeys: c.api, AdminKeys: c.admin}})
		req := s.request(http.MethodGet, "/v1/admin/cache", "")
		if c.key != "" {
			req.Header.Set("Authorization", "Bearer "+c.key)
		}
		if a := s.do(req); a.StatusCode != c.want {
			t.Errorf("%q with the keys %q and the admin keys %q: %s", c.key, c.api, c.admin, a.Status)
		}
		if c.key == "root" { // may do everything else too
			s.send(http.MethodGet, "/v1/models", c.key, "", http.StatusOK)
		}
	}
}

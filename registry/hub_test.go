package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeHub speaks the part of the hub's API that we use, and misbehaves on
// demand. Files live on a second server, as on the real hub.
type fakeHub struct {
	*httptest.Server
	storage  *httptest.Server
	files    map[string][]byte
	token    string // required, if set
	requests atomic.Int64
	// broken is called for each request to the storage and may answer it.
	broken func(n int64, w http.ResponseWriter, r *http.Request, body []byte) bool
	etag   func(body []byte) string
	leaked atomic.Bool // the token reached the storage
	mu     sync.Mutex
	ranges []string
}

const commit = "0123456789abcdef0123456789abcdef01234567"

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func newFakeHub(t *testing.T, files map[string][]byte) *fakeHub {
	h := &fakeHub{files: files, etag: sum}
	var served atomic.Int64
	h.storage = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			h.leaked.Store(true)
		}
		h.mu.Lock()
		h.ranges = append(h.ranges, r.Header.Get("Range"))
		h.mu.Unlock()
		body := h.files[strings.TrimPrefix(r.URL.Path, "/blob/")]
		if h.broken != nil && h.broken(served.Add(1), w, r, body) {
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	// "localhost" and "127.0.0.1" are two hosts to net/http.
	storageURL := strings.Replace(h.storage.URL, "127.0.0.1", "localhost", 1)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		if h.token != "" && r.Header.Get("Authorization") != "Bearer "+h.token {
			http.Error(w, "gated", http.StatusUnauthorized)
			return
		}
		switch {
		case r.URL.Path == "/api/models/org/repo/revision/main" || r.URL.Path == "/api/models/org/repo/revision/v1":
			var l listing
			l.Commit = commit
			for name, body := range h.files {
				item := hubItem{Name: name, Size: int64(len(body))}
				item.LFS.SHA256, item.LFS.Size = h.etag(body), int64(len(body))
				l.Files = append(l.Files, item)
			}
			json.NewEncoder(w).Encode(l)
		case strings.HasPrefix(r.URL.Path, "/org/repo/resolve/"+commit+"/"):
			name := strings.TrimPrefix(r.URL.Path, "/org/repo/resolve/"+commit+"/")
			w.Header().Set("X-Linked-Etag", `"`+h.etag(h.files[name])+`"`)
			http.Redirect(w, r, storageURL+"/blob/"+name, http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(func() { h.Close(); h.storage.Close() })
	return h
}

func (h *fakeHub) store(t *testing.T) *Store {
	s := Open(t.TempDir())
	s.hub = newHub(h.URL, h.token)
	s.hub.backoff, s.hub.stall = time.Millisecond, 200*time.Millisecond
	t.Cleanup(s.hub.client.CloseIdleConnections)
	return s
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func content(t *testing.T, m Model) []byte {
	t.Helper()
	var all []byte
	for _, f := range m.Files {
		b, err := os.ReadFile(filepath.Join(m.dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if f.SHA256 != sum(b) {
			t.Errorf("%s: the manifest says sha256 %s", f.Name, f.SHA256)
		}
		all = append(all, b...)
	}
	return all
}

func leftovers(t *testing.T, dir string) (parts []string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
		if strings.HasSuffix(path, ".part") {
			parts = append(parts, path)
		}
		return nil
	})
	return parts
}

func TestHubPull(t *testing.T) {
	body := randomBytes(1 << 20)
	h := newFakeHub(t, map[string][]byte{"m.gguf": body, "README.md": []byte("hello"), "mmproj-m.gguf": randomBytes(10), "../evil.gguf": randomBytes(3)})
	s := h.store(t)
	var last int64
	m, err := s.Pull(t.Context(), "hf:org/repo", func(phase string, done, total int64) {
		if phase == "downloading" {
			last = done
			if total != 1<<20 {
				t.Errorf("total %d", total)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "hf:org/repo/m.gguf" || !bytes.Equal(content(t, m), body) || last != 1<<20 || !strings.HasSuffix(m.Source, commit) {
		t.Errorf("%+v, last progress %d", m, last)
	}
	// From now on no network is needed, by either name.
	before := h.requests.Load()
	for _, name := range []string{"hf:org/repo", "hf:org/repo/m.gguf"} {
		again, err := s.Pull(t.Context(), name, nil)
		if err != nil || again.Path() != m.Path() {
			t.Errorf("%s again: %+v, %v", name, again, err)
		}
	}
	if n := h.requests.Load(); n != before {
		t.Errorf("the second pull made %d requests", n-before)
	}
	// Another revision is another model.
	v1, err := s.Pull(t.Context(), "hf:org/repo/m.gguf@v1", nil)
	if err != nil || v1.Path() == m.Path() {
		t.Errorf("revision: %+v, %v", v1, err)
	}
	all, err := s.List()
	if err != nil || len(all) != 2 {
		t.Errorf("list: %+v, %v", all, err)
	}
	if _, err := s.Remove("hf:org/repo"); err != nil {
		t.Error(err)
	}
	if _, err := s.Find("hf:org/repo"); !errors.Is(err, ErrNotPulled) {
		t.Errorf("after removal: %v", err)
	}
	if _, err := s.Find("hf:org/repo/m.gguf@v1"); err != nil {
		t.Errorf("the other revision: %v", err)
	}
	if p := leftovers(t, s.Dir()); len(p) > 0 {
		t.Errorf("left behind: %q", p)
	}
}

func TestHubSplitModel(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"q/m-00001-of-00002.gguf": randomBytes(5000), "q/m-00002-of-00002.gguf": randomBytes(3000), "b.gguf": randomBytes(4)})
	s := h.store(t)
	for _, name := range []string{"hf:org/repo/q/m-00001-of-00002.gguf", "hf:org/repo/q/m-00002-of-00002.gguf"} {
		m, err := s.Pull(t.Context(), name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Files) != 2 || filepath.Base(m.Path()) != "m-00001-of-00002.gguf" || m.Size() != 8000 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if _, err := s.Remove("hf:org/repo/q/m-00001-of-00002.gguf"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir(), "hf")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty folders are still there: %v", err)
	}
}

// A connection that breaks at every turn still brings the file.
func TestHubBrokenConnections(t *testing.T) {
	body := randomBytes(300_000)
	cut := func(w http.ResponseWriter, status int, part []byte, length int) {
		w.Header().Set("Content-Length", fmt.Sprint(length))
		w.WriteHeader(status)
		w.Write(part)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, broken := range map[string]func(int64, http.ResponseWriter, *http.Request, []byte) bool{
		"cut again and again": func(n int64, w http.ResponseWriter, r *http.Request, body []byte) bool {
			var start int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start)
			if start >= 250_000 {
				return false
			}
			status := http.StatusOK
			if start > 0 {
				status = http.StatusPartialContent
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(body)-1, len(body)))
			}
			cut(w, status, body[start:start+20_000], len(body)-start)
			return true
		},
		"no ranges": func(n int64, w http.ResponseWriter, r *http.Request, body []byte) bool {
			if n == 1 {
				cut(w, http.StatusOK, body[:1000], len(body))
			}
			w.Write(body)
			return true
		},
		"wrong range": func(n int64, w http.ResponseWriter, r *http.Request, body []byte) bool {
			if n == 1 {
				cut(w, http.StatusOK, body[:1000], len(body))
			}
			if n == 2 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(body)-1, len(body)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(body)
				return true
			}
			return false
		},
		"server errors": func(n int64, w http.ResponseWriter, r *http.Request, _ []byte) bool {
			if n <= 3 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
			}
			return n <= 3
		},
		"a stall": func(n int64, w http.ResponseWriter, r *http.Request, body []byte) bool {
			if n > 1 {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body[:5000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t, map[string][]byte{"m.gguf": body})
			h.broken = broken
			m, err := h.store(t).Pull(t.Context(), "hf:org/repo/m.gguf", nil)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(content(t, m), body) {
				t.Error("the file is damaged")
			}
		})
	}
}

// What one process left behind is continued by the next, unless it is bad.
func TestHubResume(t *testing.T) {
	body := randomBytes(100_000)
	h := newFakeHub(t, map[string][]byte{"m.gguf": body})
	s := h.store(t)
	h.broken = func(n int64, w http.ResponseWriter, r *http.Request, body []byte) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:60_000])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Pull(ctx, "hf:org/repo", func(phase string, done, _ int64) {
		if done >= 60_000 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(leftovers(t, s.Dir())) != 1 {
		t.Fatalf("the first pull: %v, %q", err, leftovers(t, s.Dir()))
	}
	h.broken, h.ranges = nil, nil
	m, err := s.Pull(t.Context(), "hf:org/repo", nil)
	if err != nil || !bytes.Equal(content(t, m), body) {
		t.Fatalf("the second pull: %v", err)
	}
	if diff := cmp.Diff([]string{"bytes=60000-"}, h.ranges); diff != "" {
		t.Error(diff)
	}

	// A piece with a wrong byte is found out at the end and fetched anew.
	s = h.store(t)
	part := filepath.Join(s.Dir(), "hf/org/repo", "m.gguf."+sum(body)[:16]+".part")
	os.MkdirAll(filepath.Dir(part), 0o755)
	bad := bytes.Clone(body[:1000])
	bad[500] ^= 1
	os.WriteFile(part, bad, 0o644)
	h.ranges = nil
	if m, err = s.Pull(t.Context(), "hf:org/repo", nil); err != nil || !bytes.Equal(content(t, m), body) {
		t.Fatalf("after a damaged piece: %v", err)
	}
	if diff := cmp.Diff([]string{"bytes=1000-", ""}, h.ranges); diff != "" {
		t.Error(diff)
	}
}

func TestHubErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(h *fakeHub, s *Store)
		ref    string
		want   []string
	}{
		"several files": {nil, "hf:org/repo", []string{"several GGUF files", "\n      5 kB  hf:org/repo/a.gguf\n      6 kB  hf:org/repo/b.gguf"}},
		"no such file":  {nil, "hf:org/repo/c.gguf", []string{"no file c.gguf", "hf:org/repo/a.gguf"}},
		"no such repo":  {nil, "hf:org/nothing", []string{"hf:org/nothing doesn't exist"}},
		"no models":     {func(h *fakeHub, _ *Store) { h.files = map[string][]byte{"x.txt": nil} }, "hf:org/repo", []string{"no GGUF files"}},
		"gated":         {func(h *fakeHub, s *Store) { h.token = "secret-token" }, "hf:org/repo", []string{"set HF_TOKEN"}},
		"wrong token":   {func(h *fakeHub, s *Store) { h.token, s.hub.token = "secret-token", "other-token" }, "hf:org/repo", []string{"the token in HF_TOKEN may not read it"}},
		"wrong checksum": {func(h *fakeHub, _ *Store) { h.etag = func([]byte) string { return strings.Repeat("ab", 32) } },
			"hf:org/repo/a.gguf", []string{"a.gguf is not what it should be", "abab"}},
		"always down": {func(h *fakeHub, _ *Store) {
			h.broken = func(_ int64, w http.ResponseWriter, _ *http.Request, _ []byte) bool {
				http.Error(w, "", http.StatusBadGateway)
				return true
			}
		}, "hf:org/repo/a.gguf", []string{"gave up after 6 attempts", "502"}},
		"not a hub":      {func(_ *fakeHub, s *Store) { s.hub.endpoint = "ftp://x" }, "hf:org/repo", []string{"HF_ENDPOINT is not"}},
		"token in clear": {func(_ *fakeHub, s *Store) { s.hub.endpoint, s.hub.token = "http://hub.example", "secret-token" }, "hf:org/repo", []string{"plain http"}},
		"longer than due": {func(h *fakeHub, _ *Store) {
			h.broken = func(_ int64, w http.ResponseWriter, _ *http.Request, b []byte) bool {
				w.Write(append(b, 0))
				return true
			}
		}, "hf:org/repo/a.gguf", []string{"longer than the 5000 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t, map[string][]byte{"a.gguf": randomBytes(5000), "b.gguf": randomBytes(6000)})
			s := h.store(t)
			if tt.change != nil {
				tt.change(h, s)
			}
			_, err := s.Pull(t.Context(), tt.ref, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\nlacks %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "-token") {
				t.Errorf("the token shows in %v", err)
			}
			if all, _ := s.List(); len(all) > 0 {
				t.Errorf("a failed pull left %+v", all)
			}
		})
	}
}

func TestHubTokenStaysAtTheHub(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m.gguf": randomBytes(10)})
	h.token = "secret-token"
	if _, err := h.store(t).Pull(t.Context(), "hf:org/repo", nil); err != nil {
		t.Fatal(err)
	}
	if h.leaked.Load() {
		t.Error("the storage saw the token")
	}
}

// Many at once: one downloads, the others wait and find it.
func TestConcurrentPulls(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m.gguf": randomBytes(200_000)})
	first := h.store(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s := *first // each with its own file handles, as separate processes have
			if m, err := s.Pull(t.Context(), "hf:org/repo", nil); err != nil || m.Size() != 200_000 {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
	wg.Wait()
	if n := len(h.ranges); n != 1 {
		t.Errorf("the file was downloaded %d times", n)
	}
}

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// hub is a Hugging Face hub or a mirror that speaks its API.
type hub struct {
	endpoint string
	token    string // sent to the endpoint only, never logged
	client   *http.Client
	// Pauses between attempts, shortened by tests.
	backoff, stall time.Duration
}

func newHub(endpoint, token string) hub {
	if endpoint == "" {
		endpoint = "https://huggingface.co"
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 30 * time.Second
	// Files arrive as they are: a compressed transfer could not be resumed.
	t.DisableCompression = true
	h := hub{endpoint: strings.TrimRight(endpoint, "/"), token: token, backoff: 500 * time.Millisecond, stall: 30 * time.Second}
	h.client = &http.Client{Transport: t}
	return h
}

// check says whether the settings are sound.
func (h hub) check() error {
	u, err := url.Parse(h.endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("HF_ENDPOINT is not an http or https address: %q", h.endpoint)
	}
	if ip := net.ParseIP(u.Hostname()); h.token != "" && u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("HF_TOKEN is set but HF_ENDPOINT is plain http: the token would be readable on the way; use https or unset HF_TOKEN")
	}
	return nil
}

// request makes a GET request to the hub itself.
func (h hub) request(ctx context.Context, path string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.endpoint+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "inferflux")
	if h.token != "" {
		// net/http drops it when a redirect leads to another host.
		req.Header.Set("Authorization", "Bearer "+h.token)
	}
	return req, nil
}

// listing is a repository at one commit.
type listing struct {
	Commit string    `json:"sha"`
	Files  []hubItem `json:"siblings"`
}

type hubItem struct {
	Name string `json:"rfilename"`
	Size int64  `json:"size"`
	LFS  struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

const maxListing = 32 << 20

func (h hub) list(ctx context.Context, r Ref) (listing, error) {
	revision := r.Revision
	if revision == "" {
		revision = "main"
	}
	var l listing
	err := h.retry(ctx, func() (bool, error) {
		req, err := h.request(ctx, "/api/models/"+r.Repo+"/revision/"+url.PathEscape(revision)+"?blobs=true")
		if err != nil {
			return false, err
		}
		res, err := h.client.Do(req)
		if err != nil {
			return false, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return false, h.statusError(res, r)
		}
		data, err := io.ReadAll(io.LimitReader(res.Body, maxListing+1))
		if err != nil {
			return false, fmt.Errorf("read the file list of %s: %w", r.Repo, err)
		}
		if len(data) > maxListing {
			return false, &permanentError{fmt.Errorf("the file list of %s is larger than 32 MiB", r.Repo)}
		}
		if err := json.Unmarshal(data, &l); err != nil {
			return false, &permanentError{fmt.Errorf("the file list of %s is not what a hub sends: %w (is HF_ENDPOINT right?)", r.Repo, err)}
		}
		return false, nil
	})
	return l, err
}

var splitName = regexp.MustCompile(`^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$`)

// choose picks the file that a Ref means, or the only GGUF of the repository,
// with all its parts if it is split.
func (l listing) choose(r Ref) ([]hubItem, error) {
	var models [][]hubItem // by model; split ones have several files
	index := map[string]int{}
	for _, f := range l.Files {
		if !strings.HasSuffix(f.Name, ".gguf") || !safeFile(f.Name) {
			continue
		}
		key := f.Name
		if m := splitName.FindStringSubmatch(f.Name); m != nil {
			key = m[1] + "-of-" + m[3]
		}
		i, ok := index[key]
		if !ok {
			i = len(models)
			index[key] = i
			models = append(models, nil)
		}
		models[i] = append(models[i], f)
	}
	for _, m := range models {
		slices.SortFunc(m, func(a, b hubItem) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(models, func(a, b []hubItem) int { return strings.Compare(a[0].Name, b[0].Name) })
	wanted := slices.DeleteFunc(slices.Clone(models), func(m []hubItem) bool {
		if r.File != "" {
			return !slices.ContainsFunc(m, func(f hubItem) bool { return f.Name == r.File })
		}
		// Image projectors lie beside the model that they belong to.
		return strings.Contains(strings.ToLower(filepath.Base(m[0].Name)), "mmproj")
	})
	if len(wanted) == 1 {
		return wanted[0], nil
	}
	if len(models) == 0 {
		return nil, fmt.Errorf("%s has no GGUF files", r.Repo)
	}
	var b strings.Builder
	if r.File != "" {
		fmt.Fprintf(&b, "%s has no file %s. Its GGUF files are:", r.Repo, r.File)
	} else {
		fmt.Fprintf(&b, "%s has several GGUF files. Name one of them:", r.Repo)
	}
	for _, m := range models {
		var size int64
		for _, f := range m {
			size += f.size()
		}
		fmt.Fprintf(&b, "\n  %8s  %s", FormatBytes(size), Ref{Kind: Hub, Repo: r.Repo, File: m[0].Name, Revision: r.Revision})
	}
	return nil, errors.New(b.String())
}

func (f hubItem) size() int64 { return max(f.Size, f.LFS.Size) }

// safeFile says whether a name that a hub gave stays within the model's folder.
func safeFile(name string) bool {
	for p := range strings.SplitSeq(name, "/") {
		if !hubFile.MatchString(p) {
			return false
		}
	}
	return filepath.IsLocal(filepath.FromSlash(name))
}

// pullHub fetches a model's files from the hub.
func (s *Store) pullHub(ctx context.Context, r Ref, dir string, p Progress) (Model, error) {
	if err := s.hub.check(); err != nil {
		return Model{}, err
	}
	l, err := s.hub.list(ctx, r)
	if err != nil {
		return Model{}, err
	}
	files, err := l.choose(r)
	if err != nil {
		return Model{}, err
	}
	full := r
	full.File = files[0].Name
	m := Model{Name: full.String(), Source: s.hub.endpoint + "/" + r.Repo, dir: filepath.Join(dir, filepath.FromSlash(path.Dir(files[0].Name)))}
	if l.Commit != "" {
		m.Source += " at " + l.Commit
	}
	if r.String() != m.Name {
		m.Also = []string{r.String()}
	}
	var total, before int64
	for _, f := range files {
		total += f.size()
	}
	revision := l.Commit
	if !hubName.MatchString(revision) {
		revision = r.Revision
	}
	if revision == "" {
		revision = "main"
	}
	for _, f := range files {
		d := download{hub: s.hub, ref: r, item: f, revision: revision, path: filepath.Join(dir, filepath.FromSlash(f.Name)),
			report: func(phase string, n int64) { p(phase, before+n, total) }}
		done, err := d.run(ctx)
		if err != nil {
			return Model{}, err
		}
		done.Name = path.Base(f.Name) // the parts of a split model share a folder
		m.Files = append(m.Files, done)
		before += done.Size
	}
	return m, nil
}

// FormatBytes writes a file size for people, in decimal units as download pages do.
func FormatBytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

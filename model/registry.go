package model

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/nn"
)

// Definition is an architecture with a checkpoint's hyper-parameters filled in,
// not yet bound to weights.
type Definition interface {
	// Config is the model's shape. Load and Inspect fill in the fields that
	// don't depend on the architecture: Architecture, Name, Parameters and
	// Quantization.
	Config() Config
	// Bind asks w for every weight and composes the model. It is called twice:
	// first to check that the tensors are there, then to load them. Failures are
	// kept by w.
	Bind(w *Weights) Model
}

// Architecture is what a family of models registers.
type Architecture struct {
	GGUF        []string // values of general.architecture
	HuggingFace []string // class names in config.json's "architectures"
	Models      string   // that people know, and what they have that llama's haven't
	// Define reads the hyper-parameters. Failures are kept by p.
	Define func(p *Params) Definition
}

// Architectures lists what is registered, by the first GGUF name.
func Architectures() []Architecture {
	registryMu.RLock()
	defer registryMu.RUnlock()
	var all []Architecture
	for name, a := range byGGUF {
		if name == a.GGUF[0] {
			all = append(all, *a)
		}
	}
	slices.SortFunc(all, func(a, b Architecture) int { return strings.Compare(a.GGUF[0], b.GGUF[0]) })
	return all
}

var (
	registryMu sync.RWMutex
	byGGUF     = map[string]*Architecture{}
	byClass    = map[string]*Architecture{}
)

// Register makes an architecture known. It is meant for init functions and
// panics if one of the names is taken.
func Register(a Architecture) {
	registryMu.Lock()
	defer registryMu.Unlock()
	add := func(to map[string]*Architecture, names []string) {
		for _, name := range names {
			if _, taken := to[name]; taken {
				panic(fmt.Sprintf("model: architecture %q is registered twice", name))
			}
			to[name] = &a
		}
	}
	add(byGGUF, a.GGUF)
	add(byClass, a.HuggingFace)
}

// UnknownArchitectureError says that no architecture of this program runs the
// checkpoint.
type UnknownArchitectureError struct {
	Name  string   // as the checkpoint names it
	Where string   // in the checkpoint that name is
	Known []string // the names that would do, for the checkpoint's format
}

// Error implements error.
func (e *UnknownArchitectureError) Error() string {
	return fmt.Sprintf("architecture %q (%s) is not supported: the nearest of the %d known ones is %q, and docs/Models.md lists them all",
		e.Name, e.Where, len(e.Known), e.Nearest())
}

// Nearest is the known name that is most like the unknown one: it has the longest
// beginning in common, and of those that have, the fewest letters to change.
func (e *UnknownArchitectureError) Nearest() string {
	name := strings.ToLower(e.Name)
	common := func(known string) int {
		n := 0
		for n < min(len(name), len(known)) && name[n] == known[n] {
			n++
		}
		return n
	}
	return slices.MinFunc(e.Known, func(a, b string) int {
		x, y := strings.ToLower(a), strings.ToLower(b)
		return cmp.Or(common(y)-common(x), distance(name, x)-distance(name, y))
	})
}

// distance is Levenshtein's: how many letters to add, drop or change to get from a to b.
// Only the first letters of a long name count.
func distance(a, b string) int {
	const most = 64
	a, b = a[:min(len(a), most)], b[:min(len(b), most)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// find names the checkpoint's architecture and looks it up.
func find(c checkpoint.Checkpoint) (string, *Architecture, error) {
	registryMu.RLock()
	defer registryMu.RUnlock()
	var names []string
	known := byGGUF
	if c.Format() == checkpoint.HuggingFace {
		known = byClass
		names, _ = c.Metadata().Strings("architectures")
	} else if name, ok := c.Metadata().String("general.architecture"); ok {
		names = []string{name}
	}
	if len(names) == 0 {
		return "", nil, fmt.Errorf("%s does not say what architecture it is (%s)", c.Path(), archKey(c.Format()))
	}
	for _, name := range names {
		if a := known[name]; a != nil {
			return name, a, nil
		}
	}
	return "", nil, fmt.Errorf("%s: %w", c.Path(), &UnknownArchitectureError{Name: names[0], Where: archKey(c.Format()), Known: slices.Sorted(maps.Keys(known))})
}

func archKey(f checkpoint.Format) string {
	if f == checkpoint.HuggingFace {
		return `"architectures" in config.json`
	}
	return "key general.architecture"
}

// Inspect reads a checkpoint's hyper-parameters without touching its weights.
func Inspect(c checkpoint.Checkpoint) (Config, error) {
	_, cfg, err := define(c)
	return cfg, err
}

func define(c checkpoint.Checkpoint) (Definition, Config, error) {
	name, a, err := find(c)
	if err != nil {
		return nil, Config{}, err
	}
	c = textOf(c)
	p := &Params{c: c, arch: name}
	d := a.Define(p)
	if err := p.err(); err != nil {
		return nil, Config{}, err
	}
	return d, describe(c, a, d.Config()), nil
}

// describe fills in what doesn't depend on the architecture.
func describe(c checkpoint.Checkpoint, a *Architecture, cfg Config) Config {
	cfg.Architecture = a.GGUF[0]
	if s, ok := c.Metadata().String("general.name"); ok {
		cfg.Name = s
	} else if path, err := filepath.Abs(c.Path()); err == nil && c.Format() == checkpoint.HuggingFace {
		cfg.Name = filepath.Base(path) // the folder is what people know it by
	}
	if arch, ok := c.Metadata().String("general.architecture"); ok {
		const mean = 1 // in llama.cpp's enumeration; 3 is the last token's
		pooling, _ := c.Metadata().Int(arch + ".pooling_type")
		cfg.MeanPooling = pooling == mean
	}
	held := map[string]int64{}
	for _, t := range c.Tensors() {
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		cfg.Parameters += n
		held[t.Encoding()] += n
	}
	for _, name := range slices.Sorted(maps.Keys(held)) {
		if held[name] > held[cfg.Quantization] {
			cfg.Quantization = name
		}
	}
	return cfg
}

// loaded is a Model whose Config is complete.
type loaded struct {
	Model
	config Config
}

func (m loaded) Config() Config { return m.config }

// Load reads a checkpoint's hyper-parameters and hands its weights to l. All
// that is wrong with the hyper-parameters, or else with the tensors' presence
// and shapes, is reported in one error, before anything is loaded.
func Load(c checkpoint.Checkpoint, l nn.Loader) (Model, error) {
	d, cfg, err := define(c)
	if err != nil {
		return nil, err
	}
	c = textOf(c)
	check := newWeights(c, nil)
	d.Bind(check)
	if err := check.finish(); err != nil {
		return nil, err
	}
	w := newWeights(c, l)
	m := d.Bind(w)
	if err := w.finish(); err != nil {
		return nil, err
	}
	return loaded{m, cfg}, nil
}

package backend

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/inferflux/inferflux/checkpoint"
)

// The registry of backends, filled by their packages' init functions: a program
// has the backends whose packages it imports.
var (
	registryMu sync.RWMutex
	registry   = map[string]Backend{}
)

// Register makes a backend available to every Manager. It is meant for init
// functions and panics if the name is empty or taken.
func Register(b Backend) {
	registryMu.Lock()
	defer registryMu.Unlock()
	name := b.Name()
	if name == "" {
		panic("backend: registering a backend without a name")
	}
	if _, taken := registry[name]; taken {
		panic(fmt.Sprintf("backend: %q is registered twice", name))
	}
	registry[name] = b
}

// DefaultPriority is the order in which backends are tried for a model that
// names none: the fastest devices first, the one that always works last.
var DefaultPriority = []string{"mlx", "cuda", "rocm", "mps", "cpu"}

// Settings configure a Manager.
type Settings struct {
	// Priority is the order in which backends are tried for a model that names
	// none. Empty means DefaultPriority.
	Priority []string
	// Disabled backends describe themselves as switched off and are never used.
	// The value is the setting that did it: "ENABLE_MLX=0", "runtime.backends".
	Disabled map[string]string
	// Configs are the settings of single backends, for those that are
	// [Configurable].
	Configs map[string]Config
}

// Manager is the only door to the backends: it describes them, chooses one for
// a model and loads the model there. It is safe for concurrent use.
type Manager struct {
	priority []string
	explicit bool // the priority was configured
	disabled map[string]string
	backends map[string]Backend
}

// NewManager makes a Manager over the registered backends. A name in Settings
// that no backend has, or settings that a backend refuses, are an error.
func NewManager(s Settings) (*Manager, error) {
	registryMu.RLock()
	defer registryMu.RUnlock()
	m := &Manager{priority: slices.Clone(s.Priority), explicit: len(s.Priority) > 0, disabled: maps.Clone(s.Disabled), backends: map[string]Backend{}}
	if !m.explicit {
		m.priority = slices.Clone(DefaultPriority)
	}
	for name, b := range registry {
		m.backends[name] = b
	}
	for _, name := range slices.Concat(s.Priority, slices.Sorted(maps.Keys(s.Disabled)), slices.Sorted(maps.Keys(s.Configs))) {
		if !m.knows(name) {
			return nil, m.unknown(name)
		}
	}
	for name, config := range s.Configs {
		b, ok := m.backends[name].(Configurable)
		if !ok {
			continue
		}
		configured, err := b.Configure(config)
		if err != nil {
			return nil, fmt.Errorf("configure backend %q: %w", name, err)
		}
		m.backends[name] = configured
	}
	return m, nil
}

// knows reports whether a name is that of a backend, in this build or not.
func (m *Manager) knows(name string) bool {
	if _, built := m.backends[name]; built {
		return true
	}
	_, known := notBuilt(name)
	return known
}

// names lists every known backend, in order of priority, then by name.
func (m *Manager) names() []string {
	var all []string
	for name := range m.backends {
		all = append(all, name)
	}
	for _, d := range otherBackends {
		if _, ok := m.backends[d.Name]; !ok {
			all = append(all, d.Name)
		}
	}
	rank := func(name string) int {
		if i := slices.Index(m.priority, name); i >= 0 {
			return i
		}
		return len(m.priority)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
	return all
}

func (m *Manager) unknown(name string) *UnavailableError {
	return &UnavailableError{Backend: name, Reason: "there is no backend of this name", Remedy: "use one of " + strings.Join(m.names(), ", ")}
}

// Describe lists every known backend, ready or not, in order of priority.
func (m *Manager) Describe(ctx context.Context) []Description {
	var all []Description
	for _, name := range m.names() {
		all = append(all, m.describe(ctx, name))
	}
	return all
}

func (m *Manager) describe(ctx context.Context, name string) Description {
	b, built := m.backends[name]
	if by, off := m.disabled[name]; off {
		// What is switched off isn't even asked: asking may look for its library.
		d, _ := notBuilt(name)
		d.Name, d.Reason, d.Remedy = name, "switched off by "+by, "enable it there"
		if variable, _, is := strings.Cut(by, "="); is {
			d.Remedy = "unset " + variable
		}
		return d
	}
	if !built {
		d, _ := notBuilt(name)
		return d
	}
	return b.Describe(ctx)
}

// LoadRequest says where a model should run and how.
type LoadRequest struct {
	// Backend asks for one by name; "" leaves the choice to the priority list.
	Backend string
	// Fallback lets the priority list decide when the named backend can't run
	// the model.
	Fallback bool
	Options  LoadOptions
}

// Choice is a loaded engine and how its backend was chosen.
type Choice struct {
	Engine    Engine
	Backend   string // the one that runs the model
	Requested string // the one asked for by name, if any
	// FallbackReason says why a backend that was asked for, or stands before
	// this one in a configured priority list, doesn't run the model. Empty when
	// the first choice does.
	FallbackReason string
}

// UnavailableError says that a backend asked for by name can't run, why, and
// what to do about it. The HTTP API answers it with 422.
type UnavailableError struct {
	Backend string
	Reason  string
	Remedy  string
	Err     error // the cause, if loading was attempted
}

// Error implements error.
func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("backend %q can't be used: %s", e.Backend, e.Reason)
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Load chooses a backend for the checkpoint and loads the model there. The
// checkpoint must stay open until the engine is closed.
//
// A backend asked for by name that can't run the model gives an
// *UnavailableError, unless r.Fallback is set; then, and when none is named,
// the first of the priority list that can run it does. Choice.FallbackReason
// accounts for every backend passed over that was named, by the request or a
// configured priority list, or that was ready and failed.
func (m *Manager) Load(ctx context.Context, c checkpoint.Checkpoint, r LoadRequest) (Choice, error) {
	order := m.priority
	if r.Backend != "" {
		if !m.knows(r.Backend) {
			return Choice{}, m.unknown(r.Backend)
		}
		order = []string{r.Backend}
		if r.Fallback {
			for _, name := range m.priority {
				if name != r.Backend {
					order = append(order, name)
				}
			}
		}
	}
	var passed, unready error // passed: what somebody wanted, or what failed to load
	for _, name := range order {
		wanted := name == r.Backend || m.explicit
		e, err := m.try(ctx, name, wanted, c, r.Options)
		if err == nil {
			choice := Choice{Engine: e, Backend: name, Requested: r.Backend}
			if passed != nil {
				choice.FallbackReason = passed.Error()
			}
			return choice, nil
		}
		if ctx.Err() != nil {
			return Choice{}, fmt.Errorf("load %s: %w", c.Path(), ctx.Err())
		}
		if !wanted && err.Err == nil {
			unready = and(unready, err)
			continue
		}
		passed = and(passed, err)
	}
	if passed == nil {
		passed = unready
	}
	return Choice{}, fmt.Errorf("load %s: %w", c.Path(), passed)
}

func and(first, next error) error {
	if first == nil {
		return next
	}
	return fmt.Errorf("%w; %w", first, next)
}

// Available says whether a backend that is asked for by name can run here: nil,
// or an *UnavailableError.
func (m *Manager) Available(ctx context.Context, name string) error {
	if !m.knows(name) {
		return m.unknown(name)
	}
	if d := m.describe(ctx, name); !d.Ready {
		return &UnavailableError{Backend: name, Reason: d.Reason, Remedy: d.Remedy}
	}
	return nil
}

func (m *Manager) try(ctx context.Context, name string, wanted bool, c checkpoint.Checkpoint, o LoadOptions) (Engine, *UnavailableError) {
	d := m.describe(ctx, name)
	if !d.Ready {
		return nil, &UnavailableError{Backend: name, Reason: d.Reason, Remedy: d.Remedy}
	}
	if d.ByNameOnly && !wanted {
		return nil, &UnavailableError{Backend: name, Reason: "its device is " + d.Device, Remedy: "name it to use it all the same"}
	}
	e, err := m.backends[name].Load(ctx, c, o)
	if err != nil {
		return nil, &UnavailableError{Backend: name, Reason: err.Error(), Err: err}
	}
	return e, nil
}

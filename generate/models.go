package generate

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/inferflux/inferflux/scheduler"
)

// State is where a model of the set stands.
type State uint8

// The states.
const (
	Loading State = iota
	Ready
	Failed
)

// String is the state in one word.
func (s State) String() string { return [...]string{"loading", "ready", "failed"}[s] }

// Entry is one model of the set. Model is nil until it is loaded; a model that
// failed later is still there.
type Entry struct {
	ID      string
	Aliases []string
	Created time.Time // when it was added
	State   State
	Err     error // why it failed
	Model   *Model
}

// Named reports whether the entry answers to a name.
func (e *Entry) Named(name string) bool { return e.ID == name || slices.Contains(e.Aliases, name) }

// Models is the set of models that a server serves. Models load in the
// background, one after the other as they were added, so that the server can
// listen meanwhile. It is safe for concurrent use.
type Models struct {
	mu      sync.Mutex
	entries []*Entry
	closed  bool
	cancel  []context.CancelFunc
	loads   sync.WaitGroup
	turn    chan struct{} // closed when the models added so far are loaded, or failed
}

// NewModels makes an empty set.
func NewModels() *Models { return &Models{} }

// UnknownModelError says that nothing of that name is served.
type UnknownModelError struct {
	Name  string
	Known []string
}

// Error implements error.
func (e *UnknownModelError) Error() string {
	if len(e.Known) == 0 {
		return "no model is configured on this server"
	}
	return fmt.Sprintf("the model %q is not served here; there is %s", e.Name, strings.Join(e.Known, ", "))
}

// NotReadyError says that a model is known but can't answer, or not yet.
type NotReadyError struct {
	ID    string
	State State
	Err   error // why it failed
}

// Error implements error.
func (e *NotReadyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("model %q could not be used: %s", e.ID, e.Err)
	}
	return fmt.Sprintf("model %q is still loading", e.ID)
}

// Unwrap is the reason.
func (e *NotReadyError) Unwrap() error { return e.Err }

// Add puts a model into the set and loads it in the background. A name that is
// taken is an error. The context given to load ends with ctx, or when the set is
// closed.
func (s *Models) Add(ctx context.Context, id string, aliases []string, load func(context.Context) (*Model, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("add model %q: %w", id, errClosed)
	}
	if id == "" {
		return errors.New("add model: it has no id")
	}
	if slices.Contains(aliases, "") {
		return fmt.Errorf("add model %q: one of its aliases is empty", id)
	}
	for _, name := range append([]string{id}, aliases...) {
		for _, e := range s.entries {
			if e.Named(name) {
				return fmt.Errorf("add model %q: the name %q is taken by model %q", id, name, e.ID)
			}
		}
	}
	e := &Entry{ID: id, Aliases: slices.Clone(aliases), Created: time.Now()}
	s.entries = append(s.entries, e)
	ctx, cancel := context.WithCancel(ctx)
	s.cancel = append(s.cancel, cancel)
	before, done := s.turn, make(chan struct{})
	s.turn = done
	s.loads.Go(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		s.load(ctx, e, load)
	})
	return nil
}

func (s *Models) load(ctx context.Context, e *Entry, load func(context.Context) (*Model, error)) {
	m, err := guard(ctx, load)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.closed {
		// Close may have given up waiting; then nobody else would free it.
		err = errors.Join(errClosed, m.Close())
	}
	if err != nil {
		e.State, e.Err = Failed, err
		return
	}
	e.State, e.Model = Ready, m
}

func guard(ctx context.Context, load func(context.Context) (*Model, error)) (m *Model, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &scheduler.PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err = load(ctx)
	if m == nil && err == nil {
		err = errors.New("loading gave no model")
	}
	return m, err
}

var errClosed = errors.New("the set of models is closed")

// Get finds a model that can answer. The empty name means the default, which is
// the first that was added. The error is an [UnknownModelError] or a
// [NotReadyError].
func (s *Models) Get(name string) (*Model, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var known []string
	for _, e := range s.entries {
		if name == "" || e.Named(name) {
			if e.State == Ready {
				if err := e.Model.Scheduler().Failed(); err != nil {
					return nil, &NotReadyError{ID: e.ID, State: Failed, Err: err}
				}
				return e.Model, nil
			}
			return nil, &NotReadyError{ID: e.ID, State: e.State, Err: e.Err}
		}
		known = append(known, e.ID)
	}
	return nil, &UnknownModelError{Name: name, Known: known}
}

// List is a snapshot of the set, in the order in which it was made.
func (s *Models) List() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Entry, len(s.entries))
	for i, e := range s.entries {
		list[i] = *e
		if e.Model == nil {
			continue
		}
		if err := e.Model.Scheduler().Failed(); err != nil {
			list[i].State, list[i].Err = Failed, err
		}
	}
	return list
}

// Ready is nil when every model can answer; otherwise it says which can't.
func (s *Models) Ready() error {
	var all []error
	for _, e := range s.List() {
		if e.State != Ready {
			all = append(all, &NotReadyError{ID: e.ID, State: e.State, Err: e.Err})
		}
	}
	return errors.Join(all...)
}

// Close ends all loading, lets the models finish what runs until ctx ends, and
// frees them. It doesn't wait longer than ctx for a load that won't end; what
// that gives is freed when it comes.
func (s *Models) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for _, cancel := range s.cancel {
		cancel()
	}
	s.mu.Unlock()
	// No model becomes ready any more: the list is final.
	list := s.List()
	var drains sync.WaitGroup
	errs := make([]error, len(list), len(list)+1)
	for i, e := range list {
		if e.Model != nil {
			drains.Go(func() { errs[i] = errors.Join(e.Model.Drain(ctx), e.Model.Close()) })
		}
	}
	drains.Wait()
	loaded := make(chan struct{})
	go func() {
		s.loads.Wait()
		close(loaded)
	}()
	select {
	case <-loaded:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("wait for models that still load: %w", ctx.Err()))
	}
	return errors.Join(errs...)
}

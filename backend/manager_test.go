package backend_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/checkpoint"
)

// fake is a backend whose readiness a test sets.
type fake struct {
	name    string
	ready   bool
	byName  bool
	loadErr error
}

type fakeEngine struct {
	backend.Engine
	on string
}

func (f *fake) Name() string { return f.name }

func (f *fake) Describe(context.Context) backend.Description {
	d := backend.Description{Name: f.name, Device: "a fake", Ready: f.ready, ByNameOnly: f.byName}
	if !f.ready {
		d.Reason, d.Remedy = "its library is missing", "install it"
	}
	return d
}

func (f *fake) Load(ctx context.Context, _ checkpoint.Checkpoint, _ backend.LoadOptions) (backend.Engine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f.loadErr != nil {
		return nil, f.loadErr
	}
	return fakeEngine{on: f.name}, nil
}

// file is a checkpoint of which only the path is looked at.
type file struct{ checkpoint.Checkpoint }

func (file) Path() string { return "tiny.gguf" }

var (
	fast   = &fake{name: "cuda"} // takes the place of the one that isn't built
	steady = &fake{name: "cpu", ready: true}
)

func init() {
	backend.Register(fast)
	backend.Register(steady)
	backend.Register(&tunable{fake: fake{name: "rocm"}})
}

func TestManagerChoice(t *testing.T) {
	broken := errors.New("no kernels for Q4_1")
	for _, c := range []struct {
		name       string
		settings   backend.Settings
		fastReady  bool
		fastByName bool
		fastErr    error
		request    backend.LoadRequest
		want       string   // backend
		wantReason []string // parts of the fallback reason; nil: none
		wantErr    []string // parts of the error
	}{
		{name: "the first that is ready", want: "cpu"},
		{name: "the fastest that is ready", fastReady: true, want: "cuda"},
		{name: "one for comparison is passed over", fastReady: true, fastByName: true, want: "cpu"},
		{name: "one for comparison, by name", fastReady: true, fastByName: true, request: backend.LoadRequest{Backend: "cuda"}, want: "cuda"},
		{name: "one for comparison, in a configured priority", settings: backend.Settings{Priority: []string{"cuda", "cpu"}}, fastReady: true, fastByName: true, want: "cuda"},
		{name: "one for comparison isn't fallen back to", settings: backend.Settings{Disabled: map[string]string{"cpu": "runtime.backends"}}, fastReady: true, fastByName: true,
			wantErr: []string{`"cuda" can't be used: its device is a fake (name it`}},
		{name: "by name", fastReady: true, request: backend.LoadRequest{Backend: "cpu"}, want: "cpu"},
		{name: "by name, not ready", request: backend.LoadRequest{Backend: "cuda"},
			wantErr: []string{"tiny.gguf", `"cuda"`, "its library is missing", "install it"}},
		{name: "by name, not built", request: backend.LoadRequest{Backend: "mlx"}, wantErr: []string{`"mlx"`, "no MLX engine", "cpu"}},
		{name: "by name, unknown", request: backend.LoadRequest{Backend: "cpuu", Fallback: true}, wantErr: []string{`"cpuu"`, "no backend of this name", "cpu"}},
		{name: "by name, can't load it", fastReady: true, fastErr: broken, request: backend.LoadRequest{Backend: "cuda"}, wantErr: []string{"no kernels for Q4_1"}},
		{name: "fallback allowed and needed", request: backend.LoadRequest{Backend: "cuda", Fallback: true}, want: "cpu", wantReason: []string{`"cuda"`, "its library is missing"}},
		{name: "fallback allowed, not needed", fastReady: true, request: backend.LoadRequest{Backend: "cuda", Fallback: true}, want: "cuda"},
		{name: "fallback after a failed load", fastReady: true, fastErr: broken, request: backend.LoadRequest{Backend: "cuda", Fallback: true}, want: "cpu", wantReason: []string{"no kernels for Q4_1"}},
		{name: "configured priority passed over", settings: backend.Settings{Priority: []string{"mlx", "cuda", "cpu"}}, want: "cpu", wantReason: []string{`"mlx"`, `"cuda"`}},
		{name: "configured priority obeyed", settings: backend.Settings{Priority: []string{"cpu", "cuda"}}, fastReady: true, want: "cpu"},
		{name: "priority without a way out", settings: backend.Settings{Priority: []string{"mlx", "cuda"}}, wantErr: []string{`"mlx"`, `"cuda"`}},
		{name: "the only one that is ready fails", settings: backend.Settings{Disabled: map[string]string{"cpu": "runtime.backends"}}, fastReady: true, fastErr: broken,
			wantErr: []string{"load tiny.gguf: backend \"cuda\" can't be used: no kernels"}},
		{name: "none is ready", settings: backend.Settings{Disabled: map[string]string{"cpu": "runtime.backends"}}, wantErr: []string{`"mlx"`, `"cuda"`, `"cpu"`}},
		{name: "switched off", settings: backend.Settings{Disabled: map[string]string{"cuda": "runtime.backends"}}, fastReady: true, want: "cpu"},
		{name: "switched off, by name", settings: backend.Settings{Disabled: map[string]string{"cuda": "runtime.backends"}}, fastReady: true,
			request: backend.LoadRequest{Backend: "cuda"}, wantErr: []string{"switched off by runtime.backends", "enable it there"}},
		{name: "switched off by a variable", settings: backend.Settings{Disabled: map[string]string{"cuda": "ENABLE_CUDA=0"}}, fastReady: true,
			request: backend.LoadRequest{Backend: "cuda"}, wantErr: []string{"switched off by ENABLE_CUDA=0", "unset ENABLE_CUDA"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fast.ready, fast.byName, fast.loadErr = c.fastReady, c.fastByName, c.fastErr
			m, err := backend.NewManager(c.settings)
			if err != nil {
				t.Fatal(err)
			}
			choice, err := m.Load(t.Context(), file{}, c.request)
			if c.wantErr != nil {
				var unavailable *backend.UnavailableError
				if !errors.As(err, &unavailable) {
					t.Fatalf("Load: %v, expected an *UnavailableError", err)
				}
				if c.fastErr != nil && !errors.Is(err, c.fastErr) {
					t.Errorf("%v doesn't wrap its cause", err)
				}
				for _, part := range c.wantErr {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q doesn't contain %q", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if choice.Backend != c.want || choice.Engine.(fakeEngine).on != c.want || choice.Requested != c.request.Backend {
				t.Errorf("chose %+v, expected %s", choice, c.want)
			}
			if (choice.FallbackReason != "") != (c.wantReason != nil) {
				t.Errorf("fallback reason %q, expected %q", choice.FallbackReason, c.wantReason)
			}
			for _, part := range c.wantReason {
				if !strings.Contains(choice.FallbackReason, part) {
					t.Errorf("fallback reason %q doesn't contain %q", choice.FallbackReason, part)
				}
			}
		})
	}
}

// A cancelled load must not wander on to the next backend.
func TestManagerCancelled(t *testing.T) {
	fast.ready, fast.loadErr = true, nil
	m, err := backend.NewManager(backend.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Load(ctx, file{}, backend.LoadRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Load: %v, expected %v", err, context.Canceled)
	}
}

func TestManagerDescribe(t *testing.T) {
	fast.ready = false
	m, err := backend.NewManager(backend.Settings{Priority: []string{"cpu", "mlx"}, Disabled: map[string]string{"cpu": "runtime.backends"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range m.Describe(t.Context()) {
		names = append(names, d.Name)
		if d.Name != "rocm" && (d.Ready || d.Reason == "" || d.Remedy == "") {
			t.Errorf("%+v: expected a reason and a remedy", d)
		}
	}
	if want := []string{"cpu", "mlx", "cuda", "mps", "rocm"}; !slices.Equal(names, want) {
		t.Errorf("described %v, expected %v", names, want)
	}
}

// tunable is a backend with settings.
type tunable struct {
	fake
	config backend.Config
}

func (t *tunable) Configure(c backend.Config) (backend.Backend, error) {
	if c.Device == "abacus" {
		return nil, errors.New("there is no abacus")
	}
	return &tunable{fake: t.fake, config: c}, nil
}

func (t *tunable) Describe(context.Context) backend.Description {
	return backend.Description{Name: t.name, Library: t.config.Library, Ready: t.config.Library != ""}
}

// Settings reach the backend of one manager and no other.
func TestManagerConfigures(t *testing.T) {
	library := func(s backend.Settings) string {
		t.Helper()
		m, err := backend.NewManager(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range m.Describe(t.Context()) {
			if d.Name == "rocm" {
				return d.Library
			}
		}
		return "not described"
	}
	configs := map[string]backend.Config{"rocm": {Library: "/lib/x"}, "mps": {Library: "/lib/y"}, "cpu": {Library: "/lib/z"}}
	if got := library(backend.Settings{Configs: configs}); got != "/lib/x" {
		t.Errorf("configured: library %q", got)
	}
	if got := library(backend.Settings{Configs: configs, Disabled: map[string]string{"rocm": "ENABLE_ROCM=0"}}); got != "" {
		t.Errorf("switched off, but asked for its library: %q", got)
	}
	if got := library(backend.Settings{}); got != "" {
		t.Errorf("another manager's settings are seen: library %q", got)
	}
	_, err := backend.NewManager(backend.Settings{Configs: map[string]backend.Config{"rocm": {Device: "abacus"}}})
	if err == nil || err.Error() != `configure backend "rocm": there is no abacus` {
		t.Errorf("NewManager: %v", err)
	}
}

func TestManagerAvailable(t *testing.T) {
	fast.ready = false
	m, err := backend.NewManager(backend.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Available(t.Context(), "cpu"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"cuda", "mlx", "tpu"} {
		var unavailable *backend.UnavailableError
		if err := m.Available(t.Context(), name); !errors.As(err, &unavailable) || unavailable.Backend != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestManagerSettings(t *testing.T) {
	for _, s := range []backend.Settings{{Priority: []string{"cpu", "gpu"}}, {Disabled: map[string]string{"gpu": "runtime.backends"}}, {Configs: map[string]backend.Config{"gpu": {}}}} {
		if _, err := backend.NewManager(s); err == nil || !strings.Contains(err.Error(), `"gpu"`) {
			t.Errorf("NewManager(%+v): %v, expected an error that names gpu", s, err)
		}
	}
}

func TestRegisterTwice(t *testing.T) {
	for _, b := range []backend.Backend{&fake{name: "cpu"}, &fake{}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("registering %q did not panic", b.Name())
				}
			}()
			backend.Register(b)
		}()
	}
}

// A cause of loading stays visible to errors.Is.
func TestUnavailableUnwrap(t *testing.T) {
	err := error(&backend.UnavailableError{Backend: "cpu", Reason: "x", Err: fs.ErrNotExist})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
}

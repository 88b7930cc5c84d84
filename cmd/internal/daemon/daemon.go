// Package daemon is the server as a program: it reads the configuration, loads
// the models and serves them until it is told to stop. The programs inferfluxd
// and "inferctl serve" are this package's [Command]; "inferctl quickstart" calls
// [Run].
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/generate"
	"github.com/inferflux/inferflux/registry"
	"github.com/inferflux/inferflux/server"
)

// Options are what Run needs beside the configuration.
type Options struct {
	Config  *config.Config
	Home    string // the folder of installed libraries; see registry.Home
	Store   *registry.Store
	Logger  *slog.Logger
	Version string
	// Listening, if set, is told the address once requests are accepted. Models
	// may still be loading.
	Listening func(addr net.Addr)
	// Progress, if set, is told how pulls and loading go on; otherwise the log is.
	Progress func(model, phase string, done, total int64)
}

// Run serves until ctx ends, then lets running answers finish within
// server.drain_timeout. It fails at once if it can't listen or if a backend's
// name is wrong, and later if every model failed to load: then there is nothing
// to wait for.
func Run(ctx context.Context, o Options) error {
	c, log := o.Config, o.Logger
	if len(c.Models) == 0 {
		return errors.New("there is no model to serve: name one with --model smollm2:135m, or list models in the configuration")
	}
	for _, w := range c.Warnings() {
		log.Warn(w)
	}
	manager, err := NewManager(c, o.Home)
	if err != nil {
		return fmt.Errorf("set up the backends: %w", err)
	}
	store, err := openStore(c.Runtime.KV, log)
	if err != nil {
		return err
	}
	models := generate.NewModels()
	metrics := server.NewMetrics(models)
	keys, adminKeys := plain(c.Server.Keys()), plain(c.Server.AdminKeys)
	srv, err := server.New(server.Options{
		Models: models, Metrics: metrics, Logger: log, APIKeys: keys, AdminKeys: adminKeys, Version: o.Version, PrefixPerKey: c.Runtime.KV.PrefixPerKey,
		MaxBodyBytes: int64(c.Server.MaxBodyBytes), ReadTimeout: c.Server.ReadTimeout, WriteTimeout: c.Server.WriteTimeout,
		IdleTimeout: c.Server.IdleTimeout, DrainTimeout: max(c.Server.DrainTimeout, 1), // the server's 0 means its default
	})
	if err != nil {
		return fmt.Errorf("set up the server: %w", err)
	}
	ln, err := net.Listen("tcp", c.Server.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s (is another server running there? choose another address with --listen): %w", c.Server.Listen, err)
	}
	log.Info("listening", "url", "http://"+ln.Addr().String(), "version", o.Version, "api_keys", len(keys)+len(adminKeys))
	if o.Listening != nil {
		o.Listening(ln.Addr())
	}

	logMLX(ctx, log, manager)

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// Loading goes on while running answers are drained; Close ends it.
	loading, stopLoading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoading()
	l := &loader{Options: o, manager: manager, metrics: metrics, store: store}
	failures := newFailures(len(c.Models), stop)
	for _, m := range c.Models {
		err := models.Add(loading, m.ID, m.Aliases, func(ctx context.Context) (*generate.Model, error) {
			loaded, err := l.load(ctx, m)
			failures.note(m.ID, err)
			return loaded, err
		})
		if err != nil {
			stop(err)
		}
	}
	err = srv.Serve(ctx, ln)
	log.Info("stopping")
	// Nobody waits for an answer any more. What a model still computes is given the
	// time that a step commonly takes, and then cut.
	closing, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	stopLoading()
	if err := models.Close(closing); err != nil {
		log.Warn("what still ran was cut", "error", err)
	}
	if store != nil {
		// What was still held is being written.
		saving, cancel := context.WithTimeout(context.Background(), savingTime)
		defer cancel()
		if err := store.Close(saving); err != nil {
			log.Warn("not all of the KV cache was saved", "error", err)
		}
	}
	var fatal *loadError
	if errors.As(context.Cause(ctx), &fatal) {
		return fatal
	}
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	log.Info("stopped")
	return nil
}

// NewManager makes the backends' manager that a configuration describes.
// Libraries that were installed are looked for in the folder home.
func NewManager(c *config.Config, home string) (*backend.Manager, error) {
	s := backend.Settings{Priority: c.Runtime.BackendPriority, Disabled: map[string]string{}, Configs: map[string]backend.Config{}}
	for _, name := range []string{"mlx", "cuda", "rocm", "mps"} {
		b := c.Runtime.Backend(name)
		s.Configs[name] = backend.Config{
			Home: home, Library: b.Library, Device: b.Device, PrefillChunk: b.PrefillChunk,
			MemoryLimit: int64(b.MemoryLimit), CacheLimit: int64(b.CacheLimit), WiredLimit: int64(b.WiredLimit),
		}
	}
	for _, b := range c.Runtime.Backends {
		if !b.Enabled {
			s.Disabled[b.Name] = b.OffBy()
		}
	}
	return backend.NewManager(s)
}

// logMLX says whether this server can compute with MLX, and if not, why.
func logMLX(ctx context.Context, log *slog.Logger, m *backend.Manager) {
	for _, d := range m.Describe(ctx) {
		switch {
		case d.Name != "mlx":
		case d.Ready:
			log.Info("mlx", "has_mlx", true, "version", d.Version, "device", d.Device, "library", d.Library)
		default:
			log.Warn("mlx", "has_mlx", false, "reason", d.Reason, "remedy", d.Remedy)
		}
	}
}

// loadError says why no model could be loaded.
type loadError struct{ error }

func (e *loadError) Unwrap() error { return e.error }

// failures stops the server when the last model has failed as all before it.
type failures struct {
	mu        sync.Mutex
	remaining int
	errs      []error
	stop      context.CancelCauseFunc
}

func newFailures(models int, stop context.CancelCauseFunc) *failures {
	return &failures{remaining: models, stop: stop}
}

func (f *failures) note(id string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", id, err))
		f.remaining--
	}
	if f.remaining == 0 {
		f.stop(&loadError{errors.Join(f.errs...)})
	}
}

func plain(keys []config.Secret) (all []string) {
	for _, k := range keys {
		all = append(all, string(k))
	}
	return all
}

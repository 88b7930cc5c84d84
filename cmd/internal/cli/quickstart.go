package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/registry"
)

const quickModel = "smollm2:135m"

// quick is one run of quickstart.
type quick struct {
	app            *app
	model, backend string
	prompt         string
	keep           bool
	out            io.Writer
	progress       *progress
	store          *registry.Store
	home           string
}

func (a *app) quickstart() *cobra.Command {
	q := &quick{app: a}
	cmd := &cobra.Command{
		Use:   "quickstart",
		Short: "From nothing to an answer: fetch a small model, serve it, ask it",
		Long: `From nothing to an answer: fetch a small model (once), write a configuration to
~/.inferflux/server.yaml (if there is none), start the server in this process,
ask it a question over its OpenAI API, and stop it again.`,
		Example: `  inferctl quickstart
  inferctl quickstart --prompt "Write a haiku about compilers."
  inferctl quickstart --model ./my-model.gguf --keep`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := registry.ParseRef(q.model); err != nil {
				return usagef("%w", err)
			}
			ctx, stop := daemon.Interruptible(cmd.Context())
			defer stop()
			q.out, q.progress = cmd.OutOrStdout(), newProgress(cmd.ErrOrStderr())
			return q.run(ctx)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&q.model, "model", "m", quickModel, "model to use: a name or a file")
	f.StringVar(&q.backend, "backend", "", "backend to run it on (default the first that can)")
	f.StringVar(&q.prompt, "prompt", "What is the capital of France, and what is it famous for?", "question to ask")
	f.BoolVar(&q.keep, "keep", false, "keep serving after the answer, until Ctrl-C")
	return cmd
}

func (q *quick) run(ctx context.Context) error {
	var err error
	if q.home, err = registry.Home(); err != nil {
		return err
	}
	q.store = registry.Open(q.home)
	fmt.Fprintf(q.out, "InferFlux %s\n\n", q.app.version)
	if err := q.available(ctx); err != nil {
		return err
	}
	if err := q.fetch(ctx); err != nil {
		return err
	}
	if err := q.writeConfig(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	base, failed, err := q.start(ctx)
	if err != nil {
		return err
	}
	err = q.ask(ctx, base, failed)
	if err == nil && q.keep {
		fmt.Fprintf(q.out, "\nServing at %s/v1 until Ctrl-C. In another terminal: inferctl chat --server %s\n", base, base)
		err = <-failed
	} else {
		stop()
		if stopErr := <-failed; err == nil {
			err = stopErr
		}
	}
	if err != nil {
		return err
	}
	if !q.keep {
		q.next()
	}
	return nil
}

// step prints one line of what is happening.
func (q *quick) step(name, format string, args ...any) {
	q.progress.done()
	fmt.Fprintf(q.out, "  %-9s %s\n", name, fmt.Sprintf(format, args...))
}

// available says that the backend asked for can't run before anything is fetched.
func (q *quick) available(ctx context.Context) error {
	if q.backend == "" {
		return nil
	}
	c, err := q.config()
	if err != nil {
		return err
	}
	manager, err := daemon.NewManager(c, q.home)
	if err != nil {
		return err
	}
	return manager.Available(ctx, q.backend)
}

func (q *quick) fetch(ctx context.Context) error {
	start := time.Now()
	_, err := q.store.Find(q.model)
	here := err == nil
	if !here && errors.Is(err, registry.ErrNotPulled) {
		for _, e := range registry.Entries() {
			if e.Name == q.model {
				q.step("model", "fetching %s (%s), once", e.Title, registry.FormatBytes(e.Size))
			}
		}
	}
	m, err := q.store.Pull(ctx, q.model, q.progress.update)
	q.progress.done()
	if err != nil {
		return err
	}
	if here {
		q.step("model", "%s, %s", q.model, registry.FormatBytes(m.Size()))
	} else {
		q.step("model", "%s, %s, sha256 checked, fetched in %s", q.model, registry.FormatBytes(m.Size()), time.Since(start).Round(100*time.Millisecond))
	}
	return nil
}

// writeConfig leaves a configuration that serves the same model, unless there
// is one.
func (q *quick) writeConfig() error {
	path := filepath.Join(q.home, "server.yaml")
	text := []byte(config.Example)
	if q.model != quickModel {
		text = bytes.Replace(text, []byte("source: "+quickModel), []byte("source: "+config.FormatYAML(q.source())), 1)
	}
	if q.backend != "" {
		text = bytes.Replace(text, []byte(`# backend: ""`), []byte("backend: "+q.backend), 1)
	}
	if err := os.MkdirAll(q.home, 0o755); err != nil {
		return fmt.Errorf("make the folder for models and configuration: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, os.ErrExist) {
		q.step("config", "%s (yours is left as it is)", path)
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	q.step("config", "%s written", path)
	return nil
}

// source is the model as a configuration names it: files by their full path.
func (q *quick) source() string {
	if r, err := registry.ParseRef(q.model); err == nil && r.Kind == registry.Local {
		if abs, err := filepath.Abs(q.model); err == nil {
			return abs
		}
	}
	return q.model
}

// config is the configuration of this run: the defaults, but for what was asked
// for and what the environment says of backends.
func (q *quick) config() (*config.Config, error) {
	flags := []config.Setting{
		{Key: "server.listen", Value: freeAddress(), From: "quickstart"},
		{Key: "models[].source", Value: q.source(), From: "--model"},
	}
	if q.backend != "" {
		flags = append(flags, config.Setting{Key: "models[0].backend", Value: q.backend, From: "--backend"})
	}
	var environ []string
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "ENABLE_") || strings.HasPrefix(e, "INFERFLUX_RUNTIME_BACKENDS_") {
			environ = append(environ, e)
		}
	}
	c, err := config.Load(config.Sources{Env: environ, Flags: flags})
	if err != nil {
		return nil, usagef("%w", err)
	}
	return c, nil
}

// start runs the server in the background. The channel gets its error, or nil,
// when it ends.
func (q *quick) start(ctx context.Context) (base string, failed <-chan error, err error) {
	c, err := q.config()
	if err != nil {
		return "", nil, err
	}
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		defer close(ended) // later looks find nil
		ended <- daemon.Run(ctx, daemon.Options{
			Config: c, Home: q.home, Store: q.store, Version: q.app.version,
			// What goes wrong is shown as this program's own error.
			Logger:    slog.New(slog.DiscardHandler),
			Listening: func(a net.Addr) { listening <- a },
			Progress:  func(_, phase string, done, total int64) {},
		})
	}()
	select {
	case a := <-listening:
		base = "http://" + a.String()
		q.step("server", "%s/v1", base)
		return base, ended, nil
	case err := <-ended:
		return "", nil, err
	}
}

// freeAddress is the server's usual address, or any free port if that is taken.
func freeAddress() string {
	const usual = "127.0.0.1:8080"
	ln, err := net.Listen("tcp", usual)
	if err != nil {
		return "127.0.0.1:0"
	}
	ln.Close()
	return usual
}

// ask waits until the model is loaded and shows its answer as it is written.
func (q *quick) ask(ctx context.Context, base string, ended <-chan error) error {
	start := time.Now()
	c := newClient(base, "")
	defer c.http.CloseIdleConnections()
	m, err := waitReady(ctx, c, ended)
	if err != nil {
		return err
	}
	q.step("backend", "%s: %s", m.Backend, m.Device)
	if m.FallbackReason != "" {
		q.step("", "%s", m.FallbackReason)
	}
	q.step("ready", "%s parameters, %s, context %d, loaded in %s", countParameters(m.Parameters), m.Quantization, m.ContextLength, time.Since(start).Round(10*time.Millisecond))
	fmt.Fprintf(q.out, "\n> %s\n\n", q.prompt)
	temperature, most := 0.0, min(256, m.ContextLength/2)
	r := generateRequest{Messages: []message{{"user", q.prompt}}, Temperature: &temperature, MaxTokens: &most}
	show := func(text string) { fmt.Fprint(q.out, printable(text)) }
	got, err := c.generate(ctx, "/v1/chat/completions", r, show)
	var refused *apiError
	if errors.As(err, &refused) && refused.Status == 400 && got.Text == "" {
		// A model without a chat template continues text.
		r.Messages, r.Prompt = nil, &q.prompt
		got, err = c.generate(ctx, "/v1/completions", r, show)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(q.out, "\n\n%s\n", dim(q.out, got.stats()))
	return nil
}

// waitReady waits for the first model to be loaded.
func waitReady(ctx context.Context, c *client, ended <-chan error) (servedModel, error) {
	for {
		models, err := c.models(ctx)
		if err != nil {
			// A server that gave up knows better why it can't be reached.
			select {
			case reason := <-ended:
				err = cmp.Or(reason, err)
			case <-time.After(time.Second):
			}
			return servedModel{}, err
		}
		switch {
		case len(models) > 0 && models[0].Ready:
			return models[0], nil
		case len(models) > 0 && models[0].State == "failed":
			return servedModel{}, fmt.Errorf("%s can't be served: %s", models[0].ID, models[0].Error)
		}
		select {
		case <-ctx.Done():
			return servedModel{}, ctx.Err()
		case err := <-ended:
			return servedModel{}, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (q *quick) next() {
	// As it was called: "bin/inferctl" in a clone whose bin isn't on the PATH.
	program := "inferctl"
	if strings.ContainsRune(os.Args[0], os.PathSeparator) {
		program = os.Args[0]
	}
	serve := program + " serve"
	if q.model != quickModel {
		serve += " --model " + q.model
	}
	if q.backend != "" {
		serve += " --backend " + q.backend
	}
	fmt.Fprint(q.out, "\nThat was your own machine. Next:\n\n")
	t := newTable("  "+serve, "serve it, for OpenAI clients at http://127.0.0.1:8080/v1")
	t.add("  "+program+" chat", "talk to it, from another terminal")
	t.add("  "+program+" backends", "what else this machine can compute with")
	t.add("  "+program+" bench", "how fast it is")
	t.write(q.out)
	fmt.Fprintf(q.out, "\nThe server has stopped again; the model stays in %s.\n", q.store.Dir())
}

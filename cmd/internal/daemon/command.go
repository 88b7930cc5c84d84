package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/registry"
	"github.com/inferflux/inferflux/server"
)

// UsageError is a mistake in how the program was called or configured. It ends
// the program with exit code 2, all others with 1.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap is the mistake.
func (e *UsageError) Unwrap() error { return e.Err }

// Main runs inferfluxd and returns its exit code.
func Main(version string, args []string) int {
	cmd := Command("inferfluxd", version)
	cmd.Version = version
	cmd.SetArgs(args)
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{err} })
	err := cmd.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "inferfluxd:", err)
	var usage *UsageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// Command is the server's command line, as the program inferfluxd and as the
// subcommand serve.
func Command(use, version string) *cobra.Command {
	var file, listen, level, backend string
	var models []string
	var printConfig bool
	cmd := &cobra.Command{
		Use:   use,
		Short: "Serve models over the OpenAI API",
		Long: `Serve models over the OpenAI API.

Without a configuration, name the models to serve with --model: a name of the
catalog (smollm2:135m), a file of a hub (hf:org/repo/file.gguf), or a path. What
isn't on this machine yet is fetched. Requests are accepted at once; /readyz
turns 200 when the models are loaded.

The configuration is the file given by --config or INFERFLUX_CONFIG, or else
server.yaml in ~/.inferflux if there is one. Environment variables such as
INFERFLUX_SERVER_LISTEN override the file, and flags override both.

SIGTERM lets running answers finish, for server.drain_timeout at most; SIGINT
(Ctrl-C) ends them. A second signal ends the program as it is.

Exit codes: 0 stopped as told, 1 failed, 2 wrong usage or configuration.`,
		Example: fmt.Sprintf(`  %[1]s --model smollm2:135m
  %[1]s --model ./Llama-3.2-1B-Instruct-Q4_K_M.gguf --listen 127.0.0.1:9000
  %[1]s --config server.yaml --print-config`, exampleName(use)),
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s := config.Sources{File: file, Env: os.Environ()}
			home, err := registry.Home()
			if err != nil {
				return err
			}
			if s.File == "" {
				s.File = DefaultFile(home)
			}
			for _, f := range []struct{ flag, key, value string }{{"listen", "server.listen", listen}, {"log-level", "logging.level", level}} {
				if cmd.Flags().Changed(f.flag) {
					s.Flags = append(s.Flags, config.Setting{Key: f.key, Value: f.value, From: "--" + f.flag})
				}
			}
			if len(models) > 0 { // instead of the configuration's
				s.Flags = append(s.Flags, config.Setting{Key: "models", From: "--model"})
			}
			for _, m := range models {
				s.Flags = append(s.Flags, config.Setting{Key: "models[].source", Value: m, From: "--model"})
			}
			c, err := config.Load(s)
			if err != nil {
				var p config.Problems
				if errors.As(err, &p) {
					err = fmt.Errorf("the configuration has %s:\n%w", count(len(p), "problem"), err)
				}
				return &UsageError{err}
			}
			if backend != "" {
				if err := useBackend(c, backend); err != nil {
					return &UsageError{err}
				}
			}
			if printConfig {
				return c.Write(cmd.OutOrStdout())
			}
			if len(c.Models) == 0 {
				return &UsageError{errors.New("there is no model to serve: name one with --model smollm2:135m, or list models in a configuration (see --help)")}
			}
			ctx, stop := Interruptible(cmd.Context())
			defer stop()
			return Run(ctx, Options{Config: c, Home: home, Store: registry.Open(home), Logger: NewLogger(cmd.ErrOrStderr(), c.Logging), Version: version})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "config", "c", "", "configuration file (default $INFERFLUX_CONFIG, or ~/.inferflux/server.yaml if it exists)")
	f.StringArrayVarP(&models, "model", "m", nil, "model to serve, instead of those of the configuration; may be repeated")
	f.StringVar(&listen, "listen", "", "address and port to listen on (default 127.0.0.1:8080)")
	f.StringVar(&backend, "backend", "", "run every model on this backend")
	f.StringVar(&level, "log-level", "", "debug, info, warn or error (default info)")
	f.BoolVar(&printConfig, "print-config", false, "print the configuration in force, secrets left out, and exit")
	return cmd
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &UsageError{fmt.Errorf("%s takes no arguments, but was given %q (models are named with --model)", cmd.Name(), args[0])}
	}
	return nil
}

func exampleName(use string) string {
	if use == "serve" {
		return "inferctl serve"
	}
	return use
}

// DefaultFile is the configuration used when none is named; "" for none.
func DefaultFile(home string) string {
	if f := os.Getenv("INFERFLUX_CONFIG"); f != "" {
		return f
	}
	f := filepath.Join(home, "server.yaml")
	if _, err := os.Stat(f); err == nil {
		return f
	}
	return ""
}

// useBackend makes every model run on one backend.
func useBackend(c *config.Config, name string) error {
	if !c.Runtime.Backend(name).Enabled {
		return fmt.Errorf("--backend: %q is switched off by %s", name, c.Runtime.Backend(name).OffBy())
	}
	for i := range c.Models {
		c.Models[i].Backend, c.Models[i].Fallback = name, false
	}
	return nil
}

// Interruptible ends a context at the first SIGINT, with server.ErrInterrupted as
// its cause, or SIGTERM, and lets a second one end the process.
func Interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(signals) // from here on signals act as they do by default
		select {
		case s := <-signals:
			if s == os.Interrupt {
				cancel(server.ErrInterrupted)
			} else {
				cancel(nil)
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// NewLogger makes the log that a configuration describes.
func NewLogger(w io.Writer, c config.Logging) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // the configuration was checked
	terminal := false
	if f, ok := w.(*os.File); ok {
		terminal = term.IsTerminal(int(f.Fd()))
	}
	if c.Format == "json" || c.Format == "auto" && !terminal {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration { // a bare number would leave its unit open
				return slog.String(a.Key, a.Value.Duration().String())
			}
			return a
		}}))
	}
	o := &slog.HandlerOptions{Level: level}
	if terminal {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey { // the day is known to who looks on
				return slog.String(slog.TimeKey, a.Value.Time().Format(time.TimeOnly))
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Package cli is the command line inferctl: one file for each command, beside
// client.go (the HTTP client of the server's API), table.go and progress.go
// (how things are shown).
//
// Output that scripts may want goes to standard output, everything else to
// standard error. Exit codes are part of the interface; see [Main].
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/registry"
)

//go:generate go run ./gen

// Exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2   // wrong usage or configuration
	exitUnreachable = 3   // no server answers
	exitInterrupted = 130 // Ctrl-C, as shells count it
)

// Main runs inferctl and returns its exit code.
func Main(version string, args []string) int {
	root := New(version)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	if code == exitInterrupted {
		fmt.Fprintln(root.ErrOrStderr(), "interrupted")
		return code
	}
	fmt.Fprintln(root.ErrOrStderr(), "inferctl:", err)
	return code
}

func exitCode(err error) int {
	var usage *daemon.UsageError
	var unreachable *unreachableError
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &unreachable):
		return exitUnreachable
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailure
}

// app is what the commands share.
type app struct {
	version string
	server  string // --server
}

// New makes the command tree.
func New(version string) *cobra.Command {
	a := &app{version: version}
	root := &cobra.Command{
		Use:   "inferctl",
		Short: "Run language models on this machine, and talk to them",
		Long: `Run language models on this machine, and talk to them.

New here? This fetches a small model, starts a server, and asks it a question:

  inferctl quickstart

Commands that talk to a server find it by --server or INFERFLUX_SERVER
(default ` + defaultServer + `) and send INFERFLUX_API_KEY as their key.
Models and state are kept in ~/.inferflux, or in INFERFLUX_HOME.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration,
3 no server answers, 130 interrupted.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true // "completion" is text completion here
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.PersistentFlags().StringVarP(&a.server, "server", "s", envOr("INFERFLUX_SERVER", defaultServer), "address of the server to talk to")
	root.PersistentFlags().Lookup("server").DefValue = defaultServer // the help page doesn't depend on the environment
	root.AddGroup(&cobra.Group{ID: "start", Title: "Start:"}, &cobra.Group{ID: "use", Title: "Use:"}, &cobra.Group{ID: "look", Title: "Look:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("start", a.quickstart(), a.pull(), daemon.Command("serve", version))
	add("use", a.chat(), a.completion())
	add("look", a.status(), a.models(), a.backends(), a.bench())
	root.AddCommand(a.versionCommand(), shellCompletion(), llamaProcess())
	wrapArgs(root)
	return root
}

// noSuchCommand names the commands that a mistyped one may have meant.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		return fmt.Errorf("there is no command %q; did you mean %q?", cmd.CommandPath()+" "+args[0], cmd.CommandPath()+" "+s[0])
	}
	return fmt.Errorf("there is no command %q", cmd.CommandPath()+" "+args[0])
}

// wrapArgs makes wrong arguments usage errors everywhere.
func wrapArgs(cmd *cobra.Command) {
	if cmd.Args != nil {
		cmd.Args = usageArgs(cmd.Args)
	}
	for _, c := range cmd.Commands() {
		wrapArgs(c)
	}
}

func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w (see %s --help)", err, cmd.CommandPath())
		}
		return nil
	}
}

func usagef(format string, args ...any) error {
	return &daemon.UsageError{Err: fmt.Errorf(format, args...)}
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func openStore() (*registry.Store, error) {
	home, err := registry.Home()
	if err != nil {
		return nil, err
	}
	return registry.Open(home), nil
}

// isTerminal says whether a person reads (or types) there.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// dim makes what matters less look so, on a terminal.
func dim(w io.Writer, s string) string {
	if isTerminal(w) && os.Getenv("NO_COLOR") == "" {
		return "\x1b[2m" + s + "\x1b[0m"
	}
	return s
}

// Command inferfluxd serves language models over the OpenAI API. It is the same
// as "inferctl serve"; package daemon does the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

var version string // set by the linker for releases

func main() { os.Exit(run()) }

func run() int {
	cmd := daemon.Command("inferfluxd", daemon.Version(version))
	cmd.Version = daemon.Version(version)
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &daemon.UsageError{Err: err} })
	err := cmd.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "inferfluxd:", err)
	var usage *daemon.UsageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

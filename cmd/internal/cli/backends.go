package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/registry"
)

func (a *app) backends() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backends",
		Short: "Show what this machine can compute with",
		Long: `Show every backend: whether it can run on this machine, on which device, and if
not, why and what to do about it. No server is needed.`,
		Example: `  inferctl backends
  inferctl backends --json | jq -r '.[] | select(.ready) | .name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := openManager()
			if err != nil {
				return err
			}
			all := manager.Describe(cmd.Context())
			w := cmd.OutOrStdout()
			if asJSON {
				return printJSON(w, all)
			}
			t := newTable("BACKEND", "READY", "DEVICE", "VERSION")
			for _, d := range all {
				ready := "yes"
				if !d.Ready {
					ready = "no"
				}
				t.add(d.Name, ready, d.Device, d.Version)
			}
			t.write(w)
			first := true
			for _, d := range all {
				if d.Ready {
					continue
				}
				if first {
					fmt.Fprintln(w)
					first = false
				}
				fmt.Fprintf(w, "%s: %s", d.Name, d.Reason)
				if d.Remedy != "" {
					fmt.Fprintf(w, "; %s", d.Remedy)
				}
				fmt.Fprintln(w)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// openManager makes the backends' manager that a server on this machine would
// have: with its configuration and environment.
func openManager() (*backend.Manager, error) {
	home, err := registry.Home()
	if err != nil {
		return nil, err
	}
	c, err := config.Load(config.Sources{File: daemon.DefaultFile(home), Env: os.Environ()})
	if err != nil {
		return nil, usagef("%w", err)
	}
	return daemon.NewManager(c, home)
}

package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/config"
	"github.com/inferflux/inferflux/registry"
)

// backendList is what "backends --json" prints.
type backendList struct {
	HasMLX   bool                  `json:"has_mlx"`
	Backends []backend.Description `json:"backends"`
}

func (a *app) backends() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backends",
		Short: "Show what this machine can compute with",
		Long: `Show every backend: whether it can run on this machine, on which device, with
which library, and if not, why and what to do about it. No server is needed; the
configuration and the environment are those that a server would have.`,
		Example: `  inferctl backends
  inferctl backends --json | jq -r '.backends[] | select(.ready) | .name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			manager, err := openManager()
			if err != nil {
				return err
			}
			all := manager.Describe(cmd.Context())
			if asJSON {
				hasMLX := slices.ContainsFunc(all, func(d backend.Description) bool { return d.Name == "mlx" && d.Ready })
				return printJSON(cmd.OutOrStdout(), backendList{hasMLX, all})
			}
			showBackends(cmd.OutOrStdout(), all)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.AddCommand(a.backendsInstall(), a.backendsVerify())
	return cmd
}

func showBackends(w io.Writer, all []backend.Description) {
	t := newTable("BACKEND", "READY", "DEVICE", "VERSION")
	var notes []string
	for _, d := range all {
		ready, note := "yes", ""
		switch {
		case !d.Ready:
			ready, note = "no", d.Reason
			if d.Remedy != "" {
				note += "; " + d.Remedy
			}
		case d.Library != "":
			note = d.Library
		}
		t.add(d.Name, ready, d.Device, d.Version)
		if note != "" {
			notes = append(notes, d.Name+": "+note)
		}
	}
	t.write(w)
	if len(notes) > 0 {
		fmt.Fprintf(w, "\n%s\n", strings.Join(notes, "\n"))
	}
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

package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/config"
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
			c, err := config.Load(config.Sources{Env: os.Environ()})
			if err != nil {
				return usagef("%w", err)
			}
			manager, err := daemon.NewManager(c)
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

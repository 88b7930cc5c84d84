package cli

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) status() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show whether the server runs and what it serves",
		Long: `Show whether the server runs, its version, its models and how busy they are.

Exit codes: 0 every model is ready, 1 something isn't, 3 no server answers.`,
		Example: `  inferctl status
  inferctl status --server http://gpu-box:8080 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var h struct {
				Status  string   `json:"status"`
				Reasons []string `json:"reasons,omitempty"`
				Version string   `json:"version"`
				Uptime  float64  `json:"uptime_seconds"`
				Models  []struct {
					ID      string `json:"id"`
					State   string `json:"state"`
					Error   string `json:"error,omitempty"`
					Backend string `json:"backend,omitempty"`
					Device  string `json:"device,omitempty"`
					Running int    `json:"running"`
					Waiting int    `json:"waiting"`
				} `json:"models"`
			}
			if err := c.get(cmd.Context(), "/healthz", &h, http.StatusServiceUnavailable); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON {
				if err := printJSON(w, h); err != nil {
					return err
				}
			} else {
				up := time.Duration(h.Uptime * float64(time.Second)).Round(time.Second)
				fmt.Fprintf(w, "%s  InferFlux %s, up %s, %s\n\n", c.base, h.Version, up, h.Status)
				t := newTable("MODEL", "STATE", "BACKEND", ">RUNNING", ">WAITING", "DEVICE")
				for _, m := range h.Models {
					device := m.Device
					if m.Error != "" {
						device = m.Error
					}
					t.add(m.ID, m.State, m.Backend, fmt.Sprint(m.Running), fmt.Sprint(m.Waiting), device)
				}
				t.write(w)
			}
			if h.Status != "ok" {
				return fmt.Errorf("the server at %s isn't ready", c.base)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

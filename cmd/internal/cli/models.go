package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/registry"
)

func (a *app) models() *cobra.Command {
	list := a.modelsList()
	cmd := &cobra.Command{
		Use:   "models",
		Short: "List, inspect and remove models",
		Long: `List the models of this machine and of the server. With a subcommand: look into
a model file, print its path, or remove it.`,
		Example: `  inferctl models
  inferctl models inspect smollm2:135m
  inferctl models rm smollm2:135m`,
		Args: noSuchCommand,
		RunE: list.RunE,
	}
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, a.modelsInspect(), modelsPath(), modelsRemove())
	return cmd
}

// listedModel is a row of "models list".
type listedModel struct {
	Name   string       `json:"name"`
	Path   string       `json:"path,omitempty"`
	Size   int64        `json:"size,omitempty"`
	Source string       `json:"source,omitempty"`
	Pulled *time.Time   `json:"pulled,omitempty"`
	Served *servedModel `json:"served,omitempty"`
}

func (a *app) modelsList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the models of this machine and of the server",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			local, err := store.List()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			served, unserved := c.models(cmd.Context())
			// Without a server, the models on disk are the answer; but not when
			// somebody asked for a certain server.
			if unserved != nil && cmd.Flags().Changed("server") {
				return unserved
			}
			if unserved != nil {
				why, _, _ := strings.Cut(unserved.Error(), "\n")
				fmt.Fprintln(cmd.ErrOrStderr(), dim(cmd.ErrOrStderr(), why+"; these are the models on this machine"))
			}
			rows := []listedModel{}
			for _, m := range local {
				row := listedModel{Name: m.Name, Path: m.Path(), Size: m.Size(), Source: m.Source, Pulled: &m.Pulled}
				for i, s := range served {
					if s.ID == m.Name {
						row.Served = &served[i]
					}
				}
				rows = append(rows, row)
			}
			for i, s := range served {
				if !containsModel(rows, s.ID) {
					rows = append(rows, listedModel{Name: s.ID, Served: &served[i]})
				}
			}
			w := cmd.OutOrStdout()
			if asJSON {
				return printJSON(w, rows)
			}
			t := newTable("NAME", ">SIZE", "SERVED", "BACKEND", ">PARAMETERS", "QUANT", ">CONTEXT")
			for _, r := range rows {
				size, state, s := "", "no", servedModel{}
				if r.Size > 0 {
					size = registry.FormatBytes(r.Size)
				}
				if r.Served != nil {
					s, state = *r.Served, r.Served.State
				}
				ctx := ""
				if s.ContextLength > 0 {
					ctx = fmt.Sprint(s.ContextLength)
				}
				t.add(r.Name, size, state, s.Backend, countParameters(s.Parameters), s.Quantization, ctx)
			}
			if len(rows) > 0 {
				t.write(w)
			}
			more := newTable("", "", "")
			for _, e := range registry.Entries() {
				if !containsModel(rows, e.Name) {
					more.rows = append(more.rows, []string{"  inferctl pull " + e.Name, e.Title, registry.FormatBytes(e.Size)})
				}
			}
			if len(more.rows) > 0 && isTerminal(w) {
				fmt.Fprintln(w, "\nTo be had:")
				for _, r := range more.rows {
					fmt.Fprintln(w, strings.Join(r, "  "))
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func containsModel(rows []listedModel, name string) bool {
	for _, r := range rows {
		if r.Name == name {
			return true
		}
	}
	return false
}

func modelsPath() *cobra.Command {
	return &cobra.Command{
		Use:     "path NAME",
		Short:   "Print the file of a fetched model",
		Example: `  llama-cli -m "$(inferctl models path smollm2:135m)"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := findModel(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), m.Path())
			return nil
		},
	}
}

func modelsRemove() *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove"},
		Short:   "Remove fetched models from this machine",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			store, err := openStore()
			if err != nil {
				return err
			}
			for _, name := range names {
				m, err := store.Remove(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "removed %s, %s\n", m.Name, registry.FormatBytes(m.Size()))
			}
			return nil
		},
	}
}

// findModel looks a model up on this machine only.
func findModel(name string) (registry.Model, error) {
	store, err := openStore()
	if err != nil {
		return registry.Model{}, err
	}
	return store.Find(name)
}

// fetchModel looks a model up and pulls it first if need be.
func fetchModel(ctx context.Context, name string, p *progress) (registry.Model, error) {
	store, err := openStore()
	if err != nil {
		return registry.Model{}, err
	}
	defer p.done()
	return store.Pull(ctx, name, p.update)
}

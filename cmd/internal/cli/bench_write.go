package cli

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

// benchOutput are the flags that say how results are shown.
type benchOutput struct {
	format string
	asJSON bool
}

func (o *benchOutput) flags(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "output", "o", "table", "table, json, csv or markdown")
	f.BoolVar(&o.asJSON, "json", false, "the same as --output json")
}

// A benchNote tells a person who watches what is being done.
type benchNote func(format string, args ...any)

// run measures, until Ctrl-C.
func (o *benchOutput) run(cmd *cobra.Command, measure func(ctx context.Context, w *benchWriter, note benchNote) error) error {
	if o.asJSON {
		o.format = "json"
	}
	if !slices.Contains([]string{"table", "json", "csv", "markdown"}, o.format) {
		return usagef("--output must be table, json, csv or markdown, not %q", o.format)
	}
	ctx, stop := daemon.Interruptible(cmd.Context())
	defer stop()
	p := newProgress(cmd.ErrOrStderr())
	defer p.done()
	return measure(ctx, &benchWriter{w: cmd.OutOrStdout(), format: o.format, before: p.done}, func(format string, args ...any) {
		if p.terminal {
			fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
			p.drawn = true
		}
	})
}

// benchWriter shows what was measured, in the format that was asked for.
type benchWriter struct {
	w      io.Writer
	format string
	before func() // clears what is shown of the progress
}

// A benchReport is one result in every format.
type benchReport struct {
	json  any
	above []string // lines above the table
	table *table
	// numbers, if set, is the table as CSV has it: plain, with a head of names.
	numbers [][]string
}

func (b *benchWriter) write(r benchReport) error {
	b.before()
	switch b.format {
	case "json":
		return printJSON(b.w, r.json)
	case "csv":
		return csv.NewWriter(b.w).WriteAll(r.numbers)
	case "markdown":
		for _, line := range r.above {
			if line != "" {
				line += "  " // a line break
			}
			fmt.Fprintln(b.w, line)
		}
		fmt.Fprintln(b.w)
		r.table.markdown(b.w)
		return nil
	}
	for _, line := range r.above {
		fmt.Fprintln(b.w, line)
	}
	fmt.Fprintln(b.w)
	r.table.write(b.w)
	return nil
}

// markdown writes the table as GitHub renders it.
func (t *table) markdown(w io.Writer) {
	head, rule := make([]string, len(t.head)), make([]string, len(t.head))
	for i, h := range t.head {
		name, right := strings.CutPrefix(h, ">")
		head[i], rule[i] = strings.ToLower(name), "---"
		if right {
			rule[i] = "---:"
		}
	}
	for _, row := range append([][]string{head, rule}, t.rows...) {
		cells := append(append([]string(nil), row...), make([]string, len(t.head)-len(row))...)
		fmt.Fprintln(w, "| "+strings.ReplaceAll(strings.Join(cells, " | "), "  ", " ")+" |")
	}
}

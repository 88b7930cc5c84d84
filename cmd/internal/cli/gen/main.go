// Command gen writes docs/CLI.md from the help pages of inferctl and
// inferfluxd. Run it with go generate ./cmd/internal/cli.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/cli"
	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

func main() {
	log.SetFlags(0)
	// go generate runs this in the folder of package cli.
	if err := os.WriteFile(filepath.Join("..", "..", "..", "docs", "CLI.md"), []byte(page()), 0o644); err != nil {
		log.Fatal(err)
	}
}

func page() string {
	var b strings.Builder
	b.WriteString("# The command line\n\n<!-- Written by \"go generate ./cmd/internal/cli\" from the commands' own help: change it there. -->\n\n")
	b.WriteString("`inferctl help COMMAND` shows the same.\n")
	section(&b, cli.New("VERSION"))
	section(&b, daemon.Command("inferfluxd", "VERSION"))
	return b.String()
}

func section(b *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "help" {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n", cmd.CommandPath(), text(cmd))
	fmt.Fprintf(b, "\n    %s\n", cmd.UseLine())
	if cmd.Example != "" {
		fmt.Fprintf(b, "\nExamples:\n\n%s\n", indent(cmd.Example))
	}
	flags := cmd.NonInheritedFlags()
	if usage := strings.TrimRight(flags.FlagUsages(), "\n"); usage != "" {
		fmt.Fprintf(b, "\nFlags:\n\n%s\n", indent(usage))
	}
	for _, sub := range cmd.Commands() {
		section(b, sub)
	}
}

// text is the long description, with its indented lists as code blocks.
func text(cmd *cobra.Command) string {
	if cmd.Long == "" {
		return cmd.Short + "."
	}
	lines := strings.Split(cmd.Long, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "  ") {
			lines[i] = "  " + line
		}
	}
	return strings.Join(lines, "\n")
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

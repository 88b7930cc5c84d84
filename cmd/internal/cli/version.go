package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/simd"
)

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]string{
					"version": a.version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "cpu_kernels": simd.Tier()})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "inferctl %s, %s, %s/%s, CPU kernels %s\n", a.version, runtime.Version(), runtime.GOOS, runtime.GOARCH, simd.Tier())
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func shellCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "shell-completion bash|zsh|fish|powershell",
		Short: "Print a script that completes commands in your shell",
		Example: `  source <(inferctl shell-completion bash)
  inferctl shell-completion zsh > "${fpath[1]}/_inferctl"`,
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			}
			return root.GenPowerShellCompletionWithDesc(w)
		},
	}
}

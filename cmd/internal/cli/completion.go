package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

func (a *app) completion() *cobra.Command {
	var s samplingFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "completion [PROMPT]",
		Short: "Let the model continue a text",
		Long: `Let the model continue a text as it is, without a chat template. The prompt is the
argument, or what comes in on standard input, less one newline at its end. For a
conversation, use chat.
(Shell completion is "inferctl shell-completion".)`,
		Example: `  inferctl completion "Once upon a time" -n 50
  inferctl completion -t 0 < prompt.txt > answer.txt`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			prompt := strings.Join(args, " ")
			if len(args) == 0 {
				if isTerminal(cmd.InOrStdin()) {
					return usagef("there is no prompt: give it as an argument or on standard input")
				}
				const most = 64 << 20
				data, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), most))
				if err != nil {
					return fmt.Errorf("read the prompt from standard input: %w", err)
				}
				prompt = strings.TrimSuffix(string(data), "\n") // which echo and editors add
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx, stop := daemon.Interruptible(cmd.Context())
			defer stop()
			r := s.request(cmd)
			r.Prompt = &prompt
			w := cmd.OutOrStdout()
			show := func(text string) {
				if isTerminal(w) {
					text = printable(text)
				}
				fmt.Fprint(w, text)
			}
			if asJSON {
				show = func(string) {}
			}
			got, err := c.generate(ctx, "/v1/completions", r, show)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(w, map[string]any{"text": got.Text, "finish_reason": got.Finish, "prompt_tokens": got.PromptTokens,
					"completion_tokens": got.Tokens, "first_token_seconds": got.FirstToken.Seconds(), "tokens_per_second": got.speed()})
			}
			fmt.Fprintln(w)
			if isTerminal(w) {
				fmt.Fprintln(cmd.ErrOrStderr(), dim(cmd.ErrOrStderr(), got.stats()))
			}
			return nil
		},
	}
	s.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON when the answer is complete")
	return cmd
}

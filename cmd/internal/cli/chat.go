package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const chatHelp = `  /help          this list
  /system TEXT   begin anew with TEXT as the system message; without TEXT, show it
  /clear         forget the conversation
  /exit          leave (or Ctrl-D)

Ctrl-C ends an answer that is being written. Up and down recall what you typed.`

func (a *app) chat() *cobra.Command {
	var s samplingFlags
	var system string
	cmd := &cobra.Command{
		Use:   "chat [MESSAGE]",
		Short: "Talk to a model",
		Long: `Talk to a model. With a message, print the answer and stop. Without one, hold a
conversation; the model sees all of it. When standard input isn't a terminal,
each line is a message, and only answers are printed.

In a conversation:

` + chatHelp,
		Example: `  inferctl chat
  inferctl chat "Name three rivers." -t 0
  printf 'My name is Ada.\nWhat is my name?\n' | inferctl chat --system "Be brief."`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			t := &conversation{client: c, request: s.request(cmd), out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr()}
			t.reset(system)
			if len(args) > 0 {
				return t.say(cmd.Context(), strings.Join(args, " "))
			}
			if in, ok := cmd.InOrStdin().(*os.File); ok && isTerminal(in) && isTerminal(t.out) {
				return t.interactive(cmd.Context(), in)
			}
			return t.lines(cmd.Context(), cmd.InOrStdin())
		},
	}
	s.register(cmd)
	cmd.Flags().StringVar(&system, "system", "", "system message")
	return cmd
}

// conversation is a chat: its history, and where it is shown.
type conversation struct {
	client  *client
	request generateRequest // the history is in Messages
	system  string
	out     io.Writer
	notes   io.Writer
}

func (t *conversation) reset(system string) {
	t.system, t.request.Messages = system, nil
	if system != "" {
		t.request.Messages = []message{{"system", system}}
	}
}

// say sends a message and shows the answer. A failed or interrupted exchange
// leaves the history as it was, except that an interrupted answer stays with
// what had been shown.
func (t *conversation) say(ctx context.Context, text string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	before := t.request.Messages
	t.request.Messages = append(slices.Clone(before), message{"user", text})
	terminal, endsLine := isTerminal(t.out), false
	got, err := t.client.generate(ctx, "/v1/chat/completions", t.request, func(piece string) {
		if terminal {
			piece = printable(piece)
		}
		fmt.Fprint(t.out, piece)
		endsLine = strings.HasSuffix(piece, "\n")
	})
	if got.Text != "" && !endsLine {
		fmt.Fprintln(t.out)
	}
	if err != nil && (got.Text == "" || !errors.Is(err, context.Canceled)) {
		t.request.Messages = before
		return err
	}
	t.request.Messages = append(t.request.Messages, message{"assistant", got.Text})
	if terminal && err == nil {
		note := got.stats()
		if got.Finish == "length" {
			note += ", cut at the longest answer allowed"
		}
		fmt.Fprintln(t.notes, dim(t.notes, note))
	}
	return err
}

// enter acts on a line: nothing for an empty one, a command, or something to say.
func (t *conversation) enter(ctx context.Context, line string) (leave bool, err error) {
	if line == "" {
		return false, nil
	}
	if leave, isCommand := t.command(line); isCommand {
		return leave, nil
	}
	return false, t.say(ctx, line)
}

// lines holds a conversation with a pipe. The first error ends it.
func (t *conversation) lines(ctx context.Context, in io.Reader) error {
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		if leave, err := t.enter(ctx, strings.TrimSpace(scan.Text())); leave || err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	return nil
}

// command carries out a line that begins with a slash.
func (t *conversation) command(line string) (leave, isCommand bool) {
	if !strings.HasPrefix(line, "/") {
		return false, false
	}
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "/exit", "/quit", "/bye":
		return true, true
	case "/help", "/?":
		fmt.Fprintln(t.notes, chatHelp)
	case "/clear":
		t.reset(t.system)
		fmt.Fprintln(t.notes, dim(t.notes, "forgotten"))
	case "/system":
		if rest == "" {
			fmt.Fprintf(t.notes, "system message: %q\n", t.system)
			break
		}
		t.reset(rest)
		fmt.Fprintln(t.notes, dim(t.notes, "the conversation begins anew with this system message"))
	default:
		fmt.Fprintf(t.notes, "there is no command %s; /help lists them\n", name)
	}
	return false, true
}

// interactive holds a conversation with a person: a line editor with history
// reads messages, and the terminal is as usual while an answer is written, so
// that Ctrl-C works.
func (t *conversation) interactive(ctx context.Context, in *os.File) error {
	models, err := t.client.models(ctx)
	if err != nil {
		return err
	}
	name := t.request.Model
	if name == "" && len(models) > 0 {
		name = models[0].ID
	}
	fmt.Fprintf(t.notes, "%s at %s. /help shows what you can do.\n", name, t.client.base)
	editor := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, t.out}, "> ")
	for {
		line, err := readMessage(in, editor)
		if errors.Is(err, io.EOF) {
			fmt.Fprintln(t.out)
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from the terminal: %w", err)
		}
		leave, err := t.enter(ctx, line)
		if leave {
			return nil
		}
		if err != nil {
			var unreachable *unreachableError
			if errors.As(err, &unreachable) {
				return err
			}
			// Anything else concerns this one message.
			if !errors.Is(err, context.Canceled) {
				fmt.Fprintln(t.notes, "error:", err)
			}
		}
	}
}

// readMessage reads one message: a line, or what was pasted at once.
func readMessage(in *os.File, editor *term.Terminal) (string, error) {
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return "", err
	}
	defer func() { _ = term.Restore(int(in.Fd()), old) }() // what could be done about it?
	if width, height, err := term.GetSize(int(in.Fd())); err == nil && width > 0 {
		_ = editor.SetSize(width, height) // a wrong size only looks bad
	}
	editor.SetBracketedPasteMode(true)
	defer editor.SetBracketedPasteMode(false)
	var lines []string
	for {
		line, err := editor.ReadLine()
		pasted := errors.Is(err, term.ErrPasteIndicator)
		if err != nil && !pasted {
			return "", err
		}
		lines = append(lines, line)
		if !pasted {
			return strings.TrimSpace(strings.Join(lines, "\n")), nil
		}
	}
}

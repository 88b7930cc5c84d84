package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A Peer is another engine, in a process of its own that runs a test for each line
// that it reads: a [Test] in JSON, answered by a line with a [reply]. Before the first
// it writes a line with an [About], once its model is loaded. It ends when its input
// does.
type Peer struct {
	About
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
	errors tail
}

// About is what a peer says of itself.
type About struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Failure string `json:"failure,omitempty"` // why it can't run
}

// reply is what came of a test.
type reply struct {
	Seconds     float64 `json:"seconds"`
	Unsupported bool    `json:"unsupported,omitempty"`
	Failure     string  `json:"failure,omitempty"`
}

// StartPeer runs a program that is a peer and waits until it is ready. The end of ctx
// ends it.
func StartPeer(ctx context.Context, name string, args ...string) (*Peer, error) {
	p := &Peer{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stderr = &p.errors
	p.cmd.WaitDelay = time.Second
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the peer: %w", err)
	}
	if err := p.read(&p.About); err != nil {
		p.Close()
		return nil, fmt.Errorf("start the peer: %w", err)
	}
	if p.Failure != "" {
		p.Close()
		return nil, fmt.Errorf("start the peer: %s", p.Failure)
	}
	return p, nil
}

// read takes the next line that is JSON; libraries may print others.
func (p *Peer) read(v any) error {
	for p.out.Scan() {
		if line := p.out.Bytes(); bytes.HasPrefix(line, []byte("{")) {
			return json.Unmarshal(line, v)
		}
	}
	err := p.cmd.Wait()
	if err == nil {
		err = errors.New("it ended")
	}
	if said := p.errors.String(); said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// Run implements Runner.
func (p *Peer) Run(_ context.Context, t Test) (Timing, error) {
	line, err := json.Marshal(t)
	if err != nil {
		return Timing{}, err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return Timing{}, fmt.Errorf("%s: %w: %s", p.Name, err, p.errors.String())
	}
	var r reply
	if err := p.read(&r); err != nil {
		return Timing{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	switch {
	case r.Unsupported:
		return Timing{}, ErrUnsupported
	case r.Failure != "":
		return Timing{}, fmt.Errorf("%s: %s", p.Name, r.Failure)
	}
	return Timing{Took: time.Duration(r.Seconds * float64(time.Second))}, nil
}

// Close ends the process.
func (p *Peer) Close() {
	_ = p.in.Close()
	if p.cmd.ProcessState == nil {
		wait := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait() // it has nothing more to say
		wait.Stop()
	}
}

// tail keeps the end of what a process says of its errors.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b...)
	t.b = t.b[max(0, len(t.b)-2000):]
	return len(b), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }

// ServePeer is the other side: it says who it is and runs tests until the input ends.
func ServePeer(ctx context.Context, in io.Reader, out io.Writer, about About, run Runner) error {
	answers := json.NewEncoder(out)
	if err := answers.Encode(about); err != nil || about.Failure != "" {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var t Test
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			return fmt.Errorf("a test: %w", err)
		}
		timing, err := run.Run(ctx, t)
		r := reply{Seconds: timing.Took.Seconds()}
		switch {
		case errors.Is(err, ErrUnsupported):
			r.Unsupported = true
		case err != nil:
			r.Failure = err.Error()
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// self is how this program runs itself again.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program, to run it again: %w", err)
	}
	return path, nil
}

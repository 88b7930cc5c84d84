// Package subprocess runs other programs so that none of them outlives its
// context: a compiler driver's passes and a package manager's helpers end with
// the program that was started.
package subprocess

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// grace is how long a program may take to end when its context has ended; then
// it is killed.
const grace = time.Second

// Command is exec.CommandContext for a program that, with all that it starts, is
// told to end when ctx does.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = grace
	endTogether(cmd)
	return cmd
}

// LastLines are the last n lines of a program's output, where it says what went
// wrong.
func LastLines(output string, n int) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

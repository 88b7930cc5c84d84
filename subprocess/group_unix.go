//go:build unix

package subprocess

import (
	"os/exec"
	"syscall"
)

// endTogether gives the program a process group of its own, to which the signal
// to end goes.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

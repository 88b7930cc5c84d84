//go:build !unix

package subprocess

import "os/exec"

// endTogether has nothing to do here: only the program itself is ended.
func endTogether(*exec.Cmd) {}

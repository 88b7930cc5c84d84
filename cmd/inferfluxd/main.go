// Command inferfluxd serves language models over the OpenAI API. It is the same
// as "inferctl serve"; package daemon does the work.
package main

import (
	"os"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

var version string // set by the linker for releases

func main() { os.Exit(daemon.Main(daemon.Version(version), os.Args[1:])) }

// Command inferctl is InferFlux's command line; package cli does the work.
package main

import (
	"os"

	"github.com/inferflux/inferflux/cmd/internal/cli"
	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

var version string // set by the linker for releases

func main() { os.Exit(cli.Main(daemon.Version(version), os.Args[1:])) }

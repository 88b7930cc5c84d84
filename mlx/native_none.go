//go:build !((linux || darwin) && (amd64 || arm64) && !nonative)

package mlx

import (
	"fmt"
	"runtime"
)

// errNoNative says that this build loads no native libraries: the system is not
// one that MLX runs on, or the tag nonative asked for a program without a dynamic
// loader. Nothing below is ever reached.
var errNoNative = fmt.Errorf("this build of the program (%s/%s) loads no native libraries; use one for Linux or macOS built without the tag nonative", runtime.GOOS, runtime.GOARCH)

func openShared(string, bool) (uintptr, error) { return 0, errNoNative }

func lookup(uintptr, string) uintptr                { return 0 }
func threadSelf() uintptr                           { return 0 }
func callC(uintptr, ...uintptr) uintptr             { return 1 }
func callC2(uintptr, ...uintptr) (uintptr, uintptr) { return 0, 0 }
func callMixed(*mixedCall) uintptr                  { return 1 }
func callEach(*eachCall)                            {}
func callback(any) uintptr                          { return 0 }

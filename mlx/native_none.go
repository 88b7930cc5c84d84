//go:build !((linux || darwin) && (amd64 || arm64) && !nonative)

package mlx

import (
	"fmt"
	"runtime"
)

// This build loads no native libraries: openShared refuses, so nothing below is
// ever reached.

func openShared(path string, _ bool) (uintptr, error) {
	return 0, fmt.Errorf("this build of the program for %s/%s loads no native libraries, so not %s", runtime.GOOS, runtime.GOARCH, path)
}

func lookup(uintptr, string) uintptr                { return 0 }
func threadSelf() uintptr                           { return 0 }
func callC(uintptr, ...uintptr) uintptr             { return 1 }
func callC2(uintptr, ...uintptr) (uintptr, uintptr) { return 0, 0 }
func callMixed(*mixedCall) uintptr                  { return 1 }
func callEach(*eachCall)                            {}
func callback(any) uintptr                          { return 0 }

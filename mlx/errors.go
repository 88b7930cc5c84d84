package mlx

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// ErrOutOfMemory is what an [*Error] is, in the sense of errors.Is, when the
// device's memory did not suffice.
var ErrOutOfMemory = errors.New("out of memory")

// Error is a failure that MLX reported of an operation.
type Error struct {
	Op      string   // the operation as MLX names it: "matmul"
	Message string   // what MLX said
	Shapes  []string // the array arguments: "[2 3] float32"
	Err     error    // what a Go function called by MLX returned, or nil
}

func (e *Error) Error() string {
	text := "mlx " + e.Op
	if len(e.Shapes) > 0 {
		text += " of " + strings.Join(e.Shapes, " and ")
	}
	return text + ": " + e.Message
}

// Unwrap is the error of a Go function that MLX called.
func (e *Error) Unwrap() error { return e.Err }

// outOfMemory matches the allocators' messages: of the CPU and Metal ("[malloc]
// Unable to allocate", "[metal::malloc] Attempting to allocate … greater
// than"), and of CUDA ("cudaMallocAsync … failed: out of memory").
var outOfMemory = regexp.MustCompile(`(?i)unable to allocate|attempting to allocate|out of memory|resource limit`)

// Is says whether the error is [ErrOutOfMemory].
func (e *Error) Is(target error) bool {
	return target == ErrOutOfMemory && outOfMemory.MatchString(e.Message)
}

// MissingSymbolsError lists the functions that a library lacks.
type MissingSymbolsError struct {
	Path    string
	Version string // MLX's version, "" if unknown
	Symbols []string
}

func (e *MissingSymbolsError) Error() string {
	of := ""
	if e.Version != "" {
		of = " (MLX " + e.Version + ")"
	}
	return fmt.Sprintf("%s%s lacks %d functions: %s; install a newer mlx-c, or the one that inferctl backends install mlx builds",
		e.Path, of, len(e.Symbols), strings.Join(e.Symbols, ", "))
}

// current is the library whose failures MLX reports: its error handler and
// closures are C functions, made once and never freed.
var current *Library

// errorCallback is the C function that MLX calls with every failure, on the
// thread and in the course of the call that failed.
var errorCallback = sync.OnceValue(func() uintptr {
	return callback(func(message, _ uintptr) uintptr {
		lastMessage = goString(message)
		return 0
	})
})

// lastMessage is MLX's report of the failure of the call under way. It belongs
// to the library's thread.
var lastMessage string

var (
	// mlx-c adds the place in its own source: " at /…/ops.cpp:1234".
	sourcePlace = regexp.MustCompile(` at \S+:\d+$`)
	// MLX begins with the name that Op gives already: "[matmul] ".
	opPrefix = regexp.MustCompile(`^\[[a-z_0-9]+\] `)
)

// takeMessage is MLX's last report, cleaned, and forgets it.
func takeMessage(op string) string {
	message := sourcePlace.ReplaceAllString(lastMessage, "")
	lastMessage = ""
	if p := opPrefix.FindString(message); p == "["+op+"] " {
		message = message[len(p):]
	}
	if message == "" {
		return "failed without a reason"
	}
	return message
}

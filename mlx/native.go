//go:build (linux || darwin) && (amd64 || arm64) && !nonative

package mlx

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

// mixedTrampoline and eachTrampoline are the addresses of two C functions
// written in assembly (call_amd64.s, call_arm64.s). purego's fast path passes
// integers only, and its path for floats allocates; the first gives float
// arguments at the price of integer ones. The second makes many calls of one
// function for the price of one passage into C.
var mixedTrampoline, eachTrampoline uintptr

// errNoNative is nil: this build loads native libraries.
var errNoNative error

// openShared maps a shared library; global makes its symbols available to those
// loaded later.
func openShared(path string, global bool) (uintptr, error) {
	mode := purego.RTLD_NOW | purego.RTLD_LOCAL
	if global {
		mode = purego.RTLD_NOW | purego.RTLD_GLOBAL
	}
	return purego.Dlopen(path, mode)
}

// lookup is the address of a symbol, or 0.
func lookup(library uintptr, name string) uintptr {
	p, err := purego.Dlsym(library, name)
	if err != nil {
		return 0
	}
	return p
}

// threadSelf is the address of the C library's pthread_self.
func threadSelf() uintptr { return lookup(purego.RTLD_DEFAULT, "pthread_self") }

// callC calls a C function of integers and pointers. What a pointer converted
// in the argument list points to is moved to the heap, where it stays put. An
// argument list costs an allocation; a slice of a heap object in its place
// doesn't.
//
//go:uintptrescapes
func callC(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// callC2 is callC for a function that returns a struct of two pointers.
//
//go:uintptrescapes
func callC2(fn uintptr, args ...uintptr) (uintptr, uintptr) {
	r1, r2, _ := purego.SyscallN(fn, args...)
	return r1, r2
}

// callMixed calls a C function of integers, pointers and floats. The struct
// must lie on the heap.
func callMixed(c *mixedCall) uintptr {
	c.self[0] = uintptr(unsafe.Pointer(c))
	r, _, _ := purego.SyscallN(mixedTrampoline, c.self[:]...)
	return r
}

// callEach calls a C function once with each handle. The struct must lie on the
// heap.
func callEach(c *eachCall) {
	c.self[0] = uintptr(unsafe.Pointer(c))
	purego.SyscallN(eachTrampoline, c.self[:]...)
}

// callback makes a C function of a Go function of uintptrs. They are never
// freed and their number is limited, so each is made once a process.
func callback(f any) uintptr { return purego.NewCallback(f) }

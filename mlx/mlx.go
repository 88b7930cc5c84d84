// Package mlx calls Apple's MLX array library from Go, without cgo.
//
// MLX computes on Apple GPUs (Metal), NVIDIA GPUs (CUDA) and CPUs. This package
// loads its C API, mlx-c, at run time: the genuine one (Homebrew's, or one built
// from source) or our own build of the part that is used here (package shim).
//
// # Opening
//
// [Find] says where the library lies, [Open] loads it, once a process, and
// refuses versions known to be wrong:
//
//	location, err := mlx.Find(mlx.FindOptions{})
//	lib, err := mlx.Open(location)
//
// A program built with the tag nonative loads nothing, and is linked statically
// on Linux; Open then fails.
//
// # One thread
//
// MLX keeps streams, compiled functions and random state per thread. A [Library]
// therefore owns one goroutine locked to an operating-system thread, and
// everything that makes, takes or frees an [Array] must run there, in a function
// given to [Library.Do]:
//
//	lib.Do(func() {
//		s := lib.NewScope(stream)
//		defer s.Close()
//		product := s.Matmul(a, b)
//		values := s.Float32s(product)
//	})
//
// Methods that touch no array (memory figures, devices, versions, streams,
// compiling) may be called from anywhere; they go to that thread by themselves
// where they must.
//
// # Scopes
//
// Operations are methods of a [Scope]. They compute nothing: they build a graph,
// which [Scope.Eval] or [Scope.AsyncEval] runs, or reading a value. A scope owns the
// arrays that its methods made and frees them all with [Scope.Close] or
// [Scope.Reset], except those given to [Scope.Keep]. No finalizer frees anything,
// and [Library.Live] counts what is alive.
//
// The first failure of a scope sticks: every later method does nothing and
// returns the zero Array, and [Scope.Err] tells what went wrong, with the
// operation's name and the shapes of its arguments. So a whole network may be
// written without looking at errors, which are checked once, at the end.
//
// While the host holds an intermediate array, MLX can neither reuse its memory
// for a result nor release it. A step that is to run lean keeps its outputs,
// resets the scope, and only then evaluates:
//
//	logits := s.Keep(network(s, ids))
//	s.Reset()
//	s.AsyncEval(logits)
package mlx

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Library is a loaded MLX.
type Library struct {
	location Location
	version  version
	fns      [fnCount]uintptr

	jobs chan job
	self uintptr // pthread_self of the owning thread
	// pthreadSelf is the address of the function of that name.
	pthreadSelf uintptr

	devices     []Device
	metal, cuda bool
	cpuStream   uintptr // for loading and saving files

	live atomic.Int64

	// What follows belongs to the owning thread.

	closures  map[uintptr]*Compiled
	closureID uintptr
	failed    callbackFailure
	freeing   eachCall
	args      [1]uintptr // of a query
}

// loaded is the process's one library. MLX keeps global state, so a second copy
// could not live beside it.
var loaded struct {
	sync.Mutex
	lib *Library
}

// Open loads the library at a location, as [Find] returns it. A process loads
// one MLX: opening the same file again gives the same Library, opening another
// fails. Versions known to be wrong give a [*VersionError]. What fails to load
// leaves the process as it was, except that the file may stay mapped.
func Open(l Location) (*Library, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if lib := loaded.lib; lib != nil {
		if realPath(lib.location.Path) == realPath(l.Path) {
			return lib, nil
		}
		return nil, fmt.Errorf("open MLX at %s: this process already uses the one at %s; restart it to use another", l.Path, lib.location.Path)
	}
	lib, err := load(l)
	if err != nil {
		return nil, err
	}
	loaded.lib = lib
	return lib, nil
}

func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// load maps the library, checks it and starts its thread.
func load(l Location) (*Library, error) {
	if errNoNative != nil {
		return nil, fmt.Errorf("load %s: %w", l.Path, errNoNative)
	}
	if l.MLX != "" {
		// libmlxc does not say where its libmlx lies: with that one loaded, and its
		// symbols visible, the loader looks no further.
		if _, err := openShared(l.MLX, true); err != nil {
			return nil, fmt.Errorf("load %s: %w; install MLX anew (inferctl backends install mlx)", l.MLX, err)
		}
	}
	handle, err := openShared(l.Path, false)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w; if libmlx is what is missing, install MLX anew (inferctl backends install mlx, or brew reinstall mlx mlx-c)", l.Path, err)
	}
	lib := &Library{location: l, closures: map[uintptr]*Compiled{}}
	var missing []string
	for f, name := range symbolNames {
		if lib.fns[f] = lookup(handle, name); lib.fns[f] == 0 && !optional[fn(f)] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 && lib.fns[fnVersion] == 0 {
		return nil, fmt.Errorf("load %s: not mlx-c, or one older than 0.6: %w", l.Path, &MissingSymbolsError{Path: l.Path, Symbols: missing})
	}
	lib.pthreadSelf = threadSelf()
	if lib.pthreadSelf == 0 {
		return nil, errors.New("load MLX: the C library lacks pthread_self")
	}
	lib.jobs = make(chan job)
	started := make(chan error)
	go lib.own(func() error { return lib.start(missing) }, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return lib, nil
}

// start prepares the library, on its own thread.
func (l *Library) start(missing []string) error {
	if l.fns[fnSetErrorHandler] != 0 {
		// Before anything that can fail: MLX's own handler ends the process.
		callC(l.fns[fnSetErrorHandler], errorCallback(), 0, 0)
	}
	if err := l.readVersion(missing); err != nil {
		return err
	}
	if len(missing) > 0 {
		return &MissingSymbolsError{Path: l.location.Path, Version: l.Version(), Symbols: missing}
	}
	current = l
	if err := l.readDevices(); err != nil {
		return fmt.Errorf("load %s: %w", l.location.Path, err)
	}
	return nil
}

// Version is MLX's version: "0.32.4".
func (l *Library) Version() string { return l.version.text }

// Location is where the library was loaded from.
func (l *Library) Location() Location { return l.location }

// Live is the number of arrays made and not yet freed.
func (l *Library) Live() int { return int(l.live.Load()) }

// Free frees arrays that a scope's Keep released. Zero arrays are passed over.
func (l *Library) Free(arrays ...Array) {
	for _, a := range arrays {
		if a.ctx != 0 {
			l.query(fnArrayFree, a)
			l.live.Add(-1)
		}
	}
}

// freeAll frees many arrays in one passage into C.
func (l *Library) freeAll(handles []uintptr) {
	if len(handles) == 0 {
		return
	}
	l.freeing.fn, l.freeing.handles, l.freeing.n = l.fns[fnArrayFree], unsafe.SliceData(handles), uintptr(len(handles))
	callEach(&l.freeing)
	l.freeing.handles = nil
	l.live.Add(-int64(len(handles)))
}

// query calls a function of one array.
func (l *Library) query(f fn, a Array) uintptr {
	l.args[0] = a.ctx
	return callC(l.fns[f], l.args[:]...)
}

// Shape is the array's shape, outermost dimension first; nil for the zero Array.
func (l *Library) Shape(a Array) []int { return l.AppendShape(nil, a) }

// AppendShape appends the array's shape to dst.
func (l *Library) AppendShape(dst []int, a Array) []int {
	if a.ctx == 0 {
		return dst
	}
	n := l.query(fnArrayNdim, a)
	if n == 0 {
		return dst
	}
	for _, d := range unsafe.Slice((*int32)(pointer(l.query(fnArrayShape, a))), n) {
		dst = append(dst, int(d))
	}
	return dst
}

// DType is the type of the array's elements; Bool for the zero Array.
func (l *Library) DType(a Array) DType {
	if a.ctx == 0 {
		return Bool
	}
	return DType(l.query(fnArrayDtype, a))
}

// Size is the array's number of elements; 0 for the zero Array.
func (l *Library) Size(a Array) int {
	if a.ctx == 0 {
		return 0
	}
	return int(l.query(fnArraySize, a))
}

// NBytes is the size of the array's elements in bytes; 0 for the zero Array.
func (l *Library) NBytes(a Array) int {
	if a.ctx == 0 {
		return 0
	}
	return int(l.query(fnArrayNbytes, a))
}

// pointer makes a pointer of an address in C's memory, which Go's collector
// neither moves nor frees.
func pointer(address uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&address))
}

// goString copies a string of C.
func goString(address uintptr) string {
	if address == 0 {
		return ""
	}
	p := (*byte)(pointer(address))
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

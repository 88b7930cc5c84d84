package mlx

import (
	"fmt"
	"sync"
	"unsafe"
)

// Compiled is a function whose graph MLX has simplified and fused. Make it with
// [Library.Compile], call it with [Scope.Call].
type Compiled struct {
	lib     *Library
	f       func(s *Scope, in []Array) []Array
	closure uintptr
	id      uintptr
	stream  Stream // of the call under way
}

// callbackFailure is what went wrong in a Go function that MLX called.
type callbackFailure struct {
	err      error
	panicked bool
	value    any
}

// closureCallback is the C function behind every compiled function; payload
// says which.
var closureCallback = sync.OnceValue(func() uintptr {
	return callback(func(result, input, payload uintptr) uintptr {
		return current.runClosure(result, input, payload)
	})
})

// Compile makes a function of arrays that runs fused. MLX calls f once for every
// new combination of shapes and types of the arguments, or if shapeless once for
// every combination of types and numbers of dimensions, to record its graph; f
// must therefore depend on nothing else, must not evaluate or read arrays, and
// must not call runtime.Goexit. The scope that f gets ends with its call; arrays
// from outside that f uses are recorded as constants. On the CPU, MLX compiles what it fused with
// the machine's C++ compiler and fails if there is none.
func (l *Library) Compile(f func(s *Scope, in []Array) []Array, shapeless bool) (c *Compiled, err error) {
	l.Do(func() {
		l.closureID++
		c = &Compiled{lib: l, f: f, id: l.closureID}
		plain := callC(l.fns[fnClosureNewFuncPayload], closureCallback(), c.id, 0)
		compiled := new(uintptr)
		if plain == 0 || int32(callC(l.fns[fnCompile], uintptr(unsafe.Pointer(compiled)), plain, boolArg(shapeless))) != 0 {
			c, err = nil, &Error{Op: "compile", Message: takeMessage("compile")}
		} else {
			c.closure = *compiled
			l.closures[c.id] = c
		}
		if plain != 0 {
			callC(l.fns[fnClosureFree], plain)
		}
	})
	return c, err
}

// Free frees the compiled function and what MLX recorded of it. Freeing twice is
// harmless.
func (c *Compiled) Free() {
	c.lib.Do(func() {
		if c.closure != 0 {
			callC(c.lib.fns[fnClosureFree], c.closure)
			delete(c.lib.closures, c.id)
			c.closure = 0
		}
	})
}

// Call calls a compiled function. A panic of the function comes out of Call; a
// failure of its scope becomes this scope's.
func (s *Scope) Call(c *Compiled, in ...Array) []Array {
	if s.err != nil {
		return nil
	}
	if c.closure == 0 {
		s.failWith(&Error{Op: "compiled function", Message: "is freed"})
		return nil
	}
	v := s.vector(fnClosureApply, in)
	if v == 0 {
		return nil
	}
	c.stream = s.stream
	s.out = 0
	rc := callC(s.lib.fns[fnClosureApply], s.outPtr, c.closure, v)
	s.freeVector(v)
	if int32(rc) == 0 {
		return s.unpack(s.out)
	}
	failed, e := s.lib.failed, &Error{Op: "compiled function", Message: takeMessage("compile")}
	s.lib.failed = callbackFailure{}
	if failed.panicked {
		panic(failed.value)
	}
	if failed.err != nil {
		e.Message, e.Err = failed.err.Error(), failed.err
	}
	s.failWith(e, in...)
	return nil
}

// runClosure records the graph of a compiled function's Go function. A panic
// must not cross C's frames: it waits until they are left.
func (l *Library) runClosure(result, input, payload uintptr) (status uintptr) {
	defer func() {
		if v := recover(); v != nil {
			l.failed = callbackFailure{panicked: true, value: v}
			status = 1
		}
	}()
	c := l.closures[payload]
	if c == nil {
		l.failed.err = fmt.Errorf("mlx: compiled function %d is freed", payload)
		return 1
	}
	s := l.NewScope(c.stream)
	defer s.Close()
	n := int(callC(l.fns[fnVectorArraySize], input))
	in := make([]Array, n)
	for i := range in {
		s.out = 0
		if rc := callC(l.fns[fnVectorArrayGet], s.outPtr, input, uintptr(i)); int32(rc) != 0 {
			s.fail(fnVectorArrayGet)
			l.failed.err = s.err
			return 1
		}
		in[i] = s.made(s.out)
	}
	out := c.f(s, in)
	if s.err != nil {
		l.failed.err = s.err
		return 1
	}
	s.handles = s.handles[:0]
	for _, a := range out {
		s.handles = append(s.handles, a.ctx)
	}
	if rc := callC(l.fns[fnVectorArraySetData], result, uintptr(unsafe.Pointer(unsafe.SliceData(s.handles))), uintptr(len(out))); int32(rc) != 0 {
		s.fail(fnVectorArraySetData, out...)
		l.failed.err = s.err
		return 1
	}
	return 0
}

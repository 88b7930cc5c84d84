package mlx

import (
	"fmt"
	"runtime"
	"unsafe"
)

// KernelSource is a GPU kernel in source, compiled when it first runs. Source is
// the body of the kernel; MLX writes the head, with the names of Inputs and
// Outputs as its parameters (and name_shape, name_strides, name_ndim of an input
// if the body mentions them).
type KernelSource struct {
	Name            string
	Inputs, Outputs []string
	Source          string
	Header          string // goes before the kernel: includes, functions
	// EnsureRowContiguous copies inputs whose rows are not contiguous.
	EnsureRowContiguous bool
	// SharedMemory is what a CUDA kernel needs of dynamic shared memory, in bytes.
	SharedMemory int
	// AtomicOutputs makes the outputs of a Metal kernel atomic.
	AtomicOutputs bool
}

// Kernel is a GPU kernel of one's own. Make it with [Library.NewCUDAKernel] or
// [Library.NewMetalKernel], run it with [Scope.Launch].
type Kernel struct {
	ctx  uintptr
	name string
	fns  *kernelFunctions
}

// kernelFunctions are the functions for kernels of one kind.
type kernelFunctions struct {
	free, apply, configNew, configFree, addOutput, setGrid, setThreadGroup, setInitValue, addDtype, addInt, addBool fn
}

var (
	cudaFunctions = &kernelFunctions{
		fnCUDAKernelFree, fnCUDAKernelApply, fnCUDAConfigNew, fnCUDAConfigFree, fnCUDAConfigAddOutput, fnCUDAConfigSetGrid,
		fnCUDAConfigSetThreadGroup, fnCUDAConfigSetInitValue, fnCUDAConfigAddDtype, fnCUDAConfigAddInt, fnCUDAConfigAddBool,
	}
	metalFunctions = &kernelFunctions{
		fnMetalKernelFree, fnMetalKernelApply, fnMetalConfigNew, fnMetalConfigFree, fnMetalConfigAddOutput, fnMetalConfigSetGrid,
		fnMetalConfigSetThreadGroup, fnMetalConfigSetInitValue, fnMetalConfigAddDtype, fnMetalConfigAddInt, fnMetalConfigAddBool,
	}
)

// KernelOutput is the shape and type of an output of a kernel.
type KernelOutput struct {
	Shape []int
	DType DType
}

// KernelTemplate is a compile-time argument of a kernel: an int, a bool or a
// DType.
type KernelTemplate struct {
	Name  string
	Value any
}

// NewCUDAKernel makes a kernel in CUDA C++.
func (l *Library) NewCUDAKernel(k KernelSource) (Kernel, error) {
	return l.newKernel(k, fnCUDAKernelNew, cudaFunctions, uintptr(k.SharedMemory))
}

// NewMetalKernel makes a kernel in the Metal shading language.
func (l *Library) NewMetalKernel(k KernelSource) (Kernel, error) {
	return l.newKernel(k, fnMetalKernelNew, metalFunctions, boolArg(k.AtomicOutputs))
}

func (l *Library) newKernel(k KernelSource, f fn, fns *kernelFunctions, last uintptr) (kernel Kernel, err error) {
	l.Do(func() {
		in, out := l.stringVector(k.Inputs), l.stringVector(k.Outputs)
		name, source, header := cString(k.Name), cString(k.Source), cString(k.Header)
		ctx := callC(l.fns[f], uintptr(unsafe.Pointer(name)), in, out, uintptr(unsafe.Pointer(source)), uintptr(unsafe.Pointer(header)), boolArg(k.EnsureRowContiguous), last)
		callC(l.fns[fnVectorStringFree], in)
		callC(l.fns[fnVectorStringFree], out)
		if ctx == 0 {
			err = &Error{Op: "kernel " + k.Name, Message: takeMessage(k.Name)}
			return
		}
		kernel = Kernel{ctx: ctx, name: k.Name, fns: fns}
	})
	return kernel, err
}

// FreeKernel frees a kernel. Arrays that it made stay valid.
func (l *Library) FreeKernel(k Kernel) {
	if k.ctx != 0 {
		l.Do(func() { callC(l.fns[k.fns.free], k.ctx) })
	}
}

// stringVector makes a C vector of strings.
func (l *Library) stringVector(list []string) uintptr {
	texts := make([]*byte, len(list))
	for i, text := range list {
		texts[i] = cString(text)
	}
	v := callC(l.fns[fnVectorStringNewData], uintptr(unsafe.Pointer(unsafe.SliceData(texts))), uintptr(len(texts)))
	runtime.KeepAlive(texts)
	return v
}

// Launch runs a kernel: grid is the number of threads in each direction, group
// that of a thread group or block. If init is given the outputs start with this
// value. It returns the outputs.
func (s *Scope) Launch(k Kernel, inputs []Array, outputs []KernelOutput, grid, group [3]int, templates []KernelTemplate, init *float32) []Array {
	none := make([]Array, len(outputs))
	if s.err != nil {
		return none
	}
	op := "kernel " + k.name
	if k.ctx == 0 {
		s.failWith(&Error{Op: op, Message: "is not made; see Library.NewCUDAKernel and NewMetalKernel"})
		return none
	}
	fns := &s.lib.fns
	config := callC(fns[k.fns.configNew])
	defer callC(fns[k.fns.configFree], config)
	for _, o := range outputs {
		p, n := s.ints(0, o.Shape)
		if !s.knows(o.DType) {
			return none
		}
		callC(fns[k.fns.addOutput], config, p, n, uintptr(o.DType))
	}
	callC(fns[k.fns.setGrid], config, cInt(grid[0]), cInt(grid[1]), cInt(grid[2]))
	callC(fns[k.fns.setThreadGroup], config, cInt(group[0]), cInt(group[1]), cInt(group[2]))
	if init != nil {
		s.mixed.fn = fns[k.fns.setInitValue]
		s.mixed.ints[0], s.mixed.floats[0] = config, float32Bits(*init)
		callMixed(&s.mixed)
	}
	for _, t := range templates {
		name := cString(t.Name)
		switch v := t.Value.(type) {
		case int:
			callC(fns[k.fns.addInt], config, uintptr(unsafe.Pointer(name)), cInt(v))
		case bool:
			callC(fns[k.fns.addBool], config, uintptr(unsafe.Pointer(name)), boolArg(v))
		case DType:
			if !s.knows(v) {
				return none
			}
			callC(fns[k.fns.addDtype], config, uintptr(unsafe.Pointer(name)), uintptr(v))
		default:
			s.err = fmt.Errorf("mlx %s: template argument %s is a %T, not an int, a bool or a DType", op, t.Name, t.Value)
		}
	}
	if s.err != nil {
		return none
	}
	v := s.vector(k.fns.apply, inputs)
	if v == 0 {
		return none
	}
	s.out = 0
	rc := callC(fns[k.fns.apply], s.outPtr, k.ctx, v, config, s.stream.ctx)
	s.freeVector(v)
	if int32(rc) != 0 {
		s.failWith(&Error{Op: op, Message: takeMessage(k.name)}, inputs...)
		return none
	}
	if out := s.unpack(s.out); out != nil {
		return out
	}
	return none
}

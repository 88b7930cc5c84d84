//go:build (linux || darwin) && (amd64 || arm64)

package llamacpp

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library has the addresses of the functions that we call.
type library struct {
	modelDefaults, contextDefaults, loadModel, newContext, getVocab, vocabSize, decode, synchronize uintptr
	getMemory, removeFrom, systemInfo, freeContext, freeModel                                       uintptr
}

// quiet is a C function that ignores what the library logs.
var quiet = sync.OnceValue(func() uintptr { return purego.NewCallback(func(level, text, data uintptr) uintptr { return 0 }) })

func openLibrary(folder string, files sharedLibraries) (*library, error) {
	var handles [2]uintptr
	for i, file := range []string{files.ggml, files.llama} {
		h, err := purego.Dlopen(file, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err != nil {
			return nil, fmt.Errorf("it can't be loaded: %w", err)
		}
		handles[i] = h
	}
	l := &library{}
	var setLog, loadBackends uintptr
	var missing error
	for _, s := range []struct {
		handle  uintptr
		name    string
		address *uintptr
	}{
		{handles[0], "ggml_backend_load_all_from_path", &loadBackends},
		{handles[1], "llama_log_set", &setLog},
		{handles[1], "llama_model_default_params", &l.modelDefaults},
		{handles[1], "llama_context_default_params", &l.contextDefaults},
		{handles[1], "llama_model_load_from_file", &l.loadModel},
		{handles[1], "llama_init_from_model", &l.newContext},
		{handles[1], "llama_model_get_vocab", &l.getVocab},
		{handles[1], "llama_vocab_n_tokens", &l.vocabSize},
		{handles[1], "llama_decode", &l.decode},
		{handles[1], "llama_synchronize", &l.synchronize},
		{handles[1], "llama_get_memory", &l.getMemory},
		{handles[1], "llama_memory_seq_rm", &l.removeFrom},
		{handles[1], "llama_print_system_info", &l.systemInfo},
		{handles[1], "llama_free", &l.freeContext},
		{handles[1], "llama_model_free", &l.freeModel},
	} {
		address, err := purego.Dlsym(s.handle, s.name)
		if err != nil {
			missing = errors.Join(missing, err)
		}
		*s.address = address
	}
	if missing != nil {
		return nil, fmt.Errorf("this version of the library is not known: %w", missing)
	}
	l.call(setLog, nil, word(quiet()), word(0))
	path := append([]byte(folder), 0)
	l.call(loadBackends, nil, word(uintptr(unsafe.Pointer(&path[0]))))
	runtime.KeepAlive(path)
	return l, nil
}

// An argument is an integer or pointer, or a struct of more than 16 bytes by value.
type argument struct {
	word  uintptr
	value []byte
}

// word is an integer or an address. What a pointer converted in its argument list
// points to lies on the heap, where it stays put.
//
//go:uintptrescapes
func word(w uintptr) argument { return argument{word: w} }

func value(b []byte) argument { return argument{value: b} }

// structureBytes is more than any struct of parameters has.
const structureBytes = 320

// frame is a call of a C function, as call_amd64.s and call_arm64.s read it.
type frame struct {
	fn     uintptr
	ints   [8]uintptr // registers for integers
	result uintptr    // where a struct is returned to, in a register of its own
	stack  [2 * structureBytes / 8]uintptr
}

// byValueTrampoline is the address of a C function, written in assembly, that makes
// the call that a *frame describes.
var byValueTrampoline uintptr

// call calls a function. What arguments point to must be kept alive by the caller.
func (l *library) call(fn uintptr, result []byte, args ...argument) uintptr {
	f := &frame{fn: fn}
	f.place(result, args)
	r, _, _ := purego.SyscallN(byValueTrampoline, uintptr(unsafe.Pointer(f)))
	runtime.KeepAlive(result)
	return r
}

// structure calls a function that returns a struct. It has room for more than that.
func (l *library) structure(fn uintptr) []byte {
	b := make([]byte, structureBytes)
	l.call(fn, b)
	return b
}

// string copies a C string of at most 4096 bytes.
func (l *library) string(p uintptr) string {
	var s []byte
	for ; p != 0 && len(s) < 4096; p++ {
		c := *(*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p)))
		if c == 0 {
			break
		}
		s = append(s, c)
	}
	return string(s)
}

//go:build linux || darwin

package llamacpp

import (
	"encoding/binary"
	"unsafe"
)

// place puts arguments where the System V ABI wants them: integers in registers, the
// address of a returned struct before them, and structs on the stack.
func (f *frame) place(result []byte, args []argument) {
	next, top := 0, 0
	if result != nil {
		f.ints[0], next = word(uintptr(unsafe.Pointer(&result[0]))).word, 1
	}
	for _, a := range args {
		if a.value == nil {
			f.ints[next] = a.word
			next++
			continue
		}
		for at := 0; at < len(a.value); at += 8 {
			f.stack[top] = uintptr(binary.LittleEndian.Uint64(a.value[at:]))
			top++
		}
	}
}

//go:build linux || darwin

package llamacpp

import "unsafe"

// place puts arguments where AAPCS64 wants them: integers and the addresses of
// structs (whose copy in stack the function may change) in registers, and the address
// of a returned struct in one of its own.
func (f *frame) place(result []byte, args []argument) {
	if result != nil {
		f.result = word(uintptr(unsafe.Pointer(&result[0]))).word
	}
	top := 0
	for i, a := range args {
		f.ints[i] = a.word
		if a.value != nil {
			at := unsafe.Pointer(&f.stack[top])
			copy(unsafe.Slice((*byte)(at), len(a.value)), a.value)
			f.ints[i] = uintptr(at)
			top += (len(a.value) + 7) / 8
		}
	}
}

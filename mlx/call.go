package mlx

import "math"

// mixedCall is a call of a C function that takes floats besides integers: the
// integers in their order, the floats in theirs. The layout is known to
// call_amd64.s and call_arm64.s.
type mixedCall struct {
	fn     uintptr
	ints   [12]uintptr
	floats [4]uint64
	self   [1]uintptr // the address of this, an argument list kept for reuse
}

// eachCall is a call of one C function with each of n handles. The layout is
// known to call_amd64.s and call_arm64.s.
type eachCall struct {
	fn      uintptr
	handles *uintptr
	n       uintptr
	self    [1]uintptr
}

func float32Bits(v float32) uint64 { return uint64(math.Float32bits(v)) }

func boolArg(v bool) uintptr {
	if v {
		return 1
	}
	return 0
}

// A struct {int32 or float; bool} is eight bytes, which both ABIs pass in one
// integer register: the value below, whether there is one above.

func optionalInt(v int) uintptr {
	if v == 0 {
		return 0
	}
	return uintptr(uint32(int32(v))) | 1<<32
}

func optionalFloat(v float32) uintptr {
	if v == 0 {
		return 0
	}
	return uintptr(math.Float32bits(v)) | 1<<32
}

func optionalDType(d DType) uintptr { return uintptr(uint32(d)) | 1<<32 }

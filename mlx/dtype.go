package mlx

import "fmt"

// DType is the type of an array's elements. The values are those of mlx-c's
// mlx_dtype.
type DType int32

// The element types. Float64 works on the CPU only.
const (
	Bool DType = iota
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	Float16
	Float32
	Float64
	BFloat16
	Complex64
)

var dtypes = [...]struct {
	name string
	size int
}{
	Bool: {"bool", 1}, Uint8: {"uint8", 1}, Uint16: {"uint16", 2}, Uint32: {"uint32", 4}, Uint64: {"uint64", 8},
	Int8: {"int8", 1}, Int16: {"int16", 2}, Int32: {"int32", 4}, Int64: {"int64", 8},
	Float16: {"float16", 2}, Float32: {"float32", 4}, Float64: {"float64", 8}, BFloat16: {"bfloat16", 2}, Complex64: {"complex64", 8},
}

func (d DType) known() bool { return d >= 0 && int(d) < len(dtypes) }

// Size is the number of bytes of one element (0 for an unknown type).
func (d DType) Size() int {
	if !d.known() {
		return 0
	}
	return dtypes[d].size
}

// String is the type's name in MLX: "float32".
func (d DType) String() string {
	if !d.known() {
		return fmt.Sprintf("dtype %d", int32(d))
	}
	return dtypes[d].name
}

// IsFloat says whether the type is a real floating-point type.
func (d DType) IsFloat() bool {
	return d == Float16 || d == Float32 || d == Float64 || d == BFloat16
}

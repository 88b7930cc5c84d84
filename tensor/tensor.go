// Package tensor names the element types and block layouts in which model
// weights are stored, and describes a tensor as plain data: a name, a type, a
// shape and bytes. It does no arithmetic beyond turning stored blocks into
// float32 ([Tensor.Dequantize]) and knows nothing of files, devices or models.
//
// Shapes are written outermost dimension first, as in PyTorch and MLX: a linear
// layer's weight is [out, in], and its rows are contiguous.
//
// # Two families of quantization
//
// A GGUF tensor is blocks: Data holds codes and scales side by side, and the type
// says it all ([Type.Block]). A matrix quantized by MLX is stored as three arrays,
// and is one Tensor here: the logical shape, the packed codes in Data, and the
// rest in [Packed].
package tensor

import "fmt"

// Tensor is one stored tensor. Data is the tensor's bytes in the layout of
// Type, rows contiguous, usually a view of a memory-mapped file: it must not be
// written to and is valid only while the checkpoint it came from is open.
type Tensor struct {
	Name  string
	Type  Type
	Shape []int // outermost first; of the elements, however they are packed
	Data  []byte
	// Packed belongs to the types that MLX quantizes to, and is nil for all others.
	Packed *Packed
}

// Cols is the length of a row: the innermost dimension (1 for a scalar).
func (t Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// Rows is the number of rows: the product of all dimensions but the innermost.
func (t Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[:max(len(t.Shape)-1, 0)] {
		n *= d
	}
	return n
}

// Elems is the number of elements.
func (t Tensor) Elems() int { return t.Rows() * t.Cols() }

// Index is element i of the outermost dimension: of [experts, out, in], the matrix of
// one expert. i must be within it, and the tensor have whole rows in Data.
func (t Tensor) Index(i int) Tensor {
	n := t.Shape[0]
	t.Name, t.Shape = fmt.Sprintf("%s[%d]", t.Name, i), t.Shape[1:]
	each := len(t.Data) / n
	t.Data = t.Data[i*each : (i+1)*each : (i+1)*each]
	if t.Packed != nil {
		p := *t.Packed
		p.Scales = p.Scales.Index(i)
		if p.Biases.Data != nil {
			p.Biases = p.Biases.Index(i)
		}
		t.Packed = &p
	}
	return t
}

// Bytes is the size of all that is stored of the tensor, scales included.
func (t Tensor) Bytes() int64 {
	n := int64(len(t.Data))
	if p := t.Packed; p != nil {
		n += int64(len(p.Scales.Data)) + int64(len(p.Biases.Data))
	}
	return n
}

// Encoding is the type in words: "Q4_K", or "affine 4-bit/64" for 4 bits in groups
// of 64.
func (t Tensor) Encoding() string {
	if t.Packed == nil {
		return t.Type.String()
	}
	return t.Packed.String()
}

// String describes the tensor as `name [out in] TYPE`.
func (t Tensor) String() string { return fmt.Sprintf("%s %v %s", t.Name, t.Shape, t.Encoding()) }

// Package checkpoint is what a model file or folder looks like to the rest of
// the program: metadata by key and tensors by name, as mapped bytes. The
// formats live in sub-packages and trust nothing they read: gguf for llama.cpp's
// files, huggingface for the folders of Hugging Face and MLX, which are made of
// files that safetensors and npz read. Code in a checkpoint is never run, and
// pickles, which are code, never read.
//
// [Open] recognises the format by looking at the file or folder. A format is known
// once its package is imported, as image formats are:
//
//	import _ "github.com/inferflux/inferflux/checkpoint/gguf"
//	import _ "github.com/inferflux/inferflux/checkpoint/huggingface"
//
//	c, err := checkpoint.Open("model.gguf")
//	defer c.Close()
//	layers, ok := c.Metadata().Int("llama.block_count")
//	t, ok := c.Tensor("token_embd.weight")
package checkpoint

import (
	"io"

	"github.com/inferflux/inferflux/tensor"
)

// Format says how a checkpoint is written, which decides how its
// hyper-parameters and tensors are named.
type Format string

// The formats.
const (
	GGUF Format = "gguf"
	// HuggingFace is a folder with config.json and safetensors (or npz) files.
	HuggingFace Format = "huggingface"
)

// Checkpoint is an open model file or folder. It is safe for concurrent
// reading. Close unmaps it: tensors it gave out are invalid from then on.
type Checkpoint interface {
	io.Closer
	// Format is the naming scheme of metadata and tensors.
	Format() Format
	// Path is the file (the first of a split set) or folder, for messages.
	Path() string
	// Size is the number of bytes on disk, all parts together.
	Size() int64
	// Fingerprint identifies the model's content: equal for equal files, with
	// overwhelming probability different otherwise. It guards exported KV.
	Fingerprint() string
	// Metadata are the file's key-value pairs.
	Metadata() Metadata
	// Tensors lists every tensor in file order. The shapes are shared: they
	// must not be changed.
	Tensors() []Entry
	// Tensor finds one by name. Its bytes and shape must not be changed.
	Tensor(name string) (tensor.Tensor, bool)
}

// Entry is one row of a checkpoint's table of contents.
type Entry struct {
	Name   string
	Type   tensor.Type
	Shape  []int // outermost first
	File   string
	Offset int64 // from the start of File
	Bytes  int64
	// Bits, Group and Beside are those of a matrix that MLX quantized, see
	// [tensor.Packed]: the width of a code, the elements that share a scale, and the
	// arrays of scales and biases. Shape is then the matrix's own; File, Offset and
	// Bytes are the codes'.
	Bits, Group int
	Beside      []Entry
}

// Encoding is the type in words: "Q4_K", or "affine 4-bit/64".
func (e Entry) Encoding() string {
	if e.Bits == 0 {
		return e.Type.String()
	}
	return (&tensor.Packed{Mode: e.Type.String(), Bits: e.Bits, Group: e.Group}).String()
}

// Stored is the number of bytes of all that belongs to the tensor.
func (e Entry) Stored() int64 {
	n := e.Bytes
	for _, b := range e.Beside {
		n += b.Bytes
	}
	return n
}

// Releaser is implemented by checkpoints that can drop a tensor's bytes from
// resident memory once they were copied elsewhere. Reading them again is still
// allowed; it only costs a page fault.
type Releaser interface{ Release(t tensor.Tensor) }

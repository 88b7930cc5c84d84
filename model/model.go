// Package model holds the architectures, one file each. An architecture reads
// its hyper-parameters from a checkpoint, names its weights, and composes its
// forward pass from nn.Ops; it then runs on every backend that implements those.
//
// To add one: write a file with a constructor, and register it under its GGUF
// `general.architecture` and its Hugging Face class name in an init function.
package model

import (
	"github.com/inferflux/inferflux/nn"
)

// Config is what the rest of the program needs to know of a model's shape.
type Config struct {
	Architecture string // "llama"
	Name         string // general.name, for people
	Vocab        int
	Context      int // positions the model was trained for
	Layers       int
	Hidden       int
	Heads        int
	KVHeads      int
	HeadDim      int
	Parameters   int64
	Quantization string // the type that holds most of the weights, "Q4_1"
	// LongFrom: in an engine whose sequences may be longer, keys are rotated by other
	// frequencies (LongRoPE). 0: they are the same in all.
	LongFrom int
}

// KVFingerprint identifies what the keys and values of a sequence depend on: the
// checkpoint's own fingerprint, and where it matters how long the engine's sequences
// may be.
func (c Config) KVFingerprint(checkpoint string, context int) string {
	if c.LongFrom > 0 && context > c.LongFrom {
		return checkpoint + ", long"
	}
	return checkpoint
}

// Model is a loaded architecture, bound to the weights its Loader made.
type Model interface {
	Config() Config
	// Forward runs one step and returns the logits [wanted rows, Vocab].
	Forward(ops nn.Ops) nn.Tensor
}

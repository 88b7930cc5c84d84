// Package model holds the architectures, one file each. An architecture reads
// its hyper-parameters from a checkpoint, names its weights, and composes its
// forward pass from nn.Ops; it then runs on every backend that implements those.
//
// To add one: write a file that registers it, in an init function, under its GGUF
// `general.architecture` and its Hugging Face class name, with a Define function. For a
// decoder with a dense MLP that function starts from newDecoder, which is the llama
// family, and changes what the architecture has otherwise: names of tensors, norms,
// windows and rotary embeddings by layer, factors. Then add a tiny model to
// testdata/make_dense.py, which all engines' tests pick up by themselves, and write
// docs/Models.md anew (TestModelsPage in backend/mlx).
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
	// Experts of a layer, and how many of them a token uses; 0: the model has none.
	Experts, ExpertsUsed int
	Quantization         string // the type that holds most of the weights, "Q4_1"
	// MeanPooling: the model was made to embed texts as the mean of their hidden states;
	// otherwise, if at all, as that of the last token.
	MeanPooling bool
	// LongFrom: in an engine whose sequences may be longer, keys are rotated by other
	// frequencies (LongRoPE). 0: they are the same in all.
	LongFrom int
	// States is what each layer keeps of a sequence.
	States []nn.LayerState
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
	// Hidden runs one step up to what the logits are made of, the hidden states after
	// the last norm, [wanted rows, Hidden].
	Hidden(ops nn.Ops) nn.Tensor
	// Logits are those of hidden states, [rows of hidden, Vocab]. It leaves them as
	// they are.
	Logits(ops nn.Ops, hidden nn.Tensor) nn.Tensor
}

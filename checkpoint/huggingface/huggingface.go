// Package huggingface opens model folders as Hugging Face transformers and MLX
// write them:
//
//	config.json                    hyper-parameters
//	model.safetensors              the tensors, or
//	model.safetensors.index.json   which of several files each tensor is in, and
//	model-00001-of-00002.safetensors …
//	weights.npz                    MLX's form before safetensors
//
// The metadata are config.json's values; a dot in a key leads into a nested object,
// as in rope_scaling.factor. The tokenizer's files and the chat template are read
// by the packages tokenizer and chat.
//
// # Which files
//
// model.safetensors unless the index names others; without either of them
// model-*-of-*.safetensors, which must be complete, then model*.safetensors,
// weights*.safetensors, weights*.npz, and at last a .safetensors file that is the
// only one. What the index says must be true of the files. A single file can be
// opened by its own name; then its folder is.
//
// # Quantized matrices
//
// Where MLX quantized X.weight, there are X.scales and, for the affine mode,
// X.biases; they are one tensor here, X.weight ([tensor.Packed]). Mode, width and
// group are config.json's "quantization", where a layer's name may have values of
// its own. The quantizations of other programs (GPTQ, AWQ, bitsandbytes, FP8) are
// refused.
//
// # Trust
//
// A folder is not believed, see packages safetensors and npz. config.json may have
// 8 MiB and the index 64 MiB. The index can name no file outside the folder. Python
// code (*.py, auto_map, model_file) is never run, and PyTorch's pickles (*.bin,
// *.pth), which are programs, are never read.
package huggingface

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/tensor"
)

func init() {
	checkpoint.Register(checkpoint.HuggingFace, sniff, func(path string) (checkpoint.Checkpoint, error) {
		c, err := Open(path)
		if err != nil {
			return nil, err
		}
		return c, nil
	})
}

// sniff takes folders that have anything of the format, and files of its kinds, so
// that it is Open that says what is missing.
func sniff(c checkpoint.Candidate) bool {
	if !c.Dir {
		// A pointer of Git LFS or an empty file have messages of their own.
		return isWeights(c.Path) && len(c.Head) > 0 && !strings.HasPrefix(string(c.Head), "version https://")
	}
	return slices.Contains(c.Names, configName) || slices.ContainsFunc(c.Names, isWeights)
}

// isWeights reports whether a name is that of a file of tensors.
func isWeights(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".safetensors" || ext == ".npz"
}

// Checkpoint is an open folder.
type Checkpoint struct {
	dir      string
	config   []byte // config.json
	metadata *metadata
	files    []file
	tensors  []stored
	byName   map[string]int // into tensors

	closed      atomic.Bool
	fingerprint func() string
}

// file is one file of tensors: a safetensors.File or an npz.File.
type file interface {
	Entries() []checkpoint.Entry
	Data(i int) []byte
	Release(i int)
	Header() []byte
	Size() int64
	Close() error
}

// array is what one file holds under one name.
type array struct {
	checkpoint.Entry
	file  file
	index int // in the file
}

// tensor is the array as a tensor.
func (a *array) tensor() tensor.Tensor {
	return tensor.Tensor{Name: a.Name, Type: a.Type, Shape: a.Shape, Data: a.file.Data(a.index)}
}

// stored is a tensor and the arrays that it is made of: one, or the codes, scales
// and biases of a quantized matrix.
type stored struct {
	entry  checkpoint.Entry
	tensor tensor.Tensor
	arrays []array
}

var (
	_ checkpoint.Checkpoint = (*Checkpoint)(nil)
	_ checkpoint.Releaser   = (*Checkpoint)(nil)
)

// Open opens a model's folder, or the folder of a single file of tensors that is
// all of its model.
func Open(path string) (*Checkpoint, error) {
	c := &Checkpoint{dir: path, byName: map[string]int{}}
	c.fingerprint = sync.OnceValue(c.computeFingerprint)
	if err := c.open(path); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("open model folder %s: %w", c.dir, err)
	}
	return c, nil
}

func (c *Checkpoint) open(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	only := ""
	if !info.IsDir() {
		c.dir, only = filepath.Dir(path), filepath.Base(path)
	}
	listed, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	names := make([]string, len(listed))
	for i, e := range listed {
		names[i] = e.Name()
	}
	weights, err := findWeights(c.dir, names)
	if err != nil {
		return err
	}
	if only != "" {
		if err := weights.only(only, c.dir); err != nil {
			return err
		}
	}
	if c.config, c.metadata, err = readConfig(c.dir); err != nil {
		return err
	}
	quantization, err := readQuantization(c.config)
	if err != nil {
		return fmt.Errorf("%s: %w", configName, err)
	}
	arrays, err := c.openFiles(weights)
	if err != nil {
		return err
	}
	if c.tensors, err = join(arrays, quantization); err != nil {
		return err
	}
	for i := range c.tensors {
		c.byName[c.tensors[i].entry.Name] = i
	}
	return nil
}

// openFiles opens the files and lists what they hold, in their order.
func (c *Checkpoint) openFiles(w *weights) ([]array, error) {
	var arrays []array
	where := map[string]string{} // the file of each name
	for _, name := range w.files {
		f, err := openFile(filepath.Join(c.dir, name))
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
		for i, e := range f.Entries() {
			if other, ok := where[e.Name]; ok {
				return nil, fmt.Errorf("tensor %q is both in %s and in %s", e.Name, other, name)
			}
			where[e.Name] = name
			arrays = append(arrays, array{e, f, i})
		}
	}
	return arrays, w.check(where)
}

// Format is checkpoint.HuggingFace.
func (c *Checkpoint) Format() checkpoint.Format { return checkpoint.HuggingFace }

// Path is the folder.
func (c *Checkpoint) Path() string { return c.dir }

// Size is the number of bytes of the files of tensors.
func (c *Checkpoint) Size() int64 {
	var n int64
	for _, f := range c.files {
		n += f.Size()
	}
	return n
}

// Metadata are the values of config.json.
func (c *Checkpoint) Metadata() checkpoint.Metadata { return c.metadata }

// Tensors lists all tensors in the order of the files.
func (c *Checkpoint) Tensors() []checkpoint.Entry {
	entries := make([]checkpoint.Entry, len(c.tensors))
	for i := range c.tensors {
		entries[i] = c.tensors[i].entry
	}
	return entries
}

// Tensor finds a tensor by name. Its data are views of the files, of any alignment;
// writing to them crashes, and so does reading them after Close.
func (c *Checkpoint) Tensor(name string) (tensor.Tensor, bool) {
	i, ok := c.byName[name]
	if !ok || c.closed.Load() {
		return tensor.Tensor{}, false
	}
	return c.tensors[i].tensor, true
}

// Release implements checkpoint.Releaser.
func (c *Checkpoint) Release(t tensor.Tensor) {
	i, ok := c.byName[t.Name]
	if !ok || c.closed.Load() {
		return
	}
	for _, a := range c.tensors[i].arrays {
		a.file.Release(a.index)
	}
}

// Close unmaps the files. Tensors must not be read any more. Closing again does
// nothing.
func (c *Checkpoint) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", c.dir, err)
	}
	return nil
}

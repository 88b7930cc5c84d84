// Package llamacpp runs models with llama.cpp's library, libllama, which it loads at
// run time: as a peer to measure beside. It is bound without cgo, and knows only what
// that takes: loading a model, decoding batches, and cutting sequences.
//
// The C structures that carry parameters change from version to version. Their
// defaults are read from the library, and only fields whose place is proven by their
// default values are changed; a library where these are elsewhere is refused.
//
// A [Model] is used by one goroutine at a time. A fault inside the library ends the
// process: run it in one of its own.
package llamacpp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"
)

// Options are how a model is loaded. Everything else is the library's default.
type Options struct {
	Threads   int  // of prompts and of generation
	Positions int  // room of each sequence
	Sequences int  // side by side
	Batch     int  // most tokens in a batch, logical and physical
	HostOnly  bool // nothing on a GPU
}

// Model is a model with one context.
type Model struct {
	lib            *library
	model, context uintptr
	memory         uintptr
	vocab          int
	batch          batch
}

// A Token is a row of a batch.
type Token struct {
	ID, Position, Sequence int32
	Logits                 bool // whether they are wanted
}

// Open loads libllama from path, the file or the folder that it lies in, and with it
// a model.
func Open(path, model string, o Options) (*Model, error) {
	folder, files, err := librariesAt(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(model); err != nil {
		return nil, fmt.Errorf("llama.cpp: %w", err)
	}
	lib, err := openLibrary(folder, files)
	if err != nil {
		return nil, fmt.Errorf("llama.cpp at %s: %w", folder, err)
	}
	m := &Model{lib: lib}
	if err := m.load(model, o); err != nil {
		m.Close()
		return nil, fmt.Errorf("llama.cpp at %s: %w", folder, err)
	}
	return m, nil
}

// parameters of the C structs, by offset, and what they are by default.
var (
	gpuLayers      = field{"n_gpu_layers", 16, []int32{-1, 999}}
	contextTokens  = field{"n_ctx", 0, []int32{512}}
	batchTokens    = field{"n_batch", 4, []int32{2048}}
	microbatch     = field{"n_ubatch", 8, []int32{512}}
	sequences      = field{"n_seq_max", 12, []int32{1}}
	threads        = field{"n_threads", 28, []int32{4}}
	threadsOfBatch = field{"n_threads_batch", 32, []int32{4}}
)

// field is an int32 of a struct of parameters.
type field struct {
	name     string
	offset   int
	defaults []int32
}

func (f field) set(params []byte, value int) error {
	at := params[f.offset:]
	is := int32(binary.LittleEndian.Uint32(at))
	for _, d := range f.defaults {
		if is == d {
			binary.LittleEndian.PutUint32(at, uint32(int32(value)))
			return nil
		}
	}
	return fmt.Errorf("this version of the library is not known: where %s should be it has %d (known are those like v0.5.0)", f.name, is)
}

func (m *Model) load(path string, o Options) error {
	params := m.lib.structure(m.lib.modelDefaults)
	if o.HostOnly {
		if err := gpuLayers.set(params, 0); err != nil {
			return err
		}
	}
	name := append([]byte(path), 0)
	if m.model = m.lib.call(m.lib.loadModel, nil, word(uintptr(unsafe.Pointer(&name[0]))), value(params)); m.model == 0 {
		return fmt.Errorf("it can't load the model %s", path)
	}
	runtime.KeepAlive(name)
	params = m.lib.structure(m.lib.contextDefaults)
	for _, p := range []struct {
		field
		value int
	}{
		{contextTokens, o.Positions * o.Sequences}, {batchTokens, o.Batch}, {microbatch, o.Batch},
		{sequences, o.Sequences}, {threads, o.Threads}, {threadsOfBatch, o.Threads},
	} {
		if err := p.set(params, p.value); err != nil {
			return err
		}
	}
	if m.context = m.lib.call(m.lib.newContext, nil, word(m.model), value(params)); m.context == 0 {
		return fmt.Errorf("it can't make a context of %d positions for %d sequences", o.Positions, o.Sequences)
	}
	m.memory = m.lib.call(m.lib.getMemory, nil, word(m.context))
	m.vocab = int(int32(m.lib.call(m.lib.vocabSize, nil, word(m.lib.call(m.lib.getVocab, nil, word(m.model))))))
	if m.memory == 0 || m.vocab < 1 {
		return errors.New("it has no vocabulary or no memory for sequences")
	}
	m.batch.reserve(o.Batch)
	return nil
}

// Vocab is the number of tokens.
func (m *Model) Vocab() int { return m.vocab }

// About is what the library says of the instructions that it uses.
func (m *Model) About() string { return m.lib.string(m.lib.call(m.lib.systemInfo, nil)) }

// Decode runs a batch of at most Options.Batch tokens and waits for its logits.
func (m *Model) Decode(tokens []Token) error {
	b := &m.batch
	if len(tokens) == 0 || len(tokens) > len(b.ids) {
		return fmt.Errorf("llama.cpp: a batch has 1 to %d tokens, not %d", len(b.ids), len(tokens))
	}
	for i, t := range tokens {
		b.ids[i], b.positions[i], b.counts[i], b.sequences[i], b.logits[i] = t.ID, t.Position, 1, t.Sequence, 0
		if t.Logits {
			b.logits[i] = 1
		}
	}
	rc := int32(m.lib.call(m.lib.decode, nil, word(m.context), value(b.structure(len(tokens)))))
	runtime.KeepAlive(b)
	if rc != 0 {
		return fmt.Errorf("llama.cpp: decoding %d tokens failed with code %d", len(tokens), rc)
	}
	m.lib.call(m.lib.synchronize, nil, word(m.context))
	return nil
}

// Truncate keeps the first n positions of a sequence.
func (m *Model) Truncate(sequence int32, n int) error {
	end := int32(-1)
	if m.lib.call(m.lib.removeFrom, nil, word(m.memory), word(uintptr(uint32(sequence))), word(uintptr(n)), word(uintptr(uint32(end))))&0xff == 0 {
		return fmt.Errorf("llama.cpp: sequence %d can't be cut to %d positions", sequence, n)
	}
	return nil
}

// Close frees the model. The library stays loaded.
func (m *Model) Close() {
	if m.context != 0 {
		m.lib.call(m.lib.freeContext, nil, word(m.context))
	}
	if m.model != 0 {
		m.lib.call(m.lib.freeModel, nil, word(m.model))
	}
	m.context, m.model = 0, 0
}

// batch is the memory behind a llama_batch. The library reads it during a call.
type batch struct {
	ids, positions, counts, sequences []int32
	sequencesOf                       []*int32
	logits                            []int8
}

func (b *batch) reserve(n int) {
	b.ids, b.positions, b.counts, b.sequences = make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	b.logits, b.sequencesOf = make([]int8, n), make([]*int32, n)
	for i := range n {
		b.sequencesOf[i] = &b.sequences[i]
	}
}

// structure is the llama_batch {n_tokens, token, embd, pos, n_seq_id, seq_id, logits}.
func (b *batch) structure(n int) []byte {
	out := make([]byte, 0, 56)
	for _, w := range []uintptr{
		uintptr(n), uintptr(unsafe.Pointer(&b.ids[0])), 0, uintptr(unsafe.Pointer(&b.positions[0])),
		uintptr(unsafe.Pointer(&b.counts[0])), uintptr(unsafe.Pointer(&b.sequencesOf[0])), uintptr(unsafe.Pointer(&b.logits[0])),
	} {
		out = binary.LittleEndian.AppendUint64(out, uint64(w))
	}
	return out
}

// Find returns the folder of the first libllama in places where one is installed:
// where LLAMA_CPP_LIB says, Homebrew's and the system's library folders, and below
// node_modules here, where npm puts node-llama-cpp's. It is "" without one.
func Find() string {
	if path := os.Getenv("LLAMA_CPP_LIB"); path != "" {
		return path
	}
	places := []string{"/opt/homebrew/lib", "/usr/local/lib", "/usr/lib", "/usr/lib64"}
	for _, pattern := range []string{"/usr/lib/*-linux-gnu", "node_modules/@node-llama-cpp/*/bins/*"} {
		more, _ := filepath.Glob(pattern) // the pattern is good
		places = append(places, more...)
	}
	for _, place := range places {
		if folder, _, err := librariesAt(place); err == nil {
			return folder
		}
	}
	return ""
}

// sharedLibraries are the paths of libllama and libggml.
type sharedLibraries struct{ llama, ggml string }

// librariesAt finds them in a folder, or beside the file given.
func librariesAt(path string) (folder string, files sharedLibraries, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", files, fmt.Errorf("llama.cpp: there is no library: %w", err)
	}
	folder = path
	if !info.IsDir() {
		folder = filepath.Dir(path)
	}
	for name, file := range map[string]*string{"libllama": &files.llama, "libggml": &files.ggml} {
		for _, suffix := range []string{".so", ".dylib", ".*.so", ".so.*", ".*.dylib"} {
			if found, _ := filepath.Glob(filepath.Join(folder, name+suffix)); len(found) > 0 {
				*file = found[0]
				break
			}
		}
		if *file == "" {
			return "", files, fmt.Errorf("llama.cpp: there is no %s in %s", name, folder)
		}
	}
	return folder, files, nil
}

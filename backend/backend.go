// Package backend is the contract between the server and whatever computes. A
// [Backend] is a way to compute (the CPU engine, MLX, llama.cpp's library); an
// [Engine] is one model loaded on one backend; the [Manager] is the only door
// through which the rest of the program reaches either.
//
// An engine's heart is one method, [Engine.Run], which takes a [Batch] of spans
// from many sequences. A prefill chunk is a long span, a decode step a span of
// one token, the check of a speculated draft a span of k+1.
//
// Package backendtest proves each promise made here on any engine.
package backend

import (
	"context"

	"github.com/inferflux/inferflux/checkpoint"
)

// Backend is a way to compute. Implementations register themselves with
// [Register] in an init function and must describe themselves without loading
// anything.
type Backend interface {
	// Name is the name used in configuration: "cpu", "mlx", "cuda".
	Name() string
	// Describe says what this backend is on this machine and whether it can run.
	Describe(ctx context.Context) Description
	// Load makes an engine for a checkpoint. The engine may keep reading the
	// checkpoint, which must stay open until the engine is closed.
	Load(ctx context.Context, c checkpoint.Checkpoint, opts LoadOptions) (Engine, error)
}

// Configurable is implemented by backends that have settings of their own.
type Configurable interface {
	Backend
	// Configure returns the backend with these settings. It loads nothing, and
	// the receiver, which the registry holds, stays as it is. An error says which
	// setting is wrong.
	Configure(c Config) (Backend, error)
}

// Config are one backend's settings, from its entry in runtime.backends. A zero
// value means the default.
type Config struct {
	// Home is the folder in which installed libraries lie (~/.inferflux); "" means
	// that there is none.
	Home string
	// Library is the native library to load, or the folder it is in; "" means that
	// it is searched for.
	Library string
	// Device is "gpu", "cpu", or "auto" (or ""), which is the GPU if there is one.
	Device string
	// MemoryLimit is the most bytes that the native library may hold.
	MemoryLimit int64
	// CacheLimit is how many bytes of freed memory it may keep for reuse.
	CacheLimit int64
	// WiredLimit is how many bytes may stay resident where the GPU shares the
	// machine's memory.
	WiredLimit int64
	// PrefillChunk is the largest number of a prompt's tokens in one pass.
	PrefillChunk int
}

// Description is what a backend says of itself.
type Description struct {
	Name    string `json:"name"`
	Device  string `json:"device"`            // "Intel Xeon, 2 threads, AVX-512 VNNI"
	Version string `json:"version"`           // of the engine or native library
	Library string `json:"library,omitempty"` // path of the native library, if any
	Ready   bool   `json:"ready"`
	Reason  string `json:"reason,omitempty"` // why it isn't ready
	Remedy  string `json:"remedy,omitempty"` // what to do about it
	// ByNameOnly backends are for comparison, not for speed: they are used where a
	// model or a configured priority names them, and passed over otherwise.
	ByNameOnly bool `json:"by_name_only,omitempty"`
}

// LoadOptions are the settings of an engine. A zero value means the default.
type LoadOptions struct {
	// Context is the largest number of positions of one sequence; 0 means the
	// model's own context length.
	Context int
	// KVTokens is the number of positions the engine keeps for all sequences
	// together; 0 lets the engine choose.
	KVTokens int
	// KVType is the element type of the KV cache: "f16", "f32", "q8_0" (int8 with a
	// scale for 32 elements; not every backend has it), or "auto" (or ""), which is
	// f32 for a model with F32 weights and f16 for all others.
	KVType string
	// MaxBatchTokens is the largest number of tokens in one batch; 0 means 512.
	MaxBatchTokens int
	// Threads is the number of threads of a CPU engine; 0 means one per core.
	Threads int
	// Repack says whether a CPU engine copies the weights into the layout of its
	// kernels: "auto" (or ""), which does wherever there is memory for it, or "never",
	// which uses them as they lie in the mapped file and is slower.
	Repack string
	// Progress, if set, is told how much of the weights is loaded, 0 to 1.
	Progress func(fraction float64)
}

// Capabilities are promises, each proven by backendtest on that engine. The
// scheduler and the API obey every one. The JSON names are part of the API.
type Capabilities struct {
	StructuredOutput    bool `json:"supports_structured_output"`
	SpeculativeDecoding bool `json:"supports_speculative_decoding"`
	KVPrefixCopy        bool `json:"supports_kv_prefix_copy"`
	// KVTruncate: a sequence can be shortened to any length, and forked at any. Without
	// it, only at those that Restorable says.
	KVTruncate     bool `json:"supports_kv_truncate"`
	Multimodal     bool `json:"supports_multimodal"`
	Logprobs       bool `json:"supports_logprobs"`
	Embeddings     bool `json:"supports_embeddings"`
	KVExport       bool `json:"supports_kv_export"`
	MixedBatch     bool `json:"supports_mixed_batch"`
	DeviceSampling bool `json:"supports_device_sampling"`
}

// Package config is the one schema of the server's configuration.
//
// A setting has a key such as runtime.scheduler.max_queue and gets its value
// from, in rising order of precedence: its default, the YAML file, its
// environment variable (INFERFLUX_RUNTIME_SCHEDULER_MAX_QUEUE), the command
// line. [Load] puts them together. It is strict: unknown and duplicate keys,
// wrong types, values out of range and contradictions are all found in one go,
// each with its place; see [Problems].
//
// The structs below are the schema. Their tags hold keys, defaults, ranges and
// choices; their comments are the text of docs/Configuration.md and of
// config/server.yaml, which the gen command writes. To add a setting, add a
// field and run go generate.
package config

//go:generate go run ./gen

import (
	_ "embed"
	"time"
)

// Example is config/server.yaml: every key with its explanation and default.
//
//go:embed server.yaml
var Example string

// Config is a complete configuration, defaults filled in.
type Config struct {
	// The HTTP server.
	Server Server `key:"server"`
	// The models to serve. The first one answers requests that name no model.
	Models []Model `key:"models"`
	// How models are computed.
	Runtime Runtime `key:"runtime"`
	// The log, which goes to standard error.
	Logging Logging `key:"logging"`

	origins  map[string]origin // where each set key came from
	warnings []string
}

// Server is the section "server".
type Server struct {
	// Address and port to listen on; port 0 takes a free one. An address that other machines can reach should have api_keys.
	Listen string `key:"listen" default:"127.0.0.1:8080"`
	// Keys that clients may send as "Authorization: Bearer KEY". Without any, everybody who reaches the port is served.
	APIKeys []Secret `key:"api_keys"`
	// A file with more keys, one a line; blank lines and lines that begin with # are skipped.
	APIKeysFile string `key:"api_keys_file"`
	// Keys like api_keys that may also use /v1/admin/, which shows and moves what is cached of all requests. With several api_keys and none of these, nobody may; a single API key may, and everybody where there are no keys.
	AdminKeys []Secret `key:"admin_keys"`
	// The largest request body; a larger one is answered with 413.
	MaxBodyBytes Size `key:"max_body_bytes" default:"10MiB" range:"1KiB..1GiB"`
	// How long a client may take to send its request's headers, and again its body.
	ReadTimeout time.Duration `key:"read_timeout" default:"30s" range:"100ms..1h"`
	// How long one write to a client may take, so that a client which stops reading doesn't hold its sequence for ever.
	WriteTimeout time.Duration `key:"write_timeout" default:"30s" range:"100ms..1h"`
	// How long an idle connection is kept open.
	IdleTimeout time.Duration `key:"idle_timeout" default:"2m" range:"1s..1h"`
	// How long running answers may take to finish after SIGTERM; then they are cut. 0 cuts them at once, as Ctrl-C does.
	DrainTimeout time.Duration `key:"drain_timeout" default:"30s" range:"0s..1h"`

	fileKeys []Secret
}

// Model is one entry of "models".
type Model struct {
	// The name that clients use. Left out, it is the source, or the file's name without .gguf.
	ID string `key:"id"`
	// Where the model comes from: a name of the catalog (smollm2:135m), a file of a hub (hf:org/repo/file.gguf), or a local file or folder. What isn't here yet is fetched at the start.
	Source string `key:"source" example:"smollm2:135m"`
	// A model file or folder, instead of source: a GGUF file, or a folder with config.json as Hugging Face and MLX have it. It is never fetched.
	Path string `key:"path"`
	// More names for the same model.
	Aliases []string `key:"aliases"`
	// The backend to run it on. Left out, the first of runtime.backend_priority that can.
	Backend string `key:"backend" enum:"cpu,mlx,cuda,rocm,mps"`
	// Whether another backend may run it when the named one can't. The change is visible in the log and in /v1/models.
	Fallback bool `key:"fallback" default:"false"`
	// The largest number of positions (prompt and answer) of one request. 0 means what the model was trained for.
	Context int `key:"context" default:"0" range:"0..16777216"`
	// The number of positions kept in memory for all running requests together. 0 lets the backend choose by the memory there is.
	KVTokens int `key:"kv_tokens" default:"0" range:"0..1073741824"`
	// The number format of the KV cache. auto is f32 for a model with F32 weights, f16 for all others. q8_0, 8 bits with a scale for 32 elements, takes half the memory of f16; only cpu has it.
	KVType string `key:"kv_type" default:"auto" enum:"auto,f16,f32,q8_0"`
	// How the model writes calls of tools. auto finds it out from the chat template; docs/Tools.md describes the formats.
	ToolFormat string `key:"tool_format" default:"auto" enum:"auto,command-r,deepseek,gemma,glm,granite,harmony,hermes,json,kimi,lfm2,llama3,mistral,nemotron,phi4,pythonic,qwen3-coder"`
	// How the model marks its reasoning. auto finds it out from the chat template.
	ReasoningFormat string `key:"reasoning_format" default:"auto" enum:"auto,none,command-r,granite,harmony,mistral,seed,think"`
	// How /v1/embeddings makes a vector of the hidden states of a text's tokens: that of the last one, or their mean. auto is what the model's file says, else last. A request may say otherwise.
	Pooling string `key:"pooling" default:"auto" enum:"auto,last,mean"`
	// Several tokens of an answer may be computed in one step, where they can be guessed. Answers stay what they are, and guessing stops where it doesn't pay.
	Speculation Speculation `key:"speculation"`
}

// Speculation is the section "speculation" of a model.
type Speculation struct {
	// How tokens of answers are guessed. lookup guesses what followed the last tokens when they stood in the request or the answer before, or in the field "prediction" of a request. draft asks a smaller model. auto is draft where one is named, otherwise lookup on cpu and none on other backends, which are ahead of the host.
	Method string `key:"method" default:"auto" enum:"auto,none,lookup,draft"`
	// The smaller model for draft: a source, or a local file or folder, with the same vocabulary.
	Draft string `key:"draft" example:"hf:org/repo/file.gguf"`
	// The backend that the smaller model runs on. Left out, it is the model's own.
	Backend string `key:"backend" enum:"cpu,mlx,cuda,rocm,mps"`
	// The most tokens that are guessed at once.
	Tokens int `key:"tokens" default:"8" range:"1..64"`
}

// Runtime is the section "runtime".
type Runtime struct {
	// The order in which backends are tried for a model that names none. Empty means mlx, cuda, rocm, mps, cpu: the first one that is ready on this machine.
	BackendPriority []string `key:"backend_priority" enum:"cpu,mlx,cuda,rocm,mps"`
	// Settings of single backends. Those not listed have the defaults.
	Backends []Backend `key:"backends"`
	// How requests share the machine. These hold for each model.
	Scheduler Scheduler `key:"scheduler"`
	// What is kept of requests that have ended. These hold for each model.
	KV KV `key:"kv"`
}

// Backend is one entry of "runtime.backends". The tag "for" names the backends
// that a setting is for; it is an error in the entry of another.
type Backend struct {
	// Which backend.
	Name string `key:"name" enum:"cpu,mlx,cuda,rocm,mps" example:"cpu"`
	// Whether it may be used. ENABLE_MLX=0 (ENABLE_CUDA, ENABLE_ROCM, ENABLE_MPS) in the environment switches one off, =1 on, whatever stands here.
	Enabled bool `key:"enabled" default:"true"`
	// The native library to load, or the folder it is in. Left out, it is searched for. For mlx, cuda, rocm and mps.
	Library string `key:"library" for:"mlx,cuda,rocm,mps"`
	// What to compute on. auto is the GPU if the library has one. For mlx.
	Device string `key:"device" default:"auto" enum:"auto,gpu,cpu" for:"mlx"`
	// The most memory that the library may hold, weights and KV cache included. 0 means what the device recommends. For mlx.
	MemoryLimit Size `key:"memory_limit" default:"0" range:"0..1024TiB" for:"mlx"`
	// How much freed memory the library may keep for reuse. 0 lets the backend choose. For mlx.
	CacheLimit Size `key:"cache_limit" default:"0" range:"0..1024TiB" for:"mlx"`
	// How much memory may stay resident on a GPU that shares the machine's memory (Metal). 0 means the size of the weights. For mlx.
	WiredLimit Size `key:"wired_limit" default:"0" range:"0..1024TiB" for:"mlx"`
	// The largest number of a prompt's tokens that are computed in one pass. 0 lets the backend choose. For mlx.
	PrefillChunk int `key:"prefill_chunk" default:"0" range:"0..65536" for:"mlx"`
	// The number of threads. 0 means one for each physical core that the process may use, within the CPU quota of its control group. For cpu.
	Threads int `key:"threads" default:"0" range:"0..1024" for:"cpu"`
	// Whether weights are copied into the layout of the kernels. auto does so unless the copy doesn't fit into memory, and gives the file's pages back. never computes from the mapped file, which is shared and ready at once, and packs what each product needs: prompts are a little slower, answers much. For cpu.
	Repack string `key:"repack" default:"auto" enum:"auto,never" for:"cpu"`

	switched string // "ENABLE_MLX=0": the variable that decided Enabled
}

// OffBy is the setting that switched the backend off, such as "ENABLE_MLX=0" or
// "runtime.backends", and "" for one that is on.
func (b Backend) OffBy() string {
	switch {
	case b.Enabled:
		return ""
	case b.switched != "":
		return b.switched
	}
	return "runtime.backends"
}

// Scheduler is the section "runtime.scheduler".
type Scheduler struct {
	// The largest number of sequences that are computed together.
	MaxRunning int `key:"max_running" default:"16" range:"1..4096"`
	// The largest number of requests that wait; more are answered with 429.
	MaxQueue int `key:"max_queue" default:"256" range:"0..1000000"`
	// The largest number of tokens in one step, prompts and answers together. 0 lets the backend choose: 512 on a CPU, 2048 on a GPU.
	BatchTokens int `key:"batch_tokens" default:"0" range:"0..65536"`
	// The largest piece of one prompt in a step in which others get answers. Smaller ones let those go on more evenly, larger ones read prompts faster. 0 means half of batch_tokens.
	PrefillChunk int `key:"prefill_chunk" default:"0" range:"0..65536"`
	// Who is let in next when there is room. fcfs goes by arrival, priority by the field "priority" of requests (the lowest number first; running requests give way to better ones), longest_prefix by how much of a prompt the cache holds. Under each, who waits moves up.
	Policy string `key:"policy" default:"fcfs" enum:"fcfs,priority,longest_prefix"`
	// How long a step may take in which prompts are computed beside running answers: the most that those are delayed by somebody else's prompt. 0 means 2.4 times as long as a step without prompts, but 10ms at least.
	TargetLatency time.Duration `key:"target_latency" default:"0s" range:"0s..1m"`
	// The largest number of requests of one API key that are computed together. 0 means max_running.
	KeyRunning int `key:"max_running_per_key" default:"0" range:"0..4096"`
	// The largest number of requests of one API key that wait; more are answered with 429. 0 means max_queue.
	KeyQueue int `key:"max_queue_per_key" default:"0" range:"0..1000000"`
	// The length of an answer whose request sets no max_tokens. It is cut to what the context leaves.
	DefaultMaxTokens int `key:"default_max_tokens" default:"2048" range:"1..16777216"`
}

// KV is the section "runtime.kv".
type KV struct {
	// Whether the keys and values of ended requests stay in the KV cache, for requests that begin like them: the next turn of a conversation, or another one with the same system prompt. They give way to running requests.
	PrefixCache bool `key:"prefix_cache" default:"true"`
	// The most tokens that are kept in this way. 0 means what running requests don't need.
	PrefixTokens int `key:"prefix_tokens" default:"0" range:"0..1000000000"`
	// Whether requests use only what others with the same API key left. Between strangers, the time to the first token tells who asked what before.
	PrefixPerKey bool `key:"prefix_per_key" default:"false"`
	// How much of the machine's memory may hold what gave way in the KV cache, for all models together. 0 means none, or 1GiB in front of a disk. It is taken as it is needed.
	HostMemory Size `key:"host_memory" default:"0" range:"0..1024TiB"`
	// What gave way is kept on a disk too, and found again after a restart.
	Disk KVDisk `key:"disk"`
}

// KVDisk is the section "runtime.kv.disk".
type KVDisk struct {
	// The folder, such as /var/cache/inferflux/kv, for this server alone. Empty means none.
	Path string `key:"path"`
	// The most that the folder may hold.
	Limit Size `key:"limit" default:"16GiB" range:"1MiB..1024TiB"`
	// A file with a key of 32 bytes, in hex or base64, by which the folder's files are encrypted. Empty means that they aren't.
	KeyFile string `key:"key_file"`
}

// Logging is the section "logging".
type Logging struct {
	// The least severe level that is logged.
	Level string `key:"level" default:"info" enum:"debug,info,warn,error"`
	// How lines are written. "auto" is text on a terminal, JSON otherwise.
	Format string `key:"format" default:"auto" enum:"auto,text,json"`
}

// Keys are all accepted API keys, those of api_keys_file included.
func (s Server) Keys() []Secret {
	return append(s.APIKeys[:len(s.APIKeys):len(s.APIKeys)], s.fileKeys...)
}

// Warnings are things that [Load] found questionable but not wrong.
func (c *Config) Warnings() []string { return c.warnings }

// Backend is the entry of a backend in runtime.backends, or the defaults.
func (r Runtime) Backend(name string) Backend {
	for _, b := range r.Backends {
		if b.Name == name {
			return b
		}
	}
	b := newElement[Backend]()
	b.Name = name
	return b
}

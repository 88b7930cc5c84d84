package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inferflux/inferflux/config"
)

func parse(t *testing.T, yaml string, env ...string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(yaml), config.Sources{File: "f.yaml", Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	for _, yaml := range []string{"", "\n\n", "# nothing\n", "---\n", "server:\nmodels:\nruntime:\n  backends: ~\n"} {
		c := parse(t, yaml)
		if c.Server.Listen != "127.0.0.1:8080" || c.Server.MaxBodyBytes != 10<<20 || c.Server.DrainTimeout != 30*time.Second {
			t.Errorf("%q: server = %+v", yaml, c.Server)
		}
		if c.Runtime.Scheduler != (config.Scheduler{MaxRunning: 16, MaxQueue: 256, Policy: "fcfs", DefaultMaxTokens: 2048}) {
			t.Errorf("%q: scheduler = %+v", yaml, c.Runtime.Scheduler)
		}
		if c.Logging != (config.Logging{Level: "info", Format: "auto"}) || len(c.Models) != 0 {
			t.Errorf("%q: logging = %+v, models = %+v", yaml, c.Logging, c.Models)
		}
		if w := c.Warnings(); len(w) > 0 {
			t.Errorf("%q: warnings %q", yaml, w)
		}
	}
}

func TestExampleIsTheDefault(t *testing.T) {
	got := parse(t, config.Example)
	if len(got.Models) != 1 || got.Models[0].Source != "smollm2:135m" || got.Models[0].ID != "smollm2:135m" {
		t.Errorf("models = %+v", got.Models)
	}
	want := config.Default()
	want.Models, want.Runtime.Backends = got.Models, got.Runtime.Backends
	want.Server.APIKeys, got.Server.APIKeys = nil, nil // empty and absent are the same
	want.Runtime.BackendPriority, got.Runtime.BackendPriority = nil, nil
	if a, b := fmt.Sprintf("%+v%+v%+v", want.Server, want.Runtime, want.Logging), fmt.Sprintf("%+v%+v%+v", got.Server, got.Runtime, got.Logging); a != b {
		t.Error(cmp.Diff(a, b))
	}
}

func TestEveryKindOfValue(t *testing.T) {
	c := parse(t, `
server:
  listen: "[::1]:0"
  api_keys: [one-long-key, "two-long-key"]
  max_body_bytes: 2097152
  drain_timeout: 1m30s
models:
  - {source: smollm2:135m, aliases: [small, default], context: 0x400, kv_type: f32}
  - path: /models/Llama 3.gguf
    backend: mlx
    fallback: true
  - source: hf:org/repo/tiny.Q8_0.gguf@main
  - source: hf:org/repo
runtime:
  backend_priority: [mlx, cpu]
  backends:
    - name: cpu
      threads: 2
    - name: cuda
      enabled: false
`)
	var ids []string
	for _, m := range c.Models {
		ids = append(ids, m.ID)
	}
	if diff := cmp.Diff([]string{"smollm2:135m", "Llama-3", "tiny.Q8_0", "repo"}, ids); diff != "" {
		t.Error(diff)
	}
	want := config.Model{ID: "smollm2:135m", Source: "smollm2:135m", Aliases: []string{"small", "default"}, Context: 1024, KVType: "f32", ToolFormat: "auto", ReasoningFormat: "auto", Pooling: "auto", Speculation: config.Speculation{Method: "auto", Tokens: 8}}
	if diff := cmp.Diff(want, c.Models[0]); diff != "" {
		t.Error(diff)
	}
	if c.Server.MaxBodyBytes != 2<<20 || c.Server.DrainTimeout != 90*time.Second || string(c.Server.Keys()[1]) != "two-long-key" {
		t.Errorf("server: %+v", c.Server)
	}
	if b := c.Runtime.Backend("cpu"); b.Threads != 2 || !b.Enabled {
		t.Errorf("cpu: %+v", b)
	}
	if b := c.Runtime.Backend("mlx"); b.Name != "mlx" || !b.Enabled {
		t.Errorf("a backend that isn't listed: %+v", b)
	}
	if c.Runtime.Backend("cuda").Enabled {
		t.Error("cuda is enabled")
	}
}

// What a user reads when the file is wrong. Every line of want must appear in
// this order, and nothing else.
func TestProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		yaml string
		env  []string
		want string
	}{
		"all at once, top to bottom": {`server:
  lisen: x
  max_body_bytes: 10 bananas
  drain_timeout: 30
  read_timeout: 2h
logging:
  level: loud
  level: info
runtime:
  scheduler: {max_queue: "4", max_running: -1}
modles: []
`, []string{"INFERFLUX_SERVER_IDLE_TIMEOUT=1y"}, `
f.yaml:2:3: server.lisen: unknown key; did you mean "listen"?
f.yaml:3:19: server.max_body_bytes: must be a size such as 10MiB, not "10 bananas"
f.yaml:4:18: server.drain_timeout: must be a duration with its unit (30s), not the integer 30
f.yaml:5:17: server.read_timeout: must be between 100ms and 1h, not 2h
f.yaml:7:10: logging.level: must be one of debug, info, warn, error, not "loud"
f.yaml:8:3: logging.level: is already set in line 7
f.yaml:10:26: runtime.scheduler.max_queue: must be an integer, not the string "4"
f.yaml:10:44: runtime.scheduler.max_running: must be between 1 and 4096, not -1
f.yaml:11:1: modles: unknown key; did you mean "models"?
INFERFLUX_SERVER_IDLE_TIMEOUT: server.idle_timeout: must be a duration with its unit, such as 500ms, 30s or 2m, not "1y"`},
		"a key in the wrong section": {"server: {max_queue: 3}\n", nil, `
f.yaml:1:10: server.max_queue: unknown key; did you mean runtime.scheduler.max_queue?`},
		"a section that isn't one": {"colour: red\n", nil, `
f.yaml:1:1: colour: unknown key; the sections are server, models, runtime, logging`},
		"wrong shapes": {"server: 5\nmodels: {id: a}\nruntime:\n  backend_priority: cpu\n  backends: [cpu]\nlogging: [a]\n", nil, `
f.yaml:1:9: server: must be a section with keys of its own, not the integer 5
f.yaml:2:9: models: must be a list of entries, not a section
f.yaml:4:21: runtime.backend_priority: must be a list of strings, not the string "cpu"
f.yaml:5:14: runtime.backends[0]: must be a section with keys of its own, not the string "cpu"
f.yaml:6:10: logging: must be a section with keys of its own, not a list`},
		"not YAML": {"server:\n  listen: [\n", nil, `
f.yaml:3:1: not valid YAML: did not find expected node content`},
		"two documents":  {"server:\n---\nserver:\n", nil, "\nf.yaml:2:1: not valid YAML: a second document begins here; a configuration is one document"},
		"not a mapping":  {"- a\n", nil, "\nf.yaml:1:1: must be a section with keys of its own, not a list"},
		"alias":          {"models:\n  - &m {source: a}\n  - *m\n", nil, "\nf.yaml:2:5: models[0]: anchors and aliases (& and *) aren't supported: write the value out\nf.yaml:3:5: models[1]: anchors and aliases (& and *) aren't supported: write the value out"},
		"merge key":      {"server:\n  <<: {listen: a}\n", nil, "\nf.yaml:2:3: server: merge keys (<<) aren't supported: write the keys out"},
		"strange tag":    {"server: {listen: !!binary aGk=}\n", nil, "\nf.yaml:1:18: server.listen: must be a string, not a value tagged \"!!binary\"; put it in quotes: \"aGk=\""},
		"complex key":    {"? [a]\n: b\n", nil, "\nf.yaml:1:3: a key must be a word, not a list"},
		"number as name": {"models: [{source: a, id: 7}]\n", nil, "\nf.yaml:1:26: models[0].id: must be a string, not the integer 7; put it in quotes: \"7\""},
		"listen":         {"server: {listen: localhost}\n", nil, "\nf.yaml:1:18: server.listen: must be an address and a port such as 127.0.0.1:8080, not \"localhost\""},
		"port":           {"server: {listen: \"127.0.0.1:99999\"}\n", nil, "\nf.yaml:1:18: server.listen: the port must be a number between 0 and 65535, not \"99999\""},
		"models": {`models:
  - {id: a, source: x, path: y}
  - {id: b}
  - {source: c, aliases: [a, c, "d e"]}
  - {source: d, context: 100, kv_tokens: 50}
`, nil, `
f.yaml:2:5: models[0]: has both source and path: leave one out
f.yaml:3:5: models[1]: needs a source (such as smollm2:135m) or a path
f.yaml:4:27: models[2].aliases[0]: the name "a" is taken already by models[0].id
f.yaml:4:30: models[2].aliases[1]: the name "c" is taken already by models[2]
f.yaml:4:33: models[2].aliases[2]: a model's name must be 1 to 128 printable characters without spaces, not "d e"
f.yaml:5:26: models[3].context: must not be larger than kv_tokens (50), but is 100`},
		"backends": {`runtime:
  backend_priority: [cpu, cpu, cuda, tpu]
  backends: [{name: cuda, enabled: false}, {name: cuda}, {threads: 2}, {name: cpu, library: x}]
models: [{source: a, backend: cuda}]
`, nil, `
f.yaml:2:27: runtime.backend_priority[1]: "cpu" is listed twice
f.yaml:2:32: runtime.backend_priority[2]: "cuda" is switched off by runtime.backends
f.yaml:2:38: runtime.backend_priority[3]: must be one of cpu, mlx, cuda, rocm, mps, not "tpu"
f.yaml:3:51: runtime.backends[1].name: "cuda" is listed already as runtime.backends[0]
f.yaml:3:58: runtime.backends[2]: needs a name
f.yaml:3:93: runtime.backends[3].library: is a setting of mlx, cuda, rocm, mps, not of cpu
f.yaml:4:31: models[0].backend: "cuda" is switched off by runtime.backends`},
		"settings of another backend": {`runtime:
  backends:
    - {name: cpu, device: gpu, memory_limit: 1GiB, threads: 2}
    - {name: mlx, device: metal, threads: 2, cache_limit: -1, prefill_chunk: 70000, wired_limit: 2000TiB}
    - {name: cuda, library: /x, prefill_chunk: 64}
`, nil, `
f.yaml:3:27: runtime.backends[0].device: is a setting of mlx, not of cpu
f.yaml:3:46: runtime.backends[0].memory_limit: is a setting of mlx, not of cpu
f.yaml:4:27: runtime.backends[1].device: must be one of auto, gpu, cpu, not "metal"
f.yaml:4:43: runtime.backends[1].threads: is a setting of cpu, not of mlx
f.yaml:4:59: runtime.backends[1].cache_limit: the size "-1" is out of range
f.yaml:4:78: runtime.backends[1].prefill_chunk: must be between 0 and 65536, not 70000
f.yaml:4:98: runtime.backends[1].wired_limit: must be between 0 and 1024TiB, not 2000TiB
f.yaml:5:48: runtime.backends[2].prefill_chunk: is a setting of mlx, not of cuda`},
		"switches": {"models: [{source: a, backend: mlx}]\nruntime: {backend_priority: [cuda, cpu]}\n",
			[]string{"ENABLE_MLX=0", "ENABLE_CUDA=off", "ENABLE_ROCM=maybe", "ENABLE_MPS=2"}, `
f.yaml:1:31: models[0].backend: "mlx" is switched off by ENABLE_MLX=0
f.yaml:2:30: runtime.backend_priority[0]: "cuda" is switched off by ENABLE_CUDA=off
ENABLE_ROCM: must be 1, true, on or yes, or else 0, false, off or no, but is "maybe"
ENABLE_MPS: must be 1, true, on or yes, or else 0, false, off or no, but is "2"`},
		"scheduler": {"runtime: {scheduler: {batch_tokens: 16, prefill_chunk: 32, max_running: 17}}\n", nil, `
f.yaml:1:56: runtime.scheduler.prefill_chunk: must not be larger than batch_tokens (16), but is 32
f.yaml:1:73: runtime.scheduler.max_running: must not be larger than batch_tokens (16), since every running sequence needs a token a step, but is 17`},
		"a secret is not repeated": {"server: {api_keys: [hunter2, 12345678]}\n", nil, `
f.yaml:1:21: server.api_keys[0]: a key must be 8 to 512 printable ASCII characters without spaces
f.yaml:1:30: server.api_keys[1]: must be a string; put it in quotes`},
		"environment": {"", []string{"INFERFLUX_SERVER_LISTN=x", "INFERFLUX_MODELS_2_ID=a", "INFERFLUX_LOGGING_LEVEL=loud", "INFERFLUX_MODELS=a", "INFERFLUX_RUNTIME_BACKEND_PRIORITY=cpu,gpu"}, `
INFERFLUX_SERVER_LISTN: no such setting; did you mean INFERFLUX_SERVER_LISTEN?
INFERFLUX_MODELS: no such setting
INFERFLUX_LOGGING_LEVEL: logging.level: must be one of debug, info, warn, error, not "loud"
INFERFLUX_MODELS_2_ID: models: there is no entry 2: the list has 0, and the next one to add is 0
INFERFLUX_RUNTIME_BACKEND_PRIORITY: runtime.backend_priority: must be one of cpu, mlx, cuda, rocm, mps, not "gpu"`},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Parse([]byte(tt.yaml), config.Sources{File: "f.yaml", Env: tt.env})
			var problems config.Problems
			if !errors.As(err, &problems) || c != nil {
				t.Fatalf("got %v, %v; want problems", c, err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	file := "server: {listen: '127.0.0.1:1', idle_timeout: 5s}\nmodels: [{source: a}]\nruntime: {backend_priority: [mlx]}\n"
	env := []string{"PATH=/bin", "INFERFLUX_SERVER_LISTEN=127.0.0.1:2", "INFERFLUX_MODELS_1_SOURCE=b", "INFERFLUX_MODELS_10_SOURCE=k",
		"INFERFLUX_MODELS_0_ALIASES=x, y", "INFERFLUX_RUNTIME_BACKEND_PRIORITY=cuda,cpu", "INFERFLUX_RUNTIME_SCHEDULER_MAX_QUEUE=7",
		"INFERFLUX_SERVER_API_KEYS_0=a-long-secret", "INFERFLUX_RUNTIME_BACKENDS_0_NAME=cpu", "INFERFLUX_RUNTIME_BACKENDS_0_THREADS=3"}
	for i := 2; i < 10; i++ {
		env = append(env, fmt.Sprintf("INFERFLUX_MODELS_%d_SOURCE=%c", i, 'a'+i))
	}
	c, err := config.Parse([]byte(file), config.Sources{Env: env, Flags: []config.Setting{
		{Key: "server.listen", Value: "127.0.0.1:3", From: "--listen"}, {Key: "models[].source", Value: "z", From: "--model"}}})
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, m := range c.Models {
		sources = append(sources, m.Source)
	}
	if got := strings.Join(sources, ""); got != "abcdefghijkz" {
		t.Errorf("models %s", got)
	}
	if c.Server.Listen != "127.0.0.1:3" || c.Server.IdleTimeout != 5*time.Second || c.Runtime.Scheduler.MaxQueue != 7 || string(c.Server.APIKeys[0]) != "a-long-secret" {
		t.Errorf("%+v", c)
	}
	if diff := cmp.Diff([]string{"cuda", "cpu"}, c.Runtime.BackendPriority); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"x", "y"}, c.Models[0].Aliases); diff != "" {
		t.Error(diff)
	}
	c, err = config.Parse([]byte(file), config.Sources{Flags: []config.Setting{{Key: "models", From: "--model"}, {Key: "models[].source", Value: "a", From: "--model"}}})
	if err != nil || len(c.Models) != 1 {
		t.Errorf("models instead of those in the file: %+v, %v", c, err)
	}
	if c, err = config.Parse([]byte(file), config.Sources{Env: env}); err != nil || c.Runtime.Backend("cpu").Threads != 3 {
		t.Errorf("backends %+v", c.Runtime.Backends)
	}
}

// The ENABLE_ variables decide over the file, and what they decided is shown.
func TestSwitches(t *testing.T) {
	file := "runtime: {backends: [{name: mlx, enabled: false, device: cpu}, {name: cuda}]}\n"
	for _, c := range []struct {
		name    string
		env     []string
		backend string
		on      bool
		by      string
	}{
		{"the file", nil, "mlx", false, "runtime.backends"},
		{"on in spite of the file", []string{"ENABLE_MLX=1"}, "mlx", true, ""},
		{"an empty one says nothing", []string{"ENABLE_MLX="}, "mlx", false, "runtime.backends"},
		{"off in spite of the file", []string{"ENABLE_CUDA=False"}, "cuda", false, "ENABLE_CUDA=False"},
		{"not listed, off", []string{"ENABLE_ROCM=no"}, "rocm", false, "ENABLE_ROCM=no"},
		{"not listed, on", []string{"ENABLE_MPS=yes"}, "mps", true, ""},
		{"there is none for cpu", []string{"ENABLE_CPU=0"}, "cpu", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := parse(t, file, c.env...).Runtime.Backend(c.backend)
			if b.Enabled != c.on || b.OffBy() != c.by {
				t.Errorf("enabled %v, switched off by %q; want %v, %q", b.Enabled, b.OffBy(), c.on, c.by)
			}
		})
	}
	var out bytes.Buffer
	if err := parse(t, "", "ENABLE_MLX=off").Write(&out); err != nil || !strings.Contains(out.String(), "enabled: false  # from ENABLE_MLX\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// Every setting can be set by the variable that the reference page names.
func TestEveryKeyHasAVariable(t *testing.T) {
	for _, k := range config.Keys() {
		if k.Section {
			continue
		}
		value := map[string]string{"integer": "64", "duration": "2s", "size": "5MiB", "true or false": "true"}[k.Type]
		if value == "" {
			value = "some-long-word"
		}
		if first, _, isEnum := strings.Cut(k.Allowed, ","); isEnum {
			value = first
		}
		if k.Path == "server.listen" {
			value = "127.0.0.1:9"
		}
		_, err := config.Parse(nil, config.Sources{Env: []string{k.Env + "=" + value}})
		// An entry with one key may lack another, but the key itself must be found and take the value.
		if err != nil && strings.Contains(err.Error(), "no such setting") || err != nil && strings.Contains(err.Error(), k.Env+": "+k.Path) {
			t.Errorf("%s=%s: %v", k.Env, value, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	for name, tt := range map[string]struct {
		yaml string
		env  []string
		want string
	}{
		"open to everybody": {"server: {listen: ':80'}\n", nil, "everybody who can reach port 80"},
		"all interfaces":    {"server: {listen: '0.0.0.0:80'}\n", nil, "there are no server.api_keys"},
		"open with a key":   {"server: {listen: ':80', api_keys: [long-enough]}\n", nil, ""},
		"localhost":         {"server: {listen: 'localhost:80'}\n", nil, ""},
		"loopback":          {"server: {listen: '127.1.2.3:80'}\n", nil, ""},
		"ipv6 loopback":     {"server: {listen: '[::1]:80'}\n", nil, ""},
		"unknown variable":  {"", []string{"INFERFLUX_HOEM=/x"}, "INFERFLUX_HOEM means nothing here"},
		"others' variables": {"", []string{"INFERFLUX_HOME=/x", "INFERFLUX_SIMD=avx2", "INFERFLUX_TEST_MODEL=/m", "INFERFLUX_SERVER=http://x", "INFERFLUX_API_KEY=k", "INFERFLUXX=1"}, ""},
		"Kubernetes's own":  {"", []string{"INFERFLUX_PORT=tcp://1.2.3.4:80", "INFERFLUX_SERVICE_HOST=1.2.3.4", "INFERFLUX_SERVER_PORT_8080_TCP_ADDR=1.2.3.4", "INFERFLUX_SERVER_SERVICE_PORT_HTTP=80"}, ""},
	} {
		got := strings.Join(parse(t, tt.yaml, tt.env...).Warnings(), "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: warnings %q, want %q", name, got, tt.want)
		}
	}
}

func TestKeysFile(t *testing.T) {
	dir := t.TempDir()
	keys, file := filepath.Join(dir, "keys"), filepath.Join(dir, "c.yaml")
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "server:\n  api_keys: [in-the-file]\n  api_keys_file: "+keys+"\n", 0o600)
	if _, err := config.Load(config.Sources{File: file}); err == nil || !strings.Contains(err.Error(), file+":3:18: server.api_keys_file: open "+keys) {
		t.Errorf("no keys file: %v", err)
	}
	write(keys, "# mine\n\n  first-key-of-file  \nsecond-key-of-file\n", 0o600)
	c, err := config.Load(config.Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range c.Server.Keys() {
		got = append(got, string(k))
	}
	if diff := cmp.Diff([]string{"in-the-file", "first-key-of-file", "second-key-of-file"}, got); diff != "" {
		t.Error(diff)
	}
	if err := os.Chmod(keys, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err = config.Load(config.Sources{File: file}); err != nil || !strings.Contains(strings.Join(c.Warnings(), ""), "chmod 600") {
		t.Errorf("readable by all: %v, %v", c.Warnings(), err)
	}
	write(keys, "has spaces in it\n", 0o600)
	if _, err := config.Load(config.Sources{File: file}); err == nil || !strings.Contains(err.Error(), "line 1") || strings.Contains(err.Error(), "spaces in it\n") {
		t.Errorf("bad key: %v", err)
	}
	write(keys, "\n", 0o600)
	if _, err := config.Load(config.Sources{File: file}); err == nil || !strings.Contains(err.Error(), "has no keys") {
		t.Errorf("empty file: %v", err)
	}
	if _, err := config.Load(config.Sources{File: filepath.Join(dir, "absent.yaml")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	write(file, strings.Repeat("#", 1<<20+1), 0o600)
	if _, err := config.Load(config.Sources{File: file}); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("huge file: %v", err)
	}
}

// Write gives YAML that means the same, and no way of printing shows a secret.
func TestWrite(t *testing.T) {
	yaml := `
server: {listen: "[::1]:80", api_keys: [hush-hush-1], max_body_bytes: 1500000, idle_timeout: 1h}
models:
  - {id: "1e3", source: "hf:a/b/c d.gguf", aliases: ["yes", x], kv_type: f32, context: 5}
  - {id: "#x", path: "/a \"b\"\t", fallback: true}
runtime: {backends: [{name: cpu, threads: 2}, {name: mlx, device: gpu, memory_limit: 3GiB, prefill_chunk: 1024}], backend_priority: [cpu]}
`
	c := parse(t, yaml, "INFERFLUX_LOGGING_LEVEL=debug")
	var out bytes.Buffer
	if err := c.Write(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "level: debug  # from INFERFLUX_LOGGING_LEVEL\n") {
		t.Error("no origin in", out.String())
	}
	again := parse(t, strings.Replace(out.String(), "[redacted]", "hush-hush-1", 1))
	dump := func(c *config.Config) string {
		return fmt.Sprintf("%#v %#v %#v %v", c.Models, c.Runtime, c.Logging, []any{c.Server.Listen, c.Server.MaxBodyBytes, c.Server.IdleTimeout, string(c.Server.APIKeys[0])})
	}
	if diff := cmp.Diff(dump(c), dump(again)); diff != "" {
		t.Errorf("%s\n%s", diff, out.String())
	}
	asJSON, _ := json.Marshal(c)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c, "server", c.Server, "key", c.Server.APIKeys[0])
	for _, s := range []string{out.String(), string(asJSON), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.Server.APIKeys, c.Server.APIKeys), log.String()} {
		if strings.Contains(s, "hush-hush") {
			t.Errorf("a secret shows in %s", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(config.Example), "INFERFLUX_SERVER_LISTEN=x")
	f.Add([]byte("models: [{source: a}]\nserver: {api_keys: [aaaaaaaa]}"), "INFERFLUX_MODELS_0_ID=b")
	f.Add([]byte("a: &a [*a, *a]\n---\n? {b: [\n"), "INFERFLUX_RUNTIME_BACKENDS_1_NAME=cpu")
	f.Add([]byte(strings.Repeat("[", 300)), "INFERFLUX_RUNTIME_BACKEND_PRIORITY=,,cpu")
	f.Fuzz(func(t *testing.T, data []byte, env string) {
		c, err := config.Parse(data, config.Sources{File: "f", Env: []string{env}})
		if err != nil {
			var p config.Problems
			if !errors.As(err, &p) || len(p) == 0 || c != nil {
				t.Fatalf("error %T %v with config %v", err, err, c)
			}
			return
		}
		// What was accepted can be printed and read back to the same print.
		var first, second bytes.Buffer
		if err := c.Write(&first); err != nil {
			t.Fatal(err)
		}
		again, err := config.Parse(first.Bytes(), config.Sources{File: "f"})
		if err != nil {
			t.Fatalf("%v\n%s", err, first.String())
		}
		if err := again.Write(&second); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(env, "=")
		if a, b := strings.ReplaceAll(first.String(), "  # from "+name, ""), second.String(); a != b {
			t.Fatalf("not the same when read back:\n%s\n%s", a, b)
		}
	})
}

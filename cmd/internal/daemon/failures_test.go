package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inferflux/inferflux/cmd/internal/daemon"
)

// asProgram in the environment makes this test binary be inferfluxd.
const asProgram = "INFERFLUX_TEST_AS_PROGRAM"

func init() {
	if os.Getenv(asProgram) != "" {
		os.Exit(daemon.Main("test", os.Args[1:]))
	}
}

// program is inferfluxd as a process of its own: what it loads stays in it.
type program struct {
	*exec.Cmd
	log bytes.Buffer // once it has ended
	url chan string
}

// start starts inferfluxd with a configuration. The environment's MLX is not its.
func start(t *testing.T, yaml string, env ...string) *program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, []byte("server: {listen: '127.0.0.1:0'}\n"+yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	p := &program{Cmd: exec.CommandContext(t.Context(), os.Args[0], "--config", file), url: make(chan string, 1)}
	p.Env = append([]string{asProgram + "=1", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}, env...)
	p.Stderr = p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil { // the test gave up on it
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// Write gets the program's log, line by line.
func (p *program) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		var l struct{ Msg, URL string }
		if json.Unmarshal(line, &l) == nil && l.Msg == "listening" {
			p.url <- l.URL
		}
	}
	return p.log.Write(b)
}

// base is its address, as soon as it listens.
func (p *program) base(t *testing.T) string {
	t.Helper()
	select {
	case url := <-p.url:
		return url
	case <-time.After(20 * time.Second):
		t.Fatal("it doesn't listen")
		return ""
	}
}

// ends waits for its end and wants an exit code.
func (p *program) ends(t *testing.T, code int) {
	t.Helper()
	err := p.Wait()
	if got := p.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d: %v\n%s", got, code, err, &p.log)
	}
}

// post sends a request and reads its answer.
func post(ctx context.Context, url string, body any) (int, string, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return 0, "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, string(raw), err
}

// metric is the value of one line of /metrics.
func metric(t *testing.T, base, name string) string {
	t.Helper()
	_, all := get(t, base+"/metrics")
	for line := range strings.Lines(all) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// eventually waits for a metric to have a value.
func eventually(t *testing.T, base, name, want string) {
	t.Helper()
	got := ""
	for range 2000 {
		if got = metric(t, base, name); got == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s is %q, want %q", name, got, want)
}

// fakeMLX is a libmlxc with nothing but a version.
const fakeMLX = `
struct string { const char *text; };
void mlx_set_error_handler(void *f, void *data, void *dtor) {}
struct string mlx_string_new(void) { struct string s = {0}; return s; }
int mlx_version(struct string *s) { s->text = "0.31.2"; return 0; }
const char *mlx_string_data(struct string s) { return s.text; }
int mlx_string_free(struct string s) { return 0; }
`

// A library that is missing, wrong or too old ends a server that has no other
// model, with the remedy. In one that has, the model's state and a request for it
// say the same, and one that may fall back runs on cpu and says why.
func TestLibraryCanNotBeUsed(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	if err := os.WriteFile(text, []byte(strings.Repeat("no library\n", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "old.so")
	for _, c := range []struct {
		name, library string
		want          []string
	}{
		{"missing", "/absent/libmlxc.so", []string{"find MLX: /absent/libmlxc.so (from the configuration)", "nor a folder that holds it in lib"}},
		{"a text file", text, []string{"load " + text, "install MLX anew", "inferctl backends install mlx"}},
		{"too old", old, []string{"is MLX 0.31.2, which computes rotary position embeddings wrongly", "install MLX 0.32.4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.library == old {
				cc, err := exec.LookPath("cc")
				if err != nil {
					t.Skip("needs a C compiler")
				}
				build := exec.CommandContext(t.Context(), cc, "-w", "-shared", "-fPIC", "-x", "c", "-o", old, "-")
				build.Stdin = strings.NewReader(fakeMLX)
				if out, err := build.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			check := func(where, got string) {
				t.Helper()
				for _, want := range append(c.want, `backend \"mlx\" can't be used`) {
					if !strings.Contains(got, want) && !strings.Contains(got, strings.ReplaceAll(want, `\"`, `"`)) {
						t.Errorf("%s: %q is not in %s", where, want, got)
					}
				}
			}
			path, err := filepath.Abs(tiny)
			if err != nil {
				t.Fatal(err)
			}
			backends := fmt.Sprintf("runtime: {backends: [{name: mlx, library: %q}]}\n", c.library)
			alone := start(t, fmt.Sprintf("models: [{path: %q, backend: mlx}]\n", path)+backends)
			alone.ends(t, 1)
			_, last, _ := strings.Cut(alone.log.String(), "\ninferfluxd: ")
			check("the last words", last)

			p := start(t, fmt.Sprintf("models: [{id: named, path: %[1]q, backend: mlx}, {id: either, path: %[1]q, backend: mlx, fallback: true}]\n", path)+backends)
			base := p.base(t)
			waitReady(t, base, "either")
			_, either := get(t, base+"/v1/models/either")
			check("/v1/models/either", either)
			if !strings.Contains(either, `"backend":"cpu"`) || !strings.Contains(either, `"requested_backend":"mlx"`) {
				t.Errorf("with fallback: %s", either)
			}
			_, named := get(t, base+"/v1/models/named")
			check("/v1/models/named", named)
			if !strings.Contains(named, `"state":"failed"`) {
				t.Errorf("without fallback: %s", named)
			}
			for model, want := range map[string]int{"named": http.StatusUnprocessableEntity, "either": http.StatusOK} {
				status, body, err := post(t.Context(), base+"/v1/completions", map[string]any{"model": model, "prompt": "the", "max_tokens": 2})
				if err != nil || status != want {
					t.Errorf("a request for %s: %d %s, %v", model, status, body, err)
				}
				if want != http.StatusOK {
					check("a request for "+model, body)
				}
			}
			if err := p.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
			p.ends(t, 0)
			check("the log", p.log.String())
		})
	}
}

// mlxRuntime is the configuration of the library under test, on its CPU.
func mlxRuntime(t *testing.T) string {
	t.Helper()
	library := os.Getenv("INFERFLUX_TEST_MLX_LIBRARY")
	if library == "" {
		t.Skip("needs MLX: INFERFLUX_TEST_MLX_LIBRARY")
	}
	return fmt.Sprintf("backends: [{name: mlx, library: %q, device: cpu}]", library)
}

// quantized is a folder with a tiny model that MLX quantized and a tokenizer, after
// edit has spoilt it. It answers at length.
func quantized(t *testing.T, edit func(file func(name string) string)) string {
	t.Helper()
	const fixtures = "../../../model/testdata"
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, from := range map[string]string{
		"config.json": "mlx/affine-4-64", "model.safetensors": "mlx/affine-4-64", "model.safetensors.index.json": "mlx/affine-4-64",
		"tokenizer.json": "llama-gqa-tied", "tokenizer_config.json": "llama-gqa-tied",
	} {
		data, err := os.ReadFile(filepath.Join(fixtures, from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	replace(t, file("config.json"), `"max_position_embeddings": 256`, `"max_position_embeddings": 65536`)
	if edit != nil {
		edit(file)
	}
	return dir
}

func replace(t *testing.T, path, old, with string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%s has no %s", path, old)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte(old), []byte(with)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestMalformedFolder(t *testing.T) {
	runtime := mlxRuntime(t)
	for _, c := range []struct {
		name string
		edit func(file func(string) string) error
		want []string
	}{
		{"truncated weights", func(file func(string) string) error { return os.Truncate(file("model.safetensors"), 40000) },
			[]string{"model.safetensors: the tensors take 51616 bytes, but 35078 follow the header: the file is truncated"}},
		{"truncated header", func(file func(string) string) error { return os.Truncate(file("model.safetensors"), 20) },
			[]string{"model.safetensors: the header's length is 4914, but only 12 bytes follow: the file is truncated"}},
		{"missing shard", func(file func(string) string) error {
			replace(t, file("model.safetensors.index.json"), `"model.layers.1.mlp.up_proj.weight": "model.safetensors"`, `"model.layers.1.mlp.up_proj.weight": "model-00002-of-00002.safetensors"`)
			replace(t, file("model.safetensors.index.json"), `"model.safetensors"`, `"model-00001-of-00002.safetensors"`)
			return os.Rename(file("model.safetensors"), file("model-00001-of-00002.safetensors"))
		}, []string{"model-00002-of-00002.safetensors"}},
		{"other shapes", func(file func(string) string) error {
			replace(t, file("config.json"), `"hidden_size": 64`, `"hidden_size": 128`)
			return nil
		}, []string{"model.embed_tokens.weight has the shape [264 64], expected [264 128]", "model.layers.1.mlp.down_proj.weight has the shape [64 128], expected [128 128]"}},
		{"no tokenizer", func(file func(string) string) error { return os.Remove(file("tokenizer.json")) },
			[]string{"has no tokenizer.json: download it too"}},
		{"no config", func(file func(string) string) error { return os.Remove(file("config.json")) }, []string{"it has no config.json"}},
		{"no weights", func(file func(string) string) error { return os.Remove(file("model.safetensors")) }, []string{"model.safetensors"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := quantized(t, func(file func(string) string) {
				if err := c.edit(file); err != nil {
					t.Fatal(err)
				}
			})
			_, ended := run(t, t.Context(), fmt.Sprintf("models: [{id: m, path: %q, backend: mlx}]\nruntime: {%s}\n", dir, runtime))
			err := <-ended
			if err == nil {
				t.Fatal("it was served")
			}
			for _, want := range append(c.want, dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

// A client that is killed in the middle of its answer frees its sequence.
func TestClientIsKilled(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	base, ended := run(t, ctx, fmt.Sprintf("models: [{id: m, path: %q, backend: mlx, kv_tokens: 65536}]\nruntime: {%s}\n", quantized(t, nil), mlxRuntime(t)))
	waitReady(t, base, "m")
	const clients = 3
	body := `{"prompt":"the cat","max_tokens":16000,"ignore_eos":true,"stream":true}`
	for range clients {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if n, err := conn.Read(make([]byte, 4096)); err != nil || n == 0 {
			t.Fatalf("no answer: %v", err)
		}
		// What the system does with a killed process's connection.
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	eventually(t, base, `inferflux_sequences_total{model="m",reason="cancelled"}`, fmt.Sprint(clients))
	for _, name := range []string{"running_sequences", "kv_reserved_tokens", "kv_used_tokens", "queue_length"} {
		eventually(t, base, "inferflux_"+name+`{model="m"}`, "0")
	}
	if status, answer, err := post(t.Context(), base+"/v1/completions", map[string]any{"prompt": "the", "max_tokens": 2}); err != nil || status != http.StatusOK {
		t.Errorf("afterwards: %d %s, %v", status, answer, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// More long requests than the KV cache holds wait for room; those for which the
// queue has none get 429. Every one that was accepted is answered in full.
func TestCacheIsFull(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	base, ended := run(t, ctx, fmt.Sprintf(`
models: [{id: m, path: %q, backend: mlx, context: 256, kv_tokens: 512}]
runtime: {scheduler: {max_queue: 6}, %s}
`, quantized(t, nil), mlxRuntime(t)))
	waitReady(t, base, "m")
	const requests, tokens = 24, 200 // two fit at once
	var mu sync.Mutex
	got := map[int]int{}
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			status, body, err := post(t.Context(), base+"/v1/completions", map[string]any{"prompt": "the cat", "max_tokens": tokens, "ignore_eos": true, "seed": i})
			mu.Lock()
			defer mu.Unlock()
			got[status]++
			want := fmt.Sprintf(`"completion_tokens":%d`, tokens)
			if status == http.StatusTooManyRequests {
				want = "queue"
			}
			if err != nil || !strings.Contains(body, want) {
				t.Errorf("%d %.300s, %v", status, body, err)
			}
		})
	}
	all.Wait()
	if got[http.StatusOK] < 8 || got[http.StatusTooManyRequests] == 0 || got[http.StatusOK]+got[http.StatusTooManyRequests] != requests {
		t.Errorf("statuses %v", got)
	}
	eventually(t, base, `inferflux_rejected_total{model="m",reason="queue_full"}`, fmt.Sprint(got[http.StatusTooManyRequests]))
	eventually(t, base, `inferflux_running_sequences{model="m"}`, "0")
	// What is left is held for requests that begin alike.
	if status, body, err := post(t.Context(), base+"/v1/admin/cache/clear", map[string]any{}); status != http.StatusOK || err != nil {
		t.Errorf("clear the cache: %d %s, %v", status, body, err)
	}
	for _, name := range []string{"kv_reserved_tokens", "kv_used_tokens", "queue_length"} {
		eventually(t, base, "inferflux_"+name+`{model="m"}`, "0")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Ctrl-C ends the process soon, whatever it is doing. Ten seconds is for a machine
// that is busy with other things.
func TestInterrupt(t *testing.T) {
	runtime, model := mlxRuntime(t), os.Getenv("INFERFLUX_TEST_MODEL")
	if model == "" || testing.Short() {
		t.Skip("needs a model (INFERFLUX_TEST_MODEL) and some time")
	}
	yaml := fmt.Sprintf("models: [{id: m, path: %q, backend: mlx}]\nruntime: {%s}\n", model, runtime)
	interrupt := func(t *testing.T, p *program) {
		t.Helper()
		began := time.Now()
		if err := p.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		p.ends(t, 0)
		took := time.Since(began)
		t.Logf("gone after %v", took.Round(time.Millisecond))
		if took > 10*time.Second {
			t.Errorf("it took %v to end\n%s", took, &p.log)
		}
	}
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(fmt.Sprintf("%v into the load", after), func(t *testing.T) {
			p := start(t, yaml)
			p.base(t)
			time.Sleep(after)
			interrupt(t, p)
		})
	}
	for _, tt := range []struct {
		name, prompt string
		clients      int
	}{
		{"decode", "Once upon a time", 4},
		{"a long prompt", strings.Repeat("Once upon a time ", 300), 1}, // whose step takes seconds
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, yaml)
			base := p.base(t)
			waitReady(t, base, "m")
			var clients sync.WaitGroup
			for range tt.clients {
				clients.Go(func() {
					status, body, err := post(t.Context(), base+"/v1/completions", map[string]any{"prompt": tt.prompt, "max_tokens": 4000, "ignore_eos": true})
					if err == nil && status != http.StatusServiceUnavailable {
						t.Errorf("answered with %d %.300s", status, body)
					}
				})
			}
			eventually(t, base, `inferflux_running_sequences{model="m"}`, fmt.Sprint(tt.clients))
			time.Sleep(500 * time.Millisecond)
			interrupt(t, p)
			clients.Wait()
		})
	}
}

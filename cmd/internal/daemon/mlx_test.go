package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/inferflux/inferflux/checkpoint/gguf"
	"github.com/inferflux/inferflux/tensor"
)

// asFloat32 writes a copy of a GGUF file whose tensors are all F32.
func asFloat32(t *testing.T, path string) string {
	t.Helper()
	c, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := gguf.NewWriter()
	for _, key := range c.Metadata().Keys() {
		value, _ := c.Metadata().Value(key)
		w.Set(key, value)
	}
	for _, e := range c.Tensors() {
		from, _ := c.Tensor(e.Name)
		floats := make([]float32, from.Elems())
		if err := from.Dequantize(floats, 0, from.Rows()); err != nil {
			t.Fatal(err)
		}
		data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(floats))), 4*len(floats))
		w.Add(tensor.Tensor{Name: from.Name, Type: tensor.F32, Shape: from.Shape, Data: data})
	}
	out := filepath.Join(t.TempDir(), "f32.gguf")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	return out
}

// candidates are a generated token and what came next to it.
type candidates struct {
	token string
	top   map[string]float64 // log-probabilities
}

// greedy is the 32 most likely tokens after a prompt.
func greedy(base, model, prompt string) ([]candidates, error) {
	body, _ := json.Marshal(map[string]any{"model": model, "prompt": prompt, "max_tokens": 32, "temperature": 0, "logprobs": 2})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Post(base+"/v1/completions", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Choices []struct {
			Logprobs struct {
				Tokens []string
				Top    []map[string]float64 `json:"top_logprobs"`
			}
		}
	}
	if err := json.Unmarshal(raw, &answer); err != nil || res.StatusCode != http.StatusOK || len(answer.Choices) != 1 {
		return nil, fmt.Errorf("status %d: %s", res.StatusCode, raw)
	}
	var out []candidates
	for i, token := range answer.Choices[0].Logprobs.Tokens {
		out = append(out, candidates{token, answer.Choices[0].Logprobs.Top[i]})
	}
	return out, nil
}

// TestMLXSaysWhatCPUSays: served from the same float32 weights, both backends
// choose the same tokens. Where they don't, the two candidates must be as good as
// equal, and what follows is no longer compared.
func TestMLXSaysWhatCPUSays(t *testing.T) {
	model, library := os.Getenv("INFERFLUX_TEST_MODEL"), os.Getenv("INFERFLUX_TEST_MLX_LIBRARY")
	if model == "" || library == "" || testing.Short() {
		t.Skip("needs a model (INFERFLUX_TEST_MODEL), MLX (INFERFLUX_TEST_MLX_LIBRARY) and some time")
	}
	path := asFloat32(t, model)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	base, ended := run(t, ctx, fmt.Sprintf(`
models: [{id: cpu, path: %[1]q, backend: cpu, context: 512}, {id: mlx, path: %[1]q, backend: mlx, context: 512}]
runtime: {backends: [{name: mlx, library: %[2]q, device: cpu}]}
`, path, library))
	waitReady(t, base, "cpu", "mlx")
	prompts := []string{
		"The capital of France is", "Once upon a time there was a little", "def fibonacci(n):\n", "The three laws of thermodynamics say that",
		"Dear Sir or Madam,\n", "1, 2, 3, 5, 8, 13,", "In 1969, two astronauts", "To make pancakes, first",
	}
	answers := map[string][][]candidates{"cpu": make([][]candidates, len(prompts)), "mlx": make([][]candidates, len(prompts))}
	var wg sync.WaitGroup
	for id, list := range answers {
		for i, prompt := range prompts {
			wg.Go(func() {
				var err error
				if list[i], err = greedy(base, id, prompt); err != nil {
					t.Errorf("%s on %q: %v", id, prompt, err)
				}
			})
		}
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	equal := 0
	for i, prompt := range prompts {
		a, b := answers["cpu"][i], answers["mlx"][i]
		if len(a) == 0 || len(a) != len(b) && len(a) != 32 {
			t.Errorf("%q: %d tokens on cpu, %d on mlx", prompt, len(a), len(b))
		}
		for j := range min(len(a), len(b)) {
			if a[j].token == b[j].token {
				equal++
				continue
			}
			for id, c := range map[string]candidates{"cpu": a[j], "mlx": b[j]} {
				if gap := math.Abs(c.top[a[j].token] - c.top[b[j].token]); !(gap <= 1e-3) {
					t.Errorf("%q, token %d: %q on cpu, %q on mlx, and on %s they are %g apart: %v", prompt, j, a[j].token, b[j].token, id, gap, c.top)
				}
			}
			t.Logf("%q, token %d: a tie of %q and %q: %v on cpu, %v on mlx", prompt, j, a[j].token, b[j].token, a[j].top, b[j].top)
			break
		}
	}
	t.Logf("%d tokens are equal", equal)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// waitReady waits until models are served.
func waitReady(t *testing.T, base string, models ...string) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for _, id := range models {
		for {
			_, body := get(t, base+"/v1/models/"+id)
			if strings.Contains(body, `"ready":true`) {
				break
			}
			if strings.Contains(body, `"failed"`) || time.Now().After(deadline) {
				t.Fatalf("%s: %s", id, body)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

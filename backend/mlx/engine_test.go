package mlx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/backendtest"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/checkpoint"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/model"
	"github.com/inferflux/inferflux/model/modeltest"
)

// testBackend is the backend on the library that INFERFLUX_TEST_MLX_LIBRARY
// names, on its CPU unless INFERFLUX_TEST_MLX_DEVICE says otherwise.
func testBackend(t testing.TB) Backend {
	t.Helper()
	path := os.Getenv("INFERFLUX_TEST_MLX_LIBRARY")
	if path == "" {
		t.Skip("INFERFLUX_TEST_MLX_LIBRARY does not name a libmlxc: run `make test`, which installs one where it can")
	}
	device := os.Getenv("INFERFLUX_TEST_MLX_DEVICE")
	if device == "" {
		device = "cpu"
	}
	return Backend{config: backend.Config{Library: path, Device: device}}
}

// loadEngine loads a checkpoint, and proves at the end that every array has been
// freed.
func loadEngine(t testing.TB, b backend.Backend, c checkpoint.Checkpoint, o backend.LoadOptions) backend.Engine {
	t.Helper()
	var lib *mlx.Library
	live := 0
	if b, ok := b.(Backend); ok {
		var err error
		if lib, _, err = b.open(); err != nil {
			t.Fatal(err)
		}
		live = lib.Live()
	}
	e, err := b.Load(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if lib != nil && lib.Live() != live {
			t.Errorf("%d arrays live after Close, %d before Load", lib.Live(), live)
		}
	})
	return e
}

// runChunked runs tokens through a new sequence, chunk by chunk, and returns a
// copy of every row of logits.
func runChunked(t testing.TB, e backend.Engine, tokens []int32, chunk int) [][]float32 {
	t.Helper()
	seq, err := e.KV().Reserve(len(tokens))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.KV().Free(seq); err != nil {
			t.Error(err)
		}
	}()
	var rows [][]float32
	for at := 0; at < len(tokens); at += chunk {
		rows = append(rows, runSpan(t, e, seq, at, tokens[at:min(at+chunk, len(tokens))])...)
	}
	return rows
}

// runSpan runs one span and returns a copy of all its logits.
func runSpan(t testing.TB, e backend.Engine, seq backend.SeqID, pos int, tokens []int32) [][]float32 {
	t.Helper()
	b := backend.Batch{Spans: []backend.Span{{Seq: seq, Pos: pos, Tokens: tokens, Want: backend.AllLogits}}}
	if err := e.Run(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	var rows [][]float32
	for _, row := range b.Spans[0].Logits {
		rows = append(rows, append([]float32(nil), row...))
	}
	return rows
}

// relative is the root mean square of the differences between rows over that of
// the rows.
func relative(got, want [][]float32) float64 {
	var difference, size float64
	for i := range want {
		for j := range want[i] {
			d := float64(got[i][j] - want[i][j])
			difference += d * d
			size += float64(want[i][j]) * float64(want[i][j])
		}
	}
	return math.Sqrt(difference / size)
}

// worst is the largest difference between rows, and the largest logit.
func worst(got, want [][]float32) (difference, largest float64) {
	if len(got) != len(want) {
		return math.Inf(1), 0
	}
	for i := range got {
		for j := range got[i] {
			if d := math.Abs(float64(got[i][j] - want[i][j])); !(d <= difference) {
				difference = d
			}
			largest = max(largest, math.Abs(float64(want[i][j])))
		}
	}
	return difference, largest
}

func TestContract(t *testing.T) {
	b := testBackend(t)
	for _, name := range []string{"llama-gqa-tied.gguf", "mistral-window.gguf", "qwen3moe.gguf", "lfm2.gguf", "granitehybrid.gguf", "qwen3next.gguf"} {
		t.Run(name, func(t *testing.T) {
			c := modeltest.Open(t, name)
			tolerance := float32(1e-4)
			if name == "qwen3next.gguf" {
				tolerance = 1e-3 // its norms of few elements amplify rounding: transformers, too, differs from itself by 1e-4
			}
			backendtest.Run(t, func(t testing.TB) backend.Engine {
				e, err := b.Load(t.Context(), c, backend.LoadOptions{MaxBatchTokens: 256, KVTokens: 2048})
				if err != nil {
					t.Fatal(err)
				}
				return e
			}, backendtest.Options{Tolerance: tolerance})
		})
	}
}

// TestLogitsEqualReference is the promise on every fixture: the logits of
// transformers or mlx-lm, at every position, however the prompt is cut, alone and in
// company. A folder whose model is there as a GGUF file too is run once only. Quantized
// weights are tried both ways, dequantized and as they are stored. In bfloat16 the
// bound is 2e-2, relatively, where the weights have no more bits than that, and
// what transformers differs by from itself where they are rounded: 5e-3 to 2.8e-2, and
// 3.9e-2 for smollm3, whose four layers sharpen it.
func TestLogitsEqualReference(t *testing.T) {
	plain := testBackend(t)
	packed, narrow := plain, plain
	packed.packed = true
	narrow.packed, narrow.dtype = true, mlx.BFloat16
	fixtures := modeltest.Fixtures(t)
	for _, name := range fixtures {
		tokens, want := modeltest.Reference(t, name)
		shape, err := model.Inspect(modeltest.Open(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name    string
			backend Backend
			bound   float64 // of the largest difference; in bfloat16, of the relative one
			chunks  []int
		}{
			{"float32", plain, 1e-3, []int{len(tokens), 7, 1}},
			{"packed", packed, 1e-3, []int{len(tokens), 1}},
			{"bfloat16", narrow, 3e-2, []int{len(tokens)}},
		} {
			quantized := strings.HasPrefix(name, "mlx/")
			if tt.backend == packed && !quantized || tt.backend == narrow && quantized {
				continue
			}
			if tt.backend == narrow && shape.Experts > 0 {
				// On its CPU, MLX multiplies picked matrices in float32 only; and rounding
				// has rows choose other experts, in transformers too.
				continue
			}
			if slices.Contains(fixtures, name+".gguf") {
				if tt.backend == narrow {
					continue
				}
				tt.chunks = tt.chunks[:1]
			}
			if tt.backend == narrow && name == "llama-bf16" {
				tt.bound = 2e-2
			}
			if tt.backend == narrow && strings.HasPrefix(name, "smollm3") {
				tt.bound = 5e-2
			}
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				e := loadEngine(t, tt.backend, modeltest.Open(t, name), backend.LoadOptions{})
				for _, chunk := range tt.chunks {
					got := runChunked(t, e, tokens, chunk)
					d, largest := worst(got, want)
					what := fmt.Sprintf("max |Δlogit| %.2e of %.1f", d, largest)
					if tt.backend.dtype != 0 {
						d = relative(got, want)
						what += fmt.Sprintf(", relative %.2e", d)
					}
					if t.Logf("chunks of %d: %s", chunk, what); !(d <= tt.bound) {
						t.Errorf("chunks of %d: %s, expected at most %g", chunk, what, tt.bound)
					}
				}
				if tt.backend == narrow {
					return
				}
				d := backendtest.Deviation(t, e, tokens, want)
				if t.Logf("in company: max |Δlogit| %.2e", d); !(d <= tt.bound) {
					t.Errorf("in company: max |Δlogit| is %g, expected at most %g", d, tt.bound)
				}
			})
		}
	}
}

// TestKVBetweenBackends: what one engine computed of a sequence, the other goes on
// from.
func TestKVBetweenBackends(t *testing.T) {
	b := testBackend(t)
	for _, name := range []string{"llama-gqa-tied", "llama3-rope"} {
		tokens, want := modeltest.Reference(t, name+".gguf")
		c := modeltest.Open(t, name+".gguf")
		engines := map[string]backend.Engine{
			"cpu": loadEngine(t, cpu.Backend{}, c, backend.LoadOptions{}), "mlx": loadEngine(t, b, c, backend.LoadOptions{}),
		}
		for from, to := range map[string]string{"cpu": "mlx", "mlx": "cpu"} {
			t.Run(name+"/"+from+" to "+to, func(t *testing.T) {
				n := len(tokens) * 2 / 3
				first, err := engines[from].KV().Reserve(n)
				if err != nil {
					t.Fatal(err)
				}
				runSpan(t, engines[from], first, 0, tokens[:n])
				var bytes strings.Builder
				if err := engines[from].KV().Export(first, &bytes); err != nil {
					t.Fatal(err)
				}
				second, err := engines[to].KV().Reserve(len(tokens))
				if err != nil {
					t.Fatal(err)
				}
				if err := engines[to].KV().Import(second, strings.NewReader(bytes.String())); err != nil {
					t.Fatal(err)
				}
				if d, _ := worst(runSpan(t, engines[to], second, n, tokens[n:]), want[n:]); !(d <= 1e-3) {
					t.Errorf("max |Δlogit| is %g", d)
				}
				for id, e := range map[backend.SeqID]backend.Engine{first: engines[from], second: engines[to]} {
					if err := e.KV().Free(id); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

// TestCancelledLoad: a load whose context ends leaves nothing behind.
func TestCancelledLoad(t *testing.T) {
	b := testBackend(t)
	c := modeltest.Open(t, "llama-gqa-tied.gguf")
	lib, _, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	live := lib.Live()
	ctx, cancel := context.WithCancel(t.Context())
	o := backend.LoadOptions{Progress: func(done float64) {
		if done > 0.3 {
			cancel()
		}
	}}
	if e, err := b.Load(ctx, c, o); !errors.Is(err, context.Canceled) || e != nil {
		t.Errorf("Load: %v, %v", e, err)
	}
	if lib.Live() != live {
		t.Errorf("%d arrays live, %d before", lib.Live(), live)
	}
}

func TestBadSettings(t *testing.T) {
	b := testBackend(t)
	c := modeltest.Open(t, "llama-gqa-tied.gguf")
	for name, tt := range map[string]struct {
		config  func(*backend.Config)
		options backend.LoadOptions
		want    string
	}{
		"context":      {options: backend.LoadOptions{Context: 1 << 20}, want: "this model was trained for"},
		"kv type":      {options: backend.LoadOptions{KVType: "q3"}, want: "expected auto, f16 or f32"},
		"batch":        {options: backend.LoadOptions{MaxBatchTokens: -1}, want: "expected 1 to"},
		"memory limit": {config: func(c *backend.Config) { c.MemoryLimit = 1 << 16 }, want: "the weights take about"},
		"library":      {config: func(c *backend.Config) { c.Library = "/absent/libmlxc.so" }, want: "/absent/libmlxc.so"},
	} {
		t.Run(name, func(t *testing.T) {
			b := b
			if tt.config != nil {
				tt.config(&b.config)
			}
			e, err := b.Load(t.Context(), c, tt.options)
			if err == nil {
				e.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load: %v, expected %q", err, tt.want)
			}
		})
	}
	if _, err := b.Configure(backend.Config{Device: "tpu"}); err == nil {
		t.Error("a device tpu is accepted")
	}
}

// TestCancelledStep: a step on a CPU, where it may take long, ends soon after its
// context, and nothing has grown.
func TestCancelledStep(t *testing.T) {
	e := loadEngine(t, testBackend(t), modeltest.Open(t, "llama-gqa-tied.gguf"), backend.LoadOptions{})
	id, err := e.KV().Reserve(128)
	if err != nil {
		t.Fatal(err)
	}
	tokens := make([]int32, 100)
	for i := range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
		err := e.Run(ctx, &backend.Batch{Spans: []backend.Span{{Seq: id, Tokens: tokens, Want: backend.LastLogits}}})
		cancel()
		if err == nil {
			if err := e.KV().Truncate(id, 0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) || e.KV().Len(id) != 0 {
			t.Fatalf("Run: %v; %d positions", err, e.KV().Len(id))
		}
	}
}

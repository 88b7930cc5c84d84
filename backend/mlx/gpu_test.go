package mlx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/backend"
	"github.com/inferflux/inferflux/backend/cpu"
	"github.com/inferflux/inferflux/mlx"
	"github.com/inferflux/inferflux/model/modeltest"
	"github.com/inferflux/inferflux/tensor"
)

// onGPU skips a test of what only an NVIDIA GPU has.
func onGPU(t testing.TB) (Backend, *mlx.Library) {
	t.Helper()
	b := testBackend(t)
	lib, device, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	if device.Type != mlx.GPU || !lib.CUDA() {
		t.Skip("needs an NVIDIA GPU: run it there with INFERFLUX_TEST_MLX_DEVICE=gpu")
	}
	return b, lib
}

// TestKernelsAgainstCPU: in models whose shapes our kernels take, sequences of
// many lengths side by side get the logits that the cpu backend gives them one by
// one, in float32: with quantized weights it would round activations to 8 bit.
func TestKernelsAgainstCPU(t *testing.T) {
	b, _ := onGPU(t)
	for _, m := range []modeltest.Random{
		{Heads: 8, KVHeads: 2, HeadDim: 64, Embedding: tensor.Q4_0, Weights: []tensor.Type{tensor.Q4_0}},
		{Heads: 4, KVHeads: 4, HeadDim: 128, Embedding: tensor.Q8_0, Weights: []tensor.Type{tensor.Q4_1, tensor.Q4_K, tensor.Q8_0}},
		{Heads: 6, KVHeads: 2, HeadDim: 32, Embedding: tensor.F16, Weights: []tensor.Type{tensor.F16}},
		{Heads: 10, KVHeads: 2, HeadDim: 256, Embedding: tensor.F16, Weights: []tensor.Type{tensor.Q4_1}},
		{Architecture: "qwen3", Heads: 8, KVHeads: 2, HeadDim: 128, Embedding: tensor.Q4_0, Weights: []tensor.Type{tensor.Q4_1}},
	} {
		m.Layers, m.Hidden, m.FFN, m.Vocab, m.Context = 2, 256, 512, 320, 2048
		t.Run(fmt.Sprintf("%s %d heads of %d, %s", m.Architecture, m.Heads, m.HeadDim, m.Weights[0]), func(t *testing.T) {
			b.dtype = mlx.Float16 // the more precise of the two
			gpu := loadEngine(t, b, m.Open(t), backend.LoadOptions{})
			m.Dequantized = true
			ref := loadEngine(t, cpu.Backend{}, m.Open(t), backend.LoadOptions{KVType: "f32"})
			r := rand.New(rand.NewPCG(3, 4))
			lengths := []int{1, 2, 63, 64, 65, 130, 300, 700}
			texts := make([][]int32, len(lengths))
			ids := make([]backend.SeqID, len(lengths))
			batch := backend.Batch{}
			for i, n := range lengths {
				for range n + 8 {
					texts[i] = append(texts[i], int32(r.IntN(m.Vocab)))
				}
				id, err := gpu.KV().Reserve(n + 8)
				if err != nil {
					t.Fatal(err)
				}
				ids[i] = id
				batch.Spans = append(batch.Spans, backend.Span{Seq: id, Tokens: texts[i][:n], Want: backend.LastLogits})
			}
			got := make([][][]float32, len(lengths))
			for step := range 9 {
				if err := gpu.Run(t.Context(), &batch); err != nil {
					t.Fatal(err)
				}
				for i, n := range lengths {
					got[i] = append(got[i], append([]float32(nil), batch.Spans[i].Logits[0]...))
					if step < 8 {
						batch.Spans[i].Pos, batch.Spans[i].Tokens = n+step, texts[i][n+step:n+step+1]
					}
				}
			}
			for i, n := range lengths {
				want := runChunked(t, ref, texts[i], 256)[n-1:]
				d, largest := worst(got[i], want)
				t.Logf("%d tokens: %.1e of %.1f", n, d, largest)
				if !(d <= 2e-2*largest) {
					t.Errorf("%d tokens: max |Δlogit| is %g, the largest logit %g", n, d, largest)
				}
				if err := gpu.KV().Free(ids[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestProductKernel compares our product for few rows with MLX's own.
func TestProductKernel(t *testing.T) {
	b, lib := onGPU(t)
	e := loadEngine(t, b, modeltest.Open(t, "llama-gqa-tied.gguf"), backend.LoadOptions{}).(*Engine)
	for _, dtype := range []mlx.DType{mlx.BFloat16, mlx.Float16} {
		for _, shape := range [][3]int{{256, 128, 32}, {2560, 2560, 64}, {6144, 2560, 64}, {2560, 9728, 64}, {19456, 2560, 64}, {4096, 14336, 128}} {
			for _, rows := range []int{1, 2, 7, 8, 9, 16, 17, 32} {
				n, k, group := shape[0], shape[1], shape[2]
				e.dtype = dtype
				err := e.do(func() error {
					return e.scoped(func(g *mlx.Scope) error {
						key := g.RandomKey(uint64(n + rows))
						w, scales, biases := g.Quantize(g.AsType(g.RandomNormal(0, 1, key, mlx.Float32, n, k), dtype), group, 4, "affine")
						// Small enough that gated products stay within float16's range.
						x := g.AsType(g.RandomNormal(0, float32(1/math.Sqrt(float64(k))), key, mlx.Float32, rows, k), dtype)
						s := &step{e: e, lib: lib, g: g}
						m := segment{rows: n, how: quantization{"affine", 4, group}, w: w, scales: scales, biases: biases}
						if !s.takesFew(&m, rows, k) {
							t.Errorf("%v, %d rows: not taken", shape, rows)
						}
						y := s.fewRows(x, rows, &m, false)
						exact := g.Matmul(g.AsType(x, mlx.Float32), g.Transpose(g.Dequantize(w, scales, biases, group, 4, "affine", mlx.Float32), 1, 0))
						difference := g.Float32s(g.Max(g.Abs(g.Subtract(g.AsType(y, mlx.Float32), exact)), false))
						largest := g.Float32s(g.Max(g.Abs(exact), false))
						if g.Err() == nil && !(difference[0] <= 1e-2*largest[0]) {
							t.Errorf("%s, %v, %d rows: differs by %g of %g", dtype, shape, rows, difference[0], largest[0])
						}
						gate := g.Slice(exact, []int{0, 0}, []int{rows, n / 2})
						exact = g.Multiply(g.Multiply(gate, g.Sigmoid(gate)), g.Slice(exact, []int{0, n / 2}, []int{rows, n}))
						y = s.fewRows(x, rows, &m, true)
						difference = g.Float32s(g.Max(g.Abs(g.Subtract(g.AsType(y, mlx.Float32), exact)), false))
						largest = g.Float32s(g.Max(g.Abs(exact), false))
						if g.Err() == nil && !(difference[0] <= 2e-2*largest[0]) {
							t.Errorf("%s, %v, %d rows, gated: differs by %g of %g", dtype, shape, rows, difference[0], largest[0])
						}
						return g.Err()
					})
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

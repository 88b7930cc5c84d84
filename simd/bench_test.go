package simd_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

// BenchmarkMul reports GOP/s (two for each weight and row) and, for one row, the
// GB/s at which weights are read.
func BenchmarkMul(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const out, cols = 1536, 1536
	encodings := []encoding{
		{tensor.MLXAffine, 3, 64, tensor.BF16}, {tensor.MLXAffine, 4, 32, tensor.F16}, {tensor.MLXAffine, 4, 64, tensor.BF16},
		{tensor.MLXAffine, 6, 64, tensor.BF16}, {tensor.MLXAffine, 8, 64, tensor.BF16}, {tensor.MLXNVFP4, 4, 16, tensor.U8}, {tensor.MLXMXFP8, 8, 32, tensor.U8},
	}
	for _, typ := range []tensor.Type{
		tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q8_0, tensor.Q2_K, tensor.Q3_K, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K,
		tensor.IQ4_XS, tensor.MXFP4, tensor.F16, tensor.F32,
	} {
		encodings = append(encodings, encoding{typ: typ})
	}
	for _, e := range encodings {
		m, err := simd.PackParts(e.random(rng, out, cols))
		if err != nil {
			b.Fatal(err)
		}
		for _, rows := range []int{1, 2, 4, 8, 16, 128} {
			b.Run(fmt.Sprintf("%s/rows=%d", e, rows), func(b *testing.B) {
				var a simd.Activations
				a.Reset(rows, cols)
				a.Set(0, rows, randomVector(rng, rows*cols), cols, true, true)
				dst := make([]float32, rows*out)
				for b.Loop() {
					m.Mul(dst, out, &a, 0, rows, 0, m.Panels())
				}
				seconds := b.Elapsed().Seconds() / float64(b.N)
				b.ReportMetric(2*float64(rows*out*cols)/seconds/1e9, "GOP/s")
				b.ReportMetric(float64(m.Bytes())/seconds/1e9, "GB/s")
			})
		}
	}
}

// smolLayer has the products of a layer of SmolLM2-135M: QKV, output, gate with
// up, down.
func smolLayer(rng *rand.Rand) []*simd.Matrix {
	var ms []*simd.Matrix
	for _, s := range []struct{ rows, cols int }{{960, 576}, {576, 576}, {3072, 576}, {576, 1536}} {
		m, err := simd.PackParts(randomTensor(rng, tensor.Q4_1, s.rows, s.cols))
		if err != nil {
			panic(err)
		}
		ms = append(ms, m)
	}
	return ms
}

// BenchmarkSmolLM2 runs the products, and what they need of quantization, norm
// and activation function, in the shapes of SmolLM2-135M: 30 layers and for
// generation the output matrix. It reports tokens/s.
func BenchmarkSmolLM2(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var layers [][]*simd.Matrix
	for range 30 {
		layers = append(layers, smolLayer(rng))
	}
	output, err := simd.PackParts(randomTensor(rng, tensor.Q8_0, 49152, 576))
	if err != nil {
		b.Fatal(err)
	}
	for _, threads := range []int{1, 2} {
		for _, rows := range []int{1, 8, 512} {
			b.Run(fmt.Sprintf("threads=%d/rows=%d", threads, rows), func(b *testing.B) {
				x := randomVector(rng, rows*1536)
				ups := make([]float32, rows*3072)
				dst := make([]float32, rows*49152)
				a := make([]simd.Activations, 2)
				a[0].Reset(rows, 576)
				a[1].Reset(rows, 1536)
				parallel := func(f func(i int)) {
					if threads == 1 {
						f(0)
						return
					}
					var wg sync.WaitGroup
					wg.Add(1)
					go func() { f(1); wg.Done() }()
					f(0)
					wg.Wait()
				}
				for b.Loop() {
					for _, l := range layers {
						for i, m := range l {
							parallel(func(t int) {
								r0, r1 := rows*t/threads, rows*(t+1)/threads
								switch i {
								case 0, 2: // norm
									for r := r0; r < r1; r++ {
										simd.RMSNorm(ups[r*3072:][:576], x[r*1536:][:576], x[:576], 1e-5)
									}
									a[0].Set(r0, r1, ups, 3072, true, false)
								case 1:
									a[0].Set(r0, r1, x, 1536, true, false)
								case 3:
									for r := r0; r < r1; r++ {
										u := ups[r*3072:]
										simd.SiLUMul(u[:1536], u[:1536], u[1536:3072])
									}
									a[1].Set(r0, r1, ups, 3072, true, false)
								}
							})
							in, out, stride := &a[0], dst, m.Rows()
							if i == 3 {
								in = &a[1]
							}
							if i == 2 {
								out, stride = ups, 3072
							}
							parallel(func(t int) {
								m.Mul(out, stride, in, 0, rows, m.Panels()*t/threads, m.Panels()*(t+1)/threads)
							})
						}
					}
					n := rows
					if rows > 8 {
						n = 1 // a prompt needs the logits of its last token
					}
					parallel(func(t int) {
						output.Mul(dst, output.Rows(), &a[0], 0, n, output.Panels()*t/threads, output.Panels()*(t+1)/threads)
					})
				}
				b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}

func BenchmarkAttention(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 3))
	for _, c := range []struct{ n, positions int }{{1, 512}, {3, 512}, {96, 512}, {96, 4096}, {1536, 512}, {1, 1 << 15}, {3, 1 << 15}, {4, 1 << 15}} {
		for _, typ := range kvTypes[1:] {
			kv := newPagedKV(rng, c.positions, 64, 64, typ)
			q := randomVector(rng, c.n*64)
			first, last := make([]int32, c.n), make([]int32, c.n)
			pairs := 0
			for i := range c.n {
				last[i] = int32(c.positions - 1 - (c.n-1-i)/3)
				pairs += int(last[i]) + 1
			}
			at := kv.at
			at.Q, at.First, at.Last, at.Out = q, first, last, make([]float32, len(q))
			name := map[simd.KVType]string{simd.KVF16: "f16", simd.KVQ8: "q8"}[typ]
			b.Run(fmt.Sprintf("%s/queries=%d/positions=%d", name, c.n, c.positions), func(b *testing.B) {
				var s simd.AttentionScratch
				for b.Loop() {
					at.Run(&s)
				}
				b.ReportMetric(4*64*float64(pairs*b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				b.ReportMetric(float64(c.positions/64*at.Layout.Bytes()*b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
			})
		}
	}
}

func BenchmarkVector(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 4))
	x, y, z := randomVector(rng, 1536), randomVector(rng, 1536), make([]float32, 1536)
	half := make([]uint16, 1536)
	var a simd.Activations
	a.Reset(1, 1536)
	for name, f := range map[string]func(){
		"Quantize": func() { a.Set(0, 1, x, 1536, true, false) },
		"RMSNorm":  func() { simd.RMSNorm(z, x, y, 1e-5) },
		"SiLUMul":  func() { simd.SiLUMul(z, x, y) },
		"ToF16":    func() { simd.ToF16(half, x) },
		"SumExp":   func() { simd.SumExp(x, 3) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1536, "ns/elem")
		})
	}
}

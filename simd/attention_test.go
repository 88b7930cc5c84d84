package simd_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/simd"
)

// pagedKV is a random arena with the pages of one sequence, in shuffled order,
// among others.
type pagedKV struct {
	at   simd.Attention
	k, v [][]float32 // by position
}

func newPagedKV(rng *rand.Rand, positions, headDim, pageTokens int, typ simd.KVType) *pagedKV {
	const heads = 2 // of which the second is used
	layout := simd.KVLayout{Type: typ, HeadDim: headDim, Tokens: pageTokens}
	pages := (positions + pageTokens - 1) / pageTokens
	kv := &pagedKV{at: simd.Attention{
		Layout: layout, Scale: float32(1 / math.Sqrt(float64(headDim))),
		PageStride: heads*layout.Bytes() + 64, Offset: layout.Bytes(),
	}}
	kv.at.Arena = make([]byte, (pages+3)*kv.at.PageStride)
	nan := make([]float32, headDim)
	for i := range nan {
		nan[i] = float32(math.NaN())
	}
	for i := range heads * (pages + 3) { // what must not be seen makes NaNs
		block := kv.at.Arena[i/heads*kv.at.PageStride+i%heads*layout.Bytes():]
		for t := range pageTokens {
			layout.SetKey(block, t, nan)
			layout.SetValue(block, t, nan)
		}
	}
	for _, p := range rng.Perm(pages + 3)[:pages] {
		kv.at.Pages = append(kv.at.Pages, int32(p))
	}
	for t := range positions {
		block := kv.at.Arena[int(kv.at.Pages[t/pageTokens])*kv.at.PageStride+kv.at.Offset:]
		k, v := make([]float32, headDim), make([]float32, headDim)
		for i := range k {
			k[i], v[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
		}
		layout.SetKey(block, t%pageTokens, k)
		layout.SetValue(block, t%pageTokens, v)
		layout.Key(k, block, t%pageTokens)
		layout.Value(v, block, t%pageTokens)
		kv.k, kv.v = append(kv.k, k), append(kv.v, v)
	}
	return kv
}

// run computes queries with the given ranges.
func (kv *pagedKV) run(s *simd.AttentionScratch, q []float32, first, last []int32) []float32 {
	at := kv.at
	at.Q, at.First, at.Last = q, first, last
	at.Out = make([]float32, len(q))
	at.Run(s)
	return at.Out
}

// runChunks does the same chunk by chunk, from the last to the first.
func (kv *pagedKV) runChunks(s *simd.AttentionScratch, q []float32, first, last []int32) []float32 {
	at := kv.at
	at.Q, at.First, at.Last = q, first, last
	at.Out = make([]float32, len(q))
	from, to := at.Chunks()
	size := simd.PartSize(at.Layout, len(first))
	parts := make([]float32, (to-from)*size)
	for c := to - 1; c >= from; c-- {
		at.RunChunk(s, c, parts[(c-from)*size:][:size])
	}
	at.Merge(parts)
	return at.Out
}

// want is the reference in float64.
func (kv *pagedKV) want(q []float32, first, last int32) []float64 {
	out := make([]float64, kv.at.Layout.HeadDim)
	var scores []float64
	top := math.Inf(-1)
	for t := first; t <= last; t++ {
		s := 0.0
		for i, v := range kv.k[t] {
			s += float64(v) * float64(q[i])
		}
		s *= float64(kv.at.Scale)
		if c := float64(kv.at.SoftCap); c != 0 {
			s = c * math.Tanh(s/c)
		}
		scores = append(scores, s)
		top = max(top, s)
	}
	sum := 0.0
	for i, s := range scores {
		p := math.Exp(s - top)
		sum += p
		for c, v := range kv.v[int(first)+i] {
			out[c] += p * float64(v)
		}
	}
	for c := range out {
		out[c] /= sum
	}
	return out
}

// causal are n queries at the end of a sequence, with a window if not 0.
func causal(n, positions, window int) (first, last []int32) {
	for i := range n {
		p := positions - n + i
		last = append(last, int32(p))
		if window > 0 {
			first = append(first, int32(max(0, p-window+1)))
		} else {
			first = append(first, 0)
		}
	}
	return first, last
}

var kvTypes = []simd.KVType{simd.KVF32, simd.KVF16, simd.KVQ8}

func TestAttentionAgreesWithReference(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		var s simd.AttentionScratch // shared, as the engine does
		for _, c := range []struct {
			headDim, pageTokens, positions, n, window int
			softCap, spread                           float32
		}{
			{headDim: 64, pageTokens: 16, positions: 1, n: 1},
			{headDim: 64, pageTokens: 16, positions: 100, n: 100},
			{headDim: 64, pageTokens: 64, positions: 1300, n: 3},
			{headDim: 64, pageTokens: 64, positions: 600, n: 150},
			{headDim: 128, pageTokens: 16, positions: 77, n: 9, window: 20},
			{headDim: 128, pageTokens: 512, positions: 700, n: 5, window: 300},
			{headDim: 96, pageTokens: 64, positions: 400, n: 14, window: 5},
			{headDim: 32, pageTokens: 64, positions: 530, n: 7},
			{headDim: 40, pageTokens: 48, positions: 90, n: 33},
			{headDim: 48, pageTokens: 32, positions: 90, n: 33},
			{headDim: 8, pageTokens: 16, positions: 40, n: 6},
			{headDim: 256, pageTokens: 16, positions: 60, n: 4, softCap: 50, spread: 10},
			{headDim: 80, pageTokens: 16, positions: 64, n: 13, spread: 40},
			{headDim: 192, pageTokens: 64, positions: 8192, n: 2},
		} {
			for _, typ := range kvTypes {
				t.Run(fmt.Sprintf("%d/%+v", typ, c), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(20, 1))
					kv := newPagedKV(rng, c.positions, c.headDim, c.pageTokens, typ)
					kv.at.SoftCap = c.softCap
					q := make([]float32, c.n*c.headDim)
					for i := range q {
						q[i] = float32(rng.NormFloat64()) * max(1, c.spread)
					}
					first, last := causal(c.n, c.positions, c.window)
					got := kv.run(&s, q, first, last)
					for i := range c.n {
						want := kv.want(q[i*c.headDim:], first[i], last[i])
						for j, w := range want {
							if g := float64(got[i*c.headDim+j]); !(math.Abs(g-w) < 1e-5*float64(max(1, c.spread))) {
								t.Fatalf("query %d, element %d: got %g, want %g", i, j, g, w)
							}
						}
					}
				})
			}
		}
	})
}

// A query's result has the same bits whatever other queries there are, and if
// chunks are computed one by one.
func TestAttentionSameBitsAlone(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 0))
		for i, pageTokens := range []int{16, 48, 64, 128} {
			const headDim, positions, n = 64, 1033, 200
			kv := newPagedKV(rng, positions, headDim, pageTokens, kvTypes[i%len(kvTypes)])
			q := randomVector(rng, n*headDim)
			first, last := causal(n, positions, 0)
			for i := range n {
				if rng.IntN(3) == 0 {
					first[i] = rng.Int32N(last[i] + 1)
				}
			}
			var s simd.AttentionScratch
			want := kv.run(&s, q, first, last)
			for i0 := 0; i0 < n; {
				i1 := min(n, i0+1+rng.IntN(20))
				run := kv.run
				if rng.IntN(2) == 0 {
					run = kv.runChunks
				}
				got := run(&s, q[i0*headDim:i1*headDim], first[i0:i1], last[i0:i1])
				if at := sameBits(got, want[i0*headDim:]); at >= 0 {
					t.Fatalf("pages of %d, queries %d to %d: element %d is %g, together %g", pageTokens, i0, i1, at, got[at], want[i0*headDim+at])
				}
				i0 = i1
			}
		}
	})
}

func TestAttentionToNothing(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		kv := newPagedKV(rand.New(rand.NewPCG(22, 0)), 20, 16, 16, simd.KVF16)
		var s simd.AttentionScratch
		q := make([]float32, 32)
		out := kv.run(&s, q, []int32{5, 0}, []int32{4, 19})
		for i, v := range out[:16] {
			if v != 0 {
				t.Errorf("element %d is %g", i, v)
			}
		}
	})
}

func TestAttentionChecksBounds(t *testing.T) {
	kv := newPagedKV(rand.New(rand.NewPCG(23, 0)), 20, 16, 16, simd.KVF16)
	var s simd.AttentionScratch
	for name, change := range map[string]func(at *simd.Attention){
		"page":     func(at *simd.Attention) { at.Pages = []int32{0, 100} },
		"pages":    func(at *simd.Attention) { at.Pages = at.Pages[:1] },
		"arena":    func(at *simd.Attention) { at.Arena = at.Arena[:100] },
		"negative": func(at *simd.Attention) { at.First = []int32{-1} },
		"query":    func(at *simd.Attention) { at.Q = at.Q[:15] },
	} {
		t.Run(name, func(t *testing.T) {
			at := kv.at
			at.Q, at.Out = make([]float32, 16), make([]float32, 16)
			at.First, at.Last = []int32{0}, []int32{19}
			change(&at)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			at.Run(&s)
		})
	}
}

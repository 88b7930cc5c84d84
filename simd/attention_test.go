package simd_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/inferflux/inferflux/simd"
	"github.com/inferflux/inferflux/tensor"
)

// pagedKV is a random arena with the pages of one sequence, in shuffled order,
// among others.
type pagedKV struct {
	at   simd.Attention
	k, v [][]float32 // by position
}

func newPagedKV(rng *rand.Rand, positions, headDim, pageTokens int, f16 bool) *pagedKV {
	size := 4
	if f16 {
		size = 2
	}
	const heads = 2 // of which the second is used
	row := heads * headDim * size
	pages := (positions + pageTokens - 1) / pageTokens
	kv := &pagedKV{at: simd.Attention{
		HeadDim: headDim, F16: f16, Scale: float32(1 / math.Sqrt(float64(headDim))),
		PageTokens: pageTokens, PageStride: 2*pageTokens*row + 64, RowStride: row,
		KOffset: headDim * size, VOffset: pageTokens*row + headDim*size,
	}}
	kv.at.Arena = make([]byte, (pages+3)*kv.at.PageStride)
	for i := range kv.at.Arena { // what must not be read makes NaNs
		kv.at.Arena[i] = 0xff
	}
	for _, p := range rng.Perm(pages + 3)[:pages] {
		kv.at.Pages = append(kv.at.Pages, int32(p))
	}
	put := func(at int) []float32 {
		x := make([]float32, headDim)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
			if f16 {
				h := tensor.F32ToF16(x[i])
				binary.LittleEndian.PutUint16(kv.at.Arena[at+2*i:], h)
				x[i] = tensor.F16ToF32(h)
			} else {
				binary.LittleEndian.PutUint32(kv.at.Arena[at+4*i:], math.Float32bits(x[i]))
			}
		}
		return x
	}
	for t := range positions {
		at := int(kv.at.Pages[t/pageTokens])*kv.at.PageStride + t%pageTokens*row
		kv.k = append(kv.k, put(at+kv.at.KOffset))
		kv.v = append(kv.v, put(at+kv.at.VOffset))
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

// want is the reference in float64.
func (kv *pagedKV) want(q []float32, first, last int32) []float64 {
	out := make([]float64, kv.at.HeadDim)
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

func TestAttentionAgreesWithReference(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		var s simd.AttentionScratch // shared, as the engine does
		for _, c := range []struct {
			headDim, pageTokens, positions, n, window int
			f16                                       bool
			softCap, spread                           float32
		}{
			{headDim: 64, pageTokens: 16, positions: 1, n: 1, f16: true},
			{headDim: 64, pageTokens: 16, positions: 100, n: 100, f16: true},
			{headDim: 64, pageTokens: 32, positions: 300, n: 3, f16: true},
			{headDim: 64, pageTokens: 64, positions: 200, n: 150, f16: false},
			{headDim: 128, pageTokens: 16, positions: 77, n: 9, f16: true, window: 20},
			{headDim: 128, pageTokens: 256, positions: 300, n: 5, f16: true, window: 100},
			{headDim: 40, pageTokens: 24, positions: 90, n: 33, f16: true},
			{headDim: 48, pageTokens: 24, positions: 90, n: 33, f16: false},
			{headDim: 40, pageTokens: 7, positions: 50, n: 2, f16: false},
			{headDim: 8, pageTokens: 16, positions: 40, n: 6, f16: true},
			{headDim: 256, pageTokens: 16, positions: 60, n: 4, f16: true, softCap: 50, spread: 10},
			{headDim: 80, pageTokens: 16, positions: 64, n: 13, f16: true, spread: 40},
		} {
			t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(20, 1))
				kv := newPagedKV(rng, c.positions, c.headDim, c.pageTokens, c.f16)
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
	})
}

// A query's result has the same bits whatever other queries there are.
func TestAttentionSameBitsAlone(t *testing.T) {
	forTiers(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 0))
		for _, pageTokens := range []int{16, 24, 128} {
			const headDim, positions, n = 64, 333, 200
			kv := newPagedKV(rng, positions, headDim, pageTokens, true)
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
				got := kv.run(&s, q[i0*headDim:i1*headDim], first[i0:i1], last[i0:i1])
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
		kv := newPagedKV(rand.New(rand.NewPCG(22, 0)), 20, 16, 16, true)
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
	kv := newPagedKV(rand.New(rand.NewPCG(23, 0)), 20, 16, 16, true)
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

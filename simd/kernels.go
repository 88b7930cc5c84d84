//go:build amd64 || arm64

package simd

import "unsafe"

//go:generate go run ./internal/asmgen

// kernelSet has the assembly kernels of a tier. What they do is described where
// the portable form is; their arguments aren't checked.
type kernelSet struct {
	records recordForm
	decode  [numKernels]decodeKernel // may be nil
	// by rows; may be nil
	fused1, fused2, fused3, fused4, fused5, fused6, fused7, fused8 [numKernels]fusedKernel

	dot      [numKinds]dotKernel           // by kind
	dotFloat [numFloatTypes]dotFloatKernel // by floatType
	quantize func(x unsafe.Pointer, n int, codes, scales unsafe.Pointer, step uintptr)
	tiles    [2]tilesKernel // by kind

	add, siluMul, geluTanhMul mapKernel
	addScaled, scale          func(dst, a unsafe.Pointer, n int, s float32)
	toF16, fromF16            func(dst, a unsafe.Pointer, n int)
	scaleMul                  func(dst, a, b unsafe.Pointer, n int, s float32)
	inner                     func(a, b unsafe.Pointer, n int) float32
	max                       func(a unsafe.Pointer, n int) float32
	sumExp                    func(a unsafe.Pointer, n int, shift float32) float32
	rotateHalf                func(x, cos, sin unsafe.Pointer, n, half int)
	rotatePairs               func(x, cos, sin unsafe.Pointer, n int)

	blockMax    func(dst, a unsafe.Pointer, n int)
	blockSumExp func(dst, a unsafe.Pointer, n int, shift, scale, least float64)

	scores      [2]scoresKernel // by floatType
	softmax     func(s unsafe.Pointer, n, rows int, top, total unsafe.Pointer)
	addValues   [2]addValuesKernel // by floatType
	quantizeKV  func(codes, scales, x unsafe.Pointer, n int)
	widenHalves func(dst, x unsafe.Pointer, n int, next unsafe.Pointer)
	widenKeys   func(dst, panels unsafe.Pointer, dims, n int, next unsafe.Pointer)
	widenValues func(dst, codes, scales unsafe.Pointer, n int, next unsafe.Pointer)
}

type (
	decodeKernel    func(codes, scales, params unsafe.Pointer, n int, dst unsafe.Pointer)
	fusedKernel     func(dst unsafe.Pointer, stride uintptr, panel unsafe.Pointer, n, panelBytes, scaleOffset int, params unsafe.Pointer, blocks int, x, xScales unsafe.Pointer, step uintptr)
	dotKernel       func(dst unsafe.Pointer, stride uintptr, recs unsafe.Pointer, n int, x, xScales unsafe.Pointer, step uintptr, rows, first int)
	tilesKernel     func(dst unsafe.Pointer, stride uintptr, recs unsafe.Pointer, panels, n int, x unsafe.Pointer, step, tileStep uintptr, tile, skip, rows, first int, sums, config unsafe.Pointer)
	dotFloatKernel  func(dst unsafe.Pointer, stride uintptr, panel unsafe.Pointer, panelBytes, panels, chunks int, x unsafe.Pointer, step uintptr, rows int)
	scoresKernel    func(dst, panels unsafe.Pointer, n, chunks int, x unsafe.Pointer, step uintptr, rows int, next unsafe.Pointer)
	addValuesKernel func(out, p, v unsafe.Pointer, dims, n, rows int, next unsafe.Pointer)
	mapKernel       func(dst, a, b unsafe.Pointer, n int)
)

// Indices into the tables.
const (
	kernelSigned      = signed
	kernelAffine      = affine
	kernelSigned16    = signed16
	kernelAffine16    = affine16
	kernelAffineLarge = affineLarge
	kernelF32         = float32Weights
	kernelF16         = float16Weights
	kernelBF16        = bfloat16Weights
	kernelMXFP8       = mxfp8Weights
)

func (k *kernelSet) tier(name string) *tier {
	return &tier{
		name:     name,
		records:  k.records,
		decode:   k.decodeBlocks,
		mulFused: k.mulFused,
		dot: func(kd kind, dst []float32, stride int, recs []record, act actTile, rows int, first bool) {
			_ = dst[(rows-1)*stride+panelRows-1]
			begin := 0
			if first {
				begin = 1
			}
			k.dot[kd](unsafe.Pointer(&dst[0]), uintptr(4*stride), unsafe.Pointer(&recs[0]), len(recs), act.codes, act.scales, act.step, rows, begin)
		},
		dotFloat: func(typ floatType, dst []float32, stride int, data []byte, panelBytes int, act floatTile, rows int) {
			panels := len(data) / panelBytes
			_ = dst[(rows-1)*stride+panels*panelRows-1]
			k.dotFloat[typ](unsafe.Pointer(&dst[0]), uintptr(4*stride), unsafe.Pointer(&data[0]), panelBytes, panels, act.chunks, act.x, act.step, rows)
		},
		quantize: func(x []float32, act actTile) {
			if n := len(x) / blockCols; n > 0 {
				k.quantize(unsafe.Pointer(&x[0]), n, act.codes, act.scales, act.step)
			}
		},
		vector: k.vectorOps(),
		attend: k.attentionOps(),
	}
}

// decodeBlocks is tier.decode.
func (k *kernelSet) decodeBlocks(s *segment, p, b0, n int, dst []record) {
	f := s.format
	perSpan := f.span() / blockCols
	kernel := k.decode[f.kernel]
	if kernel == nil || b0%perSpan != 0 || n%perSpan != 0 {
		k.records.decode(s, p, b0, n, dst)
		return
	}
	_ = dst[n-1]
	panel := s.panel(p)
	kernel(
		unsafe.Pointer(&panel[b0*f.blockBytes()]),
		unsafe.Pointer(&panel[s.scaleOffset+b0/perSpan*f.scaleBytes()]),
		unsafe.Pointer(f.params), n, unsafe.Pointer(&dst[0]))
}

// mulFused is tier.mulFused. Reading and decoding a panel a second time, from the
// second level of cache, costs less than storing what was decoded.
func (k *kernelSet) mulFused(s *segment, dst []float32, stride int, a *Activations, r0, r1, p0, p1 int) bool {
	kernels := [...]*[numKernels]fusedKernel{&k.fused1, &k.fused2, &k.fused3, &k.fused4, &k.fused5, &k.fused6, &k.fused7, &k.fused8}
	id := s.format.kernel
	most := len(kernels) // rows at a time
	limit := 2 * most
	for most > 0 && kernels[most-1][id] == nil {
		most--
		limit = most // slower formats aren't worth decoding twice
	}
	if r1-r0 > limit {
		return false
	}
	panels := p1 - p0
	if r1-r0 > most || r0%a.intRows+r1-r0 > a.intRows {
		panels = 1
	}
	_ = dst[(r1-1)*stride+s.row0+p1*panelRows-1] // kernels don't check
	for p := p0; p < p1; p += panels {
		for r := r0; r < r1; {
			rows := min(r1-r, a.intRows-r%a.intRows)
			if rows > most {
				rows = (rows + 1) / 2
			}
			x := a.intTile(r, 0)
			kernels[rows-1][id](unsafe.Pointer(&dst[r*stride+s.row0+p*panelRows]), uintptr(4*stride), unsafe.Pointer(&s.panel(p)[0]), panels, s.panelBytes, s.scaleOffset,
				unsafe.Pointer(s.format.params), x.blocks, x.codes, x.scales, x.step)
			r += rows
		}
	}
	return true
}

// Kernels take multiples of 16 elements; what is left over is done in Go.
const vectorLength = 16

// split is how many of n elements a kernel takes.
func split(n int) int { return n &^ (vectorLength - 1) }

func floats(x []float32) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(x)) }

func (k *kernelSet) vectorOps() vectorOps {
	p := &portableVector
	pairwise := func(kernel mapKernel, rest func(dst, a, b []float32)) func(dst, a, b []float32) {
		return func(dst, a, b []float32) {
			n := split(len(dst))
			if n > 0 {
				kernel(floats(dst), floats(a), floats(b), n)
			}
			if n < len(dst) {
				rest(dst[n:], a[n:], b[n:])
			}
		}
	}
	return vectorOps{
		add:         pairwise(k.add, p.add),
		siluMul:     pairwise(k.siluMul, p.siluMul),
		geluTanhMul: pairwise(k.geluTanhMul, p.geluTanhMul),
		addScaled: func(dst, a []float32, s float32) {
			n := split(len(dst))
			if n > 0 {
				k.addScaled(floats(dst), floats(a), n, s)
			}
			p.addScaled(dst[n:], a[n:], s)
		},
		scale: func(dst, a []float32, s float32) {
			n := split(len(dst))
			if n > 0 {
				k.scale(floats(dst), floats(a), n, s)
			}
			p.scale(dst[n:], a[n:], s)
		},
		scaleMul: func(dst, a, b []float32, s float32) {
			n := split(len(dst))
			if n > 0 {
				k.scaleMul(floats(dst), floats(a), floats(b), n, s)
			}
			p.scaleMul(dst[n:], a[n:], b[n:], s)
		},
		dot: func(a, b []float32) float32 {
			n := split(len(a))
			sum := float32(0)
			if n > 0 {
				sum = k.inner(floats(a), floats(b), n)
			}
			if n < len(a) {
				sum += p.dot(a[n:], b[n:])
			}
			return sum
		},
		max: func(a []float32) float32 {
			n := split(len(a))
			m := p.max(a[n:])
			if n > 0 {
				m = max(m, k.max(floats(a), n))
			}
			return m
		},
		sumExp: func(a []float32, shift float32) float32 {
			n := split(len(a))
			sum := float32(0)
			if n > 0 {
				sum = k.sumExp(floats(a), n, shift)
			}
			if n < len(a) {
				sum += p.sumExp(a[n:], shift)
			}
			return sum
		},
		rotateHalf: func(x, cos, sin []float32) {
			half := len(cos)
			n := split(half)
			if n > 0 {
				k.rotateHalf(floats(x), floats(cos), floats(sin), n, half)
			}
			for i := n; i < half; i++ {
				rotate(&x[i], &x[half+i], cos[i], sin[i])
			}
		},
		rotatePairs: func(x, cos, sin []float32) {
			n := split(len(cos))
			if n > 0 {
				k.rotatePairs(floats(x), floats(cos), floats(sin), n)
			}
			p.rotatePairs(x[2*n:], cos[n:], sin[n:])
		},
		toF16: func(dst []uint16, src []float32) {
			n := split(len(dst))
			if n > 0 {
				k.toF16(unsafe.Pointer(&dst[0]), floats(src), n)
			}
			p.toF16(dst[n:], src[n:])
		},
		fromF16: func(dst []float32, src []uint16) {
			n := split(len(dst))
			if n > 0 {
				k.fromF16(floats(dst), unsafe.Pointer(&src[0]), n)
			}
			p.fromF16(dst[n:], src[n:])
		},
		blockMax: func(dst, a []float32) {
			n := len(a) / MaxBlock
			if n > 0 {
				k.blockMax(floats(dst), floats(a), n)
			}
			p.blockMax(dst[n:], a[n*MaxBlock:])
		},
		blockSumExp: func(dst []float64, a []float32, shift, scale, least float64) {
			n := len(a) / SumBlock
			if n > 0 {
				k.blockSumExp(unsafe.Pointer(&dst[0]), floats(a), n, shift, scale, least)
			}
			p.blockSumExp(dst[n:], a[n*SumBlock:], shift, scale, least)
		},
	}
}

func (k *kernelSet) attentionOps() attentionOps {
	return attentionOps{
		softmax: func(s []float32, width, rows int, top, total []float32) {
			_, _, _ = s[(rows-1)*scoreWidth+width-1], top[rows-1], total[rows-1]
			k.softmax(floats(s), width, rows, floats(top), floats(total))
		},
		scores: func(dst []float32, keys []byte, half bool, x floatTile, rows int, next []byte) {
			kernel, size := k.scores[kernelF32], 4
			if half {
				kernel, size = k.scores[kernelF16], 2
			}
			panels := len(keys) / (size * lanes * floatChunk * x.chunks)
			_ = dst[(rows-1)*scoreWidth+panels*lanes-1]
			kernel(floats(dst), pointer(keys), panels, x.chunks, x.x, x.step, rows, pointer(next))
		},
		addValues: func(out, p []float32, v []byte, half bool, dims, n, rows int, next []byte) {
			kernel, size := k.addValues[kernelF32], 4
			if half {
				kernel, size = k.addValues[kernelF16], 2
			}
			_, _, _ = out[rows*dims-1], p[(rows-1)*scoreWidth+n-1], v[n*dims*size-1]
			kernel(floats(out), floats(p), pointer(v), dims, n, rows, pointer(next))
		},
		quantizeKV: func(codes []int8, scales []uint16, x []float32) {
			n := len(x) / q8Block
			if whole := n * q8Block; n > 0 {
				_, _ = codes[whole-1], scales[n-1]
				k.quantizeKV(unsafe.Pointer(&codes[0]), unsafe.Pointer(&scales[0]), floats(x), n)
				codes, scales, x = codes[whole:], scales[n:], x[whole:]
			}
			quantizeKVPortable(codes, scales, x)
		},
		widenHalves: func(dst []float32, x []byte, next []byte) {
			const unit = 2 * vectorLength
			n := len(dst) / unit
			if n > 0 {
				_ = x[2*n*unit-1]
				k.widenHalves(floats(dst), pointer(x), n, pointer(next))
			}
			if n*unit < len(dst) {
				FromF16(dst[n*unit:], elements[uint16](x[2*n*unit:]))
			}
		},
		widenKeys: func(dst []float32, panels []byte, dims, n int, next []byte) {
			_ = dst[n*lanes*dims-1]
			k.widenKeys(floats(dst), pointer(panels), dims, n, pointer(next))
		},
		widenValues: func(dst []float32, codes []byte, scales []uint16, next []byte) {
			_, _ = codes[len(dst)-1], scales[len(dst)/q8Block-1]
			k.widenValues(floats(dst), pointer(codes), unsafe.Pointer(&scales[0]), len(dst)/q8Block, pointer(next))
		},
	}
}

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

package simd

import "github.com/inferflux/inferflux/tensor"

// attentionOps are a tier's kernels. dims is a multiple of 16. Those that read
// what is stored may fetch next, which is read after it, into the cache.
type attentionOps struct {
	// scores sets dst[r*scoreWidth+t] to the product of query r of a tile and key t
	// of some panels, float32 or binary16 if half, as dotFloat does.
	scores func(dst []float32, keys []byte, half bool, x floatTile, rows int, next []byte)
	// softmax replaces, in each of rows rows of scoreWidth scores, the first width
	// (a multiple of 16) by their exponentials relative to their maximum. It sets
	// top to the maximum and total to the sum of exponentials, or of 16 sums, one
	// for each lane, pairwise.
	softmax func(s []float32, width, rows int, top, total []float32)
	// addValues adds p[r*scoreWidth+t]·v[t], for n positions t, to out[r] for rows
	// queries. The values are float32, or binary16 if half.
	addValues func(out, p []float32, v []byte, half bool, dims, n, rows int, next []byte)
	// quantizeKV converts a row to KVQ8.
	quantizeKV func(codes []int8, scales []uint16, x []float32)
	// widenHalves sets dst to binary16 elements.
	widenHalves func(dst []float32, x []byte, next []byte)
	// widenKeys sets dst to panels of KVQ8 keys, without their scales.
	widenKeys func(dst []float32, panels []byte, dims, n int, next []byte)
	// widenValues does so for n rows of values; scales has theirs.
	widenValues func(dst []float32, codes []byte, scales []uint16, next []byte)
}

var portableAttention = attentionOps{
	softmax: func(s []float32, width, rows int, top, total []float32) {
		for r := range rows {
			scores := s[r*scoreWidth:][:width]
			m := scores[0]
			for _, v := range scores {
				m = max(m, v)
			}
			var sum [lanes]float32
			for i, v := range scores {
				scores[i] = exp(v - m)
				sum[i%lanes] += scores[i]
			}
			top[r], total[r] = m, sumLanes(&sum)
		}
	},
	scores: func(dst []float32, keys []byte, half bool, x floatTile, rows int, _ []byte) {
		typ := float32Weights
		if half {
			typ = float16Weights
		}
		dotFloatPortable(typ, dst, scoreWidth, keys, typ.panelBytes(floatChunk*x.chunks), x, rows)
	},
	addValues: func(out, p []float32, v []byte, half bool, dims, n, rows int, _ []byte) {
		typ := float32Weights
		if half {
			typ = float16Weights
		}
		for i := range n * dims {
			x, t, c := typ.at(v, i), i/dims, i%dims
			for r := range rows {
				out[r*dims+c] = fma(p[r*scoreWidth+t], x, out[r*dims+c])
			}
		}
	},
	quantizeKV:  quantizeKVPortable,
	widenHalves: func(dst []float32, x []byte, _ []byte) { FromF16(dst, elements[uint16](x)) },
	widenKeys: func(dst []float32, panels []byte, dims, n int, _ []byte) {
		l := KVLayout{Type: KVQ8, HeadDim: dims, Tokens: lanes}
		size := l.panelBytes()
		for p := range n {
			panel := panels[p*size:][:size]
			scales := elements[uint16](panel[lanes*dims:])
			for i := range lanes * dims {
				d := scales[i/(lanes*q8Block)*lanes+i%lanes]
				dst[p*lanes*dims+i] = tensor.F16ToF32(d) * float32(int8(panel[i]))
			}
		}
	},
	widenValues: func(dst []float32, codes []byte, scales []uint16, _ []byte) {
		for i := range dst {
			dst[i] = tensor.F16ToF32(scales[i/q8Block]) * float32(int8(codes[i]))
		}
	},
}

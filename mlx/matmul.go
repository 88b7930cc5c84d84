package mlx

// A quantized matrix is stored in few bits: bits a weight, and one scale (for the
// mode "affine" also one bias) for every group weights of a row. The modes are
// "affine" (bits 2, 3, 4, 5, 6, 8; groups of 32, 64, 128), "mxfp4" (4 bits, groups
// of 32), "mxfp8" (8, 32) and "nvfp4" (4, 16). Zero bits or group is the mode's
// default.

// Matmul is the matrix product: [..., n, k] by [..., k, m] is [..., n, m], the
// dimensions before the last two broadcast.
func (s *Scope) Matmul(a, b Array) Array { return s.binary(fnMatmul, a, b) }

// AddMM is beta·c + alpha·(a by b).
func (s *Scope) AddMM(c, a, b Array, alpha, beta float32) Array {
	if s.err != nil {
		return Array{}
	}
	m := &s.mixed
	m.ints[0], m.ints[1], m.ints[2], m.ints[3], m.ints[4] = s.outPtr, c.ctx, a.ctx, b.ctx, s.stream.ctx
	m.floats[0], m.floats[1] = float32Bits(alpha), float32Bits(beta)
	return s.callMixed(fnAddMM, c, a, b)
}

// GatherMM multiplies picked matrices: a[lhs] by b[rhs], where the indices count
// the matrices of the dimensions before the last two. An absent index picks in
// order. sorted promises that rhs ascends, which is faster.
func (s *Scope) GatherMM(a, b, lhs, rhs Array, sorted bool) Array {
	if s.err != nil {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6] = s.outPtr, a.ctx, b.ctx, lhs.ctx, rhs.ctx, boolArg(sorted), s.stream.ctx
	return s.call(fnGatherMM, 7, a, b, lhs, rhs)
}

// Quantize stores a matrix [..., n, k] in few bits: weights as uint32
// [..., n, k·bits/32], scales and biases [..., n, k/group]; biases is absent
// unless the mode is "affine".
func (s *Scope) Quantize(w Array, group, bits int, mode string) (weights, scales, biases Array) {
	if s.err != nil {
		return
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6] = s.outPtr, w.ctx, optionalInt(group), optionalInt(bits), s.cText(mode), 0, s.stream.ctx
	out := s.callMany(fnQuantize, 7, w)
	if len(out) < 2 {
		return
	}
	if len(out) > 2 {
		biases = out[2]
	}
	return out[0], out[1], biases
}

// Dequantize is the matrix that Quantize stored, with elements of a type.
func (s *Scope) Dequantize(weights, scales, biases Array, group, bits int, mode string, d DType) Array {
	if !s.knows(d) {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5] = s.outPtr, weights.ctx, scales.ctx, biases.ctx, optionalInt(group), optionalInt(bits)
	x[6], x[7], x[8], x[9] = s.cText(mode), 0, optionalDType(d), s.stream.ctx
	return s.call(fnDequantize, 10, weights, scales, biases)
}

// QuantizedMatmul is x by the transpose of a quantized matrix (transpose: [..., n,
// k] by [m, k] is [..., n, m]) or by the matrix itself.
func (s *Scope) QuantizedMatmul(x, weights, scales, biases Array, transpose bool, group, bits int, mode string) Array {
	if s.err != nil {
		return Array{}
	}
	v := &s.args
	v[0], v[1], v[2], v[3], v[4], v[5] = s.outPtr, x.ctx, weights.ctx, scales.ctx, biases.ctx, boolArg(transpose)
	v[6], v[7], v[8], v[9] = optionalInt(group), optionalInt(bits), s.cText(mode), s.stream.ctx
	return s.call(fnQuantizedMatmul, 10, x, weights, scales, biases)
}

// GatherQMM is GatherMM with quantized matrices: x[lhs] by weights[rhs].
func (s *Scope) GatherQMM(x, weights, scales, biases, lhs, rhs Array, transpose bool, group, bits int, mode string, sorted bool) Array {
	if s.err != nil {
		return Array{}
	}
	v := &s.args
	v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7] = s.outPtr, x.ctx, weights.ctx, scales.ctx, biases.ctx, lhs.ctx, rhs.ctx, boolArg(transpose)
	v[8], v[9], v[10] = optionalInt(group), optionalInt(bits), s.cText(mode)
	n := 11
	if s.lib.version.atLeast(0, 32, 3) {
		v[n] = 0 // no global scale
		n++
	}
	v[n], v[n+1] = boolArg(sorted), s.stream.ctx
	return s.call(fnGatherQMM, n+2, x, weights, scales, biases, lhs, rhs)
}

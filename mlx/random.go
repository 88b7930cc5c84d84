package mlx

// Random numbers. A key, uint32 [2], determines them; an absent key draws from
// the state of MLX itself.

// RandomKey makes a key of a seed.
func (s *Scope) RandomKey(seed uint64) Array {
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1] = s.outPtr, uintptr(seed)
	return s.call(fnRandomKey, 2)
}

// RandomSplit makes n independent keys of one: uint32 [n, 2].
func (s *Scope) RandomSplit(key Array, n int) Array { return s.withInt(fnRandomSplit, key, n) }

// RandomUniform draws from [low, high), scalars or broadcast to the shape.
func (s *Scope) RandomUniform(low, high, key Array, d DType, shape ...int) Array {
	p, n := s.ints(0, shape)
	if !s.knows(d) {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7] = s.outPtr, low.ctx, high.ctx, p, n, uintptr(d), key.ctx, s.stream.ctx
	return s.call(fnRandomUniform, 8, low, high, key)
}

// RandomNormal draws from the normal distribution.
func (s *Scope) RandomNormal(mean, deviation float32, key Array, d DType, shape ...int) Array {
	p, n := s.ints(0, shape)
	if !s.knows(d) {
		return Array{}
	}
	m := &s.mixed
	m.ints[0], m.ints[1], m.ints[2], m.ints[3], m.ints[4], m.ints[5] = s.outPtr, p, n, uintptr(d), key.ctx, s.stream.ctx
	m.floats[0], m.floats[1] = float32Bits(mean), float32Bits(deviation)
	return s.callMixed(fnRandomNormal, key)
}

// RandomGumbel draws from the standard Gumbel distribution.
func (s *Scope) RandomGumbel(key Array, d DType, shape ...int) Array {
	p, n := s.ints(0, shape)
	if !s.knows(d) {
		return Array{}
	}
	x := &s.args
	x[0], x[1], x[2], x[3], x[4], x[5] = s.outPtr, p, n, uintptr(d), key.ctx, s.stream.ctx
	return s.call(fnRandomGumbel, 6, key)
}

// RandomCategorical draws an index along an axis with the probabilities
// softmax(logits), as uint32.
func (s *Scope) RandomCategorical(logits Array, axis int, key Array) Array {
	if s.err != nil {
		return Array{}
	}
	s.args[0], s.args[1], s.args[2], s.args[3], s.args[4] = s.outPtr, logits.ctx, cInt(axis), key.ctx, s.stream.ctx
	return s.call(fnRandomCategorical, 5, logits, key)
}

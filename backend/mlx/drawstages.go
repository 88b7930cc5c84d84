package mlx

import (
	"math"

	"github.com/inferflux/inferflux/mlx"
)

// stage is a chain of elementwise operations, one kernel when compiled.
type stage struct {
	f        func(g *mlx.Scope, in []mlx.Array) mlx.Array
	compiled *mlx.Compiled
}

func (t *stage) on(g *mlx.Scope, in ...mlx.Array) mlx.Array {
	if t.compiled == nil {
		return t.f(g, in)
	}
	if out := g.Call(t.compiled, in...); len(out) == 1 {
		return out[0]
	}
	return mlx.Array{} // the scope has the error
}

// drawStages are the elementwise parts of the graph. Arguments broadcast.
type drawStages struct {
	edit        stage // (logits, divide, add) → logits
	settle      stage // (logits) → float32 without NaN and plus infinity
	expand      stage // (words [n, words, 1], 0…31) → bits
	allow       stage // (bits, logits) → logits
	weigh       stage // (logits, best, inverse, unit, limit) → weights int64
	weighKept   stage // (…, limit, keys, least key, keep all) → weights
	weighRanked stage // (sorted logits, best, inverse, unit, rank, kept) → weights
	part        stage // (total, high and low part of a fraction) → that part of the total
	inNucleus   stage // (above, want, rank, kept) → 0 or 1, int32
	fromEnd     stage // (kept, count) → index of the least of them
	past        stage // (before, weights, target, passed) → 0 or 1, int32
	join        stage // (block, place, block size) → ids int32
	order       stage // (logits, their bits, lower half) → keys
	logitBits   stage // (keys) → bits of the logits
	blockOf     stage // (keys, logarithm of the block size, last block) → blocks
}

func newDrawStages() drawStages {
	const intMin = math.MinInt32
	inf := float32(math.Inf(1))
	number := func(g *mlx.Scope, x float32) mlx.Array { return g.Scalar(x, mlx.Float32) }
	integer := func(g *mlx.Scope, x float32) mlx.Array { return g.Scalar(x, mlx.Int32) }
	// turn maps the bits of a float to an integer of the same order, and back.
	turn := func(g *mlx.Scope, b mlx.Array) mlx.Array {
		return g.Where(g.Less(b, integer(g, 0)), g.Subtract(integer(g, intMin), b), b)
	}
	long := func(g *mlx.Scope, x float32) mlx.Array { return g.Scalar(x, mlx.Int64) }
	distance := func(g *mlx.Scope, in []mlx.Array) mlx.Array {
		x, best, inverse := in[0], in[1], in[2]
		return g.Multiply(g.Subtract(best, x), inverse)
	}
	weigh := func(g *mlx.Scope, d, unit, in mlx.Array) mlx.Array {
		return g.AsType(g.Where(in, g.Multiply(g.Exp(g.Negative(d)), unit), number(g, 0)), mlx.Int64)
	}
	type arrays = []mlx.Array
	return drawStages{
		edit: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			x, divide, add := in[0], in[1], in[2]
			y := g.Add(g.Where(g.Greater(x, number(g, 0)), g.Divide(x, divide), g.Multiply(x, divide)), add)
			// A change keeps a finite logit finite; a ban doesn't.
			none := g.LogicalOr(g.Equal(x, number(g, -inf)), g.Equal(add, number(g, -inf)))
			return g.Where(none, number(g, -inf), g.Maximum(y, number(g, -math.MaxFloat32)))
		}},
		settle: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			x := g.AsType(in[0], mlx.Float32)
			return g.Where(g.IsNaN(x), number(g, -inf), g.Minimum(x, number(g, math.MaxFloat32)))
		}},
		expand: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			return g.BitwiseAnd(g.RightShift(in[0], in[1]), g.Scalar(1, mlx.Uint32))
		}},
		allow: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			return g.Where(g.AsType(in[0], mlx.Bool), in[1], number(g, -inf))
		}},
		weigh: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			d := distance(g, in)
			return weigh(g, d, in[3], g.LessEqual(d, in[4]))
		}},
		weighKept: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			d := distance(g, in)
			unit, limit, keys, least, all := in[3], in[4], in[5], in[6], in[7]
			kept := g.LogicalOr(g.GreaterEqual(keys, least), g.Greater(all, number(g, 0)))
			return weigh(g, d, unit, g.LogicalAnd(kept, g.LessEqual(d, limit)))
		}},
		weighRanked: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			d := distance(g, in)
			unit, rank, kept := in[3], in[4], in[5]
			return weigh(g, d, unit, g.LogicalAnd(g.Less(rank, kept), g.LessEqual(d, number(g, reach))))
		}},
		// The product has up to 115 bits, so it is made of the products of halves. The
		// least of the four is left out: it is less than 32 units.
		part: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			const totalBits = 31 // of the lower half of the total
			total, high, low := in[0], g.AsType(in[1], mlx.Int64), g.AsType(in[2], mlx.Int64)
			upper := g.RightShift(total, long(g, totalBits))
			lower := g.Subtract(total, g.LeftShift(upper, long(g, totalBits)))
			whole := g.LeftShift(g.Multiply(upper, high), long(g, totalBits+fractionBits-53))
			return g.Add(whole, g.Add(
				g.RightShift(g.Multiply(upper, low), long(g, 53-totalBits)),
				g.RightShift(g.Multiply(lower, high), long(g, 53-fractionBits))))
		}},
		inNucleus: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			above, want, rank, kept := in[0], in[1], in[2], in[3]
			return g.AsType(g.LogicalAnd(g.Less(rank, kept), g.Less(above, want)), mlx.Int32)
		}},
		fromEnd: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			kept, count := in[0], in[1]
			return g.Subtract(count, g.Maximum(kept, integer(g, 1)))
		}},
		past: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			before, w, target, passed := in[0], in[1], in[2], in[3]
			return g.AsType(g.Greater(g.Add(before, w), g.Subtract(target, passed)), mlx.Int32)
		}},
		join: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			return g.AsType(g.Add(g.Multiply(in[0], in[2]), in[1]), mlx.Int32)
		}},
		order: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			x, bits, low := in[0], in[1], in[2]
			k := g.Where(g.IsNaN(x), integer(g, intMin), turn(g, bits))
			return g.Add(g.Multiply(g.AsType(k, mlx.Int64), long(g, 1<<32)), low)
		}},
		logitBits: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			return turn(g, g.AsType(g.RightShift(in[0], long(g, 32)), mlx.Int32))
		}},
		blockOf: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			return g.Subtract(in[2], g.RightShift(g.AsType(in[0], mlx.Uint32), in[1]))
		}},
	}
}

// all are the stages.
func (s *drawStages) all() []*stage {
	return []*stage{&s.edit, &s.settle, &s.expand, &s.allow, &s.weigh, &s.weighKept, &s.weighRanked,
		&s.part, &s.inNucleus, &s.fromEnd, &s.past, &s.join, &s.order, &s.logitBits, &s.blockOf}
}

func (s *drawStages) compile(lib *mlx.Library) error {
	for _, t := range s.all() {
		c, err := lib.Compile(func(g *mlx.Scope, in []mlx.Array) []mlx.Array { return []mlx.Array{t.f(g, in)} }, true)
		if err != nil {
			return err
		}
		t.compiled = c
	}
	return nil
}

func (s *drawStages) free() {
	for _, t := range s.all() {
		if t.compiled != nil {
			t.compiled.Free()
		}
	}
}

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
	weigh       stage // (logits, best, inverse, limit) → weights
	weighKept   stage // (…, keys, least key, keep all) → weights
	weighRanked stage // (sorted logits, best, inverse, rank, kept) → weights
	inNucleus   stage // (above, total, p, rank, kept) → 0 or 1, int32
	fromEnd     stage // (kept, count) → index of the least of them
	first       stage // (before, weights, uniform, last before, last weight, passed, places) → score
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
	distance := func(g *mlx.Scope, in []mlx.Array) mlx.Array {
		x, best, inverse := in[0], in[1], in[2]
		return g.Multiply(g.Subtract(best, x), inverse)
	}
	weigh := func(g *mlx.Scope, d, in mlx.Array) mlx.Array {
		return g.Where(in, g.Exp(g.Negative(d)), number(g, 0))
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
			return weigh(g, d, g.LessEqual(d, in[3]))
		}},
		weighKept: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			d := distance(g, in)
			keys, least, all := in[4], in[5], in[6]
			kept := g.LogicalOr(g.GreaterEqual(keys, least), g.Greater(all, number(g, 0)))
			return weigh(g, d, g.LogicalAnd(kept, g.LessEqual(d, in[3])))
		}},
		weighRanked: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			d := distance(g, in)
			rank, kept := in[3], in[4]
			return weigh(g, d, g.LogicalAnd(g.Less(rank, kept), g.LessEqual(d, number(g, reach))))
		}},
		inNucleus: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			above, total, p, rank, kept := in[0], in[1], in[2], in[3], in[4]
			return g.AsType(g.LogicalAnd(g.Less(rank, kept), g.Less(above, g.Multiply(p, total))), mlx.Int32)
		}},
		fromEnd: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			kept, count := in[0], in[1]
			return g.Subtract(count, g.Maximum(kept, integer(g, 1)))
		}},
		// The highest score is the first place past the target. Rounding may leave
		// none: then it is the last that has any weight.
		first: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			before, w, uniform, lastBefore, last, passed, places := in[0], in[1], in[2], in[3], in[4], in[5], in[6]
			target := g.Subtract(g.Multiply(uniform, g.Add(lastBefore, last)), passed)
			const beyond = 1 << 23 // more than any place
			score := g.Where(g.Greater(g.Add(before, w), target), g.Subtract(number(g, 2*beyond), places), g.Add(places, number(g, 1)))
			return g.Where(g.Greater(w, number(g, 0)), score, number(g, 0))
		}},
		join: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			return g.AsType(g.Add(g.Multiply(in[0], in[2]), in[1]), mlx.Int32)
		}},
		order: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			x, bits, low := in[0], in[1], in[2]
			k := g.Where(g.IsNaN(x), integer(g, intMin), turn(g, bits))
			return g.Add(g.Multiply(g.AsType(k, mlx.Int64), g.Scalar(1<<32, mlx.Int64)), low)
		}},
		logitBits: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			return turn(g, g.AsType(g.RightShift(in[0], g.Scalar(32, mlx.Int64)), mlx.Int32))
		}},
		blockOf: stage{f: func(g *mlx.Scope, in arrays) mlx.Array {
			return g.Subtract(in[2], g.RightShift(g.AsType(in[0], mlx.Uint32), in[1]))
		}},
	}
}

// all are the stages.
func (s *drawStages) all() []*stage {
	return []*stage{&s.edit, &s.settle, &s.expand, &s.allow, &s.weigh, &s.weighKept, &s.weighRanked,
		&s.inNucleus, &s.fromEnd, &s.first, &s.join, &s.order, &s.logitBits, &s.blockOf}
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
